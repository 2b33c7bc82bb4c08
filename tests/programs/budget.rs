//! The example `budget`: a run that stops at its cap and goes on when the cap is raised.

use std::process::Command;

use crate::build::example;

#[test]
fn the_run_stops_with_what_it_has_and_completes_when_its_cap_is_raised() {
    let output = Command::new(example("budget")).output().expect("budget starts");
    let shown = String::from_utf8(output.stdout).expect("it shows UTF-8");
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.starts_with("stopped: ") && shown.contains("spent 0.003600 USD"), "{shown}");
    assert_eq!(shown.matches("  has: What ").count(), 2, "{shown}");
    assert!(shown.contains("complete: 4 calls, 0.007200 USD"), "{shown}");
}
