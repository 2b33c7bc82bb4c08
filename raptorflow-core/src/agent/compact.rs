//! The driver's part of compaction: whether it is time, the summary, and the fact.

use serde_json::json;

use crate::{
    agent::{
        Actor as _, AgentRun, Command, Compaction, CompactionMethod, SummaryFailure,
        compaction::{in_place, request_tokens, summary_request},
        driver::{Driver, event},
    },
    error::{Error, ErrorKind, Result},
    event::{EventKind, Status},
    journal::Fact,
    model::{ChatRequest, Model},
    types::{Message, Moment},
};

/// The operation that errors name.
const OPERATION: &str = "agent.compact";
/// The kind of the event that tells of a conversation that was made shorter.
const COMPACTED: &str = "agent.compacted";

impl Driver<'_> {
    /// Makes the conversation shorter where it is time; whether it was.
    pub(super) async fn compact(&self, run: &mut AgentRun, model: &mut Option<Model>) -> Result<bool> {
        let Some(compaction) = &self.agent.spec().compaction else { return Ok(false) };
        let Command::CallModel(request) = run.next() else { return Ok(false) };
        // Hooks see the end of a step as it was.
        let ends = run.is_step_over() && self.hooks.wants(Moment::AfterStep);
        if ends || run.is_compacted() || run.is_prepared() {
            return Ok(false);
        }
        let model = match model {
            Some(model) => model,
            none => none.insert(self.model(self.session).await?),
        };
        let window = compaction.window.or(model.info().context_window).ok_or_else(|| {
            let message = "the model does not tell its context window, so there is nothing to stay within";
            Error::new(ErrorKind::InvalidInput, OPERATION, message)
                .with("agent", &self.agent.spec().name)
                .with("model", &model.info().name)
                .with("field", "compaction.window")
        })?;
        let before = request_tokens(request);
        if before <= compaction.room(window) {
            return Ok(false);
        }
        let Some(kept) = run.kept_messages(compaction.keep_turns) else { return Ok(false) };
        let facts = self.shortened(run, compaction, model, (kept, before)).await?;
        let ctx = self.session.ctx();
        let mut told = event(ctx, self.agent.spec(), EventKind::Custom(COMPACTED.into()));
        if let Some(Fact::ContextCompacted { dropped, before, after, failure, .. }) = facts.last() {
            let failed = failure.as_ref().map(|err| err.kind().code());
            told.data = json!({ "messages": dropped, "before": before, "after": after, "failure": failed });
            told.status = if failed.is_some() { Status::Warning } else { Status::Success };
        }
        self.session.journal().append(ctx, &facts).await?;
        facts.into_iter().try_for_each(|fact| run.apply(fact))?;
        self.session.means().bus.publish(ctx, told).await?;
        Ok(true)
    }

    /// What takes the place of the older messages, and what it took to say it.
    async fn shortened(
        &self,
        run: &AgentRun,
        compaction: &Compaction,
        model: &Model,
        (kept, before): (usize, u64),
    ) -> Result<Vec<Fact>> {
        let older = run.older_messages(kept);
        let mut facts = Vec::with_capacity(2);
        let (message, failure) = match compaction.method {
            CompactionMethod::Trim => (in_place(None), None),
            CompactionMethod::Summarize => {
                let request = summary_request(&older, compaction.summary_tokens);
                match self.summed_up(run, compaction, model, &request, &mut facts).await {
                    Ok(message) => (message, None),
                    Err(err) if self.ends(compaction, &err) => return Err(failed(err)),
                    Err(err) => (in_place(None), Some(err)),
                }
            }
        };
        let dropped = older.len();
        let mut shorter = run.clone();
        shorter.compact(kept, message.clone())?;
        let after = match shorter.next() {
            Command::CallModel(request) => request_tokens(request),
            _ => 0,
        };
        facts.push(Fact::ContextCompacted { kept, dropped, message, before, after, failure });
        Ok(facts)
    }

    /// Whether a failed summary ends the run: where it is to, and where the run is cancelled or late in any case.
    fn ends(&self, compaction: &Compaction, err: &Error) -> bool {
        let ctx = self.session.ctx();
        compaction.on_failure == SummaryFailure::Fail
            || err.kind() == ErrorKind::Internal
            || self.session.journal().is_broken()
            || ctx.cancel().is_cancelled()
            || ctx.is_overdue()
    }

    /// A summary, made once, at a place below that of the agent.
    async fn summed_up(
        &self,
        run: &AgentRun,
        compaction: &Compaction,
        model: &Model,
        request: &ChatRequest,
        facts: &mut Vec<Fact>,
    ) -> Result<Message> {
        let session = self.session.child(&format!("{}.compacted", run.steps()));
        let mut recorded = session.journal().recorded(session.ctx().path()).into_iter().map(|it| it.fact);
        let fact = match recorded.find(|fact| matches!(fact, Fact::ModelResponded { .. })) {
            Some(fact) => fact,
            None => {
                let other = match &compaction.model {
                    Some(name) => Some(session.model(Some(name)).await?),
                    None => None,
                };
                let spec = self.agent.spec();
                let ctx = session.ctx().with_step_of(&spec.name, 0, "/model").with_whole_answers();
                let asked = other.as_ref().unwrap_or(model);
                let (fact, executed) = self.aside(&session).call_model(&ctx, asked, request).await?;
                session.journal().append(session.ctx(), std::slice::from_ref(&fact)).await?;
                session.means().bus.tell(session.ctx(), [executed]).await?;
                fact
            }
        };
        let Fact::ModelResponded { message, usage, cost, .. } = fact else {
            return Err(Error::new(ErrorKind::Internal, OPERATION, "a fact changed its kind"));
        };
        facts.push(Fact::AgentAnswered { agent: self.agent.spec().name.clone(), usage, cost });
        let summary = message.text();
        if summary.trim().is_empty() {
            return Err(Error::new(ErrorKind::InvalidOutput, OPERATION, "the model gave no summary"));
        }
        Ok(in_place(Some(summary.trim())))
    }
}

/// The failure of a summary, as that of the run.
fn failed(err: Error) -> Error {
    let (kind, retry) = (err.kind(), err.retry());
    let message = "the conversation nears the context window, and no model could sum it up";
    Error::new(kind, OPERATION, message).retryable(retry).caused_by(err)
}
