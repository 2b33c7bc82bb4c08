//! `AgentStats`: what the events of an agent add up to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    event::{Event, EventKind, Status},
    types::{AgentId, Timestamp},
};

/// Counts over the events of one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AgentStats {
    /// Events about it.
    pub events: u64,
    /// Runs that began.
    pub started: u64,
    /// Runs that ended well.
    pub completed: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Events with the status `error`.
    pub errors: u64,
    /// How long its ended runs took together.
    pub busy: Duration,
    /// When its newest event happened.
    pub last: Timestamp,
}

impl AgentStats {
    /// Counts per agent; events that are about no agent are left out.
    #[must_use]
    pub fn of_all(events: &[Arc<Event>]) -> BTreeMap<AgentId, Self> {
        let mut all = BTreeMap::<AgentId, Self>::new();
        for event in events {
            let Some(agent) = &event.agent else { continue };
            match all.get_mut(agent) {
                Some(stats) => stats.add(event),
                None => all.entry(agent.clone()).or_default().add(event),
            }
        }
        all
    }

    fn add(&mut self, event: &Event) {
        self.events += 1;
        self.errors += u64::from(event.status == Status::Error);
        self.last = self.last.max(event.time);
        let ended = match event.kind {
            EventKind::AgentStarted => {
                self.started += 1;
                return;
            }
            EventKind::AgentCompleted => &mut self.completed,
            EventKind::AgentFailed => &mut self.failed,
            _ => return,
        };
        *ended += 1;
        self.busy = self.busy.saturating_add(event.duration.unwrap_or_default());
    }
}
