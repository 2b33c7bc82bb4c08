//! Runs the cases of public suites that lie beside the checkout; absent files show as ignored.

use libtest_mimic::{Arguments, Trial};

mod addresses;
mod argument_validation;
mod event_stream;
mod skills;
mod templates;

fn main() {
    let mut trials: Vec<Trial> =
        vec![addresses::trial(), argument_validation::trial(), event_stream::trial(), templates::trial()];
    trials.extend(skills::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
