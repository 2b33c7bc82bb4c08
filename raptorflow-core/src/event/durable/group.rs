//! `Group`: which events a group of consumers has done, has under way and has not seen; without input or output.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{event::GroupConfig, types::Timestamp};

/// How much of a reason is kept, in characters.
const REASON: usize = 500;
/// Why an event is a dead letter that was given to consumers and never heard of again.
const SILENCE: &str = "it was delivered as often as allowed and never acknowledged";

/// The whole state of a group; events before `next` that are not in `open` are done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// The first event that was never delivered.
    pub(super) next: u64,
    #[serde(default)]
    open: BTreeMap<u64, Open>,
    /// The newest number by which a delivery is known.
    #[serde(default)]
    token: u64,
    #[serde(default)]
    acked: u64,
    #[serde(default)]
    dead: u64,
    #[serde(default)]
    missed: u64,
}

/// An event under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    /// How often it was delivered.
    attempt: u32,
    /// When it may be delivered again.
    due: Timestamp,
    /// The newest delivery of it.
    token: u64,
    /// Why it was given back last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// It is on its way to the dead letters.
    #[serde(default, skip_serializing_if = "is_false")]
    dying: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a group did, and has under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GroupStats {
    /// The first event that was never delivered.
    pub next: u64,
    /// Events that were delivered and are not done, dead letters to be among them.
    pub open: usize,
    /// Events that were acknowledged.
    pub acked: u64,
    /// Events that became dead letters.
    pub dead: u64,
    /// Events that were gone by their retention before the group was done with them.
    pub missed: u64,
}

/// One event that a consumer has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) sequence: u64,
    pub(super) attempt: u32,
    pub(super) token: u64,
}

/// An event that is to become a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dying {
    pub(super) sequence: u64,
    pub(super) attempts: u32,
    pub(super) reason: String,
}

impl Group {
    /// A group that begins with an event.
    pub(super) fn starting_at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    pub(super) fn stats(&self) -> GroupStats {
        let Self { next, acked, dead, missed, .. } = *self;
        GroupStats { next, open: self.open.len(), acked, dead, missed }
    }

    /// How many events that were never delivered may be now.
    pub(super) fn room(&self, config: &GroupConfig) -> usize {
        config.in_flight.saturating_sub(self.open.len())
    }

    /// When the next event under way is due, if one is.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.open.values().filter(|open| !open.dying).map(|open| open.due).min()
    }

    /// Events before `first` are gone by their retention.
    pub(super) fn forget_before(&mut self, first: u64) {
        let kept = self.open.split_off(&first);
        self.missed += self.open.len() as u64 + first.saturating_sub(self.next);
        self.open = kept;
        self.next = self.next.max(first);
    }

    /// Takes events whose time is over, oldest first; those that were delivered often enough begin to die.
    pub(super) fn take_due(&mut self, config: &GroupConfig, now: Timestamp, limit: usize) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (sequence, open) in self.open.iter_mut().filter(|(_, open)| !open.dying && open.due <= now) {
            if open.attempt >= config.attempts {
                open.dying = true;
            } else if claims.len() < limit {
                self.token += 1;
                open.attempt += 1;
                open.token = self.token;
                open.due = now.plus(config.hold);
                claims.push(Claim { sequence: *sequence, attempt: open.attempt, token: open.token });
            }
        }
        claims
    }

    /// Takes the next `count` events, which nobody had before.
    pub(super) fn take_new(&mut self, config: &GroupConfig, now: Timestamp, count: usize) -> Vec<Claim> {
        let mut claims = Vec::with_capacity(count);
        for _ in 0..count {
            self.token += 1;
            let open = Open {
                attempt: 1,
                due: now.plus(config.hold),
                token: self.token,
                reason: None,
                dying: false,
            };
            claims.push(Claim { sequence: self.next, attempt: 1, token: self.token });
            self.open.insert(self.next, open);
            self.next += 1;
        }
        claims
    }

    /// An event is done; `false` here and below when somebody else has it now, or it is done.
    pub(super) fn ack(&mut self, sequence: u64, token: u64) -> bool {
        if self.held(sequence, token).is_none() {
            return false;
        }
        self.open.remove(&sequence);
        self.acked += 1;
        true
    }

    /// An event is given back, and rests; it begins to die when it was delivered often enough.
    pub(super) fn nack(
        &mut self,
        config: &GroupConfig,
        (sequence, token): (u64, u64),
        reason: &str,
        until: Timestamp,
    ) -> bool {
        let Some(open) = self.held(sequence, token) else { return false };
        open.reason = Some(reason.chars().take(REASON).collect());
        open.due = until;
        // Whoever gave it back has said all that it has to say.
        open.token = 0;
        open.dying = open.attempt >= config.attempts;
        true
    }

    /// Whoever has an event has it for longer.
    pub(super) fn extend(&mut self, sequence: u64, token: u64, until: Timestamp) -> bool {
        match self.held(sequence, token) {
            Some(open) => {
                open.due = open.due.max(until);
                true
            }
            None => false,
        }
    }

    /// Events that are on their way to the dead letters.
    pub(super) fn dying(&self) -> Vec<Dying> {
        let dying = self.open.iter().filter(|(_, open)| open.dying);
        let of = |(sequence, open): (&u64, &Open)| Dying {
            sequence: *sequence,
            attempts: open.attempt,
            reason: open.reason.clone().unwrap_or_else(|| SILENCE.to_owned()),
        };
        dying.map(of).collect()
    }

    /// An event is a dead letter now; whether it was not before.
    pub(super) fn bury(&mut self, sequence: u64) -> bool {
        let dying = self.open.get(&sequence).is_some_and(|open| open.dying);
        if dying {
            self.open.remove(&sequence);
            self.dead += 1;
        }
        dying
    }

    /// An event under way is not in the store any more.
    pub(super) fn miss(&mut self, sequence: u64) {
        if self.open.remove(&sequence).is_some() {
            self.missed += 1;
        }
    }

    fn held(&mut self, sequence: u64, token: u64) -> Option<&mut Open> {
        self.open.get_mut(&sequence).filter(|open| open.token == token && !open.dying)
    }
}
