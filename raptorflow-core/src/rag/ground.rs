//! `Grounder`: which claims of an answer its passages support, and which not.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::{
    error::{Error, ErrorKind, Result},
    rag::{
        figures::{numbers, plain_url, urls},
        lexical::{Analyzer, StandardAnalyzer},
    },
    types::Passage,
};

/// A sentence of an answer, and what the passages say to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The sentence.
    pub text: String,
    /// Its bytes in the answer.
    pub bytes: Range<usize>,
    /// The share of its words that one place of a passage has, 0 to 1; rare words count more.
    pub support: f32,
    /// The number of the passage with that place; `None` when none has any of its words.
    pub passage: Option<u32>,
    /// Numbers and addresses that no passage has, and citations of passages that there are not.
    ///
    /// Where the sentence cites passages, only these are looked at.
    pub missing: Vec<String>,
    /// Whether nothing is missing and `support` reaches the bound of the [`Grounder`].
    pub supported: bool,
}

/// What became of the claims of one answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Grounding {
    /// All claims, in the order of the answer.
    pub claims: Vec<Claim>,
}

impl Grounding {
    /// The claims that the passages do not support.
    pub fn unsupported(&self) -> impl Iterator<Item = &Claim> {
        self.claims.iter().filter(|claim| !claim.supported)
    }

    /// The share of claims that are supported, 0 to 1; 1 for an answer without claims.
    #[must_use]
    pub fn share(&self) -> f32 {
        let supported = self.claims.len() - self.unsupported().count();
        if self.claims.is_empty() { 1.0 } else { supported as f32 / self.claims.len() as f32 }
    }
}

/// Checks an answer against the passages that it was given, without a model.
///
/// A claim is a sentence that is no question.
/// It is supported when two neighboring sentences of one passage have enough of its words, and the passages have its
/// numbers and addresses.
/// It compares stems, not meanings: what says the opposite in the same words counts as supported, and what says the
/// same in other words does not.
///
/// ```
/// use raptorflow_core::{rag::Grounder, types::Passage};
/// let passage = Passage {
///     number: 1, source: "plans.md".into(), lines: (1, 1), heading: String::new(),
///     text: "The basic plan costs 499 rupees a month.".into(),
/// };
/// let answer = "The basic plan costs ₹499 [1]. Refunds arrive within seven days. It costs 599 rupees a month [1].";
/// let grounding = Grounder::default().ground(answer, &[passage]);
/// let unsupported: Vec<&str> = grounding.unsupported().map(|claim| claim.text.as_str()).collect();
/// assert_eq!(unsupported, ["Refunds arrive within seven days.", "It costs 599 rupees a month [1]."]);
/// assert_eq!(grounding.claims[2].missing, ["599"]);
/// ```
#[derive(Clone, Debug)]
pub struct Grounder {
    analyzer: Arc<dyn Analyzer>,
    support: f32,
}

impl Default for Grounder {
    /// English; half of the weight of a claim's words.
    fn default() -> Self {
        Self { analyzer: Arc::new(StandardAnalyzer::default()), support: 0.5 }
    }
}

/// The terms of neighboring sentences of a passage.
struct Window {
    passage: u32,
    terms: HashSet<String>,
}

impl Grounder {
    /// One with an analyzer of another language, and the share of a claim's words that supports it, 0 to 1.
    ///
    /// # Errors
    /// `InvalidInput` when the share is not from 0 to 1.
    pub fn new(analyzer: Arc<dyn Analyzer>, support: f32) -> Result<Self> {
        if (0.0..=1.0).contains(&support) {
            return Ok(Self { analyzer, support });
        }
        Err(Error::new(ErrorKind::InvalidInput, "ground.new", "expected a share from 0 to 1")
            .with("field", "support")
            .with("value", support))
    }

    /// What the passages say to each claim of an answer.
    #[must_use]
    pub fn ground(&self, answer: &str, passages: &[Passage]) -> Grounding {
        let windows: Vec<Window> = passages.iter().flat_map(|passage| self.windows(passage)).collect();
        let mut frequency: HashMap<&str, u32> = HashMap::new();
        for term in windows.iter().flat_map(|window| &window.terms) {
            *frequency.entry(term).or_default() += 1;
        }
        let weight = |term: &str| {
            let count = frequency.get(term).copied().unwrap_or(0);
            (1.0 + (windows.len() as f32 + 1.0) / (count as f32 + 0.5)).ln()
        };
        let claims = sentences(answer).into_iter().filter_map(|bytes| {
            let text = answer.get(bytes.clone())?;
            let cited = citations(text);
            let from: Vec<&Passage> =
                passages.iter().filter(|it| cited.is_empty() || cited.contains(&it.number)).collect();
            let terms = self.terms(&without_citations(text));
            if text.ends_with('?') || terms.is_empty() {
                return None;
            }
            let all: f32 = terms.iter().map(|term| weight(term)).sum();
            let (mut support, mut passage) = (0.0, None);
            for window in windows.iter().filter(|window| from.iter().any(|it| it.number == window.passage)) {
                let shared: f32 = terms.intersection(&window.terms).map(|term| weight(term)).sum();
                if shared / all > support {
                    (support, passage) = (shared / all, Some(window.passage));
                }
            }
            let mut missing: Vec<String> = cited
                .iter()
                .filter(|number| passages.iter().all(|passage| passage.number != **number))
                .map(|number| format!("[{number}]"))
                .collect();
            missing.extend(missing_figures(&without_citations(text), &from));
            let supported = missing.is_empty() && support >= self.support;
            Some(Claim { text: text.to_owned(), bytes, support, passage, missing, supported })
        });
        Grounding { claims: claims.collect() }
    }

    fn terms(&self, text: &str) -> HashSet<String> {
        let mut terms = HashSet::new();
        self.analyzer.analyze(text, &mut |term| {
            terms.insert(term.to_owned());
        });
        terms
    }

    /// Each sentence with the next one, because a claim often joins two; headings count for all.
    fn windows(&self, passage: &Passage) -> Vec<Window> {
        let sentences: Vec<HashSet<String>> = sentences(&passage.text)
            .into_iter()
            .map(|bytes| self.terms(passage.text.get(bytes).unwrap_or_default()))
            .collect();
        let heading = self.terms(&passage.heading);
        let mut windows = Vec::with_capacity(sentences.len());
        for (at, first) in sentences.iter().enumerate() {
            let mut terms = &heading | first;
            terms.extend(sentences.get(at + 1).into_iter().flatten().cloned());
            windows.push(Window { passage: passage.number, terms });
        }
        windows
    }
}

/// The sentences of a text without the marks of lists and headings before them; a line break ends one.
fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (start, piece) in text.split_sentence_bound_indices() {
        let mut from = start;
        for line in piece.split_inclusive('\n') {
            let inside = line.trim_start_matches(|c: char| c.is_whitespace() || "#>-*•|".contains(c));
            let begin = from + line.len() - inside.len();
            let end = begin + inside.trim_end().len();
            if begin < end {
                found.push(begin..end);
            }
            from += line.len();
        }
    }
    joined(text, found)
}

/// A citation behind the full stop belongs to the sentence before.
fn joined(text: &str, pieces: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut sentences: Vec<Range<usize>> = Vec::new();
    for piece in pieces {
        let only = text.get(piece.clone()).is_some_and(|piece| without_citations(piece).trim().is_empty());
        match sentences.last_mut() {
            Some(last) if only => last.end = piece.end,
            _ => sentences.push(piece),
        }
    }
    sentences
}

/// Stretches such as `[2]` or `[1, 3]`, with their numbers.
fn cited(text: &str) -> Vec<(Range<usize>, Vec<u32>)> {
    let opened = text.match_indices('[').filter_map(|(start, _)| {
        let (inside, _) = text.get(start + 1..)?.split_once(']')?;
        let numbers: Option<Vec<u32>> = inside.split(',').map(|it| it.trim().parse().ok()).collect();
        Some((start..start + inside.len() + 2, numbers?))
    });
    opened.collect()
}

fn citations(text: &str) -> Vec<u32> {
    cited(text).into_iter().flat_map(|(_, numbers)| numbers).collect()
}

fn without_citations(text: &str) -> String {
    let (mut plain, mut from) = (String::with_capacity(text.len()), 0);
    for (range, _) in cited(text) {
        plain.push_str(text.get(from..range.start).unwrap_or_default());
        from = range.end;
    }
    plain.push_str(text.get(from..).unwrap_or_default());
    plain
}

/// The numbers and addresses of a text that no passage has.
fn missing_figures(text: &str, passages: &[&Passage]) -> Vec<String> {
    let addresses = urls(text);
    let mut wanted: Vec<String> =
        addresses.iter().filter_map(|range| text.get(range.clone())).map(plain_url).collect();
    wanted.extend(numbers(text, &addresses).into_iter().map(|(_, number)| number));
    let mut given = HashSet::new();
    for text in passages.iter().flat_map(|passage| [&*passage.text, &passage.heading, &passage.source]) {
        given.extend(urls(text).into_iter().filter_map(|range| text.get(range)).map(plain_url));
        given.extend(numbers(text, &[]).into_iter().map(|(_, number)| number));
    }
    let mut seen = HashSet::new();
    wanted.retain(|it| !given.contains(it) && seen.insert(it.clone()));
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(number: u32, text: &str) -> Passage {
        Passage { number, source: "a.md".into(), lines: (1, 1), heading: String::new(), text: text.into() }
    }

    /// The sentences of an answer that two passages do not support.
    fn check(answer: &str, unsupported: &[&str]) {
        let passages = [
            passage(1, "Boats leave the harbor at 9.30 each day. A ticket costs 1,200 rupees."),
            passage(2, "The ferry office is at https://ferry.example/office. It opens on Monday."),
        ];
        let grounding = Grounder::default().ground(answer, &passages);
        let found: Vec<&str> = grounding.unsupported().map(|claim| claim.text.as_str()).collect();
        assert_eq!(found, unsupported, "{grounding:?}");
        for claim in &grounding.claims {
            assert_eq!(answer[claim.bytes.clone()], claim.text);
        }
    }

    #[test]
    fn words_that_no_passage_has_are_unsupported() {
        check(
            "Boats leave the harbor daily. Dolphins follow every boat home.",
            &["Dolphins follow every boat home."],
        );
        check("# Boats\n\n- Tickets cost 1200 rupees.\n- When do boats leave?", &[]);
        check("", &[]);
    }

    #[test]
    fn numbers_and_addresses_must_stand_in_what_is_cited() {
        check("A ticket costs 1200 rupees [1].", &[]);
        check("A ticket costs 1300 rupees.", &["A ticket costs 1300 rupees."]);
        check("A ticket costs 1200 rupees. [2]", &["A ticket costs 1200 rupees. [2]"]);
        check("The ferry office is at https://ferry.example/office/ [2].", &[]);
        check(
            "The ferry office is at https://other.example [2].",
            &["The ferry office is at https://other.example [2]."],
        );
    }

    #[test]
    fn a_citation_of_no_passage_is_unsupported() {
        let grounding = Grounder::default()
            .ground("Boats leave the harbor [1, 7].", &[passage(1, "Boats leave the harbor.")]);
        assert_eq!(
            (grounding.claims[0].missing.as_slice(), grounding.share()),
            (&["[7]".to_owned()][..], 0.0)
        );
        assert_eq!(Grounding::default().share(), 1.0);
    }

    #[test]
    fn a_share_out_of_range_is_refused() {
        let err = Grounder::new(Arc::new(StandardAnalyzer::default()), 1.5).unwrap_err();
        assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some("support")));
    }
}
