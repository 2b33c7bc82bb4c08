//! `LlmAgent`: the agent built from an `AgentSpec` around a model.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    agent::{
        Actor, AgentInput, AgentOutput, AgentSpec, Hook, Session, driver, handoff::TransferTool,
        hooks::Hooks, vitals::Vitals,
    },
    error::Result,
    model::Model,
    tool::ToolRegistry,
    types::{Effects, ToolSpec},
};

/// An agent that asks a model and lets it use tools.
///
/// ```
/// use raptorflow_core::{Agent, agent::{AgentSpec, LlmAgent}, model::{Model, OfflineModel}, tool::ToolRegistry};
/// let model = Model::new(OfflineModel::default());
/// let agent = Agent::new(LlmAgent::new(AgentSpec::new("reader")?, Some(model), ToolRegistry::new()));
/// assert_eq!(agent.name().as_str(), "reader");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone)]
pub struct LlmAgent {
    spec: Arc<AgentSpec>,
    model: Option<Model>,
    /// Whether the engine's layers are before its own model already.
    layered: bool,
    tools: ToolRegistry,
    hooks: Box<[Arc<dyn Hook>]>,
}

impl LlmAgent {
    /// An agent with a model of its own, or the one that its spec names, and tools of its own.
    #[must_use]
    pub fn new(spec: AgentSpec, model: Option<Model>, tools: ToolRegistry) -> Self {
        Self { spec: Arc::new(spec), model, layered: false, tools, hooks: Box::default() }
    }

    /// Lets hooks watch and steer its runs, after those that it has.
    #[must_use]
    pub fn with_hooks(mut self, hooks: impl IntoIterator<Item = Arc<dyn Hook>>) -> Self {
        self.hooks = self.hooks.into_iter().chain(hooks).collect();
        self
    }

    /// The engine's hooks and its own.
    pub(super) fn hooks(&self, session: &Session) -> Hooks {
        let of_engine = session.means().hooks();
        if of_engine.is_empty() && self.hooks.is_empty() {
            return Hooks::default();
        }
        let limit = Duration::from_secs(self.spec.limits.hook_seconds);
        Hooks::new(&of_engine, &self.hooks, limit)
    }

    /// With a model that has the engine's layers before it.
    pub(super) fn with_layered_model(mut self, model: Model) -> Self {
        (self.model, self.layered) = (Some(model), true);
        self
    }

    /// Its model behind the engine's layers: its own, the one that its spec names, or the engine's default.
    pub(super) async fn model(&self, session: &Session, vitals: &Vitals) -> Result<Model> {
        match &self.model {
            Some(model) if self.layered => Ok(model.clone()),
            Some(model) => Ok(vitals.wrapped(model, &session.means().models)),
            None => session.model(self.spec.model.as_deref()).await,
        }
    }

    /// Its tools: its own and those of the engine that its spec names.
    pub(super) fn tools(&self, session: &Session) -> Result<(ToolRegistry, Arc<[ToolSpec]>)> {
        if self.spec.tools.is_empty() && self.spec.agents.is_empty() && self.spec.handoffs.is_empty() {
            let tools = self.tools.clone().paid_as(&session.means().tools, &self.spec.name);
            return Ok((tools, self.tools.specs()));
        }
        let mut tools = self.tools.clone();
        for name in &self.spec.tools {
            tools.adopt(&session.means().tools, name).map_err(|err| err.with("agent", &self.spec.name))?;
        }
        for name in &self.spec.agents {
            let agent = session.means().agents.get(name.as_str());
            let tool = agent.map_err(|err| err.with("of", &self.spec.name))?.as_tool();
            tools.register(tool).map_err(|err| err.with("agent", &self.spec.name))?;
        }
        for handoff in &self.spec.handoffs {
            let agent = session.means().agents.get(handoff.agent.as_str());
            let tool = TransferTool::new(handoff, &agent.map_err(|err| err.with("of", &self.spec.name))?);
            tools.register(tool).map_err(|err| err.with("agent", &self.spec.name))?;
        }
        let specs = tools.specs();
        Ok((tools.paid_as(&session.means().tools, &self.spec.name), specs))
    }
}

#[async_trait]
impl Actor for LlmAgent {
    fn spec(&self) -> &Arc<AgentSpec> {
        &self.spec
    }

    /// The worst of what its own tools do; what those of the engine and other agents do is not known before it runs.
    fn effects(&self) -> Effects {
        if !self.spec.tools.is_empty() || !self.spec.agents.is_empty() || !self.spec.handoffs.is_empty() {
            return Effects::External;
        }
        let tools = self.tools.specs();
        [Effects::External, Effects::Write]
            .into_iter()
            .find(|it| tools.iter().any(|tool| tool.effects == *it))
            .unwrap_or_default()
    }

    async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        driver::drive(self, session, input).await
    }
}

impl fmt::Debug for LlmAgent {
    /// Without the instructions, which do not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmAgent").field("name", &self.spec.name).finish_non_exhaustive()
    }
}
