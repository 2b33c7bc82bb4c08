//! What an agent remembers before a run and keeps after one, as facts of the run.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    agent::{AgentInput, AgentSpec, Session, driver::event},
    error::{Error, ErrorKind, Result},
    event::{Event, EventKind, Status},
    journal::Fact,
    memory::{
        Conversation, Memories, MemoryKind, NewItem, Provenance, Recall, Remember, Said, Scope,
        summary_request,
    },
    model::Model,
    runtime::Context,
    types::{Digest, Message, Money, Usage},
};

/// The step below an agent's path at which its conversation is summarized.
const STEP: &str = "memory";

/// An agent that remembers, in one run.
pub(super) struct Remembering<'a> {
    session: &'a Session,
    spec: &'a AgentSpec,
    remember: &'a Remember,
    memories: &'a Memories,
}

impl<'a> Remembering<'a> {
    /// `None` for an agent that does not remember.
    pub(super) fn of(session: &'a Session, spec: &'a AgentSpec) -> Result<Option<Self>> {
        let Some(remember) = &spec.memory else { return Ok(None) };
        let memories = session.means().memory.as_ref().ok_or_else(|| {
            let message = "the agent remembers and the engine has no memory";
            Error::new(ErrorKind::InvalidInput, "agent.memory", message)
                .with("agent", &spec.name)
                .with("field", "memory")
        })?;
        Ok(Some(Self { session, spec, remember, memories }))
    }

    /// What is remembered, as facts that a resumed run reads again instead of the memory.
    ///
    /// `model` is what summarizes, where the memory names no model of its own.
    pub(super) async fn recall(
        &self,
        input: &AgentInput,
        model: impl AsyncFnOnce() -> Result<Model>,
    ) -> Result<(Vec<Fact>, Event)> {
        let ctx = self.session.ctx();
        let mut facts = Vec::new();
        let conversation = match self.thread()? {
            Some(scope) => self.shortened(&scope, model, &mut facts).await?,
            None => Conversation::default(),
        };
        let mut items = Vec::new();
        if self.remember.items > 0 {
            let recall =
                Recall::text(input.question()).limit(self.remember.items).within(self.remember.item_tokens);
            items = self.memories.items().recall(ctx, &self.scope()?, &recall).await?;
            // What was said in this thread is in the conversation already.
            items.retain(|it| {
                it.item.kind != MemoryKind::Episode
                    || !conversation
                        .said
                        .iter()
                        .any(|said| said.run.is_some() && said.run == it.item.provenance.run)
            });
        }
        let profile = match &self.remember.profile {
            Some(name) => self.memories.profiles().summary(ctx, &Scope::default(), name).await?,
            None => None,
        };
        let messages = self.remember.messages(profile.as_deref(), &items, &conversation);
        let mut queried = event(ctx, self.spec, EventKind::DataQueried);
        queried.data = json!({ "memories": items.len(), "messages": messages.len() });
        let items = items.into_iter().map(|recalled| recalled.item.id).collect();
        facts.push(Fact::MemoryRecalled { items, messages });
        Ok((facts, queried))
    }

    /// Keeps what was asked and answered; done again, it is kept once.
    pub(super) async fn keep(&self, input: &AgentInput, answer: &Value) -> Result<(Fact, Event)> {
        let ctx = self.session.ctx();
        let (question, answer) = (input.question(), text_of(answer));
        let id = Digest::of_all([ctx.run_id().to_string().as_str(), &**ctx.path()]).to_string();
        if let Some(scope) = self.thread()? {
            let said = |suffix: &str, message| Said::new(ctx, format!("{id}-{suffix}"), message);
            let both = [("q", Message::user(&*question)), ("a", Message::assistant(&*answer))];
            let spoken = both.into_iter().filter(|(_, message)| !message.text().trim().is_empty());
            let said = spoken.map(|(suffix, message)| said(suffix, message)).collect();
            self.memories.conversations().append(ctx, &scope, said).await?;
        }
        let mut items = Vec::new();
        if self.remember.keep && !(question.trim().is_empty() && answer.trim().is_empty()) {
            let text = format!("Asked: {question}\nAnswered: {answer}");
            let text = self.memories.conversations().window().shortened(&text);
            let agent = Some(self.spec.name.clone());
            let provenance = Provenance { run: Some(ctx.run_id()), agent, ..Provenance::default() };
            let episode = NewItem::new(MemoryKind::Episode, text).with_id(&*id).from(provenance);
            let kept = self.memories.items().append(ctx, &self.scope()?, vec![episode]).await?;
            items = kept.into_iter().map(|item| item.id).collect();
        }
        let mut created = event(ctx, self.spec, EventKind::DataCreated);
        created.data = json!({ "memories": items.len() });
        Ok((Fact::MemoryKept { items }, created))
    }

    /// Whose items they are.
    fn scope(&self) -> Result<Scope> {
        let mut scope = Scope::default();
        if let Some(user) = self.session.ctx().principal() {
            scope = scope.with_user(user)?;
        }
        Ok(if self.remember.shared { scope } else { scope.with_agent(self.spec.name.clone()) })
    }

    /// Whose conversation it is; `None` where there is none.
    fn thread(&self) -> Result<Option<Scope>> {
        let thread = self.session.ctx().thread().filter(|_| self.remember.conversation);
        thread.map(|thread| self.scope()?.with_thread(thread)).transpose()
    }

    /// The conversation, with its oldest messages summarized where they are many.
    ///
    /// A run goes on without the summary when a model cannot give one: the window bounds the conversation anyway.
    async fn shortened(
        &self,
        scope: &Scope,
        model: impl AsyncFnOnce() -> Result<Model>,
        facts: &mut Vec<Fact>,
    ) -> Result<Conversation> {
        let (ctx, conversations) = (self.session.ctx(), self.memories.conversations());
        let step = ctx.child(STEP);
        let conversation = conversations.read(ctx, scope).await?;
        let summed = match self.recorded(&step) {
            Some(summed) => summed,
            None => {
                let due = conversations.window().due(&conversation.said);
                if due.is_empty() {
                    return Ok(conversation);
                }
                match self.summarize(&step, &conversation, &due, model).await {
                    Ok(summed) => summed,
                    Err(err) if err.kind() == ErrorKind::Cancelled || ctx.cancel().is_cancelled() => {
                        return Err(err);
                    }
                    Err(err) => {
                        self.warn(&err).await?;
                        return Ok(conversation);
                    }
                }
            }
        };
        facts.push(Fact::AgentAnswered {
            agent: self.spec.name.clone(),
            usage: summed.usage,
            cost: summed.cost,
        });
        conversations.summarize(ctx, scope, &summed.ids, &summed.text).await
    }

    /// The summary that a run before this one paid for, and what it stands for.
    fn recorded(&self, step: &Context) -> Option<Summed> {
        let (mut ids, mut answer) = (None, None);
        for entry in self.session.journal().recorded(step.path()) {
            match entry.fact {
                Fact::ModelResponded { message, usage, cost, .. } => answer = Some((message, usage, cost)),
                Fact::StepCompleted { value, .. } => ids = serde_json::from_value(value).ok(),
                _ => {}
            }
        }
        let (ids, (message, usage, cost)) = ids.zip(answer)?;
        Some(Summed { ids, text: message.text(), usage, cost })
    }

    async fn summarize(
        &self,
        step: &Context,
        conversation: &Conversation,
        due: &[&Said],
        model: impl AsyncFnOnce() -> Result<Model>,
    ) -> Result<Summed> {
        let model = match self.memories.model() {
            Some(name) => self.session.model(Some(name)).await?,
            None => model().await?,
        };
        let request = summary_request(conversation.summary.as_deref(), due);
        let key = format!("{}/{}", step.run_id(), step.path());
        // The agent is above its call, and pays for it.
        let ctx = step.with_idempotency_key(key).with_agent(&self.spec.name);
        let answer = model.complete(&ctx, &request).await?;
        let (text, usage) = (answer.message.text(), answer.usage);
        let ids: Vec<String> = due.iter().map(|said| said.id.clone()).collect();
        let cost = self.session.means().prices.cost(&answer.model, &usage, ctx.now());
        let responded = Fact::ModelResponded {
            model: answer.model.as_ref().to_owned(),
            message: answer.message,
            usage,
            cost,
            truncated: false,
        };
        if text.trim().is_empty() {
            self.session.journal().append(&ctx, &[responded]).await?;
            let message = "the model gave no summary";
            return Err(
                Error::new(ErrorKind::InvalidOutput, "agent.memory", message).with("model", answer.model)
            );
        }
        // Together, so that a summary is never known without what it stands for.
        let stands_for = Fact::StepCompleted { value: json!(ids), took: None };
        self.session.journal().append(&ctx, &[responded, stands_for]).await?;
        Ok(Summed { ids, text, usage, cost })
    }

    async fn warn(&self, err: &Error) -> Result<()> {
        let ctx = self.session.ctx();
        let mut warning = event(ctx, self.spec, EventKind::WarningIssued);
        warning.status = Status::Warning;
        warning.data = json!({ "error": err.kind().code(), "operation": err.operation() });
        self.session.means().bus.publish(ctx, warning).await
    }
}

/// A summary, the messages that it stands for, and what it took.
struct Summed {
    ids: Vec<String>,
    text: String,
    usage: Usage,
    cost: Option<Money>,
}

fn text_of(output: &Value) -> Arc<str> {
    match output {
        Value::String(text) => Arc::from(text.as_str()),
        Value::Null => Arc::from(""),
        other => Arc::from(other.to_string()),
    }
}
