//! `TypedOutcome`: how a run ended whose answer is a value of a type.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    engine::Outcome,
    error::{Error, ErrorKind, Result},
    types::{AgentId, Finish, Money, Passage, RunId, Usage},
};

/// How a run ended whose answer is a value of a type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TypedOutcome<T> {
    /// The answer.
    pub value: T,
    /// The run; `resume`, `history` and `cancel` take it.
    pub run_id: RunId,
    /// Tokens that the run took, also for answers that did not fit.
    pub usage: Usage,
    /// What the run cost; `None` when a price is unknown or nothing was priced.
    pub cost: Option<Money>,
    /// The passages that the agent was given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passages: Vec<Passage>,
    /// Who answered, when the agent that was asked handed the conversation over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
}

impl Outcome {
    /// The answer as a value of a type.
    ///
    /// # Errors
    /// `LimitExceeded` when a bound ended the run before its answer was whole, and `InvalidOutput` when the answer is
    /// no such value; both name the run and quote nothing of the answer.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{Engine, agent::{AgentSpec, FunctionAgent}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let engine = Engine::builder().build().await?;
    /// engine.register(FunctionAgent::new(AgentSpec::new("sizes")?, |_ctx, _input| async { Ok(vec![1, 2].into()) }))?;
    /// let sizes: Vec<u32> = engine.run("sizes", "all").await?.parse()?;
    /// assert_eq!(sizes, [1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        if let Finish::Limited(limit) = self.finish {
            let message = "a bound ended the run before its answer was whole";
            let limit = serde_json::to_value(limit).unwrap_or_default();
            return Err(Error::new(ErrorKind::LimitExceeded, "engine.parse", message)
                .with("limit", limit.as_str().unwrap_or_default())
                .with("run", self.run_id));
        }
        // The cause would quote the answer.
        T::deserialize(&self.output).map_err(|_| {
            Error::new(ErrorKind::InvalidOutput, "engine.parse", "the answer is no value of the type")
                .with("type", std::any::type_name::<T>())
                .with("run", self.run_id)
        })
    }

    pub(super) fn typed<T: DeserializeOwned>(self) -> Result<TypedOutcome<T>> {
        let value = self.parse()?;
        let Self { run_id, usage, cost, passages, agent, .. } = self;
        Ok(TypedOutcome { value, run_id, usage, cost, passages, agent })
    }
}

impl From<TypedOutcome<Value>> for Outcome {
    fn from(typed: TypedOutcome<Value>) -> Self {
        let TypedOutcome { value, run_id, usage, cost, passages, agent } = typed;
        Self { run_id, output: value, finish: Finish::Complete, usage, cost, passages, agent }
    }
}
