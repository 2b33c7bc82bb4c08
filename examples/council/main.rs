//! The main job: a folder of documents and a goal in, the council at work on the bus, a cited brief out.
//!
//! Without a key the offline model answers, which quotes the documents word for word.

mod brief;
mod cli;
mod prepare;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;
use raptorflow_core::{Engine, Error, ErrorKind, Result, engine::Outcome, types::RunId};
use serde_json::json;

use crate::{cli::Arguments, prepare::Meta};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.check { prepare::check(&arguments) } else { work(&arguments).await };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            cli::complain(&err, &arguments);
            cli::exit_code(&err)
        }
    }
}

async fn work(arguments: &Arguments) -> Result<()> {
    let prepared = prepare::prepare(arguments).await?;
    let start = prepared.engine.runtime().clock().elapsed();
    let outcome = run(&prepared.engine, prepared.run, prepared.resumed, &prepared.meta).await;
    let elapsed = prepared.engine.runtime().clock().elapsed().saturating_sub(start);
    let written = match outcome {
        Ok(outcome) => brief::write(arguments, &prepared.meta, &outcome, elapsed),
        Err(err) => Err(err),
    };
    let closed = prepared.engine.shutdown().await;
    written.and(closed)
}

/// Runs or resumes the council and shows what happens; Ctrl-C stops the work and leaves the run to be resumed.
async fn run(engine: &Engine, run: RunId, resumed: bool, meta: &Meta) -> Result<Outcome> {
    let started = if resumed {
        watch::say(&format!("resuming run {run}: waiting until nobody else works on it"));
        engine.resume(run).start().await?
    } else {
        let task = json!({ "goal": meta.goal, "agents_per_team": meta.agents });
        engine.run("council", task).id(run).start().await?
    };
    let watching = watch::watch(started.events());
    tokio::select! {
        outcome = watching => outcome,
        _ = tokio::signal::ctrl_c() => {
            Err(Error::new(ErrorKind::Cancelled, "council.run", "interrupted").with("run", run))
        }
    }
}
