//! Builds an example and says where its program is.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

/// The program of an example; `cargo test` has built it already, so that this only asks where it is.
pub(crate) fn example(name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "raptorflow-examples", "--example", name])
        .arg("--message-format=json")
        .current_dir(raptorflow_tests::root())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "the example {name} does not build");
    let lines = String::from_utf8(built.stdout).expect("cargo writes UTF-8");
    let messages = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut executables = messages
        .filter(|it| it["target"]["name"] == name)
        .filter_map(|it| it["executable"].as_str().map(PathBuf::from));
    executables.next_back().expect("cargo names the program")
}
