//! Words of a text and where they are, for lists of words that people write.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;

/// How many places of one phrase are told at most.
const MAX_PLACES: usize = 32;

/// The words of a text by Unicode's rules, in lower case and composed, with their places.
///
/// Forms of a word are different words; people list those that they mean.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    text: &'a str,
    words: Vec<(Range<usize>, String)>,
}

impl<'a> Words<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let words =
            text.unicode_word_indices().map(|(at, word)| (at..at + word.len(), plain(word))).collect();
        Self { text, words }
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// The words in their plain form.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|(_, word)| word.as_str())
    }

    /// Where a word or phrase is, in characters, at most 32 times; punctuation between its words does not matter.
    ///
    /// What has no word in it, such as a sign, is found as it is written.
    pub(super) fn find(&self, phrase: &str) -> Vec<(usize, usize)> {
        let wanted: Vec<String> = phrase.unicode_words().map(plain).collect();
        if wanted.is_empty() {
            let signs = phrase.trim();
            if signs.is_empty() {
                return Vec::new();
            }
            let found = self.text.match_indices(signs).take(MAX_PLACES);
            return found.map(|(at, it)| self.characters(&(at..at + it.len()))).collect();
        }
        let fits = |window: &&[(Range<usize>, String)]| {
            window.iter().zip(&wanted).all(|((_, word), wanted)| word == wanted)
        };
        let found = self.words.windows(wanted.len()).filter(fits);
        found
            .take(MAX_PLACES)
            .filter_map(|window| match window {
                [(range, _)] => Some(range.clone()),
                [(first, _), .., (last, _)] => Some(first.start..last.end),
                [] => None,
            })
            .map(|range| self.characters(&range))
            .collect()
    }

    pub(super) fn has(&self, phrase: &str) -> bool {
        !self.find(phrase).is_empty()
    }

    fn characters(&self, range: &Range<usize>) -> (usize, usize) {
        characters(self.text, range)
    }
}

/// A range of bytes as one of characters.
pub(super) fn characters(text: &str, range: &Range<usize>) -> (usize, usize) {
    let start = text.get(..range.start).map_or(0, |before| before.chars().count());
    (start, start + text.get(range.clone()).map_or(0, |inside| inside.chars().count()))
}

fn plain(word: &str) -> String {
    word.nfc().flat_map(char::to_lowercase).map(|c| if c == '\u{2019}' { '\'' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_are_found_in_any_case_and_places_count_characters() {
        let check = |text: &str, phrase: &str, places: &[(usize, usize)]| {
            assert_eq!(Words::new(text).find(phrase), places, "{phrase} in {text}");
        };
        check("Cheap is not cheaper.", "cheap", &[(0, 5)]);
        check("Größe, ÉTÉ und e\u{301}te\u{301}", "été", &[(7, 10), (15, 20)]);
        check("नमस्ते दुनिया, सस्ता", "सस्ता", &[(15, 20)]);
        check("Best, in — class!", "best in class", &[(0, 16)]);
        check("so good!! 🎉 yes", "!!", &[(7, 9)]);
        check("日本語です", "本", &[(1, 2)]);
        check("nothing", " ", &[]);
        check("don\u{2019}t", "don't", &[(0, 5)]);
    }
}
