//! `Question`: what a run asks people, found again by whoever looks at the run.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::Result,
    journal::{CallToApprove, Fact, Journal},
    runtime::Context,
    types::Timestamp,
};

/// What a run asks; it is answered with a signal under the path at which it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Question {
    /// What is asked, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// The answers that are possible; any when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<Value>>,
    /// The form of the answer, as a JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Who may answer; anybody when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Vec<String>>,
    /// When it is too late; never when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// The call of a tool that is asked about; none for a gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallToApprove>,
}

impl Journal {
    /// Records a question at the context's path, once, and says whether it waits for its answer.
    ///
    /// Nothing is recorded when the answer was there before the question.
    /// [`Journal::signalled`] waits for the answer.
    ///
    /// # Errors
    /// What [`Journal::append`] says.
    ///
    /// # Cancellation
    /// Dropping it has recorded the question or not; called again, it is recorded once.
    pub async fn ask(&self, ctx: &Context, question: Question) -> Result<bool> {
        let path = ctx.path();
        if self.signal(path).is_some() {
            return Ok(false);
        }
        if !self.0.known().questions.contains(path) {
            self.append_at(path, &[Fact::QuestionAsked { question }]).await?;
            self.0.known().questions.insert(Arc::clone(path));
        }
        Ok(true)
    }
}
