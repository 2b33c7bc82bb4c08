//! `FunctionAgent`: an agent that is a function of the host.

use std::{fmt, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use serde_json::Value;

use crate::{
    agent::{Actor, AgentInput, AgentOutput, AgentSpec, Session, driver},
    error::{Error, ErrorKind, Result},
    runtime::Context,
};

type Work = dyn Fn(Context, AgentInput) -> Pin<Box<dyn Future<Output = Result<Value>> + Send>> + Send + Sync;

/// An agent that is an async function; its value is journalled, so that a resumed run does not call it again.
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

#[async_trait]
impl Actor for FunctionAgent {
    fn spec(&self) -> &Arc<AgentSpec> {
        &self.spec
    }

    async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        let ctx = match self.spec.limits.time() {
            Some(time) => session.ctx().with_timeout(time),
            None => session.ctx().clone(),
        };
        let call = |ctx: Context| async move {
            let work = AssertUnwindSafe((self.work)(ctx, input.clone())).catch_unwind();
            work.await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Callback, "agent.function", "the agent's function panicked")
                    .with("agent", &self.spec.name))
            })
        };
        let session = session.with_context(ctx);
        let work = async {
            let output: Value = session.journal().step(session.ctx(), "call", call).await?;
            Ok(AgentOutput::new(output))
        };
        driver::observed(&session, &self.spec, work).await
    }
}

impl fmt::Debug for FunctionAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionAgent").field("spec", &self.spec).finish_non_exhaustive()
    }
}
