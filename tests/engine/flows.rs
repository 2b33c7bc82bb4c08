//! What the tests of workflows share: steps that note what they do, and engines over stores that end.

use std::{
    future,
    sync::{Arc, Mutex},
    time::Duration,
};

use raptorflow_core::{
    Engine, Workflow,
    engine::{Outcome, Run},
    error::{Error, ErrorKind, Result},
    journal::{Fact, JournalConfig},
    runtime::{Context, Runtime, Tasks},
    storage::Storage,
    testing::ManualClock,
    types::RunId,
    workflow::{Step, WorkflowBuilder, function},
};
use serde_json::{Value, json};

use crate::support::{entries, settle};

/// What steps noted, in the order in which they did; cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// What was noted since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    pub(crate) fn count(&self, text: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|note| *note == text).count()
    }

    /// A step that notes its path and gives a value.
    pub(crate) fn gives(&self, value: impl Into<Value>) -> Step {
        let (notes, value) = (self.clone(), value.into());
        function(move |ctx: Context, _| {
            notes.note(&**ctx.path());
            future::ready(Ok(value.clone()))
        })
    }

    /// A step that notes its path and gives what it was given.
    pub(crate) fn echoes(&self) -> Step {
        let notes = self.clone();
        function(move |ctx: Context, input| {
            notes.note(&**ctx.path());
            future::ready(Ok(input))
        })
    }

    /// A step that notes its path, waits so long, and gives its path.
    pub(crate) fn takes(&self, seconds: u64) -> Step {
        let notes = self.clone();
        function(move |ctx: Context, _| {
            let notes = notes.clone();
            notes.note(&**ctx.path());
            async move {
                ctx.runtime().clock().sleep(Duration::from_secs(seconds)).await;
                notes.note(format!("{} ends", ctx.path()));
                Ok(json!(&**ctx.path()))
            }
        })
    }

    /// A step that notes its path and never ends.
    pub(crate) fn hangs(&self) -> Step {
        let notes = self.clone();
        function(move |ctx: Context, _| {
            notes.note(&**ctx.path());
            future::pending()
        })
    }

    /// A step that notes its path and fails so often, then gives `true`.
    pub(crate) fn fails(&self, times: usize, error: &Error) -> Step {
        let (notes, error) = (self.clone(), error.clone());
        function(move |ctx: Context, _| {
            let path = &**ctx.path();
            let done = notes.count(path) >= times;
            notes.note(path);
            future::ready(if done { Ok(json!(true)) } else { Err(error.clone()) })
        })
    }

    /// A step for a compensation, that notes its path and what it was given.
    pub(crate) fn undoes(&self) -> Step {
        let notes = self.clone();
        function(move |ctx: Context, input: Value| {
            notes.note(format!("{} {input}", ctx.path()));
            future::ready(Ok(Value::Null))
        })
    }
}

/// An error that another attempt may mend.
pub(crate) fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "host.call", "the host is down")
}

/// An error that no other attempt mends.
pub(crate) fn wrong() -> Error {
    Error::new(ErrorKind::InvalidInput, "host.call", "the host was asked for nonsense")
}

/// The builder of a workflow `flow`.
pub(crate) fn flow() -> WorkflowBuilder {
    Workflow::builder("flow")
}

/// Runs a workflow in memory.
pub(crate) async fn outcome(flow: &Workflow, input: impl Into<Value>) -> Result<Outcome> {
    Engine::builder().build().await.unwrap().run(flow, input.into()).await
}

/// The output of a workflow that is run in memory.
pub(crate) async fn output(flow: WorkflowBuilder, input: impl Into<Value>) -> Value {
    outcome(&flow.build().unwrap(), input).await.unwrap().output
}

/// One process after another over one store and one clock.
pub(crate) struct Host {
    pub(crate) clock: ManualClock,
    pub(crate) storage: Storage,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self { clock: ManualClock::new(), storage: Storage::memory() }
    }

    /// An engine of a new process that knows the workflow.
    pub(crate) async fn engine(&self, flow: &Workflow) -> Engine {
        self.engine_over(self.storage.clone(), flow).await
    }

    /// An engine of a new process over a store, that knows the workflow.
    pub(crate) async fn engine_over(&self, storage: Storage, flow: &Workflow) -> Engine {
        let runtime = Runtime::new(Arc::new(self.clock.clone()), Tasks::current().unwrap());
        let mut journal = JournalConfig::default();
        // A restart takes its runs up without waiting for a lease.
        journal.owner = Some("host".into());
        let builder = Engine::builder().storage_handle(storage).runtime(runtime).journal(journal);
        let engine = builder.build().await.unwrap();
        engine.register(flow.clone()).unwrap();
        engine
    }

    /// Starts a workflow and lets it go on as far as it can.
    pub(crate) async fn start(&self, flow: &Workflow, input: impl Into<Value>) -> (Engine, Run) {
        let engine = self.engine(flow).await;
        let run = engine.start(flow, input.into()).await.unwrap();
        settle().await;
        (engine, run)
    }

    /// Moves the time on and lets everybody go on as far as they can.
    pub(crate) async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        settle().await;
    }

    pub(crate) async fn seconds(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds)).await;
    }
}

/// Ends the process of an engine without a word to its runs.
pub(crate) async fn kill(engine: Engine, run: Run) {
    drop(run);
    engine.shutdown().await.unwrap();
}

/// The facts of a run at a path, by their names.
pub(crate) async fn at_path(engine: &Engine, run: RunId, path: &str) -> Vec<Fact> {
    entries(engine, run)
        .await
        .into_iter()
        .filter(|entry| &*entry.path == path)
        .map(|entry| entry.fact)
        .collect()
}
