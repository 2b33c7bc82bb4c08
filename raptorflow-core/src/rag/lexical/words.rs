//! Words of normalized text: bounds of ASCII words without a table lookup a character, and stems that are remembered.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use snowball_stemmers_rs::Stemmer;

use crate::rag::lexical::language::Language;

/// A word longer than this is cut: it is data, not language, and would only bloat the index.
pub(crate) const MAX_TERM: usize = 64;

/// Words up to this many bytes are remembered.
const SHORT: usize = 24;
/// How many words one cache remembers; a power of two.
///
/// A text repeats few words often: at 4,096 nine of ten words of English abstracts are found.
const SLOTS: usize = 4096;

/// A short lower-case word, zeros behind it.
type Short = [u8; SHORT];

/// What a word becomes; the length 0 is a stop word, and an empty slot has the empty word.
#[derive(Clone, Copy, Debug)]
struct Known {
    word: Short,
    stem: Short,
    length: u8,
}

const UNKNOWN: Known = Known { word: [0; SHORT], stem: [0; SHORT], length: 0 };

/// Drops stop words and stems the others; caches are lent to one text at a time, so that no word waits for a lock.
pub(crate) struct Stems {
    stemmer: Option<Stemmer>,
    stop_words: HashSet<&'static str, foldhash::fast::RandomState>,
    caches: Mutex<Vec<Cache>>,
}

/// Stems of the words seen last; a new word takes the place of another one of its hash.
pub(crate) struct Cache(Box<[Known]>);

impl Stems {
    pub(crate) fn new(language: Language) -> Self {
        Self {
            stemmer: language.stemmer(),
            stop_words: language.stop_words().split_ascii_whitespace().collect(),
            caches: Mutex::default(),
        }
    }

    pub(crate) fn borrow_cache(&self) -> Cache {
        let lent = self.caches.lock().unwrap_or_else(PoisonError::into_inner).pop();
        lent.unwrap_or_else(|| Cache(vec![UNKNOWN; SLOTS].into()))
    }

    pub(crate) fn give_back(&self, cache: Cache) {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner).push(cache);
    }

    /// Calls `each` with the stem of a normalized word, unless it is a stop word.
    pub(crate) fn word(&self, word: &str, cache: &mut Cache, each: &mut dyn FnMut(&str)) {
        let Some(short) = short(word.as_bytes()) else { return self.emit(word, each) };
        self.short_word(&short, word.len(), cache, each);
    }

    /// The same for an ASCII word in any case.
    pub(crate) fn ascii_word(&self, word: &[u8], cache: &mut Cache, each: &mut dyn FnMut(&str)) {
        match short(word) {
            Some(mut short) => {
                short.make_ascii_lowercase();
                self.short_word(&short, word.len(), cache, each);
            }
            None => self.emit(&String::from_utf8_lossy(word).to_ascii_lowercase(), each),
        }
    }

    fn short_word(&self, word: &Short, length: usize, cache: &mut Cache, each: &mut dyn FnMut(&str)) {
        let place = slot(word);
        let Some(known) = cache.0.get_mut(place % SLOTS) else { return };
        if known.word != *word {
            let text = word.get(..length).and_then(|word| str::from_utf8(word).ok()).unwrap_or_default();
            let stem = self.stem(text);
            let stem = stem.as_deref().unwrap_or_default();
            let Some(bytes) = short(stem.as_bytes()) else { return each(stem) };
            *known = Known { word: *word, stem: bytes, length: u8::try_from(stem.len()).unwrap_or(0) };
        }
        let stem = known.stem.get(..usize::from(known.length)).unwrap_or_default();
        if let Ok(stem) = str::from_utf8(stem)
            && !stem.is_empty()
        {
            each(stem);
        }
    }

    fn emit(&self, word: &str, each: &mut dyn FnMut(&str)) {
        if let Some(stem) = self.stem(word) {
            each(&stem);
        }
    }

    /// `None` for a stop word.
    fn stem<'a>(&self, word: &'a str) -> Option<Cow<'a, str>> {
        if word.is_empty() || self.stop_words.contains(word) {
            return None;
        }
        let word = word.get(..word.floor_char_boundary(MAX_TERM)).unwrap_or(word);
        let stem = self.stemmer.as_ref().map(|stemmer| stemmer.stem(word)).filter(|stem| !stem.is_empty());
        Some(stem.unwrap_or(Cow::Borrowed(word)))
    }
}

fn short(word: &[u8]) -> Option<Short> {
    let mut short = [0; SHORT];
    short.get_mut(..word.len())?.copy_from_slice(word);
    Some(short)
}

fn slot(word: &Short) -> usize {
    let (parts, _) = word.as_chunks::<8>();
    let mix = |hash: u64, part: &[u8; 8]| {
        (hash ^ u64::from_le_bytes(*part)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    };
    (parts.iter().fold(0, mix) >> 32) as usize
}

/// What a byte means for the bounds of ASCII words (UAX 29, without its rules for other scripts).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Other,
    Letter,
    Digit,
    /// `_`, a part of words that is no word alone.
    Joiner,
    /// `:` joins letters.
    MidLetter,
    /// `.` and `'` join letters, and digits.
    Mid,
    /// `,` and `;` join digits.
    MidDigit,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 128 {
        #[expect(clippy::indexing_slicing, reason = "checked by the compiler: this runs there")]
        {
            classes[byte] = match byte as u8 {
                b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
                b'0'..=b'9' => Class::Digit,
                b'_' => Class::Joiner,
                b':' => Class::MidLetter,
                b'.' | b'\'' => Class::Mid,
                b',' | b';' => Class::MidDigit,
                _ => Class::Other,
            };
        }
        byte += 1;
    }
    classes
};

fn class(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Other)
}

/// Calls `each` with the words of an ASCII text, exactly as Unicode's rules bound them.
pub(crate) fn ascii_words(text: &[u8], mut each: impl FnMut(&[u8])) {
    let class_at = |at: usize| text.get(at).map_or(Class::Other, |byte| class(*byte));
    let mut at = 0;
    while at < text.len() {
        let first = class_at(at);
        if !matches!(first, Class::Letter | Class::Digit | Class::Joiner) {
            at += 1;
            continue;
        }
        let start = at;
        let mut real = false;
        let mut last = first;
        loop {
            real |= last != Class::Joiner;
            at += 1;
            let next = class_at(at);
            if matches!(next, Class::Letter | Class::Digit | Class::Joiner) {
                last = next;
                continue;
            }
            let joins = match next {
                Class::Other | Class::Letter | Class::Digit | Class::Joiner => break,
                Class::MidLetter => Class::Letter == last,
                Class::MidDigit => Class::Digit == last,
                Class::Mid => matches!(last, Class::Letter | Class::Digit),
            };
            if !joins || class_at(at + 1) != last {
                break;
            }
            at += 1;
        }
        if real {
            each(text.get(start..at).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};
    use unicode_segmentation::UnicodeSegmentation as _;

    use super::*;

    proptest! {
        #[test]
        fn ascii_words_are_those_of_unicode(text in "[aB3_:.',; \"x9/-]{0,16}") {
            let mut words = Vec::new();
            ascii_words(text.as_bytes(), |word| words.push(String::from_utf8_lossy(word).into_owned()));
            let expected: Vec<String> = text.unicode_words().map(str::to_owned).collect();
            prop_assert_eq!(words, expected);
        }

        #[test]
        fn a_remembered_stem_is_that_of_the_first_time(words in proptest::collection::vec("[a-e]{1,3}(s|ing|ed|ly)?|the|and", 1..40)) {
            let stems = Stems::new(Language::English);
            let stem = |word: &str, cache: &mut Cache| {
                let mut found = None;
                stems.word(word, cache, &mut |stem| found = Some(stem.to_owned()));
                found
            };
            let mut kept = stems.borrow_cache();
            for word in &words {
                let mut fresh = Cache(vec![UNKNOWN; SLOTS].into());
                prop_assert_eq!(stem(word, &mut kept), stem(word, &mut fresh));
            }
        }
    }
}
