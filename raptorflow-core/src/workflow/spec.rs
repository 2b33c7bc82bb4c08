//! `WorkflowSpec`: a workflow as data, in TOML, JSON or code.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    event::Priority,
    types::{Diagnostic, Diagnostics},
    workflow::{Aggregate, Condition},
};

/// A workflow as data; build it with [`crate::workflow::Workflow::from_spec`].
///
/// ```
/// use raptorflow_core::workflow::{Workflow, WorkflowSpec};
/// let spec: WorkflowSpec = toml::from_str(r#"
///     name = "launch"
///     [[steps]]
///     name = "research"
///     agent = "researcher"
///     [[steps]]
///     name = "approve"
///     gate = { prompt = "Publish this?", choices = [true, false] }
///     after = ["research"]
///     [[steps]]
///     name = "publish"
///     tool = "publish"
///     after = ["approve"]
///     input = { text = "$research" }
///     compensate = { tool = "unpublish" }
/// "#).unwrap();
/// assert_eq!(Workflow::from_spec(spec)?.name().as_str(), "launch");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WorkflowSpec {
    /// Its name, unique among the agents and workflows of an engine.
    pub name: String,
    /// What it does and when to choose it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// How urgent its events are.
    #[serde(default)]
    pub priority: Priority,
    /// Seconds for the work of the whole, without the time in which it only waits for people or timers; 3,600 by
    /// default. Also inside of another workflow, and there for each item or turn by itself.
    #[serde(default = "hour", with = "seconds")]
    pub timeout: Duration,
    /// How many steps run at the same time; 64 by default.
    #[serde(default = "parallel")]
    pub parallel: usize,
    /// What the workflow gives, with references like `$draft`; by default the output of its last step, or an object
    /// of the outputs by name where several steps are last.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub output: Option<Value>,
    /// The steps.
    #[serde(default)]
    pub steps: Vec<StepSpec>,
}

impl WorkflowSpec {
    /// A workflow without steps.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            priority: Priority::default(),
            timeout: hour(),
            parallel: parallel(),
            output: None,
            steps: Vec::new(),
        }
    }

    /// Reads a workflow in TOML.
    ///
    /// # Errors
    /// `InvalidInput` with the line and column of what cannot be read.
    pub fn from_toml(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|err| {
            let problem = Diagnostic::error("unreadable", err.message());
            unreadable(match err.span() {
                Some(span) => problem.at_offset(text, span.start),
                None => problem,
            })
        })
    }

    /// Reads a workflow in JSON.
    ///
    /// # Errors
    /// As [`WorkflowSpec::from_toml`].
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|err| {
            let place = |number| u32::try_from(number).unwrap_or(u32::MAX);
            unreadable(
                Diagnostic::error("unreadable", err.to_string()).at(place(err.line()), place(err.column())),
            )
        })
    }
}

fn unreadable(problem: Diagnostic) -> Error {
    Diagnostics(vec![problem]).into_error("workflow.read", "the workflow cannot be read")
}

/// One step; exactly one of `agent`, `agents`, `tool`, `function`, `workflow`, `repeat`, `gate` and `timer` is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StepSpec {
    /// Its name, unique in the workflow: as a path segment it also names what the step records.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// An agent or a workflow that the engine knows by this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Several agents that work at the same time; see `aggregate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<String>>,
    /// The capability that is wanted of the agent or agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// How the answers of several agents become one value; `all` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// A tool that the engine knows by this name; its input must be an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// A function of the host, by the name under which it was given to the builder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The steps of another workflow as one step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Box<WorkflowSpec>>,
    /// A workflow that runs again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<RepeatSpec>,
    /// A question to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateSpec>,
    /// A wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timer: Option<TimerSpec>,
    /// The steps that must be settled before; a name, or a table with a condition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AfterSpec>,
    /// Whether all of `after` must have been taken, or one of them.
    #[serde(skip_serializing_if = "Join::is_all")]
    pub join: Join,
    /// What it is given, with references like `$input/topic` and `$draft`.
    ///
    /// By default: the input of the workflow when it comes after nothing, the output of the step that it comes after,
    /// or an object of outputs by name when it comes after several.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub input: Option<Value>,
    /// A reference to a list, each item of which is worked on by itself, as `$item`; the output is the list of outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<Value>,
    /// How many items are worked on at the same time; 16 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<usize>,
    /// Seconds for one attempt of an agent, tool or function; 30 by default.
    #[serde(skip_serializing_if = "Option::is_none", with = "some_seconds")]
    pub timeout: Option<Duration>,
    /// How often an agent, tool or function that failed is tried again; 3 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Seconds before the first of these tries, doubled for each further one up to 30; 0.5 by default.
    #[serde(skip_serializing_if = "Option::is_none", with = "some_seconds")]
    pub retry_delay: Option<Duration>,
    /// Whether the workflow goes on, with null as the output, when the step fails.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What takes the step back when the workflow fails after it; it is given the step's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensate: Option<CompensateSpec>,
    /// Which version of its function this is: another one is another definition, see
    /// [`crate::workflow::Workflow::definition`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A step that must be settled before another, and what its output must be like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "AfterForm", into = "AfterForm")]
#[non_exhaustive]
pub struct AfterSpec {
    /// The name of the step.
    pub step: String,
    /// The test of its output; without one the way is taken when the step completed, and for a gate unless the answer
    /// was `false`.
    pub when: Option<Condition>,
}

impl AfterSpec {
    /// After a step, whatever its output.
    pub fn new(step: impl Into<String>) -> Self {
        Self { step: step.into(), when: None }
    }

    /// After a step, when a test of its output holds.
    pub fn when(step: impl Into<String>, condition: Condition) -> Self {
        Self { step: step.into(), when: Some(condition) }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected the name of a step, or a table with `step` and `when`")]
enum AfterForm {
    Name(String),
    Table(Box<AfterTable>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterTable {
    step: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    when: Option<Condition>,
}

impl From<AfterForm> for AfterSpec {
    fn from(form: AfterForm) -> Self {
        match form {
            AfterForm::Name(step) => Self { step, when: None },
            AfterForm::Table(table) => Self { step: table.step, when: table.when },
        }
    }
}

impl From<AfterSpec> for AfterForm {
    fn from(after: AfterSpec) -> Self {
        match after.when {
            None => Self::Name(after.step),
            when => Self::Table(Box::new(AfterTable { step: after.step, when })),
        }
    }
}

/// Which of the steps before a step must have led to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// Every one, otherwise the step is skipped.
    #[default]
    All,
    /// At least one; where branches come together again.
    Any,
}

impl Join {
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// A workflow that runs until a test holds, at most so many times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RepeatSpec {
    /// What runs: first with the step's input, then with its own output before.
    pub workflow: Box<WorkflowSpec>,
    /// How often at most, from 1 to 1,000; then its last output is the step's.
    pub at_most: u32,
    /// The test of its output that ends it; without one it always runs `at_most` times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Condition>,
}

/// A question to people; the output of the step is the answer, and an answer of `false` skips what comes after.
///
/// It is answered with a signal under the step's path, see [`crate::Engine::signal`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GateSpec {
    /// What is asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// The answers that are possible; any by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<Value>>,
    /// The form of the answer, as a JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Who may answer; anybody by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Vec<String>>,
    /// Seconds to wait for an answer; as long as it takes by default.
    #[serde(skip_serializing_if = "Option::is_none", with = "some_seconds")]
    pub timeout: Option<Duration>,
    /// The answer when nobody gave one in time; without it the step fails then.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub default: Option<Value>,
}

/// A wait; exactly one of the two is set, and the output is the point in time at which it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TimerSpec {
    /// Seconds from when the step's turn comes.
    #[serde(skip_serializing_if = "Option::is_none", with = "some_seconds")]
    pub seconds: Option<Duration>,
    /// A point in time as RFC 3339, or a reference to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Value>,
}

/// What takes a step back; exactly one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CompensateSpec {
    /// An agent that the engine knows by this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// A tool that the engine knows by this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// A function of the host, by the name under which it was given to the builder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

/// Reads a value that is there: a null is the value null, and what is not there is nothing.
pub(super) fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

const fn hour() -> Duration {
    Duration::from_secs(3600)
}

const fn parallel() -> usize {
    64
}

/// Durations as seconds, with a fraction where there is one.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        if duration.subsec_nanos() == 0 {
            duration.as_secs().serialize(serializer)
        } else {
            duration.as_secs_f64().serialize(serializer)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| D::Error::custom(format!("expected a number of seconds from 0 on, got {seconds}")))
    }
}

/// As [`seconds`], where there may be none.
pub(super) mod some_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::seconds;

    #[derive(Deserialize)]
    struct Seconds(#[serde(with = "seconds")] Duration);

    pub(in crate::workflow) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => seconds::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::workflow) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<Seconds>::deserialize(deserializer).map(|seconds| seconds.map(|Seconds(duration)| duration))
    }
}
