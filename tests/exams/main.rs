//! Runs the cases of public suites that lie beside the checkout; absent files show as ignored.

use libtest_mimic::{Arguments, Trial};

mod argument_validation;
mod event_stream;

fn main() {
    let trials: Vec<Trial> = vec![argument_validation::trial(), event_stream::trial()];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
