//! What the SQLite store keeps when processes, disks and single bits fail, as one test binary.
//!
//! Each trial says how many cases it went through; the numbers are constants of the files.

// A test fails loudly; Clippy does not see that a binary with a harness of its own is one.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod bits;
mod cell;
mod crash;
mod faults;
mod place;
mod workflow;

use std::process::ExitCode;

use libtest_mimic::{Arguments, run};

fn main() -> ExitCode {
    let trials = [crash::trials(), workflow::trials(), bits::trials(), faults::trials()]
        .into_iter()
        .flatten()
        .collect();
    run(&Arguments::from_args(), trials).exit_code()
}
