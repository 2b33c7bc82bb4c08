//! `Check`: one question that is asked of every answer.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{
    agent::review::{Draft, Finding},
    error::Result,
    runtime::Context,
};

/// How many findings a check of this crate gives at most.
pub(super) const MAX_FINDINGS: usize = 32;

/// Finds what is wrong with an answer, of one kind.
///
/// # Contract
/// - `name` is the same each time, and the findings carry it.
/// - an answer that is fine gives no findings; an error says that the check could not be made.
/// - dropping the future of `check` stops it and leaves nothing behind.
///
/// # Examples
/// ```
/// use async_trait::async_trait;
/// use raptorflow_core::{Result, agent::review::{Check, Critic, Draft, Finding, Severity}};
/// use raptorflow_core::runtime::{Context, Runtime};
///
/// #[derive(Debug)]
/// struct Greets;
///
/// #[async_trait]
/// impl Check for Greets {
///     fn name(&self) -> &str {
///         "greets"
///     }
///
///     async fn check(&self, _ctx: &Context, draft: &Draft) -> Result<Vec<Finding>> {
///         let greets = draft.texts().iter().any(|(_, text)| text.starts_with("Hello"));
///         let missing = Finding::new("greets", Severity::Low, "there is no greeting");
///         Ok(if greets { Vec::new() } else { vec![missing] })
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let review = Critic::new().with(Greets).review(&ctx, &Draft::new("How much?", "499")).await?;
/// assert_eq!((review.score, review.findings.len()), (97, 1));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Check: Debug + Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &str;

    /// What is wrong with an answer.
    async fn check(&self, ctx: &Context, draft: &Draft) -> Result<Vec<Finding>>;
}
