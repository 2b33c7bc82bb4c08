//! Every case of every contract over every backend, and what else a backend promises, as one test binary.
//!
//! A case is named `storage::sqlite::scan_yields_keys_in_byte_order`.
//! What a build or machine lacks is shown as ignored; `RAPTORFLOW_REQUIRE=name,name` makes its absence a failure.

// A test fails loudly; Clippy does not see that a binary with a harness of its own is one.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::print_stderr, clippy::unwrap_used)]

mod archive;
mod backends;
mod chat;
mod child;
mod durable;
mod embedding;
mod mcp;
mod mcp_peer;
mod minilm;
mod model;
#[cfg(unix)]
mod postgres;
mod rates;
#[cfg(unix)]
mod restart;
#[cfg(unix)]
mod runs;
mod spending;
mod sqlite;
mod third_party;
mod upkeep;

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, run};

fn main() -> ExitCode {
    if let Some(job) = child::Job::of_this_process() {
        return job.run();
    }
    if let Some(payer) = spending::Payer::of_this_process() {
        return payer.run();
    }
    if let Some(worker) = durable::Worker::of_this_process() {
        return worker.run();
    }
    if let Some(peer) = mcp_peer::Peer::of_this_process() {
        return peer.run();
    }
    let required = env::var("RAPTORFLOW_REQUIRE").unwrap_or_default();
    let mut trials = backends::trials(&required);
    trials.extend(model::trials());
    trials.extend(sqlite::trials());
    trials.extend(spending::trials());
    trials.extend(durable::trials());
    #[cfg(unix)]
    for of in [postgres::trials, rates::trials, restart::trials, runs::trials] {
        trials.extend(of(&required));
    }
    trials.extend(third_party::trials(&required));
    trials.extend(mcp::trials(&required));
    trials.extend(minilm::trials(&required));
    trials.extend(upkeep::trials());
    run(&Arguments::from_args(), trials).exit_code()
}
