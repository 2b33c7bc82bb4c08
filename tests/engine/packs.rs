//! Packs: what loads, what each mistake is told as, and that a pack is installed as a whole or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use raptorflow_core::{
    Engine,
    agent::{AgentBuilder, AgentKind, AgentSpec, Capability, Limits},
    error::ErrorKind,
    pack::Pack,
    types::{Diagnostic, Diagnostics, Schema},
};
use raptorflow_tests::root;
use tempfile::TempDir;

const AGENT: &str = "agents/one/worker.toml";
const TEAM: &str = "domains/one.toml";
const MANIFEST: &str = "pack.toml";

/// A small pack without a problem.
pub(crate) fn pack() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let capability = |table: &str, name: &str| {
        format!(
            "[[{table}]]\nname = \"{name}\"\ndescription = \"Does {name}.\"\ntimeout_seconds = 20\n\
             input = {{ type = \"object\", required = [\"goal\"] }}\n\
             output = {{ type = \"object\", properties = {{ findings = {{ \"$ref\" = \"pack:findings\" }} }} }}\n"
        )
    };
    let team = format!(
        "name = \"one\"\ntitle = \"One\"\nconcern = \"all\"\nheading = \"All\"\ndescription = \"Does all.\"\n\
         channels = [\"agent_execution\"]\n[supervisor]\nname = \"one\"\ndescription = \"Leads.\"\n\
         instructions = \"Lead.\"\n{}",
        capability("supervisor.capabilities", "lead")
    );
    let agent = format!(
        "name = \"worker\"\ndomain = \"one\"\nkind = \"analyzer\"\ndescription = \"Works.\"\ntags = [\"look\"]\n\
         instructions = \"\"\"\nSay \"look\".\n\"\"\"\n[limits]\nsteps = 4\n{}{}",
        capability("capabilities", "look"),
        capability("capabilities", "listen")
    );
    let manifest = "name = \"small\"\nversion = \"0.1.0\"\ndescription = \"For tests.\"\n\n[contents]\n\
                    domains = 1\nagents = 1\nsupervisors = 1\ncapabilities = 3\n[defaults.retrieval]\nrequired = true\n";
    for (file, text) in [
        (MANIFEST, manifest),
        (TEAM, &team),
        (AGENT, &agent),
        ("schemas/findings.toml", "type = \"array\"\nminItems = 1\n"),
        ("README.md", "Not read."),
    ] {
        write(folder.path(), file, text);
    }
    folder
}

pub(crate) fn write(folder: &Path, file: &str, text: impl AsRef<[u8]>) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Replaces the `nth` occurrence of a text in a file.
pub(crate) fn edit(folder: &Path, file: &str, nth: usize, from: &str, to: &str) {
    let text = fs::read_to_string(folder.join(file)).unwrap();
    let (at, _) = text.match_indices(from).nth(nth).unwrap_or_else(|| panic!("no `{from}` in {file}"));
    write(folder, file, format!("{}{to}{}", &text[..at], &text[at + from.len()..]));
}

pub(crate) fn shown(problems: &[Diagnostic]) -> Vec<String> {
    let place = |it: &Diagnostic| format!("{}:{} {}", it.file.as_deref().unwrap_or("?"), it.line, it.code);
    problems.iter().map(place).collect()
}

/// The line of the `nth` occurrence of a text in a file.
pub(crate) fn line(folder: &Path, file: &str, nth: usize, needle: &str) -> usize {
    let text = fs::read_to_string(folder.join(file)).unwrap();
    let (at, _) = text.match_indices(needle).nth(nth).unwrap_or_else(|| panic!("no `{needle}` in {file}"));
    text[..at].matches('\n').count() + 1
}

#[test]
fn the_council_loads_without_a_problem_and_is_what_it_says() {
    let (pack, problems) = Pack::check(&root().join("packs/council"));
    assert_eq!(problems, []);
    let pack = pack.unwrap();
    assert_eq!((pack.teams().len(), pack.agents().len()), (7, 70));
    let leads = pack.teams().iter().map(|(_, lead)| lead);
    let capabilities: usize = leads.chain(pack.agents()).map(|spec| spec.capabilities.len()).sum();
    assert_eq!(capabilities, pack.manifest().contents.capabilities);
    for spec in pack.teams().iter().map(|(_, lead)| lead).chain(pack.agents()) {
        assert!(spec.retrieval.is_some_and(|retrieval| retrieval.required), "{}", spec.name);
        assert_eq!(spec.capabilities.len(), 5, "{}", spec.name);
    }
}

#[test]
fn the_agents_of_the_council_keep_the_rules_of_its_readme() {
    let pack = Pack::load(root().join("packs/council")).unwrap();
    for (team, _) in pack.teams() {
        let members = pack.agents().iter().filter(|agent| agent.domain.as_deref() == Some(&team.name));
        assert_eq!(members.count(), 10, "{}", team.name);
    }
    for spec in pack.agents() {
        let name = spec.name.as_str();
        let words = spec.instructions.split_whitespace().count();
        assert!((150..=350).contains(&words), "{name}: {words} words");
        assert!((12..=25).contains(&spec.routing.words.len()), "{name}");
        assert!(pack.agent_cases(name).len() >= 3, "{name}");
        for capability in &spec.capabilities {
            let what = &capability.name;
            assert!((10..=25).contains(&capability.timeout_seconds), "{name}: {what}");
            assert_eq!(
                capability.input.as_value()["required"],
                serde_json::json!(["goal"]),
                "{name}: {what}"
            );
            assert_eq!(
                capability.output.as_value()["required"],
                serde_json::json!(["findings"]),
                "{name}: {what}"
            );
        }
        for case in pack.agent_cases(name) {
            assert!(!case.passages.is_empty() && case.capability.is_some(), "{name}: {}", case.name);
        }
    }
}

#[tokio::test]
async fn a_pack_is_installed_as_its_agents_its_leads_and_one_orchestrator() {
    let folder = pack();
    let pack = Pack::load(folder.path()).unwrap();
    let engine = Engine::builder().build().await.unwrap();
    engine.install(&pack).unwrap();
    let names: Vec<String> = engine.agents().list().iter().map(|agent| agent.name().to_string()).collect();
    assert_eq!(names, ["one", "small", "worker"]);
    let small = engine.agents().get("small").unwrap();
    assert_eq!((small.spec().kind, &*small.spec().description), (AgentKind::Orchestrator, "For tests."));
    let worker = engine.agents().get("worker").unwrap();
    assert!(worker.spec().retrieval.unwrap().required);
    let findings = &worker.spec().capabilities[0].output.as_value()["properties"]["findings"];
    assert_eq!(findings["minItems"], 1);
}

#[tokio::test]
async fn nothing_is_installed_when_one_name_is_taken() {
    let folder = pack();
    let pack = Pack::load(folder.path()).unwrap();
    for taken in ["one", "small", "worker"] {
        let engine = Engine::builder().build().await.unwrap();
        engine.register(raptorflow_core::Agent::builder(taken).build().unwrap()).unwrap();
        let err = engine.install(&pack).unwrap_err();
        assert_eq!((err.kind(), err.get("agent")), (ErrorKind::AlreadyExists, Some(taken)));
        assert_eq!(engine.agents().len(), 1);
    }
}

#[test]
fn a_small_pack_has_no_problem() {
    assert_eq!(shown(&Pack::check(pack().path()).1), Vec::<String>::new());
}

#[test]
fn each_mistake_is_told_once_with_its_file_and_line() {
    // File, which occurrence of what becomes what; the code, and where: which occurrence of what.
    let table: &[(&str, usize, &str, &str, &str, usize, &str)] = &[
        (MANIFEST, 0, "domains = 1", "domains = 2", "wrong_count", 0, "domains = 2"),
        (MANIFEST, 0, "agents = 1", "agents = 0", "wrong_count", 0, "agents = 0"),
        (MANIFEST, 0, "supervisors = 1", "supervisors = 0", "wrong_count", 0, "supervisors = 0"),
        (MANIFEST, 0, "capabilities = 3", "capabilities = 4", "wrong_count", 0, "capabilities = 4"),
        (MANIFEST, 0, "\"small\"", "\"a/b\"", "invalid_name", 0, "name = \"a/b\""),
        (MANIFEST, 0, "\"small\"", "\"worker\"", "duplicate_name", 0, "\"worker\""),
        (MANIFEST, 0, "version", "versoin", "invalid_file", 0, "versoin"),
        (TEAM, 0, "heading", "haeding", "invalid_file", 0, "haeding"),
        (TEAM, 0, "agent_execution", "Agent Execution", "invalid_file", 0, "channels"),
        (TEAM, 1, "name = \"one\"", "name = \"worker\"", "duplicate_name", 0, "name = \"worker\""),
        (TEAM, 0, "\"Lead.\"", "\" \"", "empty_instructions", 1, "name = \"one\""),
        (TEAM, 0, "pack:findings", "pack:fndings", "unresolved_reference", 0, "name = \"lead\""),
        (AGENT, 0, "name = \"worker\"", "name = \"wroker\"", "file_name", 0, "name = \"wroker\""),
        (AGENT, 0, "domain = \"one\"", "domain = \"on\"", "unknown_domain", 0, "domain = \"on\""),
        (AGENT, 0, "domain = \"one\"", "", "missing_domain", 0, "name = \"worker\""),
        (AGENT, 0, "\"Works.\"", "\"\"", "empty_description", 0, "name = \"worker\""),
        (AGENT, 0, "Say \"look\".", "", "empty_instructions", 0, "name = \"worker\""),
        (AGENT, 0, "analyzer", "analyser", "invalid_file", 0, "analyser"),
        (AGENT, 0, "tags", "tgas", "invalid_file", 0, "tgas"),
        (AGENT, 0, "[\"look\"]", "[\"look\"", "invalid_file", 0, "instructions"),
        (AGENT, 0, "steps = 4", "steps = 0", "invalid_limit", 0, "steps = 0"),
        (AGENT, 0, "name = \"listen\"", "name = \"look\"", "duplicate_capability", 1, "name = \"look\""),
        (AGENT, 1, "timeout_seconds = 20", "timeout_seconds = 0", "invalid_timeout", 0, "name = \"listen\""),
        (AGENT, 1, "timeout_seconds = 20", "timeout_seconds = -1", "invalid_file", 0, "timeout_seconds = -1"),
        (AGENT, 0, "pack:findings", "pack:fndings", "unresolved_reference", 0, "name = \"look\""),
        (AGENT, 2, "type = \"object\"", "type = \"objekt\"", "invalid_schema", 0, "name = \"listen\""),
        ("schemas/findings.toml", 0, "1", "1 1", "invalid_file", 0, "minItems"),
    ];
    for (file, nth, from, to, code, at, needle) in table {
        let folder = pack();
        edit(folder.path(), file, *nth, from, to);
        // A name of the manifest that is taken is the fault of who takes it.
        let blamed = if (*file, *code) == (MANIFEST, "duplicate_name") { AGENT } else { file };
        // The lead is read first, so that a member of the same name is the second one.
        let blamed = if (*file, *code) == (TEAM, "duplicate_name") { AGENT } else { blamed };
        let expected = format!("{blamed}:{} {code}", line(folder.path(), blamed, *at, needle));
        let (_, problems) = Pack::check(folder.path());
        assert!(problems.iter().all(|it| it.column > 0));
        assert_eq!(shown(&problems), [expected], "{file}: `{from}` to `{to}`");
        let err = Pack::load(folder.path()).unwrap_err();
        assert_eq!((err.kind(), err.get("problems")), (ErrorKind::InvalidInput, Some("1")));
        assert_eq!(err.cause::<Diagnostics>().unwrap().0, problems);
    }
}

/// The problems of the small pack after a change of its files.
fn after(change: impl FnOnce(&Path)) -> Vec<String> {
    let folder = pack();
    change(folder.path());
    shown(&Pack::check(folder.path()).1)
}

#[test]
fn files_in_the_wrong_place_or_form_are_told() {
    let moved = |to: &'static str| {
        after(move |folder| {
            fs::create_dir_all(folder.join(to).parent().unwrap()).unwrap();
            fs::rename(folder.join(AGENT), folder.join(to)).unwrap();
        })
    };
    assert_eq!(moved("agents/worker.toml"), ["agents/worker.toml:2 wrong_folder"]);
    assert_eq!(moved("agents/two/worker.toml"), ["agents/two/worker.toml:2 wrong_folder"]);
    assert_eq!(moved("agents/one/other.toml"), ["agents/one/other.toml:1 file_name"]);
    assert_eq!(after(|folder| write(folder, AGENT, [0xff, 0xfe])), ["agents/one/worker.toml:0 unreadable"]);
    let large = "#".repeat(1024 * 1024 + 1);
    assert_eq!(after(|folder| write(folder, AGENT, large)), ["agents/one/worker.toml:0 unreadable"]);
    let copied = after(|folder| {
        fs::copy(folder.join(TEAM), folder.join("domains/two.toml")).map(|_| ()).unwrap();
    });
    assert!(copied.contains(&"domains/two.toml:1 file_name".to_owned()), "{copied:?}");
    assert!(copied.contains(&"domains/two.toml:8 duplicate_name".to_owned()), "{copied:?}");
}

#[test]
fn a_pack_without_teams_is_told_so() {
    let problems = after(|folder| {
        fs::remove_dir_all(folder.join("domains")).unwrap();
        fs::remove_dir_all(folder.join("agents")).unwrap();
        for (from, to) in [
            ("domains = 1", "domains = 0"),
            ("agents = 1", "agents = 0"),
            ("capabilities = 3", "capabilities = 0"),
            ("supervisors = 1", "supervisors = 0"),
        ] {
            edit(folder, MANIFEST, 0, from, to);
        }
    });
    assert_eq!(problems, ["pack.toml:6 no_domain"]);
}

#[test]
fn schemas_that_name_each_other_without_end_are_refused_soon() {
    let looped =
        after(|folder| write(folder, "schemas/findings.toml", "items = { \"$ref\" = \"pack:findings\" }"));
    assert_eq!(looped.len(), 3);
    assert!(looped.iter().all(|it| it.ends_with("unresolved_reference")), "{looped:?}");
    let wide = after(|folder| {
        for depth in 0..7 {
            let next = if depth == 6 { "findings".to_owned() } else { format!("s{}", depth + 1) };
            let many: Vec<String> =
                (0..100).map(|it| format!("p{it} = {{ \"$ref\" = \"pack:{next}\" }}")).collect();
            write(folder, &format!("schemas/s{depth}.toml"), format!("[properties]\n{}", many.join("\n")));
        }
        edit(folder, AGENT, 0, "pack:findings", "pack:s0");
    });
    let line = line(pack().path(), AGENT, 0, "name = \"look\"");
    assert_eq!(wide, [format!("{AGENT}:{line} unresolved_reference")]);
}

#[test]
fn a_folder_without_a_manifest_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let err = Pack::load(folder.path()).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NotFound);
    assert_eq!(err.get("folder").map(PathBuf::from).as_deref(), Some(folder.path()));
}

#[test]
fn an_agent_that_cannot_work_is_not_built() {
    let capability = |name: &str, timeout_seconds| Capability {
        name: name.into(),
        description: "Does it.".into(),
        timeout_seconds,
        retries: 3,
        effects: raptorflow_core::types::Effects::External,
        cache_seconds: 300,
        input: Schema::any_object(),
        output: Schema::any_object(),
    };
    let build = |capabilities, limits| {
        let spec = AgentSpec { capabilities, limits, ..AgentSpec::new("worker").unwrap() };
        AgentBuilder::from_spec(spec)
            .build()
            .map(|_| ())
            .map_err(|err| (err.kind(), err.get("field").map(str::to_owned)))
    };
    let mut no_steps = Limits::default();
    no_steps.steps = 0;
    assert_eq!(build(vec![], no_steps), Err((ErrorKind::InvalidInput, Some("limits.steps".into()))));
    let never = vec![capability("a", 0)];
    let field = Some("capability.timeout_seconds".to_owned());
    assert_eq!(build(never, Limits::default()), Err((ErrorKind::InvalidInput, field)));
    let twice = vec![capability("a", 1), capability("a", 1)];
    assert_eq!(build(twice, Limits::default()), Err((ErrorKind::AlreadyExists, None)));
    assert_eq!(build(vec![capability("a", 1), capability("b", 1)], Limits::default()), Ok(()));
}
