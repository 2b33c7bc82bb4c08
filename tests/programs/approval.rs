//! The example `approval`: one call is approved, another denied, and the model hears of both.

use std::process::Command;

use crate::build::example;

#[test]
fn what_is_approved_is_done_and_what_is_denied_is_not() {
    let shown = Command::new(example("approval")).output().unwrap();
    assert!(shown.status.success(), "{shown:?}");
    let text = String::from_utf8(shown.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with("clerk wants send_message({"), "{text}");
    assert_eq!(lines[1], "The tool answered: \"sent 25 characters to asha@example.com\"");
    assert!(lines[3].contains("permission_denied") && lines[3].contains("it is late"), "{text}");
}
