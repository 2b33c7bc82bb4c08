//! The driver's part of a handoff: what goes along, and the other agent at work.

use std::sync::Arc;

use serde_json::json;

use crate::{
    agent::{
        Actor as _, AgentInput, AgentOutput, AgentRun, AnswerForm, HistoryPolicy, Session, Transfer,
        driver::{Driver, event},
        handoff::{summarized, summary_request},
    },
    error::Result,
    event::{Channel, EventKind},
    journal::Fact,
    types::Message,
};

/// The kind of the event that tells of a handoff.
const HANDOFF: &str = "agent.handoff";

impl Driver<'_> {
    /// Lets another agent go on; its answer is this one's, and the facts say so.
    pub(super) async fn hand_over(&self, transfer: &Transfer, run: &AgentRun) -> Result<Vec<Fact>> {
        let spec = self.agent.spec();
        let agent = self.session.means().agents.get(transfer.agent.as_str())?;
        let place = format!("{}.{}", run.steps(), agent.name());
        let session = self.session.handed_to(self.session.ctx().with_agent(&spec.name).child(&place));
        let mut handed = event(self.session.ctx(), spec, EventKind::Custom(Arc::from(HANDOFF)));
        handed.channel = Channel::AgentCommunication;
        handed.data = json!({ "to": agent.name(), "history": transfer.history });
        session.means().bus.publish(session.ctx(), handed).await?;
        let mut facts = Vec::with_capacity(2);
        let history = if transfer.history == HistoryPolicy::Summary {
            self.summary(&session, run, &mut facts).await?
        } else {
            run.history(transfer.history)
        };
        let output = agent.run(&session, &self.question(transfer, history)?).await?;
        let AgentOutput { output, finish, usage, cost, passages, agent: further } = output;
        let agent = further.unwrap_or_else(|| agent.name().clone());
        facts.push(Fact::HandoffAnswered { agent, output, finish, usage, cost, passages });
        Ok(facts)
    }

    /// What the other agent is asked: its task, in the form that was wanted of this one.
    fn question(&self, transfer: &Transfer, history: Vec<Message>) -> Result<AgentInput> {
        let (spec, input) = (self.agent.spec(), self.input);
        let capability = input.capability.as_deref().map(|name| spec.capability(name)).transpose()?;
        let form = capability.map(|it| AnswerForm { schema: it.output.clone(), repairs: None });
        Ok(AgentInput {
            // The whole history begins with it.
            background: input.background.clone().filter(|_| transfer.history != HistoryPolicy::All),
            form: input.form.clone().or(form),
            attachments: input.attachments.clone(),
            history,
            ..AgentInput::new(transfer.task.as_str())
        })
    }

    /// A summary of the conversation, made once, at a place below that of the other agent.
    async fn summary(
        &self,
        session: &Session,
        run: &AgentRun,
        facts: &mut Vec<Fact>,
    ) -> Result<Vec<Message>> {
        let session = session.child("summary");
        let answered = session
            .journal()
            .recorded(session.ctx().path())
            .into_iter()
            .map(|entry| entry.fact)
            .find(|fact| matches!(fact, Fact::ModelResponded { .. }));
        let fact = match answered {
            Some(fact) => fact,
            None => {
                let request = summary_request(&run.history(HistoryPolicy::All));
                let model = self.model(&session).await?;
                let ctx = session.ctx().with_step(0, "/model").with_whole_answers();
                let (fact, executed) = self.aside(&session).call_model(&ctx, &model, &request).await?;
                session.journal().append(session.ctx(), std::slice::from_ref(&fact)).await?;
                session.means().bus.tell(session.ctx(), [executed]).await?;
                fact
            }
        };
        let Fact::ModelResponded { message, usage, cost, .. } = fact else { return Ok(Vec::new()) };
        facts.push(Fact::AgentAnswered { agent: self.agent.spec().name.clone(), usage, cost });
        Ok(summarized(&message.text()))
    }
}
