//! Answers of capabilities that change nothing: kept for a while, and given again to the same arguments.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::json;

use crate::{
    agent::{Agent, AgentInput, AgentOutput, AgentSpec, Capability, Session, driver::event},
    error::{Error, ErrorKind, Result},
    event::EventKind,
    journal::Fact,
    rag::canonical,
    types::{AgentId, Digest, Effects, Finish},
};

/// How many answers are kept in a process at most.
const MOST: usize = 1_000;

/// Answers by what they were given to; those that are too old are forgotten, and the oldest when there are too many.
#[derive(Debug, Default)]
// A std mutex: no await happens while it is held.
pub(super) struct Results(Mutex<HashMap<Digest, Kept>>);

#[derive(Debug)]
struct Kept {
    agent: AgentId,
    until: Duration,
    output: AgentOutput,
}

impl Results {
    fn get(&self, key: &Digest, now: Duration) -> Option<AgentOutput> {
        self.kept().get(key).filter(|kept| now < kept.until).map(|kept| kept.output.clone())
    }

    fn put(&self, key: Digest, kept: Kept, now: Duration) {
        let mut all = self.kept();
        if all.len() >= MOST {
            all.retain(|_, kept| now < kept.until);
        }
        if all.len() >= MOST {
            let oldest = all.iter().min_by_key(|(_, kept)| kept.until).map(|(key, _)| *key);
            oldest.and_then(|key| all.remove(&key));
        }
        all.insert(key, kept);
    }

    /// Forgets the answers of an agent.
    pub(super) fn forget(&self, agent: &str) {
        self.kept().retain(|_, kept| kept.agent.as_str() != agent);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Digest, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The capability that is wanted, when its answers are kept.
pub(super) fn kept_capability<'a>(spec: &'a AgentSpec, input: &AgentInput) -> Option<&'a Capability> {
    let name = input.capability.as_deref()?;
    let capability = spec.capabilities.iter().find(|capability| capability.name == name)?;
    (capability.effects == Effects::Read && capability.cache_seconds > 0).then_some(capability)
}

/// Runs an agent, unless the same was answered a short while ago; what is given again stands in the journal too.
pub(super) async fn through(
    agent: &Agent,
    session: &Session,
    input: &AgentInput,
    capability: &Capability,
) -> Result<AgentOutput> {
    let (ctx, journal, results) = (session.ctx(), session.journal(), session.means().agents.results());
    let history = journal.recorded(ctx.path());
    let recalled = history.iter().find_map(|entry| match &entry.fact {
        Fact::ResultRecalled { output, passages } => Some((output.clone(), passages.clone())),
        _ => None,
    });
    if let Some((output, passages)) = recalled {
        return Ok(AgentOutput { output, passages, ..AgentOutput::default() });
    }
    let key = key(agent, session, input)?;
    let now = ctx.runtime().clock().elapsed();
    // A run that had begun goes on where it was.
    let fresh = !history.iter().any(|entry| matches!(entry.fact, Fact::ModelResponded { .. }));
    if let Some(found) = results.get(&key, now).filter(|_| fresh) {
        let fact = Fact::ResultRecalled { output: found.output.clone(), passages: found.passages.clone() };
        journal.append(ctx, &[fact]).await?;
        let mut executed = event(ctx, agent.spec(), EventKind::CapabilityExecuted);
        executed.data = json!({ "capability": capability.name, "recalled": true });
        session.means().bus.publish(ctx, executed).await?;
        return Ok(found);
    }
    let output = agent.act(session, input).await?;
    if output.finish == Finish::Complete {
        let kept = AgentOutput {
            output: output.output.clone(),
            passages: output.passages.clone(),
            ..AgentOutput::default()
        };
        let until = now.saturating_add(Duration::from_secs(capability.cache_seconds));
        results.put(key, Kept { agent: agent.name().clone(), until, output: kept }, now);
    }
    Ok(output)
}

/// What an answer depends on: who asks, the agent as it is, and everything that it is asked.
fn key(agent: &Agent, session: &Session, input: &AgentInput) -> Result<Digest> {
    let ctx = session.ctx();
    let text = |value: serde_json::Result<serde_json::Value>| {
        value.map(|value| canonical(&value)).map_err(|err| {
            let message = "what an agent is asked cannot be written as JSON";
            Error::new(ErrorKind::Internal, "agent.recall", message).caused_by(err)
        })
    };
    let (spec, input) = (text(serde_json::to_value(agent.spec()))?, text(serde_json::to_value(input))?);
    // Two functions may have one spec, and a reviewed agent has that of the agent that it wraps.
    let actor = agent.place().to_string();
    let principal = ctx.principal().unwrap_or_default();
    Ok(Digest::of_all([ctx.tenant().as_str(), principal, &actor, &spec, &input]))
}
