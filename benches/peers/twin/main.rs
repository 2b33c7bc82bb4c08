//! `peers`: the works of `speed.py` in Rust, a JSON line for each way to do one.
#![expect(clippy::expect_used, reason = "a measurement that cannot run has nothing to say")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks by printing")]

mod group_commit;
mod report;
mod speed;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["speed", work, rounds, address @ ..] => {
            rounds.parse().is_ok_and(|rounds| speed::run(work, rounds, address.first().copied()))
        }
        _ => false,
    };
    if done {
        ExitCode::SUCCESS
    } else {
        eprintln!("usage: peers speed WORK ROUNDS [ADDRESS]");
        ExitCode::from(2)
    }
}
