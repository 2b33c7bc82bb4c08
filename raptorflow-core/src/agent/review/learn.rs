//! What repeated corrections by people have in common, proposed as policies.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::agent::review::{Policy, Rule, emoji::emojis, words::Words};

/// An answer and what a person made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// The answer as it was.
    pub before: String,
    /// The answer as it should have been.
    pub after: String,
}

impl Correction {
    /// An answer and what a person made of it.
    pub fn new(before: impl Into<String>, after: impl Into<String>) -> Self {
        Self { before: before.into(), after: after.into() }
    }
}

/// A policy that corrections speak for; it is in force only when somebody accepts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The policy; its name is made of what it demands, so that the same proposal has the same name.
    pub policy: Policy,
    /// How many corrections speak for it.
    pub seen: usize,
    /// How many corrections there were.
    pub of: usize,
}

/// What at least `least` corrections have in common, by name.
///
/// | proposal | when |
/// |---|---|
/// | no emojis | people took out all emojis, and never left one |
/// | formal | people took out all exclamation marks, and never left one |
/// | a banned word | people took the word out, and it is in no corrected answer |
/// | a required word | people put the word in, and it is in every corrected answer |
/// | length | people made every answer shorter by a quarter or more; the longest that they made is the bound |
///
/// It counts words and signs and knows no reasons: a word that always goes with its sentence is proposed as well.
///
/// ```
/// use raptorflow_core::agent::review::{Correction, Rule, propose};
/// let corrections = [
///     Correction::new("A killer plan for you", "A good plan for you"),
///     Correction::new("Our killer price", "Our fair price"),
///     Correction::new("killer support", "quick support"),
/// ];
/// let proposals = propose(&corrections, 3);
/// assert_eq!(proposals[0].policy.rule, Rule::BannedWords { words: vec!["killer".into()] });
/// assert_eq!((proposals.len(), proposals[0].seen, proposals[0].of), (1, 3, 3));
/// ```
#[must_use]
pub fn propose(corrections: &[Correction], least: usize) -> Vec<Proposal> {
    let (of, least) = (corrections.len(), least.max(1));
    let texts: Vec<(Text, Text)> =
        corrections.iter().map(|it| (Text::new(&it.before), Text::new(&it.after))).collect();
    let mut proposals = Vec::new();
    let mut add = |name: String, rule: Rule, seen: usize| {
        if seen >= least {
            proposals.push(Proposal { policy: Policy::new(name, rule), seen, of });
        }
    };
    if !texts.iter().any(|(_, after)| after.emojis) {
        add("no_emojis".to_owned(), Rule::NoEmojis, texts.iter().filter(|(before, _)| before.emojis).count());
    }
    if !texts.iter().any(|(_, after)| after.exclaims) {
        let seen = texts.iter().filter(|(before, _)| before.exclaims).count();
        add("formal".to_owned(), Rule::Formal { informal: Vec::new() }, seen);
    }
    let kept: BTreeSet<&String> = texts.iter().flat_map(|(_, after)| &after.words).collect();
    for (word, seen) in counts(texts.iter().map(|(before, _)| before)) {
        if !kept.contains(word) {
            add(format!("banned.{word}"), Rule::BannedWords { words: vec![word.clone()] }, seen);
        }
    }
    for (word, everywhere) in counts(texts.iter().map(|(_, after)| after)) {
        let seen = texts.iter().filter(|(before, _)| !before.words.contains(word)).count();
        if everywhere == of {
            add(format!("required.{word}"), Rule::RequiredWords { words: vec![word.clone()] }, seen);
        }
    }
    let shorter =
        |(before, after): &(Text, Text)| after.length.saturating_mul(4) <= before.length.saturating_mul(3);
    let longest = texts.iter().map(|(_, after)| after.length).max().unwrap_or(0);
    if longest > 0 && texts.iter().all(shorter) {
        add("length".to_owned(), Rule::Length { min_words: None, max_words: Some(longest) }, of);
    }
    proposals.sort_by(|left, right| left.policy.name.cmp(&right.policy.name));
    proposals
}

/// In how many texts each word is.
fn counts<'a>(texts: impl Iterator<Item = &'a Text>) -> BTreeMap<&'a String, usize> {
    let mut counts = BTreeMap::new();
    for word in texts.flat_map(|text| &text.words) {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// What is compared of a text.
struct Text {
    words: BTreeSet<String>,
    length: usize,
    emojis: bool,
    exclaims: bool,
}

impl Text {
    fn new(text: &str) -> Self {
        let words = Words::new(text);
        Self {
            words: words.iter().map(str::to_owned).collect(),
            length: words.len(),
            emojis: !emojis(text).is_empty(),
            exclaims: text.contains(['!', '！', '¡']),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_repeated_and_not_contradicted_is_proposed() {
        let check = |pairs: &[(&str, &str)], names: &[&str]| {
            let corrections: Vec<Correction> =
                pairs.iter().map(|(before, after)| Correction::new(*before, *after)).collect();
            let proposals = propose(&corrections, 2);
            let found: Vec<&str> = proposals.iter().map(|it| it.policy.name.as_str()).collect();
            assert_eq!(found, names, "{pairs:?}");
        };
        check(&[("a 🚀", "a"), ("b 🎉", "b")], &["no_emojis"]);
        check(&[("a 🚀", "a"), ("b 🎉", "b"), ("c", "c 🙂")], &[]);
        check(&[("a 🚀", "a")], &[]);
        check(&[("wow!", "wow"), ("so! great", "so great")], &["formal"]);
        check(&[("cheap x", "x"), ("Cheap y", "y"), ("z", "cheap z")], &[]);
        check(&[("offre été", "offre été TTC"), ("prix", "prix ttc")], &["required.ttc"]);
        check(&[("a b c d", "a b c"), ("b a c f", "c a b")], &["length"]);
        check(&[], &[]);
    }

    #[test]
    fn a_proposal_says_how_many_corrections_speak_for_it() {
        let corrections =
            [Correction::new("very a", "a"), Correction::new("very b", "b"), Correction::new("c", "c")];
        let proposals = propose(&corrections, 2);
        assert_eq!((proposals[0].seen, proposals[0].of), (2, 3));
    }
}
