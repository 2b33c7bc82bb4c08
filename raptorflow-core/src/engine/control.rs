//! What is said to runs from outside, and what they look like from there.

use std::{future::IntoFuture, pin::Pin, sync::Arc};

use serde_json::Value;

use crate::{
    engine::Engine,
    error::{Error, ErrorKind, Result},
    journal::{CallToApprove, Fact, Opened, RunState},
    types::RunId,
};

impl Engine {
    /// Cancels a run for good.
    ///
    /// One that works in this process has stopped soon after; one of another process has been asked to; one that
    /// nobody works on has ended when this returns, which takes some seconds when its process died just now.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, `Conflict` for one that has ended.
    pub async fn cancel(&self, run: RunId) -> Result<()> {
        if let Some(cancel) = self.cancel_of(run) {
            cancel.cancel();
            return Ok(());
        }
        let ctx = self.context(run, None);
        let journals = self.journals();
        journals.request_cancel(&ctx, run).await?;
        match self.open(&ctx).await {
            Ok(Opened::Running { journal, .. }) => {
                journal.finish(&ctx, &[Fact::ExecutionCancelled]).await?;
                Ok(())
            }
            // It has ended while this looked; or its owner lives, and hears it.
            Ok(Opened::Ended { .. }) => Ok(()),
            Err(err) if err.kind() == ErrorKind::Conflict => Ok(()),
            Err(err) => Err(err),
        }
    }

    /// Answers a question of a run, or says something to it; await it, or add who says it first.
    ///
    /// The name of a gate is its path: the step's name, behind the names of the steps that it is inside of.
    /// A run that is not at work now finds the answer when it is resumed.
    ///
    /// # Errors
    /// `NotFound` for an unknown run or a gate that its workflow does not have; `Conflict` when the run has ended or the
    /// gate was answered; `InvalidInput` and `PermissionDenied` when the gate does not take the answer, or not from
    /// `by`.
    ///
    /// # Cancellation
    /// A dropped future has said it or not.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{Engine, ErrorKind, Workflow, workflow::Step};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().build().await?;
    /// let ask = Step::default().prompt("Go?").choices([true, false]).approvers(["anna"]);
    /// engine.register(Workflow::builder("ask").gate("go", ask).build()?)?;
    /// let run = engine.start("ask", "now").await?;
    /// let refused = engine.signal(run.id(), "go", true).by("bert").await.unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    /// engine.signal(run.id(), "go", true).by("anna").await?;
    /// assert_eq!(run.outcome().await?.output, true);
    /// # Ok(())
    /// # }
    /// ```
    pub fn signal(&self, run: RunId, name: impl Into<String>, value: impl Into<Value>) -> SignalRequest {
        SignalRequest { engine: self.clone(), run, name: name.into(), value: value.into(), by: None }
    }

    /// Asks a run to begin nothing new; what is under way goes on. [`Engine::resume`] lets it go on.
    ///
    /// A workflow stops between its steps, also those inside of a step, and between the items of a mapped one; an agent
    /// of its own has no such point and ends its work.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, `Conflict` for one that has ended or is paused already.
    pub async fn pause(&self, run: RunId) -> Result<()> {
        let paused = self.journals().pause(&self.context(run, None), run).await;
        paused.map(drop)
    }

    /// A new run with the first `at` entries of another, which is left as it is; [`Engine::resume`] continues it.
    ///
    /// [`Engine::history`] lists the entries; each is a checkpoint.
    /// What is recorded in them is not done again; keys of what is done anew are those of the new run.
    /// When it fails it takes back only what it did itself.
    ///
    /// # Errors
    /// `NotFound` for an unknown run; `InvalidInput` when `at` is 0, beyond the end, or behind the end of a run that is
    /// complete or was cancelled.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{Engine, Workflow, workflow::function};
    /// use serde_json::Value;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().build().await?;
    /// let add = || function(|_ctx, n: Value| async move { Ok((n.as_i64().unwrap_or(0) + 1).into()) });
    /// engine.register(Workflow::builder("count").step("a", add()).step("b", add().after("a")).build()?)?;
    /// let first = engine.run("count", Value::from(1)).await?;
    /// // Three entries: the start, the definition, and the first step.
    /// let again = engine.fork(first.run_id, 3).await?;
    /// assert_eq!(engine.resume(again).await?.output, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fork(&self, run: RunId, at: u64) -> Result<RunId> {
        let id = self.runtime().ids().run();
        let forked = self.journals().fork(&self.context(id, None), run, at).await;
        forked.map(|_| id)
    }

    /// What a run looks like after its first `at` entries, or now: its steps, what they cost, what it waits for.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, `InvalidInput` when `at` is beyond the end, and what the storage says.
    pub async fn state(&self, run: RunId, at: Option<u64>) -> Result<RunState> {
        self.journals().state(&self.context(run, None), run, at).await
    }
}

/// What somebody says to a run; await it.
#[derive(Debug)]
pub struct SignalRequest {
    engine: Engine,
    run: RunId,
    name: String,
    value: Value,
    by: Option<Arc<str>>,
}

impl SignalRequest {
    /// Who says it.
    #[must_use]
    pub fn by(mut self, by: impl Into<Arc<str>>) -> Self {
        self.by = Some(by.into());
        self
    }

    async fn send(self) -> Result<()> {
        let Self { engine, run, name, value, by } = self;
        if CallToApprove::is_path(&name) {
            let message = "a call of a tool is approved or denied, not signalled";
            return Err(Error::new(ErrorKind::InvalidInput, "engine.signal", message)
                .with("signal", name)
                .with("expected", "Engine::approve or Engine::deny"));
        }
        let ctx = engine.context(run, None);
        let start = engine.journals().read(&ctx, run, 0, 1).await?;
        if let Some(Fact::ExecutionStarted { target, .. }) = start.first().map(|entry| &entry.fact)
            && let Ok(agent) = engine.agents().get(target)
        {
            agent.check_signal(&name, &value, by.as_deref()).map_err(|err| err.with("run", run))?;
        }
        let sent = engine.journals().signal(&ctx, run, &name, value, by).await;
        sent.map(drop)
    }
}

impl IntoFuture for SignalRequest {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
