//! Calls of tools that wait for a person: what they are, and how they are approved or denied.

use std::{future::IntoFuture, pin::Pin, sync::Arc};

use serde::Serialize;
use serde_json::Value;

use crate::{
    engine::Engine,
    error::{Error, ErrorKind, Result},
    journal::{ApprovalAnswer, QuestionState, RunFilter, RunStatus},
    types::{AgentId, Digest, RunId, Timestamp},
};

const OPERATION: &str = "engine.approve";

/// A call of a tool that waits for approval.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PendingApproval {
    /// The run that waits.
    pub run: RunId,
    /// What to call it by when it is approved; unique in the run.
    pub id: Arc<str>,
    /// The agent or the workflow that wants the call.
    pub agent: AgentId,
    /// The tool.
    pub tool: Arc<str>,
    /// Exactly what the tool is called with.
    pub arguments: Value,
    /// The digest of all of this; an approval names it, so that nothing else is approved.
    pub digest: Digest,
    /// Since when it waits.
    pub since: Timestamp,
}

impl PendingApproval {
    fn of(run: RunId, state: QuestionState) -> Option<Self> {
        let QuestionState { path, question, since } = state;
        let call = question.call?;
        let (agent, tool, arguments, digest) = (call.agent, call.tool, call.arguments, call.digest);
        Some(Self { run, id: path, agent, tool, arguments, digest, since })
    }
}

impl Engine {
    /// The calls of tools for which a run waits, oldest first.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, and what the storage says.
    pub async fn approvals(&self, run: RunId) -> Result<Vec<PendingApproval>> {
        let questions = self.state(run, None).await?.questions;
        Ok(questions.into_iter().filter_map(|question| PendingApproval::of(run, question)).collect())
    }

    /// The calls of tools for which runs of the engine's tenant wait, whether somebody works on them now or not.
    ///
    /// It reads every run that has not ended.
    ///
    /// # Errors
    /// What the storage says.
    ///
    /// # Examples
    /// ```
    /// use raptorflow_core::{Agent, Engine, model::{FunctionModel, Model, ModelAbilities, ModelInfo}, tool};
    /// use serde_json::json;
    ///
    /// /// Sends a message to everybody.
    /// #[tool(effects = "external", approval)]
    /// async fn send(text: String) -> String { format!("sent: {text}") }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> raptorflow_core::Result<()> {
    /// let abilities = ModelAbilities { tools: true, ..ModelAbilities::default() };
    /// let info = ModelInfo { abilities, ..ModelInfo::new("host:rule") };
    /// let model = FunctionModel::new(info, |_ctx, request| async move {
    ///     Ok(match request.messages.len() {
    ///         1 => json!({ "tool_calls": [{ "id": "1", "name": "send", "arguments": { "text": "hello" } }] }),
    ///         _ => json!("done"),
    ///     })
    /// });
    /// let engine = Engine::builder().build().await?;
    /// engine.register(Agent::builder("crier").model_instance(Model::new(model)).tool(send).build()?)?;
    /// let run = engine.start("crier", "greet them").await?;
    /// let asked = loop {
    ///     match engine.pending_approvals().await?.pop() {
    ///         Some(asked) => break asked,
    ///         None => tokio::task::yield_now().await,
    ///     }
    /// };
    /// assert_eq!((&*asked.tool, &asked.arguments), ("send", &json!({ "text": "hello" })));
    /// engine.approve(asked.run, asked.id, asked.digest).by("anna").await?;
    /// assert_eq!(run.outcome().await?.text(), "done");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pending_approvals(&self) -> Result<Vec<PendingApproval>> {
        let mut pending = Vec::new();
        for status in [RunStatus::Running, RunStatus::Paused] {
            let mut filter = RunFilter { status: Some(status), ..RunFilter::default() };
            loop {
                let page = self.runs(filter.clone()).await?;
                for (run, _) in page.runs {
                    pending.extend(self.approvals(run).await?);
                }
                match page.next {
                    Some(next) => filter.after = Some(next),
                    None => break,
                }
            }
        }
        pending.sort_by_key(|approval| approval.since);
        Ok(pending)
    }

    /// Approves a call of a tool; await it, or add who says it first.
    ///
    /// A run that is not at work now finds the answer when it is resumed.
    ///
    /// # Errors
    /// `NotFound` for an unknown run or id; `PermissionDenied` when the digest is that of another call; `Conflict` when
    /// the run has ended or the call was approved or denied already.
    ///
    /// # Cancellation
    /// A dropped future has said it or not.
    pub fn approve(&self, run: RunId, id: impl Into<Arc<str>>, digest: Digest) -> ApprovalRequest {
        self.answer_approval(run, id.into(), ApprovalAnswer { approved: true, digest, reason: None })
    }

    /// Denies a call of a tool; the model is told, and the run goes on without it.
    ///
    /// # Errors
    /// As [`Engine::approve`].
    ///
    /// # Cancellation
    /// A dropped future has said it or not.
    pub fn deny(&self, run: RunId, id: impl Into<Arc<str>>, digest: Digest) -> ApprovalRequest {
        self.answer_approval(run, id.into(), ApprovalAnswer { approved: false, digest, reason: None })
    }

    fn answer_approval(&self, run: RunId, id: Arc<str>, answer: ApprovalAnswer) -> ApprovalRequest {
        ApprovalRequest { engine: self.clone(), run, id, answer, by: None }
    }
}

/// What somebody says about a call of a tool; await it.
#[derive(Debug)]
pub struct ApprovalRequest {
    engine: Engine,
    run: RunId,
    id: Arc<str>,
    answer: ApprovalAnswer,
    by: Option<Arc<str>>,
}

impl ApprovalRequest {
    /// Who says it.
    #[must_use]
    pub fn by(mut self, by: impl Into<Arc<str>>) -> Self {
        self.by = Some(by.into());
        self
    }

    /// Why, for the model; it is told when the call is denied.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.answer.reason = Some(reason.into());
        self
    }

    async fn send(self) -> Result<()> {
        let Self { engine, run, id, answer, by } = self;
        let refused =
            |kind, message| Err(Error::new(kind, OPERATION, message).with("run", run).with("approval", &id));
        let state = engine.state(run, None).await?;
        if state.signals.iter().any(|signal| signal.name == id) {
            return refused(ErrorKind::Conflict, "the call was approved or denied already");
        }
        let asked = state.questions.into_iter().find(|question| question.path == id);
        let Some(asked) = asked.and_then(|question| PendingApproval::of(run, question)) else {
            return refused(ErrorKind::NotFound, "the run waits for no approval of this id");
        };
        if asked.digest != answer.digest {
            return refused(ErrorKind::PermissionDenied, "the digest is not that of the call that waits")
                .map_err(|err| err.with("expected", asked.digest).with("digest", answer.digest));
        }
        let value = serde_json::to_value(&answer).map_err(|err| {
            Error::new(ErrorKind::Internal, OPERATION, "the answer cannot be written").caused_by(err)
        })?;
        engine.journals().signal(&engine.context(run, None), run, &id, value, by).await.map(drop)
    }
}

impl IntoFuture for ApprovalRequest {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
