//! How runs begin and are opened again: what is recorded of what was asked, and who is asked by it.

use std::sync::Arc;

use crate::{
    agent::{Agent, AgentBuilder, AgentInput, AgentOutput, AgentSpec, AnswerForm},
    engine::Engine,
    error::{Error, ErrorKind, Result},
    journal::{Entry, Fact, Journal, Opened, check_opening},
    runtime::Context,
    types::{Diagnostics, RunId},
};

impl Engine {
    /// Records the start of a run; `given` is the agent of one that is not registered.
    pub(super) async fn create(
        &self,
        ctx: &Context,
        agent: &Agent,
        given: Option<&AgentSpec>,
        input: &AgentInput,
    ) -> Result<Journal> {
        let mut facts = vec![Fact::ExecutionStarted {
            target: agent.name().to_string(),
            capability: input.capability.clone(),
            background: input.background.clone(),
            user: ctx.principal().map(Arc::from),
            input: input.input.clone(),
        }];
        facts.extend(form_recorded(given, input, ctx.thread())?);
        facts.extend(agent.opening());
        self.journals().create(ctx, &facts).await.map_err(|err| of_run(err, ctx.run_id()))
    }

    pub(super) async fn open(&self, ctx: &Context) -> Result<Opened> {
        self.journals().open(ctx).await.map_err(|err| of_run(err, ctx.run_id()))
    }

    /// Opens a run that the agents that are known can go on with; one that they cannot is left as it is.
    pub(super) async fn open_known(&self, ctx: &Context) -> Result<Opened> {
        let check = |entries: &[Entry]| match entries.first().map(|entry| &entry.fact) {
            Some(Fact::ExecutionStarted { target, .. }) => {
                check_opening(ctx.run_id(), entries, &self.agent_of(target, entries)?.opening())
            }
            _ => Ok(()),
        };
        self.journals().open_if(ctx, check).await.map_err(|err| of_run(err, ctx.run_id()))
    }

    /// The agent of a run and what it was asked, from its entries.
    pub(super) fn asked_in(&self, run: RunId, entries: &[Entry]) -> Result<(Agent, AgentInput)> {
        let started = entries.first().map(|entry| &entry.fact);
        let Some(Fact::ExecutionStarted { target, capability, background, input, .. }) = started else {
            let message = "the journal does not begin with the start of a run";
            return Err(Error::new(ErrorKind::Corrupt, "engine.resume", message).with("run", run));
        };
        let agent = self.agent_of(target, entries).map_err(|err| of_run(err, run))?;
        let (form, attachments, history) = match recorded_form(entries) {
            Some(Fact::FormRecorded { schema, repairs, attachments, history, .. }) => {
                let form = schema.clone().map(|schema| AnswerForm { schema, repairs: *repairs });
                (form, attachments.clone(), history.clone())
            }
            _ => (None, Vec::new(), Vec::new()),
        };
        let input = AgentInput {
            input: input.clone(),
            capability: capability.clone(),
            background: background.clone(),
            form,
            attachments,
            history,
        };
        Ok((agent, input))
    }

    fn agent_of(&self, target: &str, entries: &[Entry]) -> Result<Agent> {
        let Some(Fact::FormRecorded { agent: Some(spec), .. }) = recorded_form(entries) else {
            return self.agents().get(target);
        };
        let spec: AgentSpec = serde_json::from_value(spec.clone()).map_err(|err| {
            let message = "the recorded agent is damaged or of a newer version";
            Error::new(ErrorKind::Corrupt, "engine.resume", message).caused_by(err)
        })?;
        AgentBuilder::from_spec(spec).build()
    }
}

fn form_recorded(
    given: Option<&AgentSpec>,
    input: &AgentInput,
    thread: Option<&str>,
) -> Result<Option<Fact>> {
    let form = input.form.as_ref();
    let plain = form.is_none() && input.attachments.is_empty() && input.history.is_empty();
    if given.is_none() && plain && thread.is_none() {
        return Ok(None);
    }
    let agent = given.map(serde_json::to_value).transpose().map_err(|err| {
        Error::new(ErrorKind::Internal, "engine.run", "the agent cannot be written as JSON").caused_by(err)
    })?;
    let (schema, repairs) = form.map(|form| (form.schema.clone(), form.repairs)).unzip();
    Ok(Some(Fact::FormRecorded {
        agent,
        schema,
        repairs: repairs.flatten(),
        attachments: input.attachments.clone(),
        history: input.history.clone(),
        thread: thread.map(Arc::from),
    }))
}

/// Whether there is one shows right behind the start.
fn recorded_form(entries: &[Entry]) -> Option<&Fact> {
    entries.get(1).map(|entry| &entry.fact).filter(|fact| matches!(fact, Fact::FormRecorded { .. }))
}

/// A whole answer in the form that it was wanted in; not every actor knows of forms.
pub(super) fn fitting(input: &AgentInput, output: AgentOutput) -> Result<AgentOutput> {
    let Some(form) = input.form.as_ref().filter(|_| output.finish.is_complete()) else { return Ok(output) };
    let problems = form.schema.validate(&output.output);
    if problems.is_empty() {
        return Ok(output);
    }
    let message = "the answer does not fit the schema that was asked for";
    Err(Diagnostics(problems).into_error_of(ErrorKind::InvalidOutput, "engine.run", message))
}

/// Who asked, where the host said so.
pub(super) fn user_of(entries: &[Entry]) -> Option<Arc<str>> {
    match entries.first().map(|entry| &entry.fact) {
        Some(Fact::ExecutionStarted { user, .. }) => user.clone(),
        _ => None,
    }
}

/// The conversation that it belongs to, where the host said so.
pub(super) fn thread_of(entries: &[Entry]) -> Option<Arc<str>> {
    match recorded_form(entries) {
        Some(Fact::FormRecorded { thread, .. }) => thread.clone(),
        _ => None,
    }
}

/// Names the run, where the error does not yet.
pub(super) fn of_run(err: Error, run: RunId) -> Error {
    if err.get("run").is_some() { err } else { err.with("run", run) }
}
