//! `peers`: the works of `speed.py` in Rust, a JSON line for each way to do one.
#![expect(clippy::expect_used, reason = "a measurement that cannot run has nothing to say")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks by printing")]

mod agents;
mod ann;
mod crash;
mod group_commit;
mod report;
mod speed;

use std::process::ExitCode;

use raptorflow_meter::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const USAGE: &str = "usage: peers crash LOG DATABASE MODE STEPS | peers speed WORK ROUNDS [ADDRESS] | peers ann VECTORS QUERIES FOLDER";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let tokio = tokio::runtime::Runtime::new().expect("a Tokio runtime");
    let done = match words.as_slice() {
        ["crash", log, database, mode, steps] => {
            let steps = steps.parse().expect("a number of steps");
            tokio.block_on(crash::run(log, database, mode, steps)).map_err(|err| format!("{err:?}"))
        }
        ["speed", work, rounds, address @ ..] => {
            let rounds = rounds.parse().expect("a number of rounds");
            speed::run(&tokio, work, rounds, address.first().copied())
        }
        ["ann", vectors, queries, folder] => ann::run(&tokio, vectors, queries, folder),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("peers: {problem}");
            ExitCode::from(2)
        }
    }
}
