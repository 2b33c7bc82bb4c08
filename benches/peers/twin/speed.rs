//! The works by name.

use crate::{group_commit, report::report};

/// Steps of a workflow.
const STEPS: u32 = 100;

/// Measures a work; false when there is none of that name.
pub(crate) fn run(work: &str, rounds: usize, _address: Option<&str>) -> bool {
    match work {
        "sqlite-1" => on_disk(work, 1, rounds),
        "sqlite-32" => on_disk(work, 32, rounds),
        _ => return false,
    }
    true
}

fn on_disk(work: &str, at_once: u32, rounds: usize) {
    let tokio = tokio::runtime::Runtime::new().expect("a Tokio runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bare.db");
    let rate = || group_commit::rate(&tokio, &file, at_once, STEPS);
    // The first round warms up.
    let rates: Vec<f64> = (0..=rounds).map(|_| rate()).skip(1).collect();
    report(work, "SQLite alone, group commit", "steps/s", &rates);
}
