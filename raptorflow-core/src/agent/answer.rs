//! Answers of models made ready for the machine: their text, what they must fit, and calls with ids of their own.

use std::collections::HashSet;

use serde_json::Value;

use crate::{
    model::{Answer, ChatResponse, Output, WRAPPED, check_answer},
    types::{Diagnostic, Message, Part, ToolCall},
};

/// The text of an answer without a copy where it is one part.
pub(super) fn into_text(mut message: Message) -> String {
    match message.parts.as_mut_slice() {
        [Part::Text { text }] => std::mem::take(text),
        _ => message.text(),
    }
}

/// Whether an answer fits what was wanted; `inner` is what it must fit where the model answers with an object around it.
pub(super) fn checked(wanted: &Output, inner: Option<&Output>, response: &ChatResponse) -> Answer {
    let checked = check_answer(wanted, response);
    let Some(inner) = inner else { return checked };
    match checked {
        Answer::Valid(mut outer) => {
            Answer::Valid(outer.get_mut(WRAPPED).map(Value::take).unwrap_or_default())
        }
        // Some models leave the object out.
        invalid @ Answer::Invalid { .. } => match check_answer(inner, response) {
            Answer::Valid(output) => Answer::Valid(output),
            Answer::Invalid { .. } => invalid,
        },
    }
}

/// Problems with places in the answer itself, not in the object around it.
pub(super) fn placed(mut problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    for problem in &mut problems {
        if let Some(place) = problem.pointer.strip_prefix('/').and_then(|it| it.strip_prefix(WRAPPED)) {
            problem.pointer = place.to_owned();
        }
    }
    problems
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
