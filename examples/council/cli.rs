//! What the council is told on the command line, and how it complains.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use raptorflow_core::{
    Error, ErrorKind, Retry,
    types::{Diagnostics, RunId},
};

use crate::watch;

/// Answers a goal from a folder of documents, with a council of seven domains.
///
/// Exit codes: 0 done, 2 something in the call or the documents does not fit, 3 the model cannot be used,
/// 4 the database cannot be used, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "council")]
pub(crate) struct Arguments {
    /// What is wanted; planning the launch of raptorflow itself when left out.
    pub(crate) goal: Option<String>,

    /// Folder of Markdown and text files; the project's own docs when left out.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) docs: Option<PathBuf>,

    /// Model as provider:name, for example openai:gpt-5-mini, anthropic:claude-sonnet-4-5, ollama:llama3.2 or
    /// offline:extractive; chosen by the keys in the environment when left out.
    #[arg(long, value_name = "PROVIDER:NAME")]
    pub(crate) model: Option<String>,

    /// Folder of the pack; the project's own council when left out.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) pack: Option<PathBuf>,

    /// Agents of each chosen domain that work on the goal.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub(crate) agents: u8,

    /// Write JSON instead of Markdown.
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the brief to a file instead of the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Keep the run in a SQLite file, so that it survives a crash.
    #[arg(long, value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,

    /// Take up a run of that file again; nothing that is recorded is done twice.
    #[arg(long, value_name = "RUN", requires = "db", conflicts_with_all = ["goal", "docs", "agents"])]
    pub(crate) resume: Option<RunId>,

    /// Only check the pack, and list every problem.
    #[arg(long)]
    pub(crate) check: bool,
}

/// One line: what, where, and what to do.
pub(crate) fn complain(err: &Error, arguments: &Arguments) {
    match err.cause::<Diagnostics>() {
        Some(problems) => {
            watch::say(&format!("error: {err}"));
            problems.0.iter().for_each(|problem| watch::say(&format!("  {problem}")));
        }
        None => watch::say(&format!("error: {err:#}")),
    }
    if let Some(hint) = hint(err) {
        watch::say(&format!("try: {hint}"));
    }
    if let (Some(db), Some(run)) = (&arguments.db, err.get("run"))
        && !err.operation().starts_with("council.")
    {
        watch::say(&format!(
            "resume: cargo run --release --example council -- --db {} --resume {run}",
            db.display()
        ));
    }
}

fn hint(err: &Error) -> Option<String> {
    Some(match err.kind() {
        ErrorKind::Unauthenticated => {
            "set the provider's key, for example OPENAI_API_KEY, or use --model offline:extractive".to_owned()
        }
        ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Timeout => match err.retry() {
            Retry::After(pause) => format!("again in {} seconds", pause.as_secs().max(1)),
            _ => "again later, or another --model".to_owned(),
        },
        _ => return None,
    })
}

/// The exit code that tells a script what kind of thing went wrong.
pub(crate) fn exit_code(err: &Error) -> ExitCode {
    let model = ["model.", "http.", "agent.output"].iter().any(|place| err.operation().starts_with(place));
    match err.kind() {
        ErrorKind::Cancelled => ExitCode::from(130),
        _ if model => ExitCode::from(3),
        ErrorKind::InvalidInput
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::LimitExceeded => ExitCode::from(2),
        _ => ExitCode::from(4),
    }
}
