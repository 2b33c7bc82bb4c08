//! The conformance suite of MCP, and the servers and clients of MCP that others wrote.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    counts::Runner,
    plan::{Group, HALF_HOUR, Step, make_venv, npm, set_up_once, target, venv_program},
};

/// What the conformance suite of MCP and the servers and clients beside it need, below the root.
const MCP_SUITE: &str = "tests/third_party/mcp";
/// Tells the tests where they are installed.
pub(crate) const MCP_SUITE_FOLDER: &str = "RAPTORFLOW_MCP_SUITE";
/// Copies the lists of packages to where they are installed, since npm installs beside them.
const MCP_SUITE_COPY: &str =
    "const [from, to] = process.argv.slice(1); require('fs').cpSync(from, to, {recursive: true})";

/// The steps that install the conformance suite of MCP with its own Node, and servers and clients that others wrote,
/// and their folder.
///
/// Tests that lack it are shown as ignored, so the others do not depend on these steps.
pub(crate) fn mcp_suite(root: &Path) -> (Vec<Step>, Option<PathBuf>) {
    let lists = root.join(MCP_SUITE);
    let read = |name: &str| fs::read_to_string(lists.join(name));
    let (Ok(lock), Ok(requirements)) = (read("package-lock.json"), read("requirements.txt")) else {
        return (Vec::new(), None);
    };
    if env::var_os(MCP_SUITE_FOLDER).is_some() {
        return (Vec::new(), None);
    }
    let folder = target(root).join("xtask").join("mcp");
    let is_installed = |stamp: &Path, text: &str| fs::read_to_string(stamp).is_ok_and(|it| it == text);
    let (node, python) = (folder.join("node.installed"), folder.join("python.installed"));
    let mut steps = Vec::new();
    if !is_installed(&node, &lock) {
        let arguments: [OsString; 4] =
            ["-e".into(), MCP_SUITE_COPY.into(), lists.clone().into(), folder.clone().into()];
        steps.push(Step::new(Group::Rust, "mcp-lists", root, "node", arguments));
        let arguments: [OsString; 5] =
            ["ci".into(), "--no-audit".into(), "--no-fund".into(), "--prefix".into(), folder.clone().into()];
        let mut install = Step::new(Group::Rust, "mcp-suite", root, npm(), arguments);
        install.stamp = Some((node, lock));
        steps.push(install);
    }
    if !is_installed(&python, &requirements) {
        let program = venv_program(root, "python");
        if !program.is_file() {
            steps.push(make_venv(Group::Rust, root));
        }
        let mut arguments: Vec<OsString> =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"]
                .map(Into::into)
                .into();
        arguments.extend(["--target".into(), folder.join("python").into_os_string()]);
        arguments.extend(["-r".into(), lists.join("requirements.txt").into_os_string()]);
        let mut install = Step::new(Group::Rust, "mcp-python", root, &program, arguments);
        install.stamp = Some((python, requirements));
        steps.push(install);
    }
    (steps, Some(folder))
}

/// The steps that run the conformance suite of MCP alone.
pub(crate) fn mcp(root: &Path) -> Vec<Step> {
    let (mut steps, folder) = mcp_suite(root);
    let test = ["test", "--package", "raptorflow-tests", "--test", "conformance", "--", "mcp::"];
    let test = Step::new(Group::Rust, "mcp", root, "cargo", test).within(HALF_HOUR).counted(Runner::Cargo);
    let test = test.env("RAPTORFLOW_REQUIRE", "mcp-suite");
    steps.push(match folder {
        Some(folder) => test.env(MCP_SUITE_FOLDER, folder),
        None => test,
    });
    set_up_once(steps)
}
