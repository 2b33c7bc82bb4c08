//! `FunctionAgent`: an agent that is a function of the host.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use serde_json::Value;

use crate::{
    agent::{Actor, AgentInput, AgentOutput, AgentSpec, Session, driver, driver::event, retry::Retries},
    error::{Error, ErrorKind, Result},
    event::EventKind,
    journal::Fact,
    runtime::Context,
    types::{Diagnostics, Schema},
};

type Work = dyn Fn(Context, AgentInput) -> Pin<Box<dyn Future<Output = Result<Value>> + Send>> + Send + Sync;

/// The step under which the value is journalled.
const STEP: &str = "call";

/// An agent that is an async function; its value is journalled, so that a resumed run does not call it again.
///
/// Time-outs hold and schemas are checked as for any agent: arguments before the call, the value after it.
///
/// ```
/// use raptorflow_core::{Agent, agent::{AgentSpec, FunctionAgent}};
/// let shout = FunctionAgent::new(AgentSpec::new("shout")?, |_ctx, input| async move {
///     Ok(input.question().to_uppercase().into())
/// });
/// assert_eq!(Agent::new(shout).name().as_str(), "shout");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone)]
pub struct FunctionAgent {
    spec: Arc<AgentSpec>,
    work: Arc<Work>,
}

impl FunctionAgent {
    /// An agent that calls `work` with the context and what it is asked.
    pub fn new<F, R>(spec: AgentSpec, work: F) -> Self
    where
        F: Fn(Context, AgentInput) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value>> + Send + 'static,
    {
        Self { spec: Arc::new(spec), work: Arc::new(move |ctx, input| Box::pin(work(ctx, input))) }
    }
}

impl FunctionAgent {
    async fn call(&self, ctx: Context, input: AgentInput, schema: Option<&Schema>) -> Result<Value> {
        // The function itself runs inside the guard too, not only the future that it makes.
        let work = AssertUnwindSafe(async { (self.work)(ctx, input).await }).catch_unwind();
        let output = work.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Callback, "agent.function", "the agent's function panicked")
                .with("agent", &self.spec.name))
        })?;
        let problems = schema.map(|schema| schema.validate(&output)).unwrap_or_default();
        if problems.is_empty() {
            return Ok(output);
        }
        let message = "what the agent's function gave does not fit the schema";
        let err = Diagnostics(problems).into_error_of(ErrorKind::InvalidOutput, "agent.function", message);
        Err(err.with("agent", &self.spec.name))
    }
}

#[async_trait]
impl Actor for FunctionAgent {
    fn spec(&self) -> &Arc<AgentSpec> {
        &self.spec
    }

    async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        let capability = input.capability.as_deref().map(|name| self.spec.capability(name)).transpose()?;
        if let Some(capability) = capability {
            capability.check_input(&input.input)?;
        }
        if let Some(value) = recorded(session) {
            // Everything is recorded: nothing runs again, and nothing is told twice.
            return Ok(AgentOutput::new(value));
        }
        let form = input.form.as_ref().map(|form| &form.schema);
        let own = capability.map(|capability| &capability.output).or(self.spec.output.as_ref());
        let schema = form.or(own);
        let session = driver::timed(session, &self.spec, capability);
        let work = async {
            let ctx = session.ctx();
            let output: Value = session
                .journal()
                .step(ctx, STEP, async |ctx| {
                    let session = session.with_context(ctx.clone());
                    let mut retries = Retries::of(&session, capability);
                    loop {
                        match self.call(ctx.clone(), input.clone(), schema).await {
                            Ok(value) => return Ok(value),
                            Err(err) => retries.again(err).await?,
                        }
                    }
                })
                .await?;
            session.means().bus.publish(ctx, event(ctx, &self.spec, EventKind::CapabilityExecuted)).await?;
            Ok(AgentOutput::new(output))
        };
        driver::observed(&session, &self.spec, pin!(work)).await
    }
}

/// The value that a run before this one recorded.
fn recorded(session: &Session) -> Option<Value> {
    let entries = session.journal().recorded(session.ctx().child(STEP).path());
    entries.into_iter().find_map(|entry| match entry.fact {
        Fact::StepCompleted { value, .. } => Some(value),
        _ => None,
    })
}

impl fmt::Debug for FunctionAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionAgent").field("name", &self.spec.name).finish_non_exhaustive()
    }
}
