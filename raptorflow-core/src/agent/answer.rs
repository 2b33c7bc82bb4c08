//! Answers of models made ready for the machine: their text, and calls with ids of their own.

use std::collections::HashSet;

use crate::types::{Message, Part, ToolCall};

/// The text of an answer without a copy where it is one part.
pub(super) fn into_text(mut message: Message) -> String {
    match message.parts.as_mut_slice() {
        [Part::Text { text }] => std::mem::take(text),
        _ => message.text(),
    }
}

/// Gives each call an id of its own, so that results find their calls: some models give two calls one id.
pub(super) fn tell_calls_apart(message: &mut Message) {
    // Most answers have one call, whose id stands for itself.
    if message.tool_calls().nth(1).is_none() {
        return;
    }
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

/// How often a call among new ones came in a row, those before them included.
///
/// The conversation has them all, so that nothing else has to be stored.
pub(super) fn repeats(messages: &[Message], calls: &[ToolCall]) -> u32 {
    let before = messages.iter().flat_map(Message::tool_calls);
    let (mut last, mut count, mut most): (Option<&ToolCall>, u32, u32) = (None, 0, 0);
    // What came before was within the bound, so the whole conversation may be looked at.
    for call in before.chain(calls) {
        let same = last.is_some_and(|it| it.name == call.name && it.arguments == call.arguments);
        count = if same { count.saturating_add(1) } else { 1 };
        most = most.max(count);
        last = Some(call);
    }
    most
}
