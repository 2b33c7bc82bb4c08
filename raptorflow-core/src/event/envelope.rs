//! `Event`: what happened, to whom, when, and what it belongs to.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    event::{Channel, EventKind},
    runtime::Context,
    types::{AgentId, EventId, RunId, TenantId, Timestamp},
};

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Well.
    #[default]
    Success,
    /// An error.
    Error,
    /// Well enough, with something worth a look.
    Warning,
}

/// How urgent it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Can wait.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Soon.
    High,
    /// Now.
    Critical,
}

/// One event; `data` holds ids, counts and kinds, never content unless the host asked for it.
///
/// ```
/// # use raptorflow_core::{event::{Event, EventKind, Status}, runtime::{Context, Runtime}};
/// # let tokio = tokio::runtime::Runtime::new().unwrap();
/// # let _guard = tokio.enter();
/// let ctx = Context::new(&Runtime::current()?);
/// let event = Event { status: Status::Warning, ..Event::new(&ctx, EventKind::StatusUpdated) };
/// assert_eq!(event.run, Some(ctx.run_id()));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its id; ids of one process sort by birth.
    pub id: EventId,
    /// Its place in the bus's stream; given when published.
    pub sequence: u64,
    /// When it happened.
    pub time: Timestamp,
    /// The tenant.
    pub tenant: TenantId,
    /// The run, where it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The place inside the run, steps joined with `/`.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub path: Arc<str>,
    /// What happened.
    pub kind: EventKind,
    /// Where it is told.
    pub channel: Channel,
    /// Where else it is told; a broadcast is stored once and delivered to each.
    #[serde(default, skip_serializing_if = "<[Channel]>::is_empty")]
    pub also: Box<[Channel]>,
    /// The agent it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The agent's domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Arc<str>>,
    /// Who sent it, where it is a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<AgentId>,
    /// Whom it is for, where it is a message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<AgentId>,
    /// How it went.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// Ties a reply to its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<EventId>,
    /// The event that led to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<EventId>,
    /// W3C trace context (`traceparent`), where the host set one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Arc<str>>,
    /// What there is to know.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    /// The host's own fields; boxed, because few events have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<Map<String, Value>>>,
}

impl Event {
    /// An event of a kind that belongs to the context's run, tenant and path, on the kind's channel.
    ///
    /// It allocates nothing: names are shared with the context.
    #[must_use]
    pub fn new(ctx: &Context, kind: EventKind) -> Self {
        let time = ctx.now();
        let bare = Self::bare(ctx.runtime().ids().event_at(time), time, ctx.tenant().clone(), kind);
        Self { run: Some(ctx.run_id()), path: Arc::clone(ctx.path()), ..bare }
    }

    /// An event of a kind, on the kind's channel, that belongs to no run.
    pub(super) fn bare(id: EventId, time: Timestamp, tenant: TenantId, kind: EventKind) -> Self {
        Self {
            id,
            sequence: 0,
            time,
            tenant,
            run: None,
            path: Arc::default(),
            channel: kind.channel(),
            also: Box::default(),
            kind,
            agent: None,
            domain: None,
            source: None,
            targets: Vec::new(),
            status: Status::Success,
            priority: Priority::Normal,
            duration: None,
            correlation: None,
            causation: None,
            traceparent: None,
            data: Value::Null,
            metadata: None,
        }
    }
}
