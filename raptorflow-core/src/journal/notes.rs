//! Notes that a run's agents leave for each other: facts like any other, in the order of the journal.

use std::{mem, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    journal::{Entry, Fact, Journal, run::Run},
    runtime::Context,
    types::AgentId,
};

/// A note of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The place of its entry in the journal; later notes have greater ones.
    pub sequence: u64,
    /// What it was posted under; a run has one note of a key.
    pub key: Arc<str>,
    /// What it is about.
    pub topic: Arc<str>,
    /// Who posted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<AgentId>,
    /// Whom it is meant for; everybody may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<AgentId>,
    /// What it says.
    pub value: Value,
}

/// The notes of a run, in their order, and how many are about to be appended.
#[derive(Debug, Default)]
pub(super) struct Notes {
    list: Vec<Note>,
    coming: usize,
}

impl Notes {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let list = entries.iter().filter_map(|entry| note(&entry.fact, entry.sequence)).collect();
        Self { list, coming: 0 }
    }

    fn add(&mut self, note: Note) {
        // Appends may be told out of their order.
        let place = self.list.partition_point(|known| known.sequence < note.sequence);
        self.list.insert(place, note);
    }
}

/// Room for one note, given back when dropped.
struct Room<'a>(&'a Run);

impl<'a> Room<'a> {
    fn take(run: &'a Run, most: usize) -> Result<Self> {
        let mut notes = run.notes();
        if notes.list.len() + notes.coming >= most {
            let message = "the run has as many notes as it may have";
            return Err(Error::new(ErrorKind::LimitExceeded, "journal.post", message).with("most", most));
        }
        notes.coming += 1;
        drop(notes);
        Ok(Self(run))
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.notes().coming -= 1;
    }
}

impl Journal {
    /// The notes of the run, oldest first.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        self.0.notes().list.clone()
    }

    /// The note of a key.
    pub(crate) fn note(&self, key: &str) -> Option<Note> {
        self.0.notes().list.iter().find(|note| *note.key == *key).cloned()
    }

    /// Posts a note at the context's path, unless its key has one: then that one is given; the number of `note` does not
    /// count.
    pub(crate) async fn post(&self, ctx: &Context, mut note: Note, most: usize) -> Result<Note> {
        if let Some(known) = self.note(&note.key) {
            return Ok(known);
        }
        let room = Room::take(&self.0, most)?;
        let Note { key, topic, author, to, value, .. } = &mut note;
        let (key, topic) = (Arc::clone(key), Arc::clone(topic));
        // Moved into the fact and back: a value may be large.
        let fact =
            Fact::NotePosted { key, topic, author: author.clone(), to: to.clone(), value: mem::take(value) };
        let length = self.append(ctx, std::slice::from_ref(&fact)).await?;
        if let Fact::NotePosted { value, .. } = fact {
            note.value = value;
        }
        note.sequence = length.saturating_sub(1);
        self.0.notes().add(note.clone());
        drop(room);
        Ok(note)
    }
}

fn note(fact: &Fact, sequence: u64) -> Option<Note> {
    let Fact::NotePosted { key, topic, author, to, value } = fact else { return None };
    let (key, topic) = (Arc::clone(key), Arc::clone(topic));
    Some(Note { sequence, key, topic, author: author.clone(), to: to.clone(), value: value.clone() })
}
