//! `Draft`: an answer that is to be checked, with what it was made from.

use std::borrow::Cow;

use serde_json::Value;

use crate::{
    agent::{AgentInput, AgentOutput, AgentSpec},
    types::{Passage, Schema},
};

/// An answer that is to be checked, with what it was made from.
///
/// ```
/// use raptorflow_core::agent::review::Draft;
/// use serde_json::json;
/// let draft = Draft::new("Which plans are there?", json!({"plans": ["basic", "team"], "count": 2}));
/// let texts: Vec<(String, &str)> = draft.texts();
/// assert_eq!(texts, [("/plans/0".to_owned(), "basic"), ("/plans/1".to_owned(), "team")]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// What was asked.
    pub question: String,
    /// The answer: a string, or JSON.
    pub answer: Value,
    /// The form that it must have; free text when `None`.
    pub schema: Option<Schema>,
    /// The passages that it rests on.
    pub passages: Vec<Passage>,
}

impl Draft {
    /// An answer without a schema and passages.
    pub fn new(question: impl Into<String>, answer: impl Into<Value>) -> Self {
        Self { question: question.into(), answer: answer.into(), schema: None, passages: Vec::new() }
    }

    /// What an agent answered.
    #[must_use]
    pub fn of(spec: &AgentSpec, input: &AgentInput, output: &AgentOutput) -> Self {
        let form = input.form.as_ref().map(|form| &form.schema);
        let capability = input.capability.as_deref().and_then(|name| spec.capability(name).ok());
        let schema = form.or(capability.map(|capability| &capability.output)).or(spec.output.as_ref());
        Self {
            question: input.question(),
            answer: output.output.clone(),
            schema: schema.cloned(),
            passages: output.passages.clone(),
        }
    }

    /// Every string in the answer with its JSON Pointer, in the order of the answer; names of fields are not among them.
    #[must_use]
    pub fn texts(&self) -> Vec<(String, &str)> {
        let mut texts = Vec::new();
        self.each(&mut |pointer, value| {
            if let Value::String(text) = value {
                texts.push((pointer.to_owned(), text.as_str()));
            }
        });
        texts
    }

    /// Every string and every number in the answer, as text, with its JSON Pointer.
    #[must_use]
    pub fn values(&self) -> Vec<(String, Cow<'_, str>)> {
        let mut values = Vec::new();
        self.each(&mut |pointer, value| match value {
            Value::String(text) => values.push((pointer.to_owned(), Cow::Borrowed(text.as_str()))),
            Value::Number(number) => values.push((pointer.to_owned(), Cow::Owned(number.to_string()))),
            _ => {}
        });
        values
    }

    /// Every value in the answer, with a stack of its own: how deep an answer is nested is not ours to say.
    fn each<'a>(&'a self, see: &mut dyn FnMut(&str, &'a Value)) {
        let mut open = vec![(String::new(), &self.answer)];
        while let Some((pointer, value)) = open.pop() {
            see(&pointer, value);
            let start = open.len();
            match value {
                Value::Array(items) => {
                    open.extend(items.iter().enumerate().map(|(at, it)| (format!("{pointer}/{at}"), it)));
                }
                Value::Object(fields) => {
                    open.extend(fields.iter().map(|(name, it)| (below(&pointer, name), it)));
                }
                _ => {}
            }
            if let Some(added) = open.get_mut(start..) {
                added.reverse();
            }
        }
    }
}

/// The pointer of a field, escaped as RFC 6901 wants it.
fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_come_in_the_order_of_the_answer_with_escaped_pointers() {
        let draft = Draft::new("", json!({"a/b": ["x", {"~": "y"}], "c": [1, "z"]}));
        let texts = draft.texts();
        let found: Vec<(&str, &str)> = texts.iter().map(|(place, text)| (place.as_str(), *text)).collect();
        assert_eq!(found, [("/a~1b/0", "x"), ("/a~1b/1/~0", "y"), ("/c/1", "z")]);
        assert!(found.iter().all(|(place, text)| draft.answer.pointer(place) == Some(&json!(text))));
        assert_eq!(draft.values().len(), 4);
    }
}
