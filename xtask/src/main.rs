//! `cargo xtask`: the one command that builds, checks and tests the whole workspace.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks by printing")]

mod counts;
mod mcp;
mod plan;
mod report;
mod run;
mod servers;
mod tools;

use std::{path::PathBuf, process::ExitCode};

use plan::Group;

const USAGE: &str = "\
usage: cargo xtask <command>

commands:
  test [--only GROUP]...   everything: fmt, clippy, features, tidy, rust, docs, python, node
  tidy                     the rules of the house, the same as `test --only tidy`
  third-party              chats with servers that others wrote, the heavy ones too; needs the Python binding
  mcp                      the conformance suite of MCP, and servers and clients that others wrote
  bindings [--release]     build the Python and the Node binding into their folders
  bench [ARGUMENT]...      the benchmarks; arguments go to `cargo bench`

groups: fmt, clippy, features, tidy, rust, docs, python, node";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    match words.as_slice() {
        ["test", rest @ ..] => match groups(rest) {
            Ok(groups) => report::test(&root, &groups),
            Err(problem) => usage(&problem),
        },
        ["third-party"] => report::run(&root, plan::third_party(&root)),
        ["mcp"] => report::run(&root, mcp::mcp(&root)),
        ["tidy"] => report::test(&root, &[Group::Tidy]),
        ["bindings"] => report::bindings(&root, plan::Profile::Dev),
        ["bindings", "--release"] => report::bindings(&root, plan::Profile::Release),
        ["bench", rest @ ..] => report::bench(&root, rest),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        [] => usage("a command is missing"),
        [other, ..] => usage(&format!("`{other}` with these arguments is not a command")),
    }
}

/// The groups that `--only` names; all of them when it is absent.
fn groups(arguments: &[&str]) -> Result<Vec<Group>, String> {
    let mut groups = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if *argument != "--only" {
            return Err(format!("`{argument}` is not an option of `test`"));
        }
        let name = rest.next().ok_or("`--only` needs the name of a group")?;
        groups.push(Group::named(name).ok_or_else(|| format!("`{name}` is not a group"))?);
    }
    if groups.is_empty() {
        groups.extend(Group::ALL);
    }
    Ok(groups)
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("xtask: {problem}\n\n{USAGE}");
    ExitCode::from(2)
}

/// The root of the checkout.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_only_every_group_runs() {
        assert_eq!(groups(&[]).unwrap(), Group::ALL);
    }

    #[test]
    fn only_picks_groups_and_refuses_unknown_names() {
        assert_eq!(groups(&["--only", "node", "--only", "fmt"]).unwrap(), [Group::Node, Group::Fmt]);
        assert!(groups(&["--only", "perl"]).unwrap_err().contains("perl"));
        assert!(groups(&["--only"]).unwrap_err().contains("needs the name"));
        assert!(groups(&["--fast"]).unwrap_err().contains("--fast"));
    }
}
