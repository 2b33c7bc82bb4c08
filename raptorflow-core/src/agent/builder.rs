//! `AgentBuilder`: an agent around a model, built in code.

use std::{collections::HashSet, sync::Arc};

use crate::{
    agent::{
        Agent, AgentKind, AgentSpec, Capability, Compaction, Handoff, Hook, Limits, LlmAgent, Retrieval,
        notes,
    },
    error::{Error, ErrorKind, Result},
    memory::Remember,
    model::{Model, ModelSettings},
    tool::{Tool, ToolRegistry},
    types::{AgentId, Schema},
};

/// Collects what an agent is; [`AgentBuilder::build`] checks everything.
///
/// ```
/// use raptorflow_core::{Agent, agent::Limits};
/// let agent = Agent::builder("researcher")
///     .model("offline:extractive")
///     .description("Finds what documents say.")
///     .instructions("Quote, do not paraphrase.")
///     .build()?;
/// assert_eq!(&*agent.spec().description, "Finds what documents say.");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct AgentBuilder {
    spec: Result<AgentSpec>,
    model: Option<Model>,
    tools: Vec<Arc<dyn Tool>>,
    hooks: Vec<Arc<dyn Hook>>,
}

impl AgentBuilder {
    pub(super) fn new(name: impl Into<Arc<str>>) -> Self {
        Self { spec: AgentSpec::new(name), model: None, tools: Vec::new(), hooks: Vec::new() }
    }

    /// Continues from a spec that came as data.
    #[must_use]
    pub fn from_spec(spec: AgentSpec) -> Self {
        Self { spec: Ok(spec), model: None, tools: Vec::new(), hooks: Vec::new() }
    }

    /// The model by name, `provider:model`; the engine's default when not set.
    #[must_use]
    pub fn model(self, name: impl Into<Arc<str>>) -> Self {
        self.change(|spec| spec.model = Some(name.into()))
    }

    /// The model itself, for one that no registry knows.
    #[must_use]
    pub fn model_instance(mut self, model: Model) -> Self {
        self.model = Some(model);
        self
    }

    /// How the model is to answer: temperature, longest answer, thinking and the like.
    #[must_use]
    pub fn model_settings(self, settings: ModelSettings) -> Self {
        self.change(|spec| spec.model_settings = Arc::new(settings))
    }

    /// What the agent is told: the system message.
    #[must_use]
    pub fn instructions(self, text: impl Into<Arc<str>>) -> Self {
        self.change(|spec| spec.instructions = text.into())
    }

    /// Its name for people.
    #[must_use]
    pub fn title(self, title: impl Into<Arc<str>>) -> Self {
        self.change(|spec| spec.title = title.into())
    }

    /// What it does and when to choose it.
    #[must_use]
    pub fn description(self, text: impl Into<Arc<str>>) -> Self {
        self.change(|spec| spec.description = text.into())
    }

    /// The team it belongs to.
    #[must_use]
    pub fn domain(self, domain: impl Into<Arc<str>>) -> Self {
        self.change(|spec| spec.domain = Some(domain.into()))
    }

    /// What it is for.
    #[must_use]
    pub fn kind(self, kind: AgentKind) -> Self {
        self.change(|spec| spec.kind = kind)
    }

    /// A tool of its own.
    #[must_use]
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// Tools of its own.
    #[must_use]
    pub fn tools<T: Tool>(mut self, tools: impl IntoIterator<Item = T>) -> Self {
        self.tools.extend(tools.into_iter().map(|tool| -> Arc<dyn Tool> { Arc::new(tool) }));
        self
    }

    /// A tool of its own that is shared.
    #[must_use]
    pub fn shared_tool(mut self, tool: Arc<dyn Tool>) -> Self {
        self.tools.push(tool);
        self
    }

    /// Watches and steers its runs; see [`Hook`] for the order of several.
    #[must_use]
    pub fn hook(self, hook: impl Hook) -> Self {
        self.shared_hook(Arc::new(hook))
    }

    /// A hook that is shared.
    #[must_use]
    pub fn shared_hook(mut self, hook: Arc<dyn Hook>) -> Self {
        self.hooks.push(hook);
        self
    }

    /// Another agent that it may ask, as a tool of that name; the engine must know it when the agent runs.
    ///
    /// An agent at hand is a tool without being known: `.tool(agent.as_tool())`.
    #[must_use]
    pub fn agent(self, name: impl Into<Arc<str>>) -> Self {
        match AgentId::new(name) {
            Ok(name) => self.change(|spec| spec.agents.push(name)),
            Err(err) => Self { spec: self.spec.and(Err(err)), ..self },
        }
    }

    /// Agents that it may hand the conversation to; the engine must know them when the agent runs.
    #[must_use]
    pub fn handoffs(self, handoffs: impl IntoIterator<Item = Handoff>) -> Self {
        self.change(|spec| spec.handoffs.extend(handoffs))
    }

    /// What it may do: it calls only tools whose needs are named here, and asks only agents that have no more.
    ///
    /// Without a list it may do what its caller may; see [`ToolSpec::needs`](crate::types::ToolSpec::needs).
    /// An agent that is given more than its caller has is refused with `PermissionDenied` when it is asked.
    ///
    /// ```
    /// use raptorflow_core::{Agent, tool::FunctionTool, types::{Schema, ToolSpec}};
    /// let spec = ToolSpec::new("send", "Sends a letter.", Schema::any_object());
    /// let send = FunctionTool::new(spec, async |_ctx, arguments| Ok(arguments)).with_needs(["mail.send"]);
    /// Agent::builder("clerk").tool(send).grants(["mail.send", "files.read"]).build()?;
    /// # Ok::<(), raptorflow_core::Error>(())
    /// ```
    #[must_use]
    pub fn grants<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.change(|spec| spec.grants = Some(names))
    }

    /// Lets it read and write the notes that the agents of a run share, with the tools `post_note` and `read_notes`.
    #[must_use]
    pub fn blackboard(self) -> Self {
        self.change(|spec| spec.blackboard = true)
    }

    /// Its answer is JSON of this Rust type's schema.
    #[must_use]
    pub fn output<T: schemars::JsonSchema>(self) -> Self {
        self.output_schema(Schema::of::<T>())
    }

    /// Its answer is JSON of this schema.
    #[must_use]
    pub fn output_schema(self, schema: Schema) -> Self {
        self.change(|spec| spec.output = Some(schema))
    }

    /// Passages that it is given before it is asked.
    #[must_use]
    pub fn retrieval(self, retrieval: Retrieval) -> Self {
        self.change(|spec| spec.retrieval = Some(retrieval))
    }

    /// What it is given of its memory before a run, and keeps in it after one; the engine has the memory.
    #[must_use]
    pub fn memory(self, remember: Remember) -> Self {
        self.change(|spec| spec.memory = Some(Box::new(remember)))
    }

    /// Makes its conversations shorter before they fill the model's context window; they are left alone by default.
    #[must_use]
    pub fn compaction(self, compaction: Compaction) -> Self {
        self.change(|spec| spec.compaction = Some(Box::new(compaction)))
    }

    /// One more thing that it can do.
    #[must_use]
    pub fn capability(self, capability: Capability) -> Self {
        self.change(|spec| spec.capabilities.push(capability))
    }

    /// Bounds of one run.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.change(|spec| spec.limits = limits)
    }

    /// Checks everything and makes the agent.
    ///
    /// # Errors
    /// `InvalidInput` for a name, tool name, schema or bound that does not fit, `AlreadyExists` for two tools or two
    /// capabilities of one name.
    pub fn build(self) -> Result<Agent> {
        let spec = self.spec?;
        check(&spec).map_err(|err| err.with("agent", &spec.name))?;
        for schema in spec.capabilities.iter().flat_map(|it| [&it.input, &it.output]).chain(&spec.output) {
            schema.check().map_err(|err| err.with("agent", &spec.name))?;
        }
        let mut tools = ToolRegistry::default();
        for tool in self.tools {
            tools.register_shared(tool).map_err(|err| err.with("agent", &spec.name))?;
        }
        if spec.blackboard {
            for tool in notes::tools() {
                tools.register_shared(tool).map_err(|err| err.with("agent", &spec.name))?;
            }
        }
        Ok(Agent::new(LlmAgent::new(spec, self.model, tools).with_hooks(self.hooks)))
    }

    fn change(mut self, change: impl FnOnce(&mut AgentSpec)) -> Self {
        if let Ok(spec) = &mut self.spec {
            change(spec);
        }
        self
    }
}

/// What a spec alone may have wrong besides its schemas.
fn check(spec: &AgentSpec) -> Result<()> {
    let unusable = |field| {
        Err(Error::new(ErrorKind::InvalidInput, "agent.build", "expected at least 1").with("field", field))
    };
    if spec.limits.steps == 0 {
        return unusable("limits.steps");
    }
    if spec.limits.hook_seconds == 0 {
        return unusable("limits.hook_seconds");
    }
    if spec.agents.iter().chain(spec.handoffs.iter().map(|it| &it.agent)).any(|it| *it == spec.name) {
        let message = "an agent cannot ask itself, nor hand over to itself";
        return Err(Error::new(ErrorKind::InvalidInput, "agent.build", message).with("field", "agents"));
    }
    spec.model_settings.check()?;
    if let Some(compaction) = &spec.compaction {
        compaction.check()?;
    }
    let mut known = HashSet::new();
    for capability in &spec.capabilities {
        if capability.timeout_seconds == 0 {
            return unusable("capability.timeout_seconds");
        }
        if !known.insert(&capability.name) {
            let message = "two capabilities have this name";
            return Err(Error::new(ErrorKind::AlreadyExists, "agent.build", message)
                .with("capability", &capability.name));
        }
    }
    Ok(())
}
