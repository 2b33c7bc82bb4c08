//! Where claims do not agree: the same words with other numbers, or one of them denied.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    agent::terms, orchestrator::Claim, rag::lexical::StandardAnalyzer, types::AgentId, workflow::canonical,
};

/// Words that two claims must share to be about the same thing.
const NEEDED_WORDS: usize = 4;
/// The share of the shorter claim's words that the other must have.
const NEEDED_SHARE: f64 = 0.6;
/// How many disagreements a report lists at most, the closest pairs first.
const MAX_LISTED: usize = 10;
/// Words that deny, in the form in which claims are compared.
const DENIALS: [&str; 26] = [
    "not", "no", "never", "none", "cannot", "without", "neither", "nor", "fails", "isnt", "arent", "wasnt",
    "werent", "doesnt", "dont", "didnt", "cant", "couldnt", "wont", "wouldnt", "shouldnt", "mustnt", "hasnt",
    "havent", "hadnt", "neednt",
];

/// In what two claims differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Difference {
    /// They give other numbers for the same thing.
    Numbers,
    /// One denies what the other says.
    Denial,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The claim.
    pub claim: String,
    /// What it rests on; numbers of the report's sources.
    pub sources: Vec<u32>,
    /// Who holds it.
    pub agents: Vec<AgentId>,
}

/// Two claims about the same thing that do not agree, for a person to settle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// In what they differ.
    pub difference: Difference,
    /// The words that they share, as stems.
    pub about: Vec<String>,
    /// The two sides.
    pub positions: Vec<Position>,
}

struct Reading<'a> {
    claim: &'a Claim,
    words: BTreeSet<String>,
    numbers: BTreeSet<String>,
    denies: bool,
}

/// Pairs of claims that share most of their words and differ in numbers or in a denial.
///
/// It reads words, not meaning: what it lists is worth a look, and what it does not list may still disagree.
#[must_use]
pub(super) fn disagreements(claims: &[Claim]) -> Vec<Disagreement> {
    let analyzer = StandardAnalyzer::default();
    let readings: Vec<Reading<'_>> = claims.iter().map(|claim| read(&analyzer, claim)).collect();
    let mut found: Vec<(f64, Disagreement)> = Vec::new();
    for (index, left) in readings.iter().enumerate() {
        found.extend(readings.iter().skip(index + 1).filter_map(|right| compare(left, right)));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().take(MAX_LISTED).map(|(_, it)| it).collect()
}

fn read<'a>(analyzer: &StandardAnalyzer, claim: &'a Claim) -> Reading<'a> {
    let text = canonical(&claim.text);
    let is_number = |word: &str| word.chars().any(|c| c.is_ascii_digit());
    let (numbers, words): (Vec<&str>, Vec<&str>) = text.split(' ').partition(|word| is_number(word));
    let (denials, words): (Vec<&str>, Vec<&str>) = words.into_iter().partition(|word| DENIALS.contains(word));
    Reading {
        claim,
        denies: !denials.is_empty(),
        words: terms(analyzer, &words.join(" ")).into_iter().collect(),
        numbers: numbers.into_iter().map(str::to_owned).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of words are small")]
fn compare(left: &Reading<'_>, right: &Reading<'_>) -> Option<(f64, Disagreement)> {
    let about: Vec<String> = left.words.intersection(&right.words).cloned().collect();
    let shorter = left.words.len().min(right.words.len()).max(1);
    let share = about.len() as f64 / shorter as f64;
    if about.len() < NEEDED_WORDS || share < NEEDED_SHARE {
        return None;
    }
    let both_count = !left.numbers.is_empty() && !right.numbers.is_empty();
    let difference = if left.denies != right.denies {
        Difference::Denial
    } else if both_count && left.numbers.is_disjoint(&right.numbers) {
        Difference::Numbers
    } else {
        return None;
    };
    let position = |reading: &Reading<'_>| Position {
        claim: reading.claim.text.clone(),
        sources: reading.claim.sources.clone(),
        agents: reading.claim.agents.clone(),
    };
    Some((share, Disagreement { difference, about, positions: vec![position(left), position(right)] }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(left: &str, right: &str, expected: Option<Difference>) {
        let claim = |text: &str| Claim { text: text.to_owned(), sources: vec![1], agents: vec![] };
        let found = disagreements(&[claim(left), claim(right)]);
        assert_eq!(found.first().map(|it| it.difference), expected, "{left} / {right}");
    }

    #[test]
    fn numbers_and_denials_about_the_same_thing_disagree() {
        let base = "The default budget of a council run is 5 dollars";
        check(base, "The default budget of a council run is 9 dollars", Some(Difference::Numbers));
        check(
            "Local files survive a sudden power loss",
            "Local files do not survive a sudden power loss",
            Some(Difference::Denial),
        );
        check(
            "A journal entry survives a sudden power loss",
            "A journal entry doesn\u{2019}t survive a sudden power loss",
            Some(Difference::Denial),
        );
        check(base, base, None);
        check(base, "The default budget of a council run is 5 dollars!", None);
        check(base, "Every journal entry of 3 bytes is checksummed", None);
    }
}
