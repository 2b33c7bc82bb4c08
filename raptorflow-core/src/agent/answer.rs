//! Answers of models made ready for the machine: their text, and calls with ids of their own.

use std::collections::HashSet;

use crate::types::{Message, Part};

/// The text of an answer without a copy where it is one part.
pub(super) fn into_text(mut message: Message) -> String {
    match message.parts.as_mut_slice() {
        [Part::Text { text }] => std::mem::take(text),
        _ => message.text(),
    }
}

/// Gives each call an id of its own, so that results find their calls: some models give two calls one id.
pub(super) fn tell_calls_apart(message: &mut Message) {
    let mut known = HashSet::new();
    for part in &mut message.parts {
        let Part::ToolCall(call) = part else { continue };
        let given = call.id.clone();
        let mut count = 1;
        while !known.insert(call.id.clone()) {
            count += 1;
            call.id = format!("{given}-{count}");
        }
    }
}
