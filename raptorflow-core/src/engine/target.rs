//! `Target`: what an engine is asked to run.

use crate::{
    agent::Agent,
    types::AgentId,
    workflow::{Pattern, PatternBuilder, PatternKind, Workflow},
};

/// What is to run: the name of something that the engine knows, or an agent or workflow itself.
///
/// What is given itself becomes known under its name, unless the name is taken: then this run alone uses it, and a
/// resume takes what is known.
///
/// ```
/// use raptorflow_core::{Engine, Workflow, workflow::function};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let flow = Workflow::builder("echo").step("say", function(|_ctx, input| async move { Ok(input) })).build()?;
/// let engine = Engine::builder().build().await?;
/// let first = engine.run(&flow, "hello").await?;
/// assert_eq!(engine.run("echo", "hello").await?.output, first.output);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub enum Target {
    /// The name of something that the engine knows.
    Name(Box<str>),
    /// The thing itself.
    Agent(Agent),
}

impl From<&str> for Target {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

impl From<&String> for Target {
    fn from(name: &String) -> Self {
        Self::Name(name.as_str().into())
    }
}

impl From<String> for Target {
    fn from(name: String) -> Self {
        Self::Name(name.into())
    }
}

impl From<&AgentId> for Target {
    fn from(name: &AgentId) -> Self {
        Self::Name(name.as_str().into())
    }
}

impl From<Agent> for Target {
    fn from(agent: Agent) -> Self {
        Self::Agent(agent)
    }
}

impl From<&Agent> for Target {
    fn from(agent: &Agent) -> Self {
        Self::Agent(agent.clone())
    }
}

impl From<Workflow> for Target {
    fn from(workflow: Workflow) -> Self {
        Self::Agent(workflow.into())
    }
}

impl From<&Workflow> for Target {
    fn from(workflow: &Workflow) -> Self {
        workflow.clone().into()
    }
}

impl From<Pattern> for Target {
    fn from(pattern: Pattern) -> Self {
        Self::Agent(pattern.into())
    }
}

impl From<&Pattern> for Target {
    fn from(pattern: &Pattern) -> Self {
        pattern.clone().into()
    }
}

impl<K: Into<PatternKind>> From<PatternBuilder<K>> for Target {
    /// A pattern that is wrong tells it when it runs.
    fn from(pattern: PatternBuilder<K>) -> Self {
        Self::Agent(pattern.into())
    }
}
