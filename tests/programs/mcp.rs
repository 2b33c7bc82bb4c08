//! The example `mcp`: an agent that uses a tool of a process which the program starts.

use std::process::Command;

use crate::build::example;

#[test]
fn the_agent_answers_with_what_the_other_process_said() {
    let output = Command::new(example("mcp")).output().expect("mcp starts");
    let shown = String::from_utf8(output.stdout).expect("it shows UTF-8");
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("  warehouse_in_stock: Says how many of an article are in stock."), "{shown}");
    assert!(shown.ends_with("There are 5 lamps.\n"), "{shown}");
}
