//! Chooses the sentences of given passages that speak about a question, best first and without repetitions.

use std::collections::HashMap;

use super::{
    sentence::{lines, sentences},
    terms::Stems,
};
use crate::types::Passage;

/// By how much fitting the instructions lifts a sentence that speaks about the question: enough that two agents
/// read the same passages differently, and as a factor, so that it lifts nothing that does not.
const INSTRUCTIONS: f64 = 1.0;
/// The share of the best overlap with the question that makes a sentence relevant.
const RELEVANT: f64 = 0.2;
/// How much the heading above a sentence counts.
const HEADING: f64 = 0.2;
/// How much an early place, of the passage among all and of the sentence in it, counts.
const PLACE: f64 = 0.08;
/// What a word counts that only begins like a word of the question ("config" and "configuration").
const PREFIX: f64 = 0.6;
/// The shortest beginning that counts.
const PREFIX_CHARS: usize = 5;
/// The share of relevance against novelty (maximal marginal relevance).
const RELEVANCE: f64 = 0.72;
/// From which similarity on two sentences say the same.
const SAME: f64 = 0.65;
/// How many candidates are compared with each other.
const CANDIDATES: usize = 160;

/// A sentence, where it comes from and who else says so.
#[derive(Clone, Debug)]
pub(super) struct Quote {
    /// The text, verbatim but for folded white space.
    pub(super) text: String,
    /// The number of its passage.
    pub(super) passage: u32,
    /// Other passages with nearly the same sentence.
    pub(super) also: Vec<u32>,
    /// From 0 to about 1.
    pub(super) score: f64,
}

/// Quotes, best first.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranking {
    /// At most `limit` quotes.
    pub(super) quotes: Vec<Quote>,
    /// Whether any passage shares a word with the question.
    pub(super) on_topic: bool,
}

/// Ranks the sentences of `passages`.
pub(super) fn rank(question: &str, instructions: &str, passages: &[&Passage], limit: usize) -> Ranking {
    let stems = Stems::new();
    let mut pool = Pool::read(&stems, passages);
    let wanted = pool.weigh_question(&stems.counts(question));
    let guided = pool.weigh_instructions(&stems.instruction_counts(instructions), &wanted);
    let headings = pool.score_headings(&stems, passages, &wanted);
    let on_topic = pool.score(&wanted, &guided, &headings, asks_for_definition(question));
    Ranking { quotes: pool.choose(limit), on_topic }
}

struct Sentence {
    text: String,
    /// Index into the passages.
    passage: usize,
    number: u32,
    /// Place within the passage, from 0.
    place: usize,
    /// Stems and how often, by stem.
    terms: Vec<(usize, u32)>,
    /// The stem it begins with.
    subject: Option<usize>,
    score: f64,
}

/// Leaves out what a passage cuts off: a first sentence without a beginning, a last one without an end.
fn whole(mut sentences: Vec<String>) -> Vec<String> {
    let unended =
        |text: &String| !text.ends_with(['.', '!', '?', ':', ';', ')', '"', '”', '`', '*', ']', '。', '।']);
    if sentences.len() > 1 && sentences.last().is_some_and(unended) {
        sentences.pop();
    }
    if sentences.len() > 1 && sentences.first().is_some_and(|text| text.starts_with(char::is_lowercase)) {
        sentences.remove(0);
    }
    sentences
}

struct Pool {
    sentences: Vec<Sentence>,
    vocabulary: HashMap<String, usize>,
    /// How much a stem tells: the fewer sentences have it, the more.
    idf: Vec<f64>,
    mean_terms: f64,
}

impl Pool {
    fn read(stems: &Stems, passages: &[&Passage]) -> Self {
        let mut pool =
            Self { sentences: Vec::new(), vocabulary: HashMap::new(), idf: Vec::new(), mean_terms: 1.0 };
        pool.add(stems, passages, sentences);
        if pool.sentences.is_empty() {
            // Nothing but code, tables and headings: their lines are all there is to quote.
            pool.add(stems, passages, lines);
        }
        let mut found_in = vec![0_u32; pool.vocabulary.len()];
        for (term, _) in pool.sentences.iter().flat_map(|sentence| &sentence.terms) {
            if let Some(count) = found_in.get_mut(*term) {
                *count += 1;
            }
        }
        let total = pool.sentences.len() as f64;
        pool.idf = found_in
            .iter()
            .map(|df| (1.0 + (total - f64::from(*df) + 0.5) / (f64::from(*df) + 0.5)).ln())
            .collect();
        let terms: usize = pool.sentences.iter().map(|sentence| sentence.terms.len()).sum();
        pool.mean_terms = (terms as f64 / total.max(1.0)).max(1.0);
        pool
    }

    fn add(&mut self, stems: &Stems, passages: &[&Passage], split: fn(&str) -> Vec<String>) {
        for (passage, source) in passages.iter().enumerate() {
            for (place, text) in whole(split(&source.text)).into_iter().enumerate() {
                let found: Vec<usize> = stems.of(&text).into_iter().map(|stem| self.intern(stem)).collect();
                let subject = found.first().copied();
                let terms = count(found);
                let number = source.number;
                self.sentences.push(Sentence { text, passage, number, place, terms, subject, score: 0.0 });
            }
        }
    }

    fn intern(&mut self, stem: String) -> usize {
        let next = self.vocabulary.len();
        *self.vocabulary.entry(stem).or_insert(next)
    }

    /// What each stem of the vocabulary counts for the question.
    fn weigh_question(&self, question: &HashMap<String, u32>) -> HashMap<usize, f64> {
        let mut weights = HashMap::new();
        for (stem, term) in &self.vocabulary {
            let exact = question.contains_key(stem);
            let begins = || question.keys().any(|asked| begin_alike(asked, stem));
            if exact || begins() {
                weights.insert(*term, if exact { 1.0 } else { PREFIX });
            }
        }
        weights
    }

    /// What each stem counts for the instructions: words that return are what an agent is about.
    fn weigh_instructions(
        &self,
        instructions: &HashMap<String, u32>,
        wanted: &HashMap<usize, f64>,
    ) -> HashMap<usize, f64> {
        let known =
            instructions.iter().filter_map(|(stem, count)| Some((*self.vocabulary.get(stem)?, *count)));
        known
            .filter(|(term, _)| !wanted.contains_key(term))
            .map(|(term, count)| (term, f64::from(count).sqrt()))
            .collect()
    }

    fn score_headings(&self, stems: &Stems, passages: &[&Passage], wanted: &HashMap<usize, f64>) -> Vec<f64> {
        let mut scores: Vec<f64> = Vec::with_capacity(passages.len());
        for passage in passages {
            let above = stems.of(&passage.heading).into_iter().chain(stems.of(&passage.source));
            let terms = count(above.filter_map(|stem| self.vocabulary.get(&stem).copied()).collect());
            scores.push(self.overlap(&terms, wanted));
        }
        normalize(&mut scores);
        scores
    }

    /// Gives every sentence its score; whether any of them shares a word with the question.
    fn score(
        &mut self,
        wanted: &HashMap<usize, f64>,
        guided: &HashMap<usize, f64>,
        headings: &[f64],
        definition: bool,
    ) -> bool {
        let overlaps = |weights| -> Vec<f64> {
            self.sentences.iter().map(|sentence| self.overlap(&sentence.terms, weights)).collect()
        };
        let (mut question, mut instructions) = (overlaps(wanted), overlaps(guided));
        let on_topic = normalize(&mut question);
        // The scale is that of relevant sentences: one about something else must not make their difference small.
        let relevant =
            question.iter().zip(&instructions).filter(|(asked, _)| !on_topic || **asked >= RELEVANT);
        let top = relevant.map(|(_, guide)| *guide).fold(0.0, f64::max);
        for guide in &mut instructions {
            *guide = if top > 0.0 { (*guide / top).min(1.0) } else { 0.0 };
        }
        let scored = self.sentences.iter_mut().zip(question.iter().zip(&instructions));
        for (sentence, (asked, guide)) in scored {
            let heading = headings.get(sentence.passage).copied().unwrap_or(0.0);
            let place =
                1.0 / (1.0 + 0.25 * sentence.passage as f64) + 1.0 / (1.0 + 0.5 * sentence.place as f64);
            let defines = definition
                && sentence.subject.is_some_and(|term| wanted.contains_key(&term))
                && says_what_it_is(&sentence.text);
            // The root brings near the sentences that all speak about the question, and the instructions choose.
            let subject = asked.sqrt() + HEADING * heading + PLACE * place / 2.0;
            let relevance = subject * (1.0 + INSTRUCTIONS * guide) / (1.0 + INSTRUCTIONS);
            sentence.score = relevance * shape(&sentence.text) * if defines { 1.4 } else { 1.0 };
        }
        on_topic
    }

    /// The weight of the stems that a sentence shares with a query; long sentences share by chance.
    fn overlap(&self, terms: &[(usize, u32)], weights: &HashMap<usize, f64>) -> f64 {
        let shared = terms.iter().filter_map(|(term, count)| {
            let (weight, idf) = (weights.get(term)?, self.idf.get(*term)?);
            let often = f64::from(*count);
            Some(weight * idf * (often * 2.0 / (often + 1.0)))
        });
        let sum: f64 = shared.sum();
        sum / (0.6 + 0.4 * terms.len() as f64 / self.mean_terms)
    }

    /// The best sentences, each new against those before it.
    fn choose(mut self, limit: usize) -> Vec<Quote> {
        // Equal scores keep the order of the text, so that the choice is the same each time.
        self.sentences.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut rest: Vec<(Sentence, f64)> = std::mem::take(&mut self.sentences)
            .into_iter()
            .take(CANDIDATES)
            .map(|sentence| (sentence, 0.0))
            .collect();
        let top = rest.first().map_or(1.0, |(sentence, _)| sentence.score.max(f64::MIN_POSITIVE));
        let mut quotes = Vec::new();
        while quotes.len() < limit && !rest.is_empty() {
            let worth = |(sentence, repeated): &(Sentence, f64)| {
                RELEVANCE * sentence.score / top - (1.0 - RELEVANCE) * repeated
            };
            let mut best = 0;
            let mut best_worth = f64::MIN;
            for (at, candidate) in rest.iter().enumerate() {
                if worth(candidate) > best_worth {
                    (best, best_worth) = (at, worth(candidate));
                }
            }
            let (chosen, _) = rest.remove(best);
            let mut also = Vec::new();
            rest.retain_mut(|(other, repeated)| {
                let alike = self.similarity(&chosen.terms, &other.terms);
                *repeated = repeated.max(alike);
                let same = alike >= SAME || chosen.text == other.text;
                if same && other.number != chosen.number && !also.contains(&other.number) {
                    also.push(other.number);
                }
                !same
            });
            quotes.push(Quote { text: chosen.text, passage: chosen.number, also, score: chosen.score });
        }
        quotes
    }

    /// The shared part of two sentences, 0 to 1, stems weighted by what they tell.
    fn similarity(&self, a: &[(usize, u32)], b: &[(usize, u32)]) -> f64 {
        let weight = |term: usize| self.idf.get(term).copied().unwrap_or(0.0);
        let shared: f64 = a
            .iter()
            .filter(|(term, _)| b.binary_search_by_key(term, |(other, _)| *other).is_ok())
            .map(|(term, _)| weight(*term))
            .sum();
        let all: f64 = a.iter().chain(b).map(|(term, _)| weight(*term)).sum::<f64>() - shared;
        if all > 0.0 { shared / all } else { 0.0 }
    }
}

/// Each term once with its count, sorted by term.
fn count(mut found: Vec<usize>) -> Vec<(usize, u32)> {
    found.sort_unstable();
    let mut counts: Vec<(usize, u32)> = Vec::new();
    for term in found {
        match counts.last_mut() {
            Some((last, count)) if *last == term => *count += 1,
            _ => counts.push((term, 1)),
        }
    }
    counts
}

fn begin_alike(asked: &str, stem: &str) -> bool {
    let shorter = asked.len().min(stem.len());
    shorter >= PREFIX_CHARS && (asked.starts_with(stem) || stem.starts_with(asked))
}

/// Scales to a greatest value of 1; whether there was any above 0.
fn normalize(scores: &mut [f64]) -> bool {
    let top = scores.iter().copied().fold(0.0, f64::max);
    if top > 0.0 {
        scores.iter_mut().for_each(|score| *score /= top);
    }
    top > 0.0
}

/// How well a sentence stands alone, by its length, its beginning and its end.
fn shape(text: &str) -> f64 {
    let words = text.split_whitespace().count();
    let length = match words {
        0..=2 => 0.2,
        3..=4 => 0.5,
        5..=6 => 0.8,
        7..=40 => 1.0,
        41..=60 => 0.8,
        _ => 0.55,
    };
    let end = match text.trim_end_matches(['*', '_', ')', '"', '`', '”']).chars().next_back() {
        Some('.' | '!' | '。' | '।' | '…') => 1.0,
        Some(':') => 0.55,
        Some('?') => 0.6,
        _ => 0.85,
    };
    let first = text.split_whitespace().next().unwrap_or("").trim_end_matches(',');
    let beginning = match first {
        // It leans on the sentence before it.
        "This" | "That" | "These" | "Those" | "It" | "They" | "He" | "She" | "However" | "But" | "So"
        | "Then" | "Otherwise" | "Instead" => 0.85,
        // It sends the reader elsewhere.
        "See" | "Refer" | "Click" | "Visit" | "Read" => 0.6,
        _ => 1.0,
    };
    let total = text.chars().count().max(1);
    let letters = text.chars().filter(|c| c.is_alphabetic() || c.is_whitespace()).count();
    let plain = if letters * 100 < total * 70 { 0.6 } else { 1.0 };
    let linked = if text.contains("](") || text.contains("://") { 0.85 } else { 1.0 };
    length * end * beginning * plain * linked
}

fn asks_for_definition(question: &str) -> bool {
    let lower = question.trim().to_lowercase();
    ["what is", "what are", "what's", "who is", "define", "explain what"]
        .iter()
        .any(|start| lower.starts_with(start))
}

fn says_what_it_is(text: &str) -> bool {
    text.split_whitespace()
        .take(8)
        .any(|word| matches!(word, "is" | "are" | "means" | "refers" | "was" | "were"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(number: u32, heading: &str, text: &str) -> Passage {
        Passage { number, source: "doc.md".into(), lines: (1, 9), heading: heading.into(), text: text.into() }
    }

    fn best(question: &str, instructions: &str, passages: &[Passage]) -> Vec<(String, u32)> {
        let all: Vec<&Passage> = passages.iter().collect();
        rank(question, instructions, &all, 3)
            .quotes
            .into_iter()
            .map(|quote| (quote.text, quote.passage))
            .collect()
    }

    #[test]
    fn the_sentence_that_speaks_about_the_question_comes_first() {
        let passages = [
            passage(
                1,
                "",
                "The library was written in May. Backups are taken every night at two. Tea is served.",
            ),
            passage(2, "", "A backup that was never restored is only a hope. Colors are configurable."),
        ];
        assert_eq!(
            best("When are backups taken?", "", &passages)[0],
            ("Backups are taken every night at two.".into(), 1)
        );
    }

    #[test]
    fn instructions_change_the_choice_but_the_question_leads() {
        let text = "The release needs a database migration that may fail and lose orders. \
            The release is announced to all customers by mail. \
            The release takes four weeks of two developers. The garden has seven trees.";
        let passages = [passage(1, "", text)];
        let risk = best(
            "Prepare the release",
            "You look for risk: what may fail, what is lost, failure.",
            &passages,
        );
        let herald = best("Prepare the release", "You write announcements to customers by mail.", &passages);
        assert!(risk[0].0.contains("may fail"), "{risk:?}");
        assert!(herald[0].0.contains("announced"), "{herald:?}");
        assert!(risk.iter().chain(&herald).take(2).all(|(text, _)| text.contains("release")));
    }

    #[test]
    fn what_two_passages_say_alike_is_said_once_and_remembers_both() {
        let passages = [
            passage(1, "", "The journal is the single truth of a run."),
            passage(2, "", "Of each run, the journal is the single truth."),
        ];
        let all: Vec<&Passage> = passages.iter().collect();
        let ranking = rank("What is the journal?", "", &all, 5);
        assert_eq!(ranking.quotes.len(), 1);
        assert_eq!((ranking.quotes[0].passage, &ranking.quotes[0].also[..]), (1, &[2][..]));
    }

    #[test]
    fn passages_of_nothing_but_code_are_quoted_by_line() {
        let passages = [passage(1, "", "```\nretry_limit = 5\ncolor = red\n```")];
        assert_eq!(best("What is the retry limit?", "", &passages)[0].0, "retry_limit = 5");
    }

    #[test]
    fn a_question_about_something_else_is_noticed() {
        let passages = [passage(1, "", "Whales are mammals that live in the sea.")];
        let all: Vec<&Passage> = passages.iter().collect();
        assert!(!rank("tax law", "", &all, 3).on_topic);
        assert!(rank("whale song", "", &all, 3).on_topic);
    }
}
