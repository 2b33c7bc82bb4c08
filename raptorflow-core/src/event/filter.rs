//! `Filter`: which events a subscription or a query wants.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    event::{Channel, Event, EventKind, Status},
    types::{AgentId, RunId, TenantId, Timestamp},
};

/// Which events; every field narrows, and an empty field allows all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Only this tenant.
    pub tenant: Option<TenantId>,
    /// Only these channels.
    pub channels: Vec<Channel>,
    /// Only these kinds.
    pub kinds: Vec<EventKind>,
    /// Only this run.
    pub run: Option<RunId>,
    /// Only agents whose name matches one of these patterns; `*` stands for any text.
    pub agents: Vec<Arc<str>>,
    /// Only domains that match one of these patterns; `*` stands for any text.
    pub domains: Vec<Arc<str>>,
    /// Only this status.
    pub status: Option<Status>,
    /// Only events at or after this time.
    pub since: Option<Timestamp>,
    /// Only events before this time.
    pub until: Option<Timestamp>,
}
