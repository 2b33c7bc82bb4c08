//! `Kept`: an event as it lies in the store.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    event::Event,
    storage::Record,
    types::Timestamp,
};

/// The form of what is written here.
const VERSION: u32 = 1;

/// An event and when it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    v: u32,
    /// By the clock of who published it; the time of the event itself is the host's to choose.
    pub(super) at: Timestamp,
    pub(super) event: Event,
}

impl Kept {
    pub(super) fn write(at: Timestamp, event: Event) -> Result<Bytes> {
        let json = serde_json::to_vec(&Self { v: VERSION, at, event }).map_err(|err| {
            let message = "the event cannot be written as JSON";
            Error::new(ErrorKind::InvalidInput, "event.publish", message).caused_by(err)
        })?;
        Ok(json.into())
    }

    /// What a record holds, with its place in the channel.
    pub(super) fn read(record: &Record, sequence: u64) -> Result<Self> {
        let damaged = |message: &'static str| {
            Error::new(ErrorKind::Corrupt, "event.read", message).with("sequence", sequence)
        };
        let mut kept: Self = serde_json::from_slice(&record.data)
            .map_err(|err| damaged("the stored event does not have the expected form").caused_by(err))?;
        if kept.v != VERSION {
            return Err(damaged("the stored event is of a version that is not known").with("version", kept.v));
        }
        kept.event.sequence = sequence;
        Ok(kept)
    }
}
