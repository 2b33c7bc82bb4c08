//! `CompletenessCheck`: required parts are there, and each of several questions is touched.

use std::collections::HashSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    agent::{
        review::{Check, Draft, Finding, Severity, check::MAX_FINDINGS, words::Words},
        terms,
    },
    error::Result,
    rag::lexical::StandardAnalyzer,
    runtime::Context,
};

const NAME: &str = "completeness";

/// A part that an answer must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Required {
    /// What it is called, to the model too.
    pub name: String,
    /// Words and phrases of which one shows that the part is there.
    pub markers: Vec<String>,
    /// The JSON Pointer of a value that shows it by not being empty.
    pub pointer: Option<String>,
}

/// Finds required parts that are missing, each high, and questions that are not touched, each medium.
///
/// A part is there when one of its markers is in a text of the answer, or its pointer names a value that is not null
/// and not empty.
/// When several questions are asked, each must share a word with the answer, other than the most common ones of English.
/// It sees words and places: an answer can touch a question without answering it, and one that answers in other words
/// is found to be lacking.
///
/// ```
/// use raptorflow_core::agent::review::{Critic, Draft, checks::{CompletenessCheck, Required}};
/// use raptorflow_core::runtime::{Context, Runtime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let risks = Required { name: "risks".into(), markers: vec!["risk".into(), "risks".into()], pointer: None };
/// let critic = Critic::new().with(CompletenessCheck { parts: vec![risks], ..CompletenessCheck::default() });
/// let asked = "What does shipping cost? Who delivers?";
/// assert_eq!(critic.review(&ctx, &Draft::new(asked, "Shipping is free. The one risk: delivers late.")).await?.score, 100);
/// assert_eq!(critic.review(&ctx, &Draft::new(asked, "Shipping is free.")).await?.score, 77);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompletenessCheck {
    /// The parts.
    pub parts: Vec<Required>,
    /// Whether each of several questions must be touched; true by default.
    pub questions: bool,
}

impl Default for CompletenessCheck {
    fn default() -> Self {
        Self { parts: Vec::new(), questions: true }
    }
}

impl CompletenessCheck {
    fn find(&self, draft: &Draft) -> Vec<Finding> {
        let texts = draft.texts();
        let words: Vec<Words<'_>> = texts.iter().map(|(_, text)| Words::new(text)).collect();
        let there = |part: &Required| {
            let value = part.pointer.as_deref().and_then(|pointer| draft.answer.pointer(pointer));
            value.is_some_and(is_filled)
                || part.markers.iter().any(|marker| words.iter().any(|words| words.has(marker)))
        };
        let missing = self.parts.iter().filter(|part| !there(part)).map(|part| {
            let message = format!("the part `{}` is missing", part.name);
            Finding::new(NAME, Severity::High, message).at(part.pointer.clone().unwrap_or_default(), None)
        });
        let mut findings: Vec<Finding> = missing.take(MAX_FINDINGS).collect();
        if self.questions {
            findings.extend(untouched(draft));
            findings.truncate(MAX_FINDINGS);
        }
        findings
    }
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The questions that share no word with the answer; a single question is left alone, for its answer may be one number.
fn untouched(draft: &Draft) -> Vec<Finding> {
    let questions = questions(&draft.question);
    if questions.len() < 2 {
        return Vec::new();
    }
    let analyzer = StandardAnalyzer::default();
    let answer = match &draft.answer {
        Value::String(text) => terms(&analyzer, text),
        // With the names of fields: they say what a value answers.
        other => terms(&analyzer, &other.to_string()),
    };
    let answer: HashSet<String> = answer.into_iter().collect();
    let untouched = questions.into_iter().filter(|question| {
        let asked = terms(&analyzer, question);
        !asked.is_empty() && !asked.iter().any(|term| answer.contains(term))
    });
    let found = untouched
        .map(|question| Finding::new(NAME, Severity::Medium, format!("this is not answered: {question}?")));
    found.collect()
}

/// The sentences of a text that end with a question mark, without it.
fn questions(text: &str) -> Vec<&str> {
    let mut pieces: Vec<&str> = text.split(['?', '？', '؟']).collect();
    pieces.pop();
    let ends = ['.', '!', '\n', '。', '।'];
    pieces
        .into_iter()
        .filter_map(|piece| piece.rsplit(ends).next())
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect()
}

#[async_trait]
impl Check for CompletenessCheck {
    fn name(&self) -> &str {
        NAME
    }

    async fn check(&self, _ctx: &Context, draft: &Draft) -> Result<Vec<Finding>> {
        Ok(self.find(draft))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_there_by_a_marker_or_by_a_filled_place() {
        let part =
            Required { name: "next".into(), markers: vec!["weiter".into()], pointer: Some("/next".into()) };
        let check = CompletenessCheck { parts: vec![part], questions: true };
        let check = |answer: Value, found: usize| {
            assert_eq!(check.find(&Draft::new("", answer.clone())).len(), found, "{answer}");
        };
        check(json!({"next": ["x"]}), 0);
        check(json!({"next": false}), 0);
        check(json!("Und weiter so."), 0);
        for empty in [json!({"next": []}), json!({"next": " "}), json!({"next": null}), json!("weiterhin")] {
            check(empty, 1);
        }
    }

    #[test]
    fn each_of_several_questions_must_share_a_word_with_the_answer() {
        let check = |question: &str, answer: &str, found: usize| {
            let findings = CompletenessCheck::default().find(&Draft::new(question, answer));
            assert_eq!(findings.len(), found, "{question} {findings:?}");
        };
        check("How much?", "499", 0);
        check(
            "Hello. What is the price? Where is the office? Thanks",
            "The price is 499, the offices are in Pune.",
            0,
        );
        check("What is the price? Where is the office?", "The price is 499.", 1);
        check("कीमत क्या? दफ़्तर कहाँ?", "कीमत 499 है", 1);
    }
}
