//! `ToneCheck`: words that a voice wants and words that it does not want.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    agent::review::{Check, Draft, Finding, Severity, check::MAX_FINDINGS, words::Words},
    error::Result,
    runtime::Context,
};

const NAME: &str = "tone";

/// Finds unwanted words, each medium, and the lack of all wanted ones, low.
///
/// It sees words and phrases that are listed, as whole words in any case, and nothing else: irony, register and other
/// forms of the same word pass.
///
/// ```
/// use raptorflow_core::{agent::review::{Critic, Draft, checks::ToneCheck}, runtime::{Context, Runtime}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let tone = ToneCheck { unwanted: vec!["cheap".into()], ..ToneCheck::default() };
/// let review = Critic::new().with(tone).review(&ctx, &Draft::new("", "It is cheap, cheaper than most.")).await?;
/// assert_eq!((review.findings.len(), review.findings[0].place.characters), (1, Some((6, 11))));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToneCheck {
    /// Words and phrases of which at least one is wanted; nothing is wanted when empty.
    pub wanted: Vec<String>,
    /// Words and phrases that are not wanted.
    pub unwanted: Vec<String>,
}

impl ToneCheck {
    fn find(&self, draft: &Draft) -> Vec<Finding> {
        let texts = draft.texts();
        let texts: Vec<(&str, Words<'_>)> =
            texts.iter().map(|(pointer, text)| (pointer.as_str(), Words::new(text))).collect();
        let mut findings = Vec::new();
        for (pointer, words) in &texts {
            for unwanted in &self.unwanted {
                for place in words.find(unwanted) {
                    let message = format!("`{unwanted}` is not wanted");
                    findings.push(Finding::new(NAME, Severity::Medium, message).at(*pointer, Some(place)));
                }
            }
            findings.truncate(MAX_FINDINGS);
        }
        let has_one = || texts.iter().any(|(_, words)| self.wanted.iter().any(|wanted| words.has(wanted)));
        if !self.wanted.is_empty() && findings.len() < MAX_FINDINGS && !has_one() {
            let message = format!("none of these is in the answer: {}", self.wanted.join(", "));
            findings.push(Finding::new(NAME, Severity::Low, message));
        }
        findings
    }
}

#[async_trait]
impl Check for ToneCheck {
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
    fn unwanted_words_have_places_and_a_missing_voice_has_none() {
        let tone = ToneCheck { wanted: vec!["together".into()], unwanted: vec!["no brainer".into()] };
        let find = |answer| tone.find(&Draft::new("", answer));
        assert!(find(json!("Together we plan.")).is_empty());
        let found = find(json!({"a": ["été: a no-brainer"]}));
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].place.pointer.as_str(), found[0].place.characters), ("/a/0", Some((7, 17))));
        assert_eq!((found[1].severity, found[1].place.characters), (Severity::Low, None));
        assert_eq!(find(json!("no brainer ".repeat(500))).len(), MAX_FINDINGS);
        assert!(ToneCheck::default().find(&Draft::new("", "anything")).is_empty());
    }
}
