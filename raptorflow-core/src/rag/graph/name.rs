//! Names as the graph compares them: words without case, possessive marks and brackets.

use std::sync::LazyLock;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
use unicode_segmentation::UnicodeSegmentation;

use crate::rag::lexical::{Analyzer, StandardAnalyzer};

/// English, whose capitals the rules read; its stop words are those of the lexical index.
static ENGLISH: LazyLock<StandardAnalyzer> = LazyLock::new(StandardAnalyzer::default);

/// Whether a folded word is too common to be a name by itself.
pub(super) fn is_stop_word(word: &str) -> bool {
    let mut silent = true;
    ENGLISH.analyze(word, &mut |_| silent = false);
    silent
}

/// The words of a text with their places, in bytes.
pub(super) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.unicode_word_indices()
}

/// One word as it is compared: NFKC, lower case, without a possessive `'s`.
pub(super) fn fold(word: &str) -> String {
    let lower = if word.is_ascii() || is_nfkc_quick(word.chars()) == IsNormalized::Yes {
        word.to_lowercase()
    } else {
        word.nfkc().collect::<String>().to_lowercase()
    };
    for mark in ["'s", "\u{2019}s"] {
        if let Some(bare) = lower.strip_suffix(mark)
            && !bare.is_empty()
        {
            return bare.to_owned();
        }
    }
    lower
}

/// A name as it is compared: its folded words, one space between them; empty when it has no word.
pub(super) fn canonical(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    for (_, word) in words(name) {
        if !key.is_empty() {
            key.push(' ');
        }
        key.push_str(&fold(word));
    }
    key
}

/// A title without what stands in brackets, which tells titles apart and is not part of the name.
pub(super) fn without_brackets(title: &str) -> String {
    let (mut depth, mut name) = (0_usize, String::with_capacity(title.len()));
    for c in title.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => name.push(c),
            _ => {}
        }
    }
    name.trim().to_owned()
}

/// Whether a word begins with a capital letter.
pub(super) fn is_capital(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_uppercase)
}

/// Whether a word begins with a small letter; words of scripts without case do not.
pub(super) fn is_small(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_lowercase)
}

/// Whether a word begins with a digit.
pub(super) fn is_number(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_numeric)
}

/// Whether a text reads as a name and not as a phrase: some word does not begin with a small letter or a digit.
pub(super) fn is_name(text: &str) -> bool {
    words(text).any(|(_, word)| !is_small(word) && !is_number(word) && !is_stop_word(&fold(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_compare_equal() {
        for (left, right) in [
            ("Person-centered Therapy", "person - centered therapy"),
            ("America\u{2019}s", "America"),
            ("\u{ff21}cme", "acme"),
            ("O'Brien", "o'brien"),
        ] {
            assert_eq!(canonical(left), canonical(right));
        }
        assert_eq!(canonical("..."), "");
    }

    #[test]
    fn brackets_are_not_part_of_a_name() {
        assert_eq!(without_brackets("Kiss and Tell (1945 film)"), "Kiss and Tell");
        assert_eq!(without_brackets("a) [b"), "a)".trim_end_matches(')'));
    }

    #[test]
    fn phrases_in_small_letters_and_bare_numbers_are_no_names() {
        assert!(is_name("University of Copenhagen") && is_name("\u{926}\u{93f}\u{932}\u{94d}\u{932}\u{940}"));
        assert!(!is_name("monthly publication in 1963") && !is_name("1963") && !is_name("The 1960s"));
    }
}
