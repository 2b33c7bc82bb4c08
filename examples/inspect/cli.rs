//! What `inspect` is told on the command line, and how it complains.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use raptorflow_core::{
    Error, ErrorKind,
    journal::RunStatus,
    types::{Diagnostics, RunId},
};

/// Lists the runs of a store, and shows one of them step by step: what it did, how long it took, what it cost.
///
/// Without arguments it runs a small workflow in memory, offline, and shows that.
///
/// Exit codes: 0 done, 2 something in the call does not fit, 4 the store cannot be read.
#[derive(Debug, Parser)]
#[command(name = "inspect")]
pub(crate) struct Arguments {
    /// Run to show; all runs are listed when left out.
    #[arg(requires = "storage")]
    pub(crate) run: Option<RunId>,

    /// Store to read, for example sqlite:team.db.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) storage: Option<String>,

    /// List only runs that are so far.
    #[arg(long, requires = "storage", conflicts_with = "run")]
    pub(crate) status: Option<Status>,

    /// List only runs of this agent or workflow.
    #[arg(long, value_name = "NAME", requires = "storage", conflicts_with = "run")]
    pub(crate) target: Option<String>,

    /// How many runs to list at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) limit: u16,

    /// Show the run as it was after its first N entries.
    #[arg(long, value_name = "N")]
    pub(crate) at: Option<u64>,

    /// List the entries of the run too; each is a point for --at, and for a fork.
    #[arg(long)]
    pub(crate) entries: bool,

    /// Draw the workflow as Mermaid text, with where each step is.
    #[arg(long)]
    pub(crate) mermaid: bool,

    /// File of the run's workflow in TOML or JSON, for --mermaid: a store keeps only digests of it.
    #[arg(long, value_name = "FILE", requires_all = ["run", "mermaid"])]
    pub(crate) workflow: Option<PathBuf>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Status {
    Running,
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl From<Status> for RunStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Running => Self::Running,
            Status::Paused => Self::Paused,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

impl Arguments {
    /// What the single arguments cannot tell.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.storage.is_none() || self.run.is_some() {
            return match (&self.storage, self.mermaid, &self.workflow) {
                (Some(_), true, None) => Err(wrong("expected the run's workflow", "--mermaid")),
                _ => Ok(()),
            };
        }
        let of_one_run =
            [("--at", self.at.is_some()), ("--entries", self.entries), ("--mermaid", self.mermaid)];
        match of_one_run.iter().find(|(_, given)| *given) {
            Some((argument, _)) => Err(wrong("expected the id of a run", argument)),
            None => Ok(()),
        }
    }
}

fn wrong(message: &'static str, argument: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "inspect.arguments", message).with("argument", argument)
}

/// One line: what, where, and what to do.
#[expect(clippy::print_stderr, reason = "a program talks to its user")]
pub(crate) fn complain(err: &Error) {
    match err.cause::<Diagnostics>() {
        Some(problems) => {
            eprintln!("error: {err}");
            problems.0.iter().for_each(|problem| eprintln!("  {problem}"));
        }
        None => eprintln!("error: {err:#}"),
    }
    if let Some(hint) = hint(err) {
        eprintln!("try: {hint}");
    }
}

fn hint(err: &Error) -> Option<&'static str> {
    Some(match (err.operation(), err.get("argument")) {
        ("inspect.arguments", Some("--mermaid")) if err.message().contains("workflow") => {
            "--workflow FILE, the workflow in TOML or JSON"
        }
        ("inspect.arguments", _) => "without that argument: it lists the runs and their ids",
        ("journal.state", _) if err.kind() == ErrorKind::InvalidInput => "--entries, which lists them",
        ("journal.state", _) => "without the id: it lists the runs and their ids",
        _ => return None,
    })
}

/// The exit code that tells a script what kind of thing went wrong.
pub(crate) fn exit_code(err: &Error) -> ExitCode {
    match err.kind() {
        ErrorKind::InvalidInput | ErrorKind::NotFound => ExitCode::from(2),
        _ => ExitCode::from(4),
    }
}
