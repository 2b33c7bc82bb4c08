//! `Constitution`: policies about answers, as data.

use std::collections::HashSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    agent::review::{
        Check, Draft, Finding, Severity,
        check::MAX_FINDINGS,
        checks::LengthCheck,
        emoji::emojis,
        words::{Words, characters},
    },
    error::{Error, ErrorKind, Result},
    runtime::Context,
};

const NAME: &str = "constitution";

/// What a policy demands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Rule {
    /// No emojis.
    NoEmojis,
    /// No exclamation marks, and none of these words.
    ///
    /// Register has no other form that can be seen without knowing the language: list contractions and slang.
    Formal {
        /// Words and phrases that are too familiar.
        #[serde(default)]
        informal: Vec<String>,
    },
    /// None of these words and phrases.
    BannedWords {
        /// The words, whole and in any case.
        words: Vec<String>,
    },
    /// All of these words and phrases.
    RequiredWords {
        /// The words, whole and in any case.
        words: Vec<String>,
    },
    /// Between two numbers of words, both allowed.
    Length {
        /// At least this many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_words: Option<usize>,
        /// At most this many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_words: Option<usize>,
    },
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name, unique in a constitution; findings carry it as `constitution.NAME`.
    pub name: String,
    /// How bad it is to break it; medium by default.
    #[serde(default)]
    pub severity: Severity,
    /// What it demands.
    #[serde(flatten)]
    pub rule: Rule,
}

impl Policy {
    /// A policy of medium severity.
    pub fn new(name: impl Into<String>, rule: Rule) -> Self {
        Self { name: name.into(), severity: Severity::default(), rule }
    }

    /// How a draft breaks it.
    fn find(&self, draft: &Draft) -> Vec<Finding> {
        let texts = draft.texts();
        let found = |message: String| Finding::new(format!("{NAME}.{}", self.name), self.severity, message);
        let signs = |what: &str, find: &dyn Fn(&str) -> Vec<(usize, usize)>| {
            let mut findings = Vec::new();
            for (pointer, text) in &texts {
                let places = find(text).into_iter().take(MAX_FINDINGS);
                findings.extend(
                    places.map(|it| found(format!("{what} not wanted")).at(pointer.clone(), Some(it))),
                );
            }
            findings
        };
        let banned = |words: &[String]| {
            let each = words
                .iter()
                .flat_map(|word| signs(&format!("`{word}` is"), &|text| Words::new(text).find(word)));
            each.take(MAX_FINDINGS).collect::<Vec<_>>()
        };
        let mut findings = match &self.rule {
            Rule::NoEmojis => signs("emojis are", &|text| {
                emojis(text).iter().take(MAX_FINDINGS).map(|range| characters(text, range)).collect()
            }),
            Rule::Formal { informal } => {
                let marks = |text: &str| {
                    let marks = text.char_indices().filter(|(_, c)| matches!(c, '!' | '！' | '¡'));
                    let marks =
                        marks.take(MAX_FINDINGS).map(|(at, c)| characters(text, &(at..at + c.len_utf8())));
                    marks.collect()
                };
                let mut findings = signs("exclamation marks are", &marks);
                findings.extend(banned(informal));
                findings
            }
            Rule::BannedWords { words } => banned(words),
            Rule::RequiredWords { words } => {
                let texts: Vec<Words<'_>> = texts.iter().map(|(_, text)| Words::new(text)).collect();
                let missing = words.iter().filter(|word| !texts.iter().any(|text| text.has(word)));
                missing.map(|word| found(format!("`{word}` is wanted and missing"))).collect()
            }
            Rule::Length { min_words, max_words } => {
                let length =
                    LengthCheck { min_words: *min_words, max_words: *max_words, max_characters: None };
                length.find(draft).into_iter().map(|it| found(it.message)).collect()
            }
        };
        findings.truncate(MAX_FINDINGS);
        findings
    }
}

/// Policies about answers.
///
/// It is a [`Check`] too, so that a critic can hold one.
/// It sees the strings of an answer, and neither numbers nor names of fields.
///
/// ```
/// use raptorflow_core::agent::review::{Constitution, Draft};
/// let constitution: Constitution = toml::from_str(r#"
///     [[policies]]
///     name = "plain"
///     rule = "no_emojis"
///
///     [[policies]]
///     name = "honest"
///     rule = "banned_words"
///     words = ["guaranteed"]
///     severity = "high"
/// "#).unwrap();
/// constitution.validate()?;
/// let broken = constitution.find(&Draft::new("", "Guaranteed growth 🚀"));
/// let names: Vec<&str> = broken.iter().map(|it| &*it.check).collect();
/// assert_eq!(names, ["constitution.plain", "constitution.honest"]);
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Constitution {
    /// The policies.
    pub policies: Vec<Policy>,
}

impl Constitution {
    /// Checks the policies.
    ///
    /// # Errors
    /// `AlreadyExists` for two policies of one name; `InvalidInput` for one without a name, with an empty list or word,
    /// or with bounds that no answer fits.
    pub fn validate(&self) -> Result<()> {
        let mut known = HashSet::new();
        for policy in &self.policies {
            let fault = |kind, message: &'static str| {
                Err(Error::new(kind, "constitution.validate", message).with("policy", &policy.name))
            };
            if policy.name.trim().is_empty() {
                return fault(ErrorKind::InvalidInput, "a policy has no name");
            }
            if !known.insert(&policy.name) {
                return fault(ErrorKind::AlreadyExists, "two policies have this name");
            }
            let (words, may_be_empty): (&[String], bool) = match &policy.rule {
                Rule::Formal { informal } => (informal, true),
                Rule::BannedWords { words } | Rule::RequiredWords { words } => (words, false),
                Rule::NoEmojis | Rule::Length { .. } => (&[], true),
            };
            if words.iter().any(|word| word.trim().is_empty()) || (words.is_empty() && !may_be_empty) {
                return fault(ErrorKind::InvalidInput, "expected words that are not empty");
            }
            if let Rule::Length { min_words: Some(min), max_words: Some(max) } = &policy.rule
                && min > max
            {
                return fault(ErrorKind::InvalidInput, "expected at least as many words at most as at least");
            }
        }
        Ok(())
    }

    /// How a draft breaks it: at most 32 findings a policy, in the order of the policies.
    #[must_use]
    pub fn find(&self, draft: &Draft) -> Vec<Finding> {
        self.policies.iter().flat_map(|policy| policy.find(draft)).collect()
    }
}

#[async_trait]
impl Check for Constitution {
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
    fn each_rule_has_its_true_and_its_false_case() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let check = |rule: Rule, broken: &str, places: &[Option<(usize, usize)>], kept: &str| {
            let constitution = Constitution { policies: vec![Policy::new("it", rule)] };
            constitution.validate().unwrap();
            let found = constitution.find(&Draft::new("", json!([broken])));
            let at: Vec<_> = found.iter().map(|it| it.place.characters).collect();
            assert_eq!(at, places, "{found:?}");
            assert!(constitution.find(&Draft::new("", kept)).is_empty(), "{kept}");
        };
        check(Rule::NoEmojis, "été 🚀", &[Some((4, 5))], "→ ₹5");
        let formal = Rule::Formal { informal: words(&["gonna"]) };
        check(formal, "We're gonna, भी!", &[Some((15, 16)), Some((6, 11))], "We are going to.");
        check(Rule::BannedWords { words: words(&["best"]) }, "BEST bets", &[Some((0, 4))], "bestow");
        check(Rule::RequiredWords { words: words(&["terms apply"]) }, "Terms.", &[None], "Terms apply.");
        let length = Rule::Length { min_words: Some(2), max_words: Some(3) };
        check(length, "a b c d", &[None], "a b");
    }

    #[test]
    fn policies_come_from_toml_and_go_back() {
        let text = "[[policies]]\nname = \"short\"\nseverity = \"low\"\nrule = \"length\"\nmax_words = 5\n";
        let constitution: Constitution = toml::from_str(text).unwrap();
        assert_eq!(constitution.policies[0].severity, Severity::Low);
        let json = serde_json::to_value(&constitution).unwrap();
        assert_eq!(serde_json::from_value::<Constitution>(json).unwrap(), constitution);
        assert!(toml::from_str::<Constitution>("[[policies]]\nname = \"x\"\nrule = \"nice\"\n").is_err());
    }

    #[test]
    fn policies_that_contradict_themselves_are_refused() {
        let kind = |policies: Vec<Policy>| Constitution { policies }.validate().unwrap_err().kind();
        let banned = |words: Vec<String>| Policy::new("a", Rule::BannedWords { words });
        assert_eq!(kind(vec![banned(vec![])]), ErrorKind::InvalidInput);
        assert_eq!(kind(vec![banned(vec![" ".into()])]), ErrorKind::InvalidInput);
        assert_eq!(kind(vec![Policy::new("", Rule::NoEmojis)]), ErrorKind::InvalidInput);
        let twice = Policy::new("a", Rule::NoEmojis);
        assert_eq!(kind(vec![twice.clone(), twice]), ErrorKind::AlreadyExists);
        let length = Rule::Length { min_words: Some(2), max_words: Some(1) };
        assert_eq!(kind(vec![Policy::new("a", length)]), ErrorKind::InvalidInput);
    }
}
