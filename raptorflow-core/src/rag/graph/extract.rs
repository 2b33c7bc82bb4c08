//! Entities and relations of a passage by rules, without a model: titles, headings, names, definitions, links.

use crate::rag::graph::name::{
    canonical, fold, is_capital, is_number, is_stop_word, without_brackets, words,
};

/// The relation between two names of one thing.
pub const SAME_AS: &str = "same_as";
/// The relation from a thing to what it is.
pub const IS_A: &str = "is_a";
/// The relation from what a passage is about to what a link of it names.
pub const LINKS_TO: &str = "links_to";

/// Small words that may stand inside a name.
const JOINTS: &[&str] =
    &["al", "da", "de", "del", "den", "der", "di", "du", "e", "la", "le", "of", "the", "van", "von", "y"];
/// Longer runs of capitals are headlines and no names; a query is searched for names of this length too.
pub(super) const LONGEST_NAME: usize = 8;
/// A definition is looked for this many words deep, and is at most this many words long.
const DEFINITION_DEPTH: usize = 30;
const LONGEST_DEFINITION: usize = 5;

/// What the rules find in one passage; the same passage gives the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extracted {
    /// What the passage is about, as written.
    pub(super) titles: Vec<String>,
    /// What it mentions, as written, repetitions included.
    pub(super) names: Vec<String>,
    /// Subject, kind, object.
    pub(super) relations: Vec<(String, &'static str, String)>,
}

/// Reads a passage; without a title the first heading of its path is the title.
pub(crate) fn extract(title: Option<&str>, headings: &[&str], text: &str) -> Extracted {
    let mut found = Extracted::default();
    let (top, below) = match (title.filter(|title| !title.trim().is_empty()), headings.split_first()) {
        (Some(title), _) => (Some(title), headings),
        (None, Some((first, rest))) => (Some(*first), rest),
        (None, None) => (None, headings),
    };
    if let Some(top) = top {
        let name = without_brackets(top);
        // `Paris, Texas` is called `Paris` too.
        let short = name.split_once(',').map(|(short, _)| short.trim().to_owned());
        found
            .titles
            .extend([Some(name), short].into_iter().flatten().filter(|name| !canonical(name).is_empty()));
    }
    found.names.extend(below.last().filter(|heading| !canonical(heading).is_empty()).map(|&h| h.to_owned()));
    let words: Vec<(usize, &str)> = words(text).collect();
    names(text, &words, &mut found.names);
    abbreviations(text, &words, &mut found.relations);
    if let Some(subject) = found.titles.first() {
        if let Some(object) = definition(text, &words, subject) {
            found.relations.push((subject.clone(), IS_A, object));
        }
        for target in links(text) {
            found.relations.push((subject.clone(), LINKS_TO, target.to_owned()));
        }
    }
    found
}

/// Runs of capitalised words.
fn names(text: &str, words: &[(usize, &str)], out: &mut Vec<String>) {
    let mut run = Run::default();
    for (number, &(at, word)) in words.iter().enumerate() {
        let gap = text.get(run.read..at).unwrap_or_default();
        if !run.words.is_empty() && !run.may_cross(gap) {
            run.finish(text, out);
        }
        let starts = number == 0 || gap.contains(['.', '!', '?', ':', '\n']);
        run.take(at, word, starts);
        if run.words.is_empty() || !run.open {
            run.finish(text, out);
        }
        run.read = at + word.len();
    }
    run.finish(text, out);
}

/// A name that is being read.
#[derive(Debug, Default)]
struct Run<'a> {
    /// Its words with their places, the last a capital or a number.
    words: Vec<(usize, &'a str)>,
    /// Joints behind it, which belong to it only when a capital follows.
    joints: usize,
    /// Whether it began a sentence, where a capital says nothing.
    starts: bool,
    open: bool,
    /// The end of the last word that was looked at.
    read: usize,
}

impl<'a> Run<'a> {
    fn may_cross(&self, gap: &str) -> bool {
        // `J. R. Smith` and `St. Louis` go on behind their full stops.
        let short = self.joints == 0
            && self.words.last().is_some_and(|(_, last)| {
                last.chars().count() <= 2 || matches!(*last, "Mrs" | "Rev" | "Gen" | "Gov" | "Col")
            });
        let fits = |c: char| c.is_whitespace() || "-\u{2013}'\u{2019}&".contains(c) || (c == '.' && short);
        gap.chars().all(fits) && !gap.contains("\n\n")
    }

    fn take(&mut self, at: usize, word: &'a str, starts: bool) {
        self.open = true;
        if is_capital(word) || (is_number(word) && !self.words.is_empty()) {
            if self.words.is_empty() {
                self.starts = starts;
            }
            self.words.push((at, word));
            self.joints = 0;
        } else if !self.words.is_empty() && self.joints < 2 && JOINTS.contains(&word) {
            self.joints += 1;
        } else {
            self.open = false;
        }
    }

    fn finish(&mut self, text: &str, out: &mut Vec<String>) {
        let mut words = self.words.as_slice();
        let mut starts = self.starts;
        while let Some(((_, first), rest)) = words.split_first()
            && is_stop_word(&fold(first))
        {
            (words, starts) = (rest, false);
        }
        while let Some(((_, last), rest)) = words.split_last()
            && is_stop_word(&fold(last))
        {
            words = rest;
        }
        let single = words.len() == 1;
        let fits = words.len() <= LONGEST_NAME && words.iter().any(|(_, word)| !is_number(word));
        let tells = words.iter().any(|(_, word)| word.chars().nth(1).is_some());
        if let (Some((from, _)), Some((at, last))) = (words.first(), words.last())
            && fits
            && tells
            && !(single && starts)
            && let Some(name) = text.get(*from..at + last.len())
        {
            out.push(name.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        self.words.clear();
        self.joints = 0;
    }
}

/// `central nervous system (CNS)`: as many words as letters, with these initials.
fn abbreviations(text: &str, words: &[(usize, &str)], out: &mut Vec<(String, &'static str, String)>) {
    for (number, &(at, word)) in words.iter().enumerate() {
        let letters = word.len();
        if !(2..=6).contains(&letters) || !word.bytes().all(|byte| byte.is_ascii_uppercase()) {
            continue;
        }
        let enclosed = text.get(..at).is_some_and(|before| before.ends_with('('))
            && text.get(at + letters..).is_some_and(|after| after.starts_with(')'));
        let Some(long) = number.checked_sub(letters).and_then(|from| words.get(from..number)) else {
            continue;
        };
        let same = long.iter().zip(word.chars()).all(|((_, word), initial)| {
            word.chars().next().is_some_and(|first| first.eq_ignore_ascii_case(&initial))
        });
        if let (true, true, Some((from, _))) = (enclosed, same, long.first())
            && let Some(name) = text.get(*from..at)
        {
            out.push((word.to_owned(), SAME_AS, name.trim_end_matches(['(', ' ']).to_owned()));
        }
    }
}

/// `Lilu is a demon`: what a text that begins with its subject says that it is.
fn definition(text: &str, words: &[(usize, &str)], subject: &str) -> Option<String> {
    let subject = canonical(subject);
    let (first, _) = subject.split_once(' ').unwrap_or((&subject, ""));
    let opening = words.iter().find(|(_, word)| !matches!(*word, "The" | "A" | "An"))?;
    if fold(opening.1) != first {
        return None;
    }
    let verb =
        words.iter().take(DEFINITION_DEPTH).position(|(_, w)| matches!(*w, "is" | "was" | "are" | "were"))?;
    let rest = words.get(verb + 1..)?;
    let ((_, article), rest) = rest.split_first()?;
    if !matches!(*article, "a" | "an" | "the" | "one") {
        return None;
    }
    let (mut end, start) = (None, rest.first()?.0);
    for (at, word) in rest.iter().take(LONGEST_DEFINITION) {
        let gap = text.get(end.unwrap_or(start)..*at).unwrap_or_default();
        if is_stop_word(&fold(word)) || gap.contains(['.', ',', ';', ':', '(', '\n']) {
            break;
        }
        end = Some(at + word.len());
    }
    text.get(start..end?).map(str::to_owned)
}

/// The texts of Markdown links, as far as they are short enough for a name.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("](").filter_map(|(end, _)| {
        let before = text.get(..end)?;
        let start = before.rfind('[')?;
        let image = before.get(..start)?.ends_with('!');
        let label = before.get(start + 1..)?;
        let count = words(label).take(LONGEST_NAME + 1).count();
        (!image && (1..=LONGEST_NAME).contains(&count)).then_some(label)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(text: &str) -> Vec<String> {
        extract(None, &[], text).names
    }

    #[test]
    fn names_are_runs_of_capitals_with_their_joints() {
        for (text, expected) in [
            ("We met J. R. Smith of the Bank of India there.", vec!["J. R. Smith of the Bank of India"]),
            ("It opened near St. Louis. Then Paris came, Rome too.", vec!["St. Louis", "Paris", "Rome"]),
            ("about the Apollo 11 mission in 1969", vec!["Apollo 11"]),
            ("written for The New Yorker The", vec!["New Yorker"]),
            ("by Ann and Bob", vec!["Ann", "Bob"]),
            ("small letters only", vec![]),
        ] {
            assert_eq!(names_of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_single_word_that_begins_a_sentence_is_no_name() {
        assert!(names_of("Alterations are rare. Studies differ.").is_empty());
        assert_eq!(names_of("Marie Curie won. So did Pierre."), ["Marie Curie", "Pierre"]);
    }

    #[test]
    fn headlines_are_no_names() {
        assert!(
            names_of("see: Long Headline Which Has Nine Capital Words Standing Together Loudly").is_empty()
        );
    }

    #[test]
    fn titles_lose_their_brackets_and_gain_a_short_form() {
        let found = extract(Some("Paris, Texas (film)"), &["Plot"], "text");
        assert_eq!(
            (found.titles, found.names),
            (vec!["Paris, Texas".into(), "Paris".into()], vec!["Plot".to_owned()])
        );
    }

    #[test]
    fn the_first_heading_is_the_title_where_there_is_none() {
        let found = extract(None, &["Guide", "Prices"], "text");
        assert_eq!((found.titles, found.names), (vec!["Guide".to_owned()], vec!["Prices".to_owned()]));
    }

    #[test]
    fn definitions_abbreviations_and_links_are_relations() {
        let text = "Demon Dice, first Progenitus, is a collectible dice game by its author. \
            It uses the time sharing system (TSS), see [Dragon Dice](dragon.md) and ![x](y.png).";
        let relations = extract(Some("Demon Dice"), &[], text).relations;
        assert_eq!(
            relations,
            [
                ("TSS".to_owned(), SAME_AS, "time sharing system".to_owned()),
                ("Demon Dice".to_owned(), IS_A, "collectible dice game".to_owned()),
                ("Demon Dice".to_owned(), LINKS_TO, "Dragon Dice".to_owned()),
            ]
        );
        assert!(extract(Some("Other"), &[], text).relations.iter().all(|(_, kind, _)| *kind != IS_A));
    }

    #[test]
    fn odd_text_does_no_harm() {
        for text in [
            "",
            "](",
            "[](",
            "([)]](x)",
            "(AB)",
            "\u{0}\u{301}",
            "A. B. C. D. E. F. G. H. I. J.",
            "is a",
            "X is a",
        ] {
            extract(Some(text), &[text], text);
        }
    }
}
