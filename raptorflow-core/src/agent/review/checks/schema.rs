//! `SchemaCheck`: the answer has the form that was asked for.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    agent::review::{Check, Draft, Finding, Severity},
    error::Result,
    runtime::Context,
};

const NAME: &str = "schema";

/// Finds what does not fit the schema of the draft, each of it high.
///
/// It sees form, and not whether the values are right; without a schema it finds nothing.
///
/// ```
/// use raptorflow_core::{agent::review::{Critic, Draft, checks::SchemaCheck}, types::Schema};
/// use raptorflow_core::runtime::{Context, Runtime};
/// use serde_json::json;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let mut draft = Draft::new("How much?", json!({"net": "many"}));
/// draft.schema = Some(Schema::new(json!({"properties": {"net": {"type": "number"}}}))?);
/// let critic = Critic::new().with(SchemaCheck::default());
/// let review = critic.review(&Context::new(&Runtime::current()?), &draft).await?;
/// assert_eq!((review.score, review.findings[0].place.pointer.as_str()), (85, "/net"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SchemaCheck {}

#[async_trait]
impl Check for SchemaCheck {
    fn name(&self) -> &str {
        NAME
    }

    async fn check(&self, _ctx: &Context, draft: &Draft) -> Result<Vec<Finding>> {
        let problems = draft.schema.iter().flat_map(|schema| schema.validate(&draft.answer));
        Ok(problems
            .map(|problem| Finding::new(NAME, Severity::High, problem.message).at(problem.pointer, None))
            .collect())
    }
}
