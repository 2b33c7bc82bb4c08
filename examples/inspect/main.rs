//! Reads the journals of a store: its runs, and one run as a tree of steps with durations, tokens and cost.

mod cli;
mod demo;
mod show;

use std::{fs, path::Path, process::ExitCode};

use clap::Parser as _;
use raptorflow_core::{
    Engine, Error, ErrorKind, Result,
    journal::RunFilter,
    types::RunId,
    workflow::{StepFunction, Workflow, WorkflowBuilder, WorkflowSpec},
};

use crate::cli::Arguments;

/// How many entries are read at once.
const PAGE: usize = 1_000;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match work(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            cli::complain(&err);
            cli::exit_code(&err)
        }
    }
}

async fn work(arguments: &Arguments) -> Result<()> {
    arguments.check()?;
    let Some(address) = &arguments.storage else {
        let (engine, flow, run) = demo::run().await?;
        list(&engine, RunFilter::default()).await?;
        one(&engine, run, arguments, Some(&flow)).await?;
        return engine.shutdown().await;
    };
    let flow = arguments.workflow.as_deref().map(read_workflow).transpose()?;
    check_file(address)?;
    let engine = Engine::builder().storage(address).build().await?;
    match arguments.run {
        Some(run) => one(&engine, run, arguments, flow.as_ref()).await?,
        None => {
            let limit = usize::from(arguments.limit);
            let (status, target) = (arguments.status.map(Into::into), arguments.target.clone());
            list(&engine, RunFilter { status, target, limit, ..RunFilter::default() }).await?;
        }
    }
    engine.shutdown().await
}

/// Who only wants to look makes no new database.
fn check_file(address: &str) -> Result<()> {
    let Some(path) = address.strip_prefix("sqlite:") else { return Ok(()) };
    let path = path.split('?').next().unwrap_or(path);
    let path = path.strip_prefix("//").unwrap_or(path);
    if Path::new(path).is_file() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NotFound, "inspect.open", "there is no such database").with("path", path))
}

/// Lists the runs that a filter lets through, page by page.
async fn list(engine: &Engine, mut filter: RunFilter) -> Result<()> {
    let mut runs = Vec::new();
    loop {
        let page = engine.runs(filter.clone()).await?;
        filter.limit = filter.limit.saturating_sub(page.runs.len());
        runs.extend(page.runs);
        filter.after = page.next;
        if page.next.is_none() || filter.limit == 0 {
            break;
        }
    }
    show::runs(&runs);
    Ok(())
}

async fn one(engine: &Engine, run: RunId, arguments: &Arguments, flow: Option<&Workflow>) -> Result<()> {
    let state = engine.state(run, arguments.at).await?;
    show::run(run, &state, arguments.at);
    if arguments.entries {
        let mut entries = Vec::new();
        while (entries.len() as u64) < state.summary.entries {
            let from = entries.len() as u64;
            let left = usize::try_from(state.summary.entries - from).unwrap_or(PAGE).min(PAGE);
            entries.extend(engine.history(run, from, left).await?);
        }
        show::entries(&entries);
    }
    if let Some(flow) = flow.filter(|_| arguments.mermaid) {
        show::say("");
        show::say(flow.to_mermaid(Some(&state)).trim_end());
    }
    Ok(())
}

fn read_workflow(path: &Path) -> Result<Workflow> {
    let text = fs::read_to_string(path).map_err(|err| {
        Error::new(ErrorKind::NotFound, "inspect.workflow", "the workflow cannot be read")
            .with("path", path.display())
            .caused_by(err)
    })?;
    let json = path.extension().is_some_and(|extension| extension == "json");
    let spec = if json { WorkflowSpec::from_json(&text)? } else { WorkflowSpec::from_toml(&text)? };
    let mut names = Vec::new();
    functions(&spec, &mut names);
    // A picture calls no function.
    let none = StepFunction::new(|_ctx, input| async move { Ok(input) });
    let builder = WorkflowBuilder::from_spec(spec);
    names.into_iter().fold(builder, |builder, name| builder.function(name, none.clone())).build()
}

/// The names of the functions of a workflow and of those inside of it.
fn functions(spec: &WorkflowSpec, names: &mut Vec<String>) {
    for step in &spec.steps {
        names.extend(step.function.clone());
        names.extend(step.compensate.as_ref().and_then(|by| by.function.clone()));
        let repeated = step.repeat.as_ref().map(|repeat| &repeat.workflow);
        for inner in step.workflow.iter().chain(repeated) {
            functions(inner, names);
        }
    }
}
