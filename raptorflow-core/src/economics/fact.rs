//! `Entry`: one record of the ledger, and the facts that it may hold.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    economics::{Cap, Payer, Scope, Window, books::Kept, written::write},
    error::{Error, ErrorKind, Result},
    storage::Record,
    types::{Money, RunId, Timestamp, Usage},
};

/// The version of what is stored; another one is refused.
pub(super) const VERSION: u32 = 1;

/// One attempt to spend: a reservation has one, and another has another one even under the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ticket(pub(super) Uuid);

impl Hash for Ticket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.0.as_u128());
    }
}

/// Of tickets only: they are random numbers that this crate makes, so that nobody can choose many that collide.
#[derive(Debug, Default)]
pub(super) struct TicketHasher(u64);

impl Hasher for TicketHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    #[expect(clippy::cast_possible_truncation, reason = "each half is taken")]
    fn write_u128(&mut self, number: u128) {
        // An odd factor spreads the low bits, which are those that differ, over the high ones, which a map needs too.
        self.0 = (number as u64 ^ (number >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// What a call cost, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spending {
    /// When it was settled, by the clock of the ledger.
    pub at: Timestamp,
    /// The id of the reservation.
    pub id: Arc<str>,
    /// Who pays.
    pub payer: Payer,
    /// The model that answered; the one that was called where none did.
    pub model: Arc<str>,
    /// What it took.
    pub usage: Usage,
    /// What it cost; `None` when the price is unknown and no cap counts money.
    pub cost: Option<Money>,
    /// Whether usage or cost are those of the estimate, because the real ones never became known.
    pub estimated: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Fact {
    Reserved {
        ticket: Ticket,
        id: Arc<str>,
        payer: Payer,
        model: Arc<str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<Money>,
        tokens: u64,
        expires: Timestamp,
    },
    Settled {
        ticket: Ticket,
        spending: Spending,
    },
    Released {
        ticket: Ticket,
    },
    Alerted {
        scope: Scope,
        window: Window,
        percent: u8,
    },
    CapSet {
        scope: Scope,
        window: Window,
        cap: Cap,
    },
    Approved {
        run: RunId,
        up_to: Money,
    },
    /// The first record of a month: what the months before come to.
    Opened {
        books: Box<Kept>,
    },
    /// The last record of a month.
    Closed {
        next: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    version: u32,
    pub(super) at: Timestamp,
    #[serde(flatten)]
    pub(super) fact: Fact,
}

/// The records of some facts.
pub(super) fn encode(at: Timestamp, facts: &[Fact]) -> Result<Vec<Bytes>> {
    let mut buffer = Vec::new();
    let record = |fact: &Fact| {
        buffer.clear();
        write(&mut buffer, at, fact)?;
        Ok(Bytes::copy_from_slice(&buffer))
    };
    facts.iter().map(record).collect()
}

pub(super) fn decode(stream: &str, record: &Record) -> Result<Entry> {
    let corrupt = |message: &'static str| {
        Error::new(ErrorKind::Corrupt, "ledger.decode", message)
            .with("stream", stream)
            .with("sequence", record.sequence)
    };
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    match serde_json::from_slice::<Entry>(&record.data) {
        Ok(entry) if entry.version == VERSION => Ok(entry),
        read => {
            // The version first: what is newer may well have a form that is not known here.
            let version =
                serde_json::from_slice::<Versioned>(&record.data).map_or(VERSION, |found| found.version);
            let message = if version == VERSION {
                "a record of the ledger does not have the expected form"
            } else {
                "a record of the ledger is of another version"
            };
            let err = corrupt(message).with("version", version);
            Err(match read {
                Ok(_) => err,
                Err(cause) => err.caused_by(cause),
            })
        }
    }
}
