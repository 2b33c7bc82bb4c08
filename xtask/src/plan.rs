//! What `cargo xtask` runs: groups of steps, each one command.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    counts::Runner,
    mcp::{MCP_SUITE_FOLDER, mcp_suite},
    servers::{
        MINILM_FOLDER, MOCK_AI_API_FOLDER, POSTGRES_BIN, REDIS_SERVER, minilm, mock_ai_api, postgres, redis,
    },
};

/// Backends that a CI machine must offer; absence is then a failure instead of an ignored test.
const CI_REQUIRES: &str = "memory,sqlite,postgres,redis,mock-ai-api,mcp-suite,minilm";
/// A proxy that translates between both; half a gigabyte, so that only `cargo xtask third-party` has it.
const LITELLM: &str = "litellm[proxy]==1.80.0";
/// Tells the tests which Python has it.
const LITELLM_PYTHON: &str = "RAPTORFLOW_LITELLM";

/// The name of the steps that make an environment for Python.
const VENV: &str = "venv";

/// Steps that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Fmt,
    Clippy,
    Features,
    Tidy,
    Rust,
    Docs,
    Python,
    Node,
}

impl Group {
    /// Every group, in the order they run.
    pub(crate) const ALL: [Self; 8] = [
        Self::Fmt,
        Self::Clippy,
        Self::Features,
        Self::Tidy,
        Self::Rust,
        Self::Docs,
        Self::Python,
        Self::Node,
    ];

    /// The name on the command line and in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Features => "features",
            Self::Tidy => "tidy",
            Self::Rust => "rust",
            Self::Docs => "docs",
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// The group of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

/// How the bindings are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// One command.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) group: Group,
    pub(crate) name: &'static str,
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) folder: PathBuf,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    pub(crate) limit: Duration,
    /// Whether the rest of its group is left out when it fails.
    pub(crate) needed: bool,
    /// Whose closing lines to count in the output.
    pub(crate) runner: Option<Runner>,
    /// A file to write when the step succeeded, so that it need not run again.
    pub(crate) stamp: Option<(PathBuf, String)>,
}

impl Step {
    /// A command of at most ten minutes.
    pub(crate) fn new<A: Into<OsString>>(
        group: Group,
        name: &'static str,
        folder: &Path,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut environment = vec![("CARGO_TERM_COLOR", "never".into()), ("NO_COLOR", "1".into())];
        if env::var("CI").is_ok_and(|ci| ci == "true") && env::var_os("RAPTORFLOW_REQUIRE").is_none() {
            environment.push(("RAPTORFLOW_REQUIRE", CI_REQUIRES.into()));
        }
        if let Some(target) = env::var_os("CARGO_TARGET_DIR") {
            // Steps run in several folders, and a relative path would mean another place in each.
            environment
                .push(("CARGO_TARGET_DIR", env::current_dir().unwrap_or_default().join(target).into()));
        }
        Self {
            group,
            name,
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            folder: folder.to_owned(),
            environment,
            limit: Duration::from_secs(600),
            needed: false,
            runner: None,
            stamp: None,
        }
    }

    /// Another limit.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Counts the tests in its output.
    pub(crate) fn counted(mut self, runner: Runner) -> Self {
        self.runner = Some(runner);
        self
    }

    /// Makes the rest of its group depend on it.
    fn needed(mut self) -> Self {
        self.needed = true;
        self
    }

    /// One more environment variable.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// `group` alone, or `group: name` when the group has several steps.
    pub(crate) fn title(&self) -> String {
        if self.group.name() == self.name {
            self.name.to_owned()
        } else {
            format!("{}: {}", self.group.name(), self.name)
        }
    }
}

pub(crate) const HALF_HOUR: Duration = Duration::from_secs(1_800);
/// The bindings have their own build tools, so that plain cargo commands need neither Python nor Node.
const BINDINGS: [&str; 2] = ["raptorflow-py", "raptorflow-node"];

/// The steps of some groups, in order; groups whose folder does not exist have none.
pub(crate) fn steps(root: &Path, groups: &[Group]) -> Vec<Step> {
    let groups = Group::ALL.into_iter().filter(|group| groups.contains(group));
    set_up_once(groups.flat_map(|group| of(root, group)))
}

/// Without the later ones of equal steps of set-up: an environment that is made again is emptied.
pub(crate) fn set_up_once(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut planned: Vec<Step> = Vec::new();
    for step in steps {
        let sets_up = step.name == VENV || step.stamp.is_some();
        let same = |other: &Step| (&other.program, &other.arguments) == (&step.program, &step.arguments);
        if !(sets_up && planned.iter().any(same)) {
            planned.push(step);
        }
    }
    planned
}

fn of(root: &Path, group: Group) -> Vec<Step> {
    let cargo =
        |arguments: &[&str]| Step::new(group, group.name(), root, "cargo", arguments).within(HALF_HOUR);
    match group {
        Group::Fmt => vec![cargo(&["fmt", "--all", "--", "--check"])],
        Group::Clippy => vec![cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])],
        Group::Features => {
            let of = |features: &[&str]| {
                let core = ["clippy", "--package", "raptorflow-core"];
                cargo(&[core.as_slice(), features, &["--", "-D", "warnings"]].concat())
            };
            let mut heavy = of(&["--features", "model-genai"]);
            heavy.name = "genai";
            vec![of(&["--no-default-features"]), heavy]
        }
        Group::Tidy => {
            // The same packages as the Rust group, so that both share one build.
            let arguments = [rust_packages(root).as_slice(), &["--test", "tidy"]].concat();
            // A finding says where it is; where the rule stands does not help.
            vec![cargo(&arguments).counted(Runner::Tidy).env("RUST_BACKTRACE", "0")]
        }
        Group::Rust => {
            let arguments = [rust_packages(root).as_slice(), &["--no-fail-fast"]].concat();
            let (mut steps, bin) = postgres(root);
            let (server, program) = redis(root);
            steps.extend(server);
            let (server, folder) = mock_ai_api(root, group);
            steps.extend(server);
            let (weights, model) = minilm(root);
            steps.extend(weights);
            let (suite, mcp) = mcp_suite(root);
            steps.extend(suite);
            let mut test = cargo(&arguments).counted(Runner::Cargo);
            let places = [
                (POSTGRES_BIN, bin),
                (REDIS_SERVER, program),
                (MOCK_AI_API_FOLDER, folder),
                (MCP_SUITE_FOLDER, mcp),
                (MINILM_FOLDER, model),
            ];
            for (name, place) in places {
                test = match place {
                    Some(place) => test.env(name, place),
                    None => test,
                };
            }
            steps.push(test);
            steps
        }
        Group::Docs => {
            vec![cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings")]
        }
        Group::Python => python(root),
        Group::Node => node(root),
    }
}

fn rust_packages(root: &Path) -> Vec<&'static str> {
    let mut arguments = vec!["test", "--workspace"];
    for binding in BINDINGS.into_iter().filter(|binding| root.join(binding).is_dir()) {
        arguments.extend(["--exclude", binding]);
    }
    arguments
}

/// The steps that chat with every server that others wrote, from Rust and from Python, and through their crate.
pub(crate) fn third_party(root: &Path) -> Vec<Step> {
    let folder = target(root).join("xtask").join("litellm");
    let (stamp, python) = (folder.join("installed"), folder.join("bin").join("python"));
    let (mut steps, place) = mock_ai_api(root, Group::Rust);
    if fs::read_to_string(&stamp).ok().as_deref() != Some(LITELLM) {
        let arguments = ["-m".into(), "venv".into(), "--clear".into(), folder.into_os_string()];
        steps.push(Step::new(Group::Rust, VENV, root, "python3", arguments).needed());
        let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", LITELLM];
        let mut install = Step::new(Group::Rust, "litellm", root, &python, arguments).needed();
        install.stamp = Some((stamp, LITELLM.to_owned()));
        steps.push(install.within(HALF_HOUR));
    }
    let test = ["test", "--package", "raptorflow-tests", "--test", "conformance", "--", "third_party"];
    // A build of its own, because the crate behind it brings many others.
    let genai = ["test", "--package", "raptorflow-tests", "--features", "genai", "--test"];
    let genai = |more: &[&'static str]| [genai.as_slice(), more].concat();
    let tests = [
        Step::new(Group::Rust, "genai", root, "cargo", genai(&["providers", "genai"])),
        Step::new(Group::Rust, "gemini", root, "cargo", genai(&["conformance", "--", "chat::gemini"])),
    ];
    steps.extend(tests.map(|test| test.within(HALF_HOUR).counted(Runner::Cargo)));
    let tests = [
        Step::new(Group::Rust, "third-party", root, "cargo", test).within(HALF_HOUR).counted(Runner::Cargo),
        Step::new(
            Group::Python,
            "third-party",
            &root.join("raptorflow-py"),
            venv_program(root, "python"),
            ["-m", "pytest", "-q", "tests/test_third_party.py"],
        )
        .counted(Runner::Pytest),
    ];
    steps.extend(tests.map(|test| {
        let test = test.env("RAPTORFLOW_REQUIRE", "mock-ai-api,litellm").env(LITELLM_PYTHON, &python);
        match &place {
            Some(place) => test.env(MOCK_AI_API_FOLDER, place),
            None => test,
        }
    }));
    set_up_once(steps)
}

pub(crate) fn make_venv(group: Group, root: &Path) -> Step {
    let arguments = ["-m".into(), "venv".into(), "--clear".into(), venv(root).into_os_string()];
    Step::new(group, VENV, root, "python3", arguments)
}

fn python(root: &Path) -> Vec<Step> {
    let folder = root.join("raptorflow-py");
    let mut steps = python_build(root, Profile::Dev);
    if steps.is_empty() {
        return steps;
    }
    let python = venv_program(root, "python");
    let (server, place) = mock_ai_api(root, Group::Python);
    steps.extend(server);
    let tests = Step::new(Group::Python, "test", &folder, &python, ["-m", "pytest", "-q", "tests"]);
    let tests = tests.counted(Runner::Pytest);
    steps.push(match place {
        Some(place) => tests.env(MOCK_AI_API_FOLDER, place),
        None => tests,
    });
    let mut arguments = vec!["-m", "mypy.stubtest", "raptorflow"];
    if folder.join("tests/stubtest-allowlist.txt").is_file() {
        arguments.extend(["--allowlist", "tests/stubtest-allowlist.txt"]);
    }
    steps.push(Step::new(Group::Python, "types", &folder, &python, arguments));
    steps
}

/// The steps that put the Python binding into our own virtual environment.
pub(crate) fn python_build(root: &Path, profile: Profile) -> Vec<Step> {
    let folder = root.join("raptorflow-py");
    let wanted = folder.join("tests/requirements.txt");
    if !folder.join("pyproject.toml").is_file() {
        return Vec::new();
    }
    let (venv, python) = (venv(root), venv_program(root, "python"));
    let mut steps = Vec::new();
    if !python.is_file() {
        steps.push(make_venv(Group::Python, root).needed());
    }
    let text = fs::read_to_string(&wanted).unwrap_or_default();
    let stamp = venv.join("requirements.installed");
    if !python.is_file() || fs::read_to_string(&stamp).ok().as_ref() != Some(&text) {
        let mut arguments: Vec<OsString> =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"].map(Into::into).into();
        arguments.push(wanted.into_os_string());
        let mut install = Step::new(Group::Python, "install", root, &python, arguments).needed();
        install.stamp = Some((stamp, text));
        steps.push(install);
    }
    let mut arguments = vec!["develop"];
    if profile == Profile::Release {
        arguments.push("--release");
    }
    let build = Step::new(Group::Python, "build", &folder, venv_program(root, "maturin"), arguments);
    steps.push(build.within(HALF_HOUR).env("VIRTUAL_ENV", venv).needed());
    steps
}

fn node(root: &Path) -> Vec<Step> {
    let folder = root.join("raptorflow-node");
    let mut steps = node_build(root, Profile::Dev);
    if !steps.is_empty() {
        steps.push(Step::new(Group::Node, "types", &folder, npm(), ["run", "check"]));
        steps.push(Step::new(Group::Node, "test", &folder, npm(), ["test"]).counted(Runner::Node));
    }
    steps
}

/// The steps that build the Node binding into its folder.
pub(crate) fn node_build(root: &Path, profile: Profile) -> Vec<Step> {
    let folder = root.join("raptorflow-node");
    if !folder.join("package.json").is_file() {
        return Vec::new();
    }
    let script = if profile == Profile::Dev { "build:debug" } else { "build" };
    vec![
        Step::new(Group::Node, "install", &folder, npm(), ["ci", "--no-audit", "--no-fund"]).needed(),
        Step::new(Group::Node, "build", &folder, npm(), ["run", script]).within(HALF_HOUR).needed(),
    ]
}

pub(crate) fn npm() -> &'static str {
    if cfg!(windows) { "npm.cmd" } else { "npm" }
}

/// Cargo's target folder.
pub(crate) fn target(root: &Path) -> PathBuf {
    let set = env::var_os("CARGO_TARGET_DIR");
    set.map_or_else(|| root.join("target"), |folder| env::current_dir().unwrap_or_default().join(folder))
}

fn venv(root: &Path) -> PathBuf {
    target(root).join("xtask").join("venv")
}

pub(crate) fn venv_program(root: &Path, name: &str) -> PathBuf {
    let folder = if cfg!(windows) { "Scripts" } else { "bin" };
    venv(root).join(folder).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::MOCK_AI_API;

    #[test]
    fn every_group_is_found_by_its_name() {
        for group in Group::ALL {
            assert_eq!(Group::named(group.name()), Some(group));
        }
        assert_eq!(Group::named("everything"), None);
    }

    #[test]
    fn steps_come_in_the_order_of_the_groups_whatever_was_asked() {
        let steps = steps(Path::new("nowhere"), &[Group::Tidy, Group::Fmt]);
        assert_eq!(steps.iter().map(|step| step.group).collect::<Vec<_>>(), [Group::Fmt, Group::Tidy]);
    }

    #[test]
    fn bindings_that_are_not_there_have_no_steps() {
        assert!(steps(Path::new("nowhere"), &[Group::Python, Group::Node]).is_empty());
    }

    #[test]
    fn the_tests_in_rust_do_not_depend_on_the_server_that_some_of_them_want() {
        let steps = of(Path::new("nowhere"), Group::Rust);
        assert!(steps.iter().all(|step| !step.needed));
        assert_eq!(steps.last().map(|step| step.name), Some("rust"));
    }

    #[test]
    fn a_fresh_checkout_makes_its_environment_once_and_before_anything_uses_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let fresh = root.join("target").join("xtask").join("fresh");
        for file in [MOCK_AI_API, "raptorflow-py/pyproject.toml", "raptorflow-py/tests/requirements.txt"] {
            let copy = fresh.join(file);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(root.join(file), copy).unwrap();
        }
        for groups in [Group::ALL.as_slice(), &[Group::Rust, Group::Python], &[Group::Python]] {
            let steps = steps(&fresh, groups);
            let inside = venv(&fresh);
            let makes = |step: &&Step| step.name == VENV && step.arguments.iter().any(|word| *word == inside);
            let uses = |step: &Step| Path::new(&step.program).starts_with(&inside);
            // None at all where the target folder is set to one that has it already.
            let first = steps.iter().position(|step| makes(&step));
            assert!(steps.iter().filter(makes).count() <= 1, "{groups:?}");
            assert!(first.is_none() || first < steps.iter().position(uses), "{groups:?}");
        }
    }

    #[test]
    fn every_group_with_tests_is_counted() {
        for group in [Group::Tidy, Group::Rust] {
            assert!(of(Path::new("nowhere"), group).iter().any(|step| step.runner.is_some()));
        }
    }
}
