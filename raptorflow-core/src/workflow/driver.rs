//! Runs a workflow: begins the steps whose turn has come, records what came of them, takes them back on failure.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use futures_util::{StreamExt as _, poll, stream::FuturesUnordered};
use indexmap::IndexMap;
use serde_json::Value;

use crate::{
    agent::{Actor, AgentInput, AgentOutput, Session, event, observed},
    error::{Error, ErrorKind, Result},
    event::EventKind,
    journal::{Fact, Journal},
    workflow::{
        Workflow,
        graph::{Action, Compensation, Graph, Node},
        rollback::Done,
        run::{End, WorkflowRun},
        watchdog::Bounds,
    },
};

pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Runs a workflow at the path of its session, from where its journal left it.
///
/// # Cancellation
/// Dropping the future stops the steps at work; what was recorded stays, and a later run continues there.
pub(super) async fn run(workflow: &Workflow, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
    let name = workflow.name();
    if session.ctx().lineage().contains(name) {
        let message = "the workflow is a step of itself";
        return Err(Error::new(ErrorKind::InvalidInput, "workflow.run", message).with("workflow", name));
    }
    define(workflow.definition(), session).await?;
    let session = session.with_context(session.ctx().with_agent(name));
    // What was done before a restart counts, so that a restart is not a way to have the whole time again.
    let worked = session.journal().worked(session.ctx().path());
    let flow = Flow {
        workflow,
        session: &session,
        background: input.background.as_deref(),
        done: Mutex::default(),
        bounds: Bounds::new(session.ctx().cancel(), workflow.graph().timeout, worked),
    };
    let work = async {
        let output = flow.run(input.input.clone()).await?;
        let mut completed = event(session.ctx(), Actor::spec(workflow), EventKind::WorkflowCompleted);
        completed.priority = workflow.graph().priority;
        session.means().bus.publish(session.ctx(), completed).await?;
        Ok(AgentOutput::new(output))
    };
    observed(&session, Actor::spec(workflow), pin!(work)).await
}

/// Records what the steps are, or checks that they still are what they were.
pub(super) async fn define(steps: &Arc<IndexMap<Arc<str>, Arc<str>>>, session: &Session) -> Result<()> {
    let (ctx, journal) = (session.ctx(), session.journal());
    let recorded = journal.check_definition(ctx.path(), steps)?;
    // The engine records it together with the start of a run; a fork may have no more than that.
    if !recorded && (!ctx.path().is_empty() || journal.has_history()) {
        journal.append(ctx, &[Fact::DefinitionRecorded { steps: Arc::clone(steps) }]).await?;
    }
    Ok(())
}

/// One workflow at work.
pub(super) struct Flow<'a> {
    pub(super) workflow: &'a Workflow,
    pub(super) session: &'a Session,
    /// What the workflow as a whole is a part of.
    pub(super) background: Option<&'a str>,
    /// What can be taken back.
    // A std mutex: no await happens while it is held.
    pub(super) done: Mutex<Vec<Done>>,
    /// Of the workflow as a whole.
    pub(super) bounds: Bounds,
}

impl Flow<'_> {
    async fn run(&self, input: Value) -> Result<Value> {
        if let Some(rollback) = self.unfinished_rollback() {
            return Err(self.resume_rollback(rollback).await);
        }
        let ended = self.timed(self.workflow.graph(), self.session, input, &self.bounds).await;
        match ended {
            Ok(output) => Ok(output),
            // What is not recorded may have been done or not: a resume finds out, and a rollback would not.
            Err(err) if self.is_stopped() => Err(err),
            Err(err) => Err(self.roll_back(err).await),
        }
    }

    /// Runs the graph of a workflow that is a part of this one, at the path of a session, or tells that it took too
    /// long already.
    pub(super) fn part<'a>(
        &'a self,
        graph: &'a Arc<Graph>,
        session: Session,
        input: Value,
        bounds: &'a Bounds,
    ) -> Boxed<'a, Value> {
        Box::pin(async move {
            let path = session.ctx().path();
            if let Some(Err(err)) = self.recorded(path) {
                return Err(err);
            }
            let bounds = bounds.within(graph.timeout, session.journal().worked(path));
            let ended = self.timed(graph, &session, input, &bounds).await;
            if !bounds.is_over() {
                return ended;
            }
            // Begun again after a crash it would have the time of what was not recorded, and could end in another way.
            let ended = ended.map_err(|err| err.with("step", path));
            if let Err(err) = &ended
                && !self.is_stopped()
            {
                session.journal().append_at(path, &[Fact::StepFailed { error: err.clone() }]).await?;
            }
            ended
        })
    }

    /// Runs a graph at the path of a session within its time.
    ///
    /// When that is over the steps are halted; one that can be taken back is finished first.
    async fn timed(
        &self,
        graph: &Arc<Graph>,
        session: &Session,
        input: Value,
        bounds: &Bounds,
    ) -> Result<Value> {
        // A failure halts the steps of this graph; whether it halts those around it is theirs to say.
        let mut work = pin!(self.driven(graph, session, input, bounds.child()));
        tokio::select! {
            biased;
            ended = &mut work => return ended,
            () = bounds.overrun(session.ctx()) => {}
        }
        let ended = work.await;
        if self.is_stopped() {
            return ended;
        }
        let message = "the workflow took longer than its timeout";
        Err(Error::new(ErrorKind::Timeout, "workflow.run", message)
            .with("workflow", &graph.name)
            .with("seconds", graph.timeout.as_secs_f64()))
    }

    /// Whether the run was stopped from outside: nothing can be recorded, and a later run goes on.
    pub(super) fn is_stopped(&self) -> bool {
        let journal = self.session.journal();
        self.session.ctx().cancel().is_cancelled() || journal.is_lost() || journal.is_broken()
    }

    async fn driven(
        &self,
        graph: &Arc<Graph>,
        session: &Session,
        input: Value,
        bounds: Bounds,
    ) -> Result<Value> {
        let (ctx, journal) = (session.ctx(), session.journal());
        let mut run = WorkflowRun::new(Arc::clone(graph), input);
        let mut working = FuturesUnordered::new();
        loop {
            while working.len() < graph.parallel && !bounds.halt.is_cancelled() && !journal.is_paused() {
                let Some(step) = run.begin() else { break };
                let Some(node) = graph.nodes.get(step) else { continue };
                let given = match run.given(node) {
                    Ok(given) => given,
                    Err(err) => {
                        settle(&mut run, step, Err(err), journal, &bounds)?;
                        continue;
                    }
                };
                let background = self.background(node, run.input());
                let mut work = self.work(node, given, background, session, &bounds);
                // Most steps that only compute are over at once.
                match poll!(&mut work) {
                    Poll::Ready(outcome) => settle(&mut run, step, outcome, journal, &bounds)?,
                    Poll::Pending => working.push(async move { (step, work.await) }),
                }
                tokio::task::consume_budget().await;
            }
            if working.is_empty() {
                if ctx.cancel().is_cancelled() {
                    return Err(Error::new(ErrorKind::Cancelled, "workflow.run", "the run was cancelled"));
                }
                match run.end_of_run() {
                    Some(Ok(End::Completed(value))) => return Ok(value),
                    Some(Ok(End::Failed(err)) | Err(err)) => return Err(err),
                    None if bounds.halt.is_cancelled() => {
                        return Err(Error::new(
                            ErrorKind::Cancelled,
                            "workflow.run",
                            "the workflow has failed",
                        ));
                    }
                    None if journal.is_paused() => {
                        self.unpaused(session, &bounds).await?;
                        continue;
                    }
                    None => {
                        let message = "no step can begin and none is under way";
                        return Err(Error::new(ErrorKind::Internal, "workflow.run", message));
                    }
                }
            }
            let paused = journal.is_paused();
            tokio::select! {
                biased;
                Some((step, outcome)) = working.next() => settle(&mut run, step, outcome, journal, &bounds)?,
                () = journal.unpaused(), if paused => {}
            }
        }
    }

    /// Waits until the run is not paused, or what waits need not begin.
    pub(super) async fn unpaused(&self, session: &Session, bounds: &Bounds) -> Result<()> {
        const OPERATION: &str = "workflow.pause";
        let unpaused = bounds.halt.run(OPERATION, session.journal().unpaused());
        session.ctx().bound(OPERATION, unpaused).await.flatten()
    }

    /// What an agent is told that its step is a part of.
    fn background(&self, node: &Node, input: &Value) -> Option<Arc<str>> {
        if !matches!(node.action, Action::Agent { .. } | Action::Agents { .. }) {
            return None;
        }
        let whole = (!node.before.is_empty()).then(|| AgentInput::new(input.clone()).question());
        let parts: Vec<&str> = self.background.into_iter().chain(whole.as_deref()).collect();
        if parts.is_empty() { None } else { Some(parts.join("\n\n").into()) }
    }

    /// Notes that a step was done which can be taken back; `order` grows with the journal.
    pub(super) fn note(&self, path: &Arc<str>, order: u64, by: &Arc<Compensation>, value: &Value) {
        let done = Done { path: Arc::clone(path), order, by: Arc::clone(by), value: value.clone() };
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(done);
    }
}

/// Tells the machine what came of a step; the first failure halts the others.
fn settle(
    run: &mut WorkflowRun,
    step: usize,
    outcome: Result<Value>,
    journal: &Journal,
    bounds: &Bounds,
) -> Result<()> {
    match outcome {
        // Even an optional step has not failed, and nothing can go on from it.
        Err(err) if journal.is_broken() => run.fail(err),
        outcome => run.settle(step, outcome)?,
    }
    if run.has_failed() {
        bounds.halt.cancel();
    }
    Ok(())
}
