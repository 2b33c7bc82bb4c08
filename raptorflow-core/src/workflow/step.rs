//! `Step`: one step as code, and the functions that begin one.

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    error::Result,
    runtime::Context,
    workflow::{
        AfterSpec, Aggregate, CompensateSpec, Condition, GateSpec, Join, RepeatSpec, StepSpec, TimerSpec,
        Workflow,
    },
};

type Work = dyn Fn(Context, Value) -> Pin<Box<dyn Future<Output = Result<Value>> + Send>> + Send + Sync;

/// A function of the host that a step calls with its context and its input; cloning shares it.
#[derive(Clone)]
pub struct StepFunction(Arc<Work>);

impl StepFunction {
    /// Wraps an async function.
    pub fn new<F, R>(work: F) -> Self
    where
        F: Fn(Context, Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value>> + Send + 'static,
    {
        Self(Arc::new(move |ctx, input| Box::pin(work(ctx, input))))
    }

    pub(super) fn call(
        &self,
        ctx: Context,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Result<Value>> + Send>> {
        (self.0)(ctx, input)
    }
}

impl fmt::Debug for StepFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StepFunction")
    }
}

/// One step of a workflow as code; [`agent`], [`tool`], [`function`] and the other functions here begin one.
///
/// ```
/// use std::time::Duration;
/// use raptorflow_core::workflow::{Condition, Workflow, agent, tool};
/// let flow = Workflow::builder("answer")
///     .step("sort", agent("sorter"))
///     .step("refund", tool("refund").after_when("sort", Condition::at("/kind").equals("refund")))
///     .step("reply", agent("writer").after("sort").after("refund").any().retries(1).timeout(Duration::from_secs(60)))
///     .build()?;
/// assert_eq!(flow.spec().steps.len(), 3);
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Step {
    pub(super) spec: StepSpec,
    /// Functions of the host by the names that the spec gives them.
    pub(super) functions: BTreeMap<String, StepFunction>,
    /// The built workflow behind `spec.workflow` or `spec.repeat`, with its own functions.
    pub(super) nested: Option<Workflow>,
}

/// An agent, or a workflow, that the engine knows by a name.
pub fn agent(name: impl Into<String>) -> Step {
    Step::of(StepSpec { agent: Some(name.into()), ..StepSpec::default() })
}

/// Several agents at the same time, whose answers become one value.
pub fn agents<N: Into<String>>(names: impl IntoIterator<Item = N>, aggregate: Aggregate) -> Step {
    let names = names.into_iter().map(Into::into).collect();
    Step::of(StepSpec { agents: Some(names), aggregate: Some(aggregate), ..StepSpec::default() })
}

/// A tool that the engine knows by a name.
pub fn tool(name: impl Into<String>) -> Step {
    Step::of(StepSpec { tool: Some(name.into()), ..StepSpec::default() })
}

/// An async function of the host.
///
/// Its context has an idempotency key that is the same for every attempt, also after a crash.
///
/// ```
/// use raptorflow_core::{Engine, workflow::{Workflow, function}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let flow = Workflow::builder("count")
///     .step("words", function(|_ctx, input| async move {
///         Ok(input.as_str().unwrap_or_default().split_whitespace().count().into())
///     }))
///     .build()?;
/// let engine = Engine::builder().build().await?;
/// engine.register(flow)?;
/// assert_eq!(engine.run("count", "three little words").await?.output, 3);
/// # Ok(())
/// # }
/// ```
pub fn function<F, R>(work: F) -> Step
where
    F: Fn(Context, Value) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Value>> + Send + 'static,
{
    Step::calling(StepFunction::new(work))
}

/// The steps of another workflow as one step.
pub fn workflow(flow: &Workflow) -> Step {
    let spec = StepSpec { workflow: Some(Box::new(flow.spec().clone())), ..StepSpec::default() };
    Step { nested: Some(flow.clone()), ..Step::of(spec) }
}

/// A workflow that runs again, with its own output as its input, until a test of its output holds, at most so often.
pub fn repeat(flow: &Workflow, at_most: u32, until: Condition) -> Step {
    let repeat = RepeatSpec { workflow: Box::new(flow.spec().clone()), at_most, until: Some(until) };
    let spec = StepSpec { repeat: Some(repeat), ..StepSpec::default() };
    Step { nested: Some(flow.clone()), ..Step::of(spec) }
}

/// A wait of so long, also over restarts.
#[must_use]
pub fn timer(duration: Duration) -> Step {
    Step::of(StepSpec {
        timer: Some(TimerSpec { seconds: Some(duration), until: None }),
        ..StepSpec::default()
    })
}

/// A wait until a point in time, as RFC 3339 or as a reference like `$input/when`.
pub fn timer_until(point: impl Into<String>) -> Step {
    Step::of(StepSpec {
        timer: Some(TimerSpec { seconds: None, until: Some(Value::String(point.into())) }),
        ..StepSpec::default()
    })
}

/// A step that begins as soon as another has completed, for [`crate::workflow::WorkflowBuilder::gate`].
pub fn after(step: impl Into<String>) -> Step {
    Step::default().after(step)
}

impl Step {
    fn of(spec: StepSpec) -> Self {
        Self { spec, ..Self::default() }
    }

    /// A step that calls a function.
    #[must_use]
    pub fn calling(function: StepFunction) -> Self {
        // The name of the function is that of the step, which is not known yet.
        Self {
            spec: StepSpec { function: Some(String::new()), ..StepSpec::default() },
            functions: BTreeMap::from([(String::new(), function)]),
            nested: None,
        }
    }

    /// Comes after another step has completed.
    #[must_use]
    pub fn after(mut self, step: impl Into<String>) -> Self {
        self.spec.after.push(AfterSpec::new(step));
        self
    }

    /// Comes after another step has completed, if a test of its output holds.
    #[must_use]
    pub fn after_when(mut self, step: impl Into<String>, condition: Condition) -> Self {
        self.spec.after.push(AfterSpec::when(step, condition));
        self
    }

    /// One of the steps before it is enough; where branches come together again.
    #[must_use]
    pub fn any(mut self) -> Self {
        self.spec.join = Join::Any;
        self
    }

    /// What it is given; see [`StepSpec::input`].
    #[must_use]
    pub fn input(mut self, input: impl Into<Value>) -> Self {
        self.spec.input = Some(input.into());
        self
    }

    /// Works on each item of a list by itself; see [`StepSpec::map`].
    #[must_use]
    pub fn map(mut self, list: impl Into<String>) -> Self {
        self.spec.map = Some(Value::String(list.into()));
        self
    }

    /// How many items are worked on at the same time.
    #[must_use]
    pub fn parallel(mut self, items: usize) -> Self {
        self.spec.parallel = Some(items);
        self
    }

    /// The capability that is wanted of the agent.
    #[must_use]
    pub fn capability(mut self, capability: impl Into<String>) -> Self {
        self.spec.capability = Some(capability.into());
        self
    }

    /// How long one attempt, or a gate, may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        match &mut self.spec.gate {
            Some(gate) => gate.timeout = Some(timeout),
            None => self.spec.timeout = Some(timeout),
        }
        self
    }

    /// How often it is tried again.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.spec.retries = Some(retries);
        self
    }

    /// How long to wait before it is tried again the first time.
    #[must_use]
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.spec.retry_delay = Some(delay);
        self
    }

    /// The workflow goes on without it when it fails.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.spec.optional = true;
        self
    }

    /// What takes it back when the workflow fails after it: a step of an agent, a tool or a function.
    #[must_use]
    pub fn compensate(mut self, by: Self) -> Self {
        const UNDO: &str = "undo";
        let StepSpec { agent, tool, function, .. } = by.spec;
        for (_, function) in by.functions {
            self.functions.insert(UNDO.to_owned(), function);
        }
        self.spec.compensate =
            Some(CompensateSpec { agent, tool, function: function.map(|_| UNDO.to_owned()) });
        self
    }

    /// Which version of its function this is; see [`StepSpec::version`].
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.spec.version = Some(version.into());
        self
    }

    /// What it is for.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.spec.description = description.into();
        self
    }

    /// What a gate asks.
    #[must_use]
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.gate_mut().prompt = prompt.into();
        self
    }

    /// The answers that a gate takes.
    #[must_use]
    pub fn choices<V: Into<Value>>(mut self, choices: impl IntoIterator<Item = V>) -> Self {
        self.gate_mut().choices = Some(choices.into_iter().map(Into::into).collect());
        self
    }

    /// Who may answer a gate.
    #[must_use]
    pub fn approvers<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.gate_mut().approvers = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The answer of a gate that nobody answered in time.
    #[must_use]
    pub fn default_answer(mut self, answer: impl Into<Value>) -> Self {
        self.gate_mut().default = Some(answer.into());
        self
    }

    fn gate_mut(&mut self) -> &mut GateSpec {
        self.spec.gate.get_or_insert_default()
    }

    /// Gives the step its name, and the functions theirs.
    pub(super) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.spec.name);
        let of_step =
            |function: &str| if function.is_empty() { name.to_owned() } else { format!("{name}.{function}") };
        self.functions =
            self.functions.into_iter().map(|(key, function)| (of_step(&key), function)).collect();
        let compensation = self.spec.compensate.as_mut().and_then(|by| by.function.as_mut());
        for function in self.spec.function.as_mut().into_iter().chain(compensation) {
            *function = of_step(function);
        }
        self
    }
}
