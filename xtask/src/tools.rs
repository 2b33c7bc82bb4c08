//! Which programs a group needs, and one line for each that is missing or too old.

use std::process::{Command, Stdio};

use crate::plan::Group;

/// A program, how to ask it for its version, the least one, and how to get it.
struct Tool {
    name: &'static str,
    command: &'static [&'static str],
    least: (u32, u32),
    get: &'static str,
    groups: &'static [Group],
}

const COMPILED: &[Group] =
    &[Group::Clippy, Group::Features, Group::Tidy, Group::Rust, Group::Docs, Group::Python, Group::Node];

const TOOLS: &[Tool] = &[
    Tool {
        name: "cargo",
        command: &["cargo", "--version"],
        least: (1, 95),
        get: "install Rust with rustup, or run `rustup update stable`",
        groups: &Group::ALL,
    },
    Tool {
        name: "rustfmt",
        command: &["cargo", "fmt", "--version"],
        least: (1, 0),
        get: "run `rustup component add rustfmt`",
        groups: &[Group::Fmt],
    },
    Tool {
        name: "clippy",
        command: &["cargo", "clippy", "--version"],
        least: (0, 1),
        get: "run `rustup component add clippy`",
        groups: &[Group::Clippy],
    },
    Tool {
        name: "a C compiler (cc)",
        command: &["cc", "--version"],
        least: (0, 0),
        get: "install gcc or clang with the system's package manager",
        groups: COMPILED,
    },
    Tool {
        name: "python3",
        command: &["python3", "--version"],
        least: (3, 10),
        get: "install Python 3.10 or newer",
        groups: &[Group::Clippy, Group::Rust, Group::Docs, Group::Python],
    },
    Tool {
        name: "python3's venv module",
        command: &["python3", "-c", "import venv, ensurepip"],
        least: (0, 0),
        get: "install it with the system's package manager (Debian: python3-venv)",
        groups: &[Group::Rust, Group::Python],
    },
    Tool {
        name: "node",
        command: &["node", "--version"],
        least: (20, 0),
        get: "install Node.js 20 or newer",
        groups: &[Group::Node],
    },
    Tool {
        name: "npm",
        command: &["npm", "--version"],
        least: (9, 0),
        get: "install npm; it comes with Node.js",
        groups: &[Group::Node],
    },
];

/// One line for each program that `groups` need and this machine lacks.
pub(crate) fn missing(groups: &[Group]) -> Vec<String> {
    TOOLS
        .iter()
        .filter(|tool| tool.groups.iter().any(|group| groups.contains(group)))
        .filter_map(|tool| problem(tool, ask(tool.command).as_deref()))
        .collect()
}

/// Whether the Python that tests start is there and new enough.
pub(crate) fn python_is_at_least(least: (u32, u32)) -> bool {
    ask(&["python3", "--version"]).as_deref().and_then(version).is_some_and(|found| found >= least)
}

fn problem(tool: &Tool, answer: Option<&str>) -> Option<String> {
    let (major, minor) = tool.least;
    let Some(answer) = answer else { return Some(format!("missing: {}: {}", tool.name, tool.get)) };
    if tool.least == (0, 0) {
        return None;
    }
    match version(answer) {
        Some(found) if found >= tool.least => None,
        Some((a, b)) => {
            Some(format!("too old: {} {a}.{b}, needed is {major}.{minor}: {}", tool.name, tool.get))
        }
        None => Some(format!("unreadable: `{}` printed no version: {}", tool.command.join(" "), tool.get)),
    }
}

/// What a command prints on standard output; `None` when it cannot be started or fails.
fn ask(command: &[&str]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first `N.N` in a text.
fn version(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|word| {
        let (major, rest) = word.split_once('.')?;
        let minor = rest.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool {
        name: "python3",
        command: &["python3", "--version"],
        least: (3, 10),
        get: "install Python 3.10 or newer",
        groups: &[Group::Python],
    };

    #[test]
    fn versions_are_read_in_the_form_each_tool_prints() {
        for (text, expected) in [
            ("cargo 1.95.0 (f2d3ce0bd 2026-03-21)", (1, 95)),
            ("v20.20.2", (20, 20)),
            ("11.19.1", (11, 19)),
            ("Python 3.11.7", (3, 11)),
        ] {
            assert_eq!(version(text), Some(expected));
        }
        assert_eq!(version("no digits"), None);
    }

    #[test]
    fn a_missing_or_old_tool_is_one_line_that_says_what_to_do() {
        assert_eq!(problem(&TOOL, None).unwrap(), "missing: python3: install Python 3.10 or newer");
        let old = problem(&TOOL, Some("Python 3.9.2")).unwrap();
        assert_eq!(old, "too old: python3 3.9, needed is 3.10: install Python 3.10 or newer");
        assert_eq!(problem(&TOOL, Some("Python 3.10.0")), None);
    }

    #[test]
    fn a_command_that_does_not_exist_is_no_answer() {
        assert_eq!(ask(&["raptorflow-no-such-program"]), None);
    }
}
