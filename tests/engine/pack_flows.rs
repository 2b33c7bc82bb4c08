//! Workflows of packs and the cases of their agents: what loads, what each mistake is told as, and the council's own.

use std::{path::Path, sync::LazyLock};

use raptorflow_core::{
    Engine, KnowledgeBase,
    error::ErrorKind,
    model::ChatRequest,
    pack::Pack,
    rag::{Document, HashingEmbedder},
    testing::{Reply, ScriptedModel},
};
use raptorflow_tests::root;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    packs::{edit, line, pack, shown, write},
    support::{built, texts},
};

const FLOW: &str = "workflows/flow.toml";
const CASES: &str = "evals/agents/one/worker.jsonl";
const MANIFEST: &str = "pack.toml";
static COUNCIL: LazyLock<Pack> = LazyLock::new(|| Pack::load(root().join("packs/council")).unwrap());

/// The small pack with a workflow of three steps and three cases.
fn with_flow_and_cases() -> TempDir {
    let folder = pack();
    let flow = "name = \"flow\"\ndescription = \"Looks, then leads.\"\n\n[[steps]]\nname = \"see\"\n\
                agent = \"worker\"\ncapability = \"look\"\n\n[[steps]]\nname = \"turns\"\nafter = [\"see\"]\n\
                repeat = { at_most = 2, workflow = { name = \"turn\", steps = [\n\
                    { name = \"hear\", agent = \"worker\", capability = \"listen\" },\n] } }\n\n\
                [[steps]]\nname = \"end\"\nafter = [\"turns\"]\nagents = [\"one\", \"worker\"]\n";
    let case = |name: &str| {
        format!(
            "{{\"name\": \"{name}\", \"capability\": \"look\", \"inputs\": {{\"goal\": \"x\"}}, \
             \"passages\": [\"A.\"], \"expect\": [\"Cites 1.\"], \"output\": {{\"findings\": [1]}}}}\n"
        )
    };
    write(folder.path(), FLOW, flow);
    write(folder.path(), CASES, ["first", "second", "third"].map(case).concat());
    let counts = "capabilities = 3\nworkflows = 1\nagent_cases = 3";
    edit(folder.path(), MANIFEST, 0, "capabilities = 3", counts);
    folder
}

/// The problems of that pack after a change of its files.
fn after(change: impl FnOnce(&Path)) -> Vec<String> {
    let folder = with_flow_and_cases();
    change(folder.path());
    shown(&Pack::check(folder.path()).1)
}

#[tokio::test]
async fn a_workflow_of_a_pack_is_installed_by_its_name_or_nothing_is() {
    let folder = with_flow_and_cases();
    let pack = Pack::load(folder.path()).unwrap();
    assert_eq!(pack.workflows().len(), 1);
    let engine = Engine::builder().build().await.unwrap();
    engine.install(&pack).unwrap();
    assert_eq!(&*engine.agents().get("flow").unwrap().spec().description, "Looks, then leads.");
    let engine = Engine::builder().build().await.unwrap();
    engine.register(raptorflow_core::Agent::builder("flow").build().unwrap()).unwrap();
    let err = engine.install(&pack).unwrap_err();
    assert_eq!((err.kind(), err.get("agent")), (ErrorKind::AlreadyExists, Some("flow")));
    assert_eq!(engine.agents().len(), 1);
}

#[test]
fn the_cases_of_an_agent_are_read() {
    let folder = with_flow_and_cases();
    let pack = Pack::load(folder.path()).unwrap();
    let cases = pack.agent_cases("worker");
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "third"]);
    assert_eq!((cases[0].capability.as_deref(), cases[0].passages.len()), (Some("look"), 1));
    assert!(pack.agent_cases("one").is_empty() && pack.agent_cases("nobody").is_empty());
}

#[test]
fn each_mistake_in_a_workflow_or_a_case_is_told_once_with_its_file_and_line() {
    // File, which occurrence of what becomes what; the code, and where: which occurrence of what.
    let table: &[(&str, usize, &str, &str, &str, usize, &str)] = &[
        (MANIFEST, 0, "workflows = 1", "workflows = 2", "wrong_count", 0, "workflows = 2"),
        (MANIFEST, 0, "agent_cases = 3", "agent_cases = 4", "wrong_count", 0, "agent_cases = 4"),
        (FLOW, 0, "name = \"flow\"", "name = \"flown\"", "file_name", 0, "name = \"flown\""),
        (FLOW, 0, "steps", "stesp", "invalid_file", 0, "stesp"),
        (FLOW, 0, "after = [\"see\"]", "after = [\"sea\"]", "unknown_step", 0, "name = \"turns\""),
        (FLOW, 0, "after = [\"see\"]", "after = [\"end\"]", "cycle", 0, "name = \"turns\""),
        (FLOW, 0, "agent = \"worker\"", "agent = \"wroker\"", "unknown_agent", 0, "name = \"see\""),
        (FLOW, 0, "\"look\"", "\"lok\"", "unknown_capability", 0, "name = \"see\""),
        (FLOW, 0, "\"listen\"", "\"liste\"", "unknown_capability", 0, "name = \"turns\""),
        (FLOW, 0, "[\"one\"", "[\"two\"", "unknown_agent", 0, "name = \"end\""),
        (
            FLOW,
            0,
            "agents =",
            "compensate = { agent = \"x\" }\nagents =",
            "unknown_agent",
            0,
            "name = \"end\"",
        ),
        (CASES, 0, "\"name\"", "\"nam\"", "invalid_case", 0, "\"nam\""),
        (CASES, 0, "second", "first", "duplicate_case", 1, "first"),
        (CASES, 0, "Cites 1.", " ", "empty_case", 0, "first"),
        (CASES, 1, "\"look\"", "\"lok\"", "unknown_capability", 0, "second"),
        (CASES, 1, "\"goal\"", "\"gaol\"", "unfit_case", 0, "second"),
        (CASES, 2, "[1]", "[]", "unfit_case", 0, "third"),
    ];
    for (file, nth, from, to, code, at, needle) in table {
        let folder = with_flow_and_cases();
        edit(folder.path(), file, *nth, from, to);
        let expected = format!("{file}:{} {code}", line(folder.path(), file, *at, needle));
        let mut found = shown(&Pack::check(folder.path()).1);
        // A line that is no case is one case less, which the manifest counts and the agent lacks.
        if *code == "invalid_case" {
            assert_eq!(
                found.split_off(1),
                ["agents/one/worker.toml:0 few_cases", "pack.toml:11 wrong_count"]
            );
        }
        assert_eq!(found, [expected], "{file}: `{from}` to `{to}`");
        assert_eq!(Pack::load(folder.path()).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn workflows_and_cases_in_the_wrong_place_are_told() {
    let moved = |to: &'static str| {
        after(move |folder| {
            write(folder, to, std::fs::read(folder.join(CASES)).unwrap());
            std::fs::remove_dir_all(folder.join("evals/agents/one")).unwrap();
        })
    };
    let uncounted = "pack.toml:11 wrong_count";
    assert_eq!(moved("evals/agents/worker.jsonl"), ["evals/agents/worker.jsonl:0 wrong_folder", uncounted]);
    assert_eq!(moved("evals/agents/two/worker.jsonl"), ["evals/agents/two/worker.jsonl:0 wrong_folder"]);
    let of_nobody = after(|folder| {
        let nobody = folder.join("evals/agents/one/wroker.jsonl");
        std::fs::rename(folder.join(CASES), nobody).unwrap();
    });
    let few = "agents/one/worker.toml:0 few_cases";
    assert_eq!(of_nobody, ["evals/agents/one/wroker.jsonl:0 unknown_agent", few, uncounted]);
    let named = after(|folder| edit(folder, FLOW, 0, "name = \"flow\"", "name = \"worker\""));
    assert_eq!(named, ["workflows/flow.toml:1 duplicate_name", "workflows/flow.toml:1 file_name"]);
}

#[test]
fn a_workflow_may_name_the_pack_as_a_whole_and_another_workflow() {
    let others = after(|folder| {
        edit(folder, FLOW, 0, "agents = [\"one\", \"worker\"]", "agent = \"small\"");
        let name = |name: &str| format!("name = \"{name}\"\n[[steps]]\nname = \"all\"\nagent = \"flow\"\n");
        write(folder, "workflows/outer.toml", name("outer"));
        edit(folder, MANIFEST, 0, "workflows = 1", "workflows = 2");
    });
    assert_eq!(others, Vec::<String>::new());
    let asked = after(|folder| {
        edit(folder, FLOW, 0, "agents = [\"one\", \"worker\"]", "agent = \"small\"\ncapability = \"x\"");
    });
    assert_eq!(asked, ["workflows/flow.toml:17 unknown_capability"]);
}

/// Whether a request is for one of the council's agents and one of its capabilities.
fn asks(agent: &str, capability: &str) -> impl Fn(&ChatRequest) -> bool + Send + Sync + 'static {
    let pack = &*COUNCIL;
    let spec = pack.teams().iter().map(|(_, lead)| lead).chain(pack.agents());
    let spec = spec.clone().find(|spec| spec.name.as_str() == agent).unwrap();
    let instructions = spec.instructions.trim().to_owned();
    let of_agent = spec.capabilities.iter().find(|it| it.name == capability).unwrap();
    let description = of_agent.description.clone();
    move |request| {
        let texts = texts(request);
        texts[0].starts_with(&instructions) && texts.iter().any(|text| text.starts_with(&description))
    }
}

/// An answer with one finding that rests on the first passage, and more.
fn finding(claim: &str, mut more: Value) -> Reply {
    more["findings"] = json!([{ "claim": claim, "sources": [1] }]);
    Reply::json(&more)
}

/// An engine with the council and two passages, whose model plays the script.
async fn council_over(script: &ScriptedModel) -> Engine {
    let engine = built(Engine::builder(), script).await;
    let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await.unwrap();
    let notice = "The reading room opens in March with forty seats and no lift.";
    let poster = "The poster promises a reading room for everybody from April.";
    kb.add([Document::new("notice", notice), Document::new("poster", poster)]).await.unwrap();
    engine.use_knowledge(kb);
    engine.install(&COUNCIL).unwrap();
    engine
}

fn opening() -> Value {
    json!({ "goal": "Open the reading room and tell readers of the poster's promise." })
}

/// The initiative up to its review; in the answer of the arbiter stand these cases.
fn initiative(cases: &Value) -> ScriptedModel {
    ScriptedModel::new([])
        .when(asks("architect", "design_initiative"), finding("The room has forty seats.", json!({})))
        .when(asks("seer", "get_forecast_report"), finding("Readers expect the room in April.", json!({})))
        .when(asks("strategos", "create_execution_plan"), finding("The room opens in March.", json!({})))
        .when(
            asks("arbiter", "register_conflict"),
            finding("Two months are named.", json!({ "cases": cases })),
        )
        .when(asks("arbiter", "make_arbitration_decision"), finding("March holds.", json!({})))
}

fn answered(script: &ScriptedModel) -> Vec<String> {
    let capability = |request: &ChatRequest| {
        let named = |name: &(&str, &str)| asks(name.0, name.1)(request);
        let names = [
            ("architect", "design_initiative"),
            ("seer", "get_forecast_report"),
            ("strategos", "create_execution_plan"),
            ("arbiter", "register_conflict"),
            ("arbiter", "make_arbitration_decision"),
            ("aesthete", "approve_content"),
            ("herald", "send_message"),
        ];
        names.iter().find(|name| named(name)).map_or("?", |name| name.1).to_owned()
    };
    script.requests().iter().map(capability).collect()
}

#[tokio::test]
async fn a_strategic_initiative_goes_from_its_design_to_its_announcement() {
    let cases = json!([
        { "question": "In which month does the room open?", "sides": ["March", "April"], "severity": "serious" },
        { "question": "Is the room for everybody?", "sides": ["no lift", "everybody"], "severity": "blocking" },
    ]);
    let script = initiative(&cases)
        .when(
            asks("aesthete", "approve_content"),
            finding("It may be shown.", json!({ "decision": "approved" })),
        )
        .when(asks("herald", "send_message"), finding("The room opens in March.", json!({})));
    let engine = council_over(&script).await;
    let outcome = engine.run("strategic_initiative", opening()).await.unwrap();
    let output = &outcome.output;
    for (step, claim) in [
        ("/design", "The room has forty seats."),
        ("/outlook", "Readers expect the room in April."),
        ("/plan", "The room opens in March."),
        ("/rulings/1", "March holds."),
        ("/review", "It may be shown."),
        ("/announcement", "The room opens in March."),
    ] {
        assert_eq!(output.pointer(&format!("{step}/findings/0/claim")), Some(&json!(claim)), "{step}");
    }
    let mut order = answered(&script);
    // The two that work side by side may be first either way.
    order[1..3].sort();
    let rulings = ["make_arbitration_decision"; 2];
    let before = ["design_initiative", "create_execution_plan", "get_forecast_report", "register_conflict"];
    assert_eq!(order, [&before[..], &rulings, &["approve_content", "send_message"]].concat());
    let ruling = &script.requests()[4];
    assert!(texts(ruling).concat().contains("In which month does the room open?"));
    assert!(texts(ruling).concat().contains("Readers expect the room in April."));
    assert_eq!(engine.resume(outcome.run_id).await.unwrap(), outcome);
}

#[tokio::test]
async fn an_initiative_without_conflicts_has_no_rulings_and_what_is_rejected_is_not_announced() {
    let script = initiative(&json!([])).when(
        asks("aesthete", "approve_content"),
        finding("The promise is false.", json!({ "decision": "rejected" })),
    );
    let engine = council_over(&script).await;
    let output = engine.run("strategic_initiative", opening()).await.unwrap().output;
    assert_eq!(output["review"]["decision"], "rejected");
    assert_eq!((&output["rulings"], &output["announcement"]), (&Value::Null, &Value::Null));
    assert_eq!(answered(&script).last().map(String::as_str), Some("approve_content"));
}

#[tokio::test]
async fn a_quality_assessment_asks_the_panel_and_keeps_a_lesson() {
    let script = ScriptedModel::new([])
        .when(asks("aesthete", "assess_quality"), finding("The poster misleads.", json!({ "score": 40 })))
        .when(asks("cognition", "record_learning"), finding("The poster was not checked.", json!({})))
        .always(finding("The poster promises April.", json!({})));
    let engine = council_over(&script).await;
    let output = engine.run("quality_assessment", opening()).await.unwrap().output;
    let panel = output["panel"].as_object().unwrap();
    assert!(
        panel.len() == 5 && panel.values().all(|it| it["findings"][0]["sources"] == json!([1])),
        "{panel:?}"
    );
    assert_eq!(output["verdict"]["score"], 40);
    assert_eq!(output["lesson"]["findings"][0]["claim"], "The poster was not checked.");
    let requests = script.requests();
    assert_eq!(requests.len(), panel.len() + 2);
    let verdict = texts(&requests[panel.len()]).concat();
    assert_eq!(verdict.matches("The poster promises April.").count(), panel.len());
}
