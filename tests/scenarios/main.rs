//! Runs every scenario of this folder through the Rust API, one test a file.
//!
//! `README.md` beside this file says what a scenario is; Python and Node run the same files.

// A test fails loudly; Clippy does not see that a binary with a harness of its own is one.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod compare;
mod format;
mod host;
mod play;

use std::{fs, path::PathBuf, process::ExitCode};

use libtest_mimic::{Arguments, Failed, Trial, run};

use format::Scenario;

fn main() -> ExitCode {
    let trials = files().into_iter().map(trial).collect();
    run(&Arguments::from_args(), trials).exit_code()
}

fn files() -> Vec<PathBuf> {
    let folder = raptorflow_tests::root().join("tests/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of the scenarios")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(files.len() >= 15, "only {} scenarios in {}", files.len(), folder.display());
    files
}

fn trial(path: PathBuf) -> Trial {
    let stem = path.file_stem().expect("a stem").to_string_lossy().into_owned();
    let name = stem.clone();
    Trial::test(name, move || {
        let text = fs::read_to_string(&path)?;
        let scenario: Scenario = serde_json::from_str(&text)?;
        if scenario.name != stem {
            return Err(Failed::from(format!("the file is named {stem}, its scenario {}", scenario.name)));
        }
        play::play(&scenario).map_err(|problem| Failed::from(format!("{}\n{problem}", scenario.about)))
    })
}
