//! `check_answer`: does an answer have the form that was asked for, and what to tell the model if not.

use serde_json::{Value, json};

use crate::{
    model::{ChatResponse, FinishReason, Output},
    types::{Diagnostic, Message, Schema},
};

/// How many problems the model is told of.
const MAX_TOLD: usize = 8;
/// How many places in a text are tried as the beginning of JSON.
const MAX_STARTS: usize = 64;

/// The verdict on an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It has the form; free text becomes a JSON string.
    Valid(Value),
    /// It has not.
    Invalid {
        /// What is wrong, with JSON Pointers into the answer.
        problems: Vec<Diagnostic>,
        /// A user message that asks the model to answer again, to be sent after its answer.
        hint: Message,
    },
}

/// Checks an answer against the form that was asked for.
///
/// JSON is taken from the whole text, from a code fence, or from where an object or array begins in prose.
///
/// ```
/// use raptorflow_core::model::{Answer, ChatResponse, FinishReason, Output, check_answer};
/// use raptorflow_core::types::{Message, Schema, Usage};
/// use serde_json::json;
/// let schema = Schema::new(json!({"type": "object", "required": ["net"]}))?;
/// let output = Output::Json { name: "price".into(), schema };
/// let answer = |text: &str| ChatResponse {
///     model: "test:x".into(), message: Message::assistant(text), finish: FinishReason::Stop, usage: Usage::default() };
/// assert_eq!(check_answer(&output, &answer("```json\n{\"net\": 1}\n```")), Answer::Valid(json!({"net": 1})));
/// assert!(matches!(check_answer(&output, &answer("{}")), Answer::Invalid { .. }));
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[must_use]
pub fn check_answer(output: &Output, response: &ChatResponse) -> Answer {
    let text = response.message.text();
    let Output::Json { schema, .. } = output else { return Answer::Valid(Value::String(text)) };
    let Some(value) = find_json(&text) else {
        return invalid(vec![no_json(&text, &response.finish)]);
    };
    let problems = schema.validate(&value);
    if problems.is_empty() { Answer::Valid(value) } else { invalid(problems) }
}

/// The field that holds an answer which is no object.
pub(crate) const WRAPPED: &str = "value";

/// A schema of objects with the field [`WRAPPED`] for a schema of anything else; `None` for one of objects.
///
/// Hosts that enforce a schema take objects only, and an object is found in prose where a number is not.
pub(crate) fn as_object(schema: &Schema) -> Option<Schema> {
    let mut inner = schema.as_value().clone();
    if inner.get("type").and_then(Value::as_str) == Some("object") {
        return None;
    }
    // What references mean by the root is one level further down now.
    move_references(&mut inner);
    let mut outer = json!({ "type": "object", "required": [WRAPPED], "additionalProperties": false });
    for key in ["$schema", "$defs", "definitions"] {
        // Definitions stay at the root, where references look for them.
        if let Some(kept) = inner.as_object_mut().and_then(|all| all.shift_remove(key))
            && let Some(fields) = outer.as_object_mut()
        {
            fields.insert(key.to_owned(), kept);
        }
    }
    if let Some(fields) = outer.as_object_mut() {
        fields.insert("properties".to_owned(), json!({ WRAPPED: inner }));
    }
    Some(Schema::unchecked(outer))
}

fn move_references(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(move_references),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(target) if key == "$ref" => {
                        if let Some(rest) = target.strip_prefix('#')
                            && !rest.starts_with("/$defs/")
                            && !rest.starts_with("/definitions/")
                            && (rest.is_empty() || rest.starts_with('/'))
                        {
                            *target = format!("#/properties/{WRAPPED}{rest}");
                        }
                    }
                    _ => move_references(value),
                }
            }
        }
        _ => {}
    }
}

fn no_json(text: &str, finish: &FinishReason) -> Diagnostic {
    match finish {
        FinishReason::Length => Diagnostic::error(
            "cut_off",
            "the answer reached the longest length before its JSON was complete; a shorter answer is needed",
        ),
        FinishReason::ContentFilter => Diagnostic::error("refused", "the provider withheld the answer"),
        _ if text.trim().is_empty() => Diagnostic::error("no_json", "the answer is empty; expected JSON"),
        _ => Diagnostic::error("no_json", "no JSON was found in the answer"),
    }
}

fn invalid(problems: Vec<Diagnostic>) -> Answer {
    let mut hint = String::from("Your answer does not fit the required JSON Schema:\n");
    for problem in problems.iter().take(MAX_TOLD) {
        let place = if problem.pointer.is_empty() { "the whole answer" } else { &problem.pointer };
        hint.push_str("- ");
        hint.push_str(place);
        hint.push_str(": ");
        hint.push_str(&problem.message);
        hint.push('\n');
    }
    hint.push_str("Answer again with the complete, corrected JSON value only: no prose and no code fence.");
    Answer::Invalid { problems, hint: Message::user(hint) }
}

fn find_json(text: &str) -> Option<Value> {
    let text = text.trim().trim_start_matches('\u{feff}');
    serde_json::from_str(text).ok().or_else(|| in_fence(text)).or_else(|| in_prose(text))
}

/// The first code fence whose content is JSON.
fn in_fence(text: &str) -> Option<Value> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("```") {
        // The rest of the opening line names the language.
        let (content, left) = after.split_once('\n')?.1.split_once("```")?;
        if let Ok(value) = serde_json::from_str(content.trim()) {
            return Some(value);
        }
        rest = left;
    }
    None
}

/// The longest object or array that begins somewhere in the text.
fn in_prose(text: &str) -> Option<Value> {
    let mut best: Option<(usize, Value)> = None;
    let mut behind = 0;
    for (start, _) in text.match_indices(['{', '[']).take(MAX_STARTS) {
        // What lies inside a value that was read already is a part of it.
        if start < behind {
            continue;
        }
        let mut values = serde_json::Deserializer::from_str(text.get(start..)?).into_iter::<Value>();
        if let Some(Ok(value)) = values.next() {
            let length = values.byte_offset();
            behind = start + length;
            if best.as_ref().is_none_or(|(longest, _)| length > *longest) {
                best = Some((length, value));
            }
        }
    }
    best.map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::{Schema, Usage};

    fn answer(text: &str, finish: FinishReason) -> Answer {
        let schema = Schema::new(
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}),
        );
        let output = Output::Json { name: "x".into(), schema: schema.unwrap() };
        let message = Message::assistant(text);
        check_answer(
            &output,
            &ChatResponse { model: "test:x".into(), message, finish, usage: Usage::default() },
        )
    }

    #[test]
    fn json_is_found_in_fences_and_prose() {
        for text in [
            "{\"a\": 1}",
            " \u{feff}{\"a\": 1}\n",
            "Here:\n```json\n{\"a\": 1}\n```\nDone.",
            "```\nnot json\n```\n```json\n{\"a\": 1}\n```",
            "The set {x} [1]: {\"a\": 1}. Done {}.",
        ] {
            assert_eq!(answer(text, FinishReason::Stop), Answer::Valid(json!({"a": 1})), "{text}");
        }
    }

    #[test]
    fn every_problem_is_told_with_its_place() {
        let Answer::Invalid { problems, hint } = answer("{\"a\": \"one\"}", FinishReason::Stop) else {
            panic!()
        };
        assert_eq!(problems[0].pointer, "/a");
        assert!(hint.text().contains("- /a: the value is not of type \"integer\""), "{}", hint.text());
    }

    #[test]
    fn an_answer_without_json_says_why() {
        let code = |text, finish| match answer(text, finish) {
            Answer::Invalid { problems, .. } => problems[0].code.clone(),
            Answer::Valid(value) => panic!("{value}"),
        };
        assert_eq!(code("{\"a\": ", FinishReason::Length), "cut_off");
        assert_eq!(code("I cannot help.", FinishReason::ContentFilter), "refused");
        assert_eq!(code("no", FinishReason::Stop), "no_json");
    }

    #[test]
    fn what_is_no_object_becomes_a_field_of_one_and_its_references_still_hold() {
        let of = |schema: Value| as_object(&Schema::unchecked(schema));
        assert_eq!(of(json!({"type": "object"})), None);
        let tree = json!({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#"}},
            {"$ref": "#/$defs/name"}], "$defs": {"name": {"type": "string"}}});
        let wrapped = of(tree).unwrap();
        wrapped.check().unwrap();
        assert!(wrapped.validate(&json!({"value": [1, [2, "x"]]})).is_empty());
        assert_eq!(wrapped.validate(&json!({"value": [1, [true]]})).len(), 1);
        assert_eq!(wrapped.validate(&json!([1])).len(), 1);
        assert!(of(json!(true)).unwrap().validate(&json!({"value": null})).is_empty());
    }

    #[test]
    fn free_text_is_always_valid() {
        let response = ChatResponse {
            model: "test:x".into(),
            message: Message::assistant("{"),
            finish: FinishReason::Stop,
            usage: Usage::default(),
        };
        assert_eq!(check_answer(&Output::Text, &response), Answer::Valid(json!("{")));
    }
}
