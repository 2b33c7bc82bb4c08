//! Turns text into the stems that questions and sentences are compared by.

use std::collections::{HashMap, HashSet};

use snowball_stemmers_rs::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation as _;

/// English words that say nothing about a subject.
const STOP_WORDS: &str = "a about above after again against all also am an and any are as at be because been \
    before being below between both but by can cannot could did do does doing done down during each either else \
    ever every few for from further get give given gives had has have having he her here hers him his how \
    however i if in into is it its itself just let like may me might more most much must my need neither no nor \
    not now of off often on once one only or other our ours out over own per please rather same say says shall \
    she should show so some such tell than that the their them then there these they thing things this those \
    though through thus to too two under until up upon us use used uses using very was we well were what when \
    where whether which while who whom whose why will with within without would yes yet you your yours";
/// Words of instructions that say nothing about what an agent looks for.
const INSTRUCTION_WORDS: &str = "agent answer ask cite claim describe document explain finding goal instruction json \
    list name note number passage question quote reader sentence source state statement summarize summary task text \
    word write";

/// The longest word that is looked at, in bytes; longer ones are addresses or encoded data.
const MAX_WORD: usize = 48;

/// Makes stems.
pub(super) struct Stems {
    stemmer: Stemmer,
    stop_words: HashSet<&'static str>,
    /// The stems of [`INSTRUCTION_WORDS`].
    instruction_words: HashSet<String>,
}

impl Stems {
    pub(super) fn new() -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        let instruction_words =
            INSTRUCTION_WORDS.split_whitespace().map(|word| stemmer.stem(word).into_owned()).collect();
        Self { stemmer, stop_words: STOP_WORDS.split_whitespace().collect(), instruction_words }
    }

    /// The stems of a text in order, without stop words; a compound like `max_size` gives its parts as well.
    pub(super) fn of(&self, text: &str) -> Vec<String> {
        let mut stems = Vec::new();
        for word in text.unicode_words().filter(|word| word.len() <= MAX_WORD) {
            self.add(word, &mut stems);
            if word.contains(['_', '.', '\'', '’']) {
                for part in word.split(['_', '.', '\'', '’']).filter(|part| part.len() > 1) {
                    self.add(part, &mut stems);
                }
            }
        }
        stems
    }

    /// How often each stem occurs in a text.
    pub(super) fn counts(&self, text: &str) -> HashMap<String, u32> {
        let mut counts = HashMap::new();
        for stem in self.of(text) {
            *counts.entry(stem).or_insert(0) += 1;
        }
        counts
    }

    /// How often each stem occurs in instructions, without the words that all instructions have.
    pub(super) fn instruction_counts(&self, text: &str) -> HashMap<String, u32> {
        let mut counts = self.counts(text);
        counts.retain(|stem, _| !self.instruction_words.contains(stem));
        counts
    }

    fn add(&self, word: &str, stems: &mut Vec<String>) {
        let lower = word.to_lowercase();
        // One letter says something only in scripts that write a word with it.
        let short = lower.len() == 1 && !lower.bytes().all(|b| b.is_ascii_digit());
        if short || self.stop_words.contains(lower.as_str()) {
            return;
        }
        stems.push(self.stemmer.stem(&lower).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_ignore_form_case_and_words_that_say_nothing() {
        let stems = Stems::new();
        assert_eq!(stems.of("The Journals of THESE"), stems.of("a journal"));
        assert!(stems.instruction_counts("Summarize the passages of the agent").is_empty());
        assert_eq!(stems.of("set `max_size` to 10"), ["set", "max_siz", "max", "size", "10"]);
        assert_eq!(stems.of("the of and"), Vec::<String>::new());
        assert_eq!(stems.of("जाँच करें").len(), 2);
    }
}
