//! `Filter`: which events a subscription or a query wants.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    event::{Channel, Event, EventKind, Status},
    types::{AgentId, EventId, RunId, TenantId, Timestamp},
};

/// Which events; every field narrows, and an empty field allows all.
///
/// ```
/// # use raptorflow_core::{event::{Event, EventKind, Filter}, runtime::{Context, Runtime}, types::AgentId};
/// # let tokio = tokio::runtime::Runtime::new()?;
/// # let _guard = tokio.enter();
/// # let ctx = Context::new(&Runtime::current()?);
/// let filter = Filter { agents: vec!["writer-*".into()], ..Filter::default() };
/// let mut event = Event::new(&ctx, EventKind::AgentStarted);
/// assert!(!filter.matches(&event));
/// event.agent = Some(AgentId::new("writer-2")?);
/// assert!(filter.matches(&event));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Only this tenant; `None` is for a host that watches over all of its tenants.
    pub tenant: Option<TenantId>,
    /// Only events told on one of these channels.
    pub channels: Vec<Channel>,
    /// Only these kinds.
    pub kinds: Vec<EventKind>,
    /// Only this run.
    pub run: Option<RunId>,
    /// Only events about, from or to an agent whose name matches one of these patterns; `*` stands for any text.
    pub agents: Vec<Arc<str>>,
    /// Only domains that match one of these patterns; `*` stands for any text.
    pub domains: Vec<Arc<str>>,
    /// Only this status.
    pub status: Option<Status>,
    /// Only replies to this event.
    pub correlation: Option<EventId>,
    /// Only events at or after this time.
    pub since: Option<Timestamp>,
    /// Only events before this time.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Whether it wants an event.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        allows(self.run.as_ref(), event.run.as_ref())
            && allows(self.tenant.as_ref(), Some(&event.tenant))
            && allows(self.correlation.as_ref(), event.correlation.as_ref())
            && allows(self.status.as_ref(), Some(&event.status))
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.channel_matches(event)
            && self.since.is_none_or(|since| event.time >= since)
            && self.until.is_none_or(|until| event.time < until)
            && self.agent_matches(event)
            && (self.domains.is_empty()
                || event.domain.as_deref().is_some_and(|name| any(&self.domains, name)))
    }

    fn channel_matches(&self, event: &Event) -> bool {
        self.channels.is_empty()
            || self.channels.contains(&event.channel)
            || event.also.iter().any(|channel| self.channels.contains(channel))
    }

    fn agent_matches(&self, event: &Event) -> bool {
        let mut named = event.agent.iter().chain(&event.source).chain(&event.targets);
        self.agents.is_empty() || named.any(|agent: &AgentId| any(&self.agents, agent.as_str()))
    }
}

fn allows<T: PartialEq>(wanted: Option<&T>, given: Option<&T>) -> bool {
    wanted.is_none() || wanted == given
}

fn any(patterns: &[Arc<str>], name: &str) -> bool {
    patterns.iter().any(|pattern| glob(pattern, name))
}

/// Whether a pattern in which `*` stands for any text fits a name.
///
/// Taking the leftmost place for each piece between stars is always right, so no backtracking is needed.
fn glob(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(head) else {
        return false;
    };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        match left.find(piece) {
            Some(at) => left = left.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::glob;

    fn slow_glob(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skip| slow_glob(rest, &name[skip..])),
            Some((byte, rest)) => name.first() == Some(byte) && slow_glob(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_star_stands_for_any_text(pattern in "[ab*]{0,8}", name in "[ab]{0,8}") {
            prop_assert_eq!(glob(&pattern, &name), slow_glob(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
