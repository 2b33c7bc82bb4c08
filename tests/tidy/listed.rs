//! What must be listed: test files in their `main.rs`, features of core in its README.

use crate::{
    rust,
    tree::{File, fails, files, passes, report},
};

fn test_files_are_declared(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && file.name() != "main.rs") {
        let Some((folder, name)) = file.path.strip_prefix("tests/").and_then(|inside| inside.split_once('/'))
        else {
            continue;
        };
        // What the binaries share belongs to the library.
        if files.iter().any(|file| file.path == "tests/lib.rs" && declares(file, folder)) {
            continue;
        }
        let module = name.split('/').next().unwrap_or(name).trim_end_matches(".rs");
        let main = format!("tests/{folder}/main.rs");
        let declared = files.iter().find(|file| file.path == main).is_some_and(|main| declares(main, module));
        if !declared {
            findings.push(
                file.finding(1, &format!("`mod {module};` is missing in {main}, so nothing here runs")),
            );
        }
    }
    findings
}

fn declares(main: &File, module: &str) -> bool {
    let words: Vec<&str> = rust::words(main.code()).map(|(_, word)| word).collect();
    words.windows(2).any(|pair| pair == ["mod", module])
}

fn features_are_in_the_readme(files: &[File]) -> Vec<String> {
    let Some(manifest) = files.iter().find(|file| file.path == "raptorflow-core/Cargo.toml") else {
        return vec!["raptorflow-core/Cargo.toml:1: is missing".to_owned()];
    };
    let readme = files.iter().find(|file| file.path == "raptorflow-core/README.md");
    let mut inside = false;
    let mut findings = Vec::new();
    for (number, line) in manifest.text.lines().enumerate() {
        if line.starts_with('[') {
            inside = line == "[features]";
        }
        let Some((name, _)) = line.split_once('=').filter(|_| inside && !line.starts_with('#')) else {
            continue;
        };
        let name = name.trim();
        let shown = readme.is_some_and(|readme| readme.text.contains(&format!("`{name}`")));
        if name != "default" && !shown {
            findings
                .push(manifest.finding(number + 1, &format!("`{name}` is not in raptorflow-core/README.md")));
        }
    }
    findings
}

#[test]
fn every_test_file_is_declared_in_its_main() {
    report("test files", &test_files_are_declared(files()));
}

#[test]
fn every_feature_of_core_is_in_its_readme() {
    report("features", &features_are_in_the_readme(files()));
}

#[test]
fn a_test_file_that_nobody_declares_is_found() {
    let main = ("tests/engine/main.rs", "//! x\nmod agent_run; // mod budget;\n");
    fails(test_files_are_declared, &[main, ("tests/engine/budget.rs", "")], "tests/engine/budget.rs:1");
    passes(test_files_are_declared, &[main, ("tests/engine/agent_run.rs", ""), ("tests/lib.rs", "")]);
    let shared = [("tests/lib.rs", "//! x\npub mod disk;\n"), ("tests/disk/crash.rs", "")];
    passes(test_files_are_declared, &shared);
    fails(test_files_are_declared, &[("tests/lib.rs", ""), shared[1]], "tests/disk/crash.rs:1");
}

#[test]
fn a_feature_that_the_readme_leaves_out_is_found() {
    let manifest = "[package]\nname = \"x\"\n[features]\ndefault = [\"a\"]\n# Words = of.\na = []\nb-c = []\n[lints]\nd = 1\n";
    let readme = ("raptorflow-core/README.md", "| `a` | on |");
    fails(
        features_are_in_the_readme,
        &[("raptorflow-core/Cargo.toml", manifest), readme],
        "Cargo.toml:7: `b-c`",
    );
}
