//! `Workflow`: the handle to a checked workflow, and its builder.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use indexmap::IndexMap;
use serde_json::Value;

use crate::{
    agent::{Actor, AgentInput, AgentKind, AgentOutput, AgentSpec, Session},
    error::{Error, ErrorKind, Result},
    event::Priority,
    journal::Fact,
    types::{AgentId, Diagnostics},
    workflow::{GateSpec, Step, StepFunction, WorkflowSpec, compile::compile, driver, graph::Graph},
};

/// A checked workflow; an actor, so an engine runs it like an agent. Cloning shares it.
///
/// ```
/// use raptorflow_core::{Engine, workflow::{Workflow, after, function}};
/// use serde_json::json;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let flow = Workflow::builder("launch")
///     .step("draft", function(|_ctx, topic| async move { Ok(json!({ "text": topic })) }))
///     .gate("approve", after("draft").prompt("Publish this?"))
///     .step("publish", function(|_ctx, text| async move { Ok(text) }).input("$draft/text").after("approve"))
///     .build()?;
/// let engine = Engine::builder().build().await?;
/// engine.register(flow)?;
/// let run = engine.start("launch", "Diwali").await?;
/// engine.signal(run.id(), "approve", true).await?;
/// assert_eq!(run.outcome().await?.output, "Diwali");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Workflow(Arc<Inner>);

struct Inner {
    spec: WorkflowSpec,
    agent: Arc<AgentSpec>,
    graph: Arc<Graph>,
}

impl Workflow {
    /// Starts to build a workflow in code.
    pub fn builder(name: impl Into<String>) -> WorkflowBuilder {
        WorkflowBuilder::new(WorkflowSpec::new(name))
    }

    /// Checks a workflow that is data; it has no functions, see [`WorkflowBuilder::from_spec`] for those.
    ///
    /// # Errors
    /// `InvalidInput` with every problem of it as [`Diagnostics`].
    pub fn from_spec(spec: WorkflowSpec) -> Result<Self> {
        WorkflowBuilder::from_spec(spec).build()
    }

    /// Reads and checks a workflow in TOML.
    ///
    /// # Errors
    /// `InvalidInput` with the line of what cannot be read, or with every problem of the workflow.
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::from_spec(WorkflowSpec::from_toml(text)?)
    }

    /// Reads and checks a workflow in JSON.
    ///
    /// # Errors
    /// As [`Workflow::from_toml`].
    pub fn from_json(text: &str) -> Result<Self> {
        Self::from_spec(WorkflowSpec::from_json(text)?)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &AgentId {
        &self.0.agent.name
    }

    /// It as data.
    #[must_use]
    pub fn spec(&self) -> &WorkflowSpec {
        &self.0.spec
    }

    /// The digest of each step by its name.
    ///
    /// A run records it; a run that is resumed with another one is refused with the name of the step that differs.
    /// What a function does is not in its digest: give the step another [`Step::version`] when that changes.
    #[must_use]
    pub fn definition(&self) -> &Arc<IndexMap<Arc<str>, Arc<str>>> {
        &self.0.graph.definition
    }

    pub(super) fn graph(&self) -> &Arc<Graph> {
        &self.0.graph
    }
}

#[async_trait]
impl Actor for Workflow {
    fn spec(&self) -> &Arc<AgentSpec> {
        &self.0.agent
    }

    fn opening(&self) -> Vec<Fact> {
        vec![Fact::DefinitionRecorded { steps: Arc::clone(self.definition()) }]
    }

    fn check_signal(&self, name: &str, value: &Value, by: Option<&str>) -> Result<()> {
        self.check_answer(name, value, by)
    }

    async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        input.without_attachments()?;
        driver::run(self, session, input).await
    }
}

impl fmt::Debug for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workflow")
            .field("name", &self.0.spec.name)
            .field("steps", &self.0.spec.steps.len())
            .finish()
    }
}

/// Collects the steps of a [`Workflow`]; problems are told by [`WorkflowBuilder::build`], all at once.
#[derive(Clone, Debug)]
pub struct WorkflowBuilder {
    spec: WorkflowSpec,
    functions: BTreeMap<String, StepFunction>,
    /// Built workflows by the name of the step that they are.
    nested: BTreeMap<String, Workflow>,
}

impl WorkflowBuilder {
    fn new(spec: WorkflowSpec) -> Self {
        Self { spec, functions: BTreeMap::new(), nested: BTreeMap::new() }
    }

    /// Goes on from a workflow that is data, to add the functions that it names.
    #[must_use]
    pub fn from_spec(spec: WorkflowSpec) -> Self {
        Self::new(spec)
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, name: impl AsRef<str>, step: Step) -> Self {
        let step = step.named(name.as_ref());
        self.functions.extend(step.functions);
        if let Some(nested) = step.nested {
            self.nested.insert(name.as_ref().to_owned(), nested);
        }
        self.spec.steps.push(step.spec);
        self
    }

    /// Adds a question to people; [`crate::workflow::after`] begins the step.
    #[must_use]
    pub fn gate(self, name: impl AsRef<str>, mut step: Step) -> Self {
        let gate = step.spec.gate.get_or_insert_with(GateSpec::default);
        // Said before it was known to be a gate.
        gate.timeout = gate.timeout.or(step.spec.timeout.take());
        self.step(name, step)
    }

    /// The function behind the steps of data that name it.
    #[must_use]
    pub fn function(mut self, name: impl Into<String>, function: StepFunction) -> Self {
        self.functions.insert(name.into(), function);
        self
    }

    /// What it does and when to choose it.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.spec.description = description.into();
        self
    }

    /// How urgent its events are.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.spec.priority = priority;
        self
    }

    /// How long the work of the whole may take; see [`WorkflowSpec::timeout`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.spec.timeout = timeout;
        self
    }

    /// How many steps run at the same time.
    #[must_use]
    pub fn parallel(mut self, steps: usize) -> Self {
        self.spec.parallel = steps;
        self
    }

    /// What the workflow gives; see [`WorkflowSpec::output`].
    #[must_use]
    pub fn output(mut self, output: impl Into<Value>) -> Self {
        self.spec.output = Some(output.into());
        self
    }

    /// Checks it.
    ///
    /// # Errors
    /// `InvalidInput` with every problem as [`Diagnostics`]: cycles, unknown steps, two steps of one name, a gate that
    /// nobody can answer, functions that were not given, numbers out of range.
    pub fn build(self) -> Result<Workflow> {
        let (graph, problems) = compile(&self.spec, &self.functions, &self.nested);
        if !problems.is_empty() {
            let err = Diagnostics(problems).into_error("workflow.build", "the workflow has problems");
            return Err(err.with("workflow", &self.spec.name));
        }
        let graph = graph.ok_or_else(|| {
            Error::new(ErrorKind::Internal, "workflow.build", "a workflow without problems was not built")
        })?;
        let mut agent = AgentSpec::new(self.spec.name.as_str())?;
        agent.kind = AgentKind::Coordinator;
        agent.description = self.spec.description.as_str().into();
        Ok(Workflow(Arc::new(Inner { spec: self.spec, agent: Arc::new(agent), graph: Arc::new(graph) })))
    }
}
