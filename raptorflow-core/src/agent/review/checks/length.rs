//! `LengthCheck`: the answer is neither too short nor too long.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::{
    agent::review::{Check, Draft, Finding, Severity},
    error::Result,
    runtime::Context,
};

const NAME: &str = "length";

/// Finds answers that are too short or too long, as one medium finding each.
///
/// All texts of the answer count together, and names of fields do not.
/// Words are those of Unicode; where a script has no spaces, a word may be one character.
///
/// ```
/// use raptorflow_core::agent::review::checks::LengthCheck;
/// let check = LengthCheck::words(1, 80);
/// assert_eq!((check.min_words, check.max_words, check.max_characters), (Some(1), Some(80), None));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LengthCheck {
    /// At least this many words; no bound by default.
    pub min_words: Option<usize>,
    /// At most this many words; no bound by default.
    pub max_words: Option<usize>,
    /// At most this many characters; no bound by default.
    pub max_characters: Option<usize>,
}

impl LengthCheck {
    /// Between two numbers of words, both allowed.
    #[must_use]
    pub const fn words(min: usize, max: usize) -> Self {
        Self { min_words: Some(min), max_words: Some(max), max_characters: None }
    }

    /// What is wrong with the length of a draft.
    pub(in crate::agent::review) fn find(&self, draft: &Draft) -> Vec<Finding> {
        let texts = draft.texts();
        let words: usize = texts.iter().map(|(_, text)| text.unicode_words().count()).sum();
        let characters: usize = texts.iter().map(|(_, text)| text.chars().count()).sum();
        let mut findings = Vec::new();
        let mut found = |message: String| findings.push(Finding::new(NAME, Severity::Medium, message));
        if let Some(min) = self.min_words.filter(|min| words < *min) {
            found(format!("the answer has {words} words; at least {min} are wanted"));
        }
        if let Some(max) = self.max_words.filter(|max| words > *max) {
            found(format!("the answer has {words} words; at most {max} are wanted"));
        }
        if let Some(max) = self.max_characters.filter(|max| characters > *max) {
            found(format!("the answer has {characters} characters; at most {max} are wanted"));
        }
        findings
    }
}

#[async_trait]
impl Check for LengthCheck {
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
    fn both_bounds_are_allowed_and_characters_are_not_bytes() {
        let check = |check: LengthCheck, answer: serde_json::Value, count: usize| {
            assert_eq!(check.find(&Draft::new("", answer.clone())).len(), count, "{answer}");
        };
        check(LengthCheck::words(2, 3), json!("one two"), 0);
        check(LengthCheck::words(2, 3), json!({"one": "one", "two": ["two", "three"]}), 0);
        check(LengthCheck::words(2, 3), json!("one"), 1);
        check(LengthCheck::words(2, 3), json!("one two three four"), 1);
        check(LengthCheck { max_characters: Some(3), ..LengthCheck::default() }, json!("éüñ"), 0);
        check(LengthCheck { max_characters: Some(2), ..LengthCheck::default() }, json!("éüñ"), 1);
        check(LengthCheck::default(), json!(null), 0);
    }
}
