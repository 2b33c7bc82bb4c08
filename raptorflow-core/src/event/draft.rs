//! `Draft`: an event about an agent of which only what differs is kept, until somebody reads it.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use crate::{
    event::{Event, EventKind, Status},
    runtime::Context,
    types::{AgentId, EventId, RunId, TenantId, Timestamp},
};

/// An event that nobody may ever read: a third of the size of one, and nothing of it lies elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    id: EventId,
    pub(super) time: Timestamp,
    tenant: TenantId,
    pub(super) run: RunId,
    path: Arc<str>,
    kind: EventKind,
    agent: AgentId,
    domain: Option<Arc<str>>,
    pub(crate) status: Status,
    pub(crate) duration: Option<Duration>,
    pub(crate) told: Told,
}

/// What becomes the data of the event.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Nothing,
    /// A model answered.
    Model {
        name: Arc<str>,
        tokens: u64,
    },
    /// A tool answered.
    Tool {
        name: Box<str>,
    },
}

impl Draft {
    /// An event of a built-in kind about an agent, at the context's place, now.
    pub(crate) fn new(ctx: &Context, kind: EventKind, agent: &AgentId, domain: Option<&Arc<str>>) -> Self {
        let time = ctx.now();
        Self {
            id: ctx.runtime().ids().event_at(time),
            time,
            tenant: ctx.tenant().clone(),
            run: ctx.run_id(),
            path: Arc::clone(ctx.path()),
            kind,
            agent: agent.clone(),
            domain: domain.cloned(),
            status: Status::Success,
            duration: None,
            told: Told::Nothing,
        }
    }

    /// The whole event, without its place in the stream.
    pub(super) fn into_event(self) -> Event {
        let Self { id, time, tenant, run, path, kind, agent, domain, status, duration, told } = self;
        let data = match told {
            Told::Nothing => serde_json::Value::Null,
            Told::Model { name, tokens } => json!({ "model": &*name, "tokens": tokens }),
            Told::Tool { name } => json!({ "tool": name }),
        };
        let (run, agent) = (Some(run), Some(agent));
        Event { run, path, agent, domain, status, duration, data, ..Event::bare(id, time, tenant, kind) }
    }
}
