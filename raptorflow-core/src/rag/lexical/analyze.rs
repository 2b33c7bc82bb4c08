//! `Analyzer`: text to terms, and the built-in one: NFKC, lower case, words, stop words, stems, CJK bigrams.

use std::{fmt, fmt::Debug};

use unicode_normalization::{UnicodeNormalization, is_nfkc_quick};
use unicode_segmentation::UnicodeSegmentation;

use crate::rag::lexical::{
    language::Language,
    words::{Cache, Stems, ascii_words},
};

/// Turns text into the terms that an index counts.
///
/// # Contract
/// - the same text gives the same terms, in order of the text.
/// - a term is never empty.
/// - `identity` changes whenever the terms of some text would.
pub trait Analyzer: Debug + Send + Sync + 'static {
    /// Names the algorithm and its settings.
    fn identity(&self) -> String;

    /// Calls `each` with every term, repetitions included.
    fn analyze(&self, text: &str, each: &mut dyn FnMut(&str));
}

/// NFKC, lower case, Unicode words, stop words, Snowball stems; Chinese, Japanese and Korean as bigrams.
///
/// Indic words lose joiners and the nukta, chandrabindu counts as anusvara, and their digits are ASCII's, because one
/// word is written in all of these ways.
///
/// ```
/// use raptorflow_core::rag::lexical::{Analyzer, StandardAnalyzer};
/// let mut terms = Vec::new();
/// StandardAnalyzer::default().analyze("What are the ｐｒｉｃｅｓ of 東京都?", &mut |term| terms.push(term.to_owned()));
/// assert_eq!(terms, ["price", "東京", "京都"]);
/// ```
pub struct StandardAnalyzer {
    language: Language,
    stems: Stems,
}

impl Default for StandardAnalyzer {
    /// English.
    fn default() -> Self {
        Self::new(Language::default())
    }
}

impl StandardAnalyzer {
    /// An analyzer of one language.
    #[must_use]
    pub fn new(language: Language) -> Self {
        Self { language, stems: Stems::new(language) }
    }

    /// The language.
    #[must_use]
    pub fn language(&self) -> Language {
        self.language
    }

    /// The terms of a stretch with characters beyond ASCII.
    fn wide(&self, text: &str, cache: &mut Cache, each: &mut dyn FnMut(&str)) {
        let text = normalize(text);
        for (cjk, run) in Runs(&text) {
            if cjk {
                bigrams(run, each);
            } else {
                run.unicode_words().for_each(|word| self.stems.word(word, cache, each));
            }
        }
    }
}

impl Debug for StandardAnalyzer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardAnalyzer").field("language", &self.language).finish_non_exhaustive()
    }
}

impl Analyzer for StandardAnalyzer {
    fn identity(&self) -> String {
        format!("standard-2/{:?}", self.language).to_lowercase()
    }

    fn analyze(&self, text: &str, each: &mut dyn FnMut(&str)) {
        let mut cache = self.stems.borrow_cache();
        for (ascii, stretch) in Stretches(text) {
            if ascii {
                ascii_words(stretch.as_bytes(), |word| self.stems.ascii_word(word, &mut cache, each));
            } else {
                self.wide(stretch, &mut cache, each);
            }
        }
        self.stems.give_back(cache);
    }
}

/// Cuts text at spaces into stretches that are all ASCII and others; a space always ends a word.
struct Stretches<'a>(&'a str);

impl<'a> Iterator for Stretches<'a> {
    /// Whether all of it is ASCII, and the stretch.
    type Item = (bool, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.0.as_bytes();
        if bytes.is_empty() {
            return None;
        }
        let is_space = |byte: &u8| byte.is_ascii_whitespace();
        let head = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(bytes.len());
        let ascii = if head == bytes.len() {
            head
        } else {
            bytes.get(..head).unwrap_or_default().iter().rposition(is_space).unwrap_or(0)
        };
        let end = if ascii > 0 {
            ascii
        } else {
            // Words beyond ASCII come in company: the stretch goes on until a word without any.
            let mut end = head;
            loop {
                let rest = bytes.get(end..).unwrap_or_default();
                end += rest.iter().position(is_space).unwrap_or(rest.len());
                let rest = bytes.get(end..).unwrap_or_default();
                let gap = rest.iter().position(|byte| !is_space(byte)).unwrap_or(rest.len());
                let word = rest.get(gap..).unwrap_or_default();
                let wide = word.iter().take_while(|byte| !is_space(byte)).any(|byte| !byte.is_ascii());
                if !wide {
                    break end;
                }
                end += gap;
            }
        };
        let (stretch, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        Some((ascii > 0, stretch))
    }
}

/// NFKC in lower case; the typographic apostrophe becomes plain so that possessives stem, and Indic spelling is folded.
fn normalize(text: &str) -> String {
    let lower = if is_nfkc_quick(text.chars()) == unicode_normalization::IsNormalized::Yes {
        text.to_lowercase()
    } else {
        text.nfkc().collect::<String>().to_lowercase()
    };
    if lower.chars().all(|c| fold(c) == Some(c)) { lower } else { lower.chars().filter_map(fold).collect() }
}

/// One spelling for what readers take as the same; `None` for marks that only shape letters.
fn fold(c: char) -> Option<char> {
    match c {
        '\u{2019}' => Some('\''),
        // Joiners choose how a conjunct is drawn, and the nukta is left out as often as it is written.
        '\u{200c}' | '\u{200d}' | '\u{93c}' | '\u{9bc}' | '\u{a3c}' | '\u{abc}' | '\u{b3c}' | '\u{cbc}' => {
            None
        }
        // Letters with a nukta that do not decompose.
        '\u{929}' => Some('\u{928}'),
        '\u{931}' => Some('\u{930}'),
        '\u{934}' => Some('\u{933}'),
        // Chandrabindu to anusvara: Devanagari, Bengali, Gujarati, Oriya, Telugu, Kannada.
        '\u{901}' | '\u{981}' | '\u{a81}' | '\u{b01}' | '\u{c01}' | '\u{c81}' => {
            char::from_u32(u32::from(c) + 1)
        }
        '\u{660}'..='\u{669}' | '\u{6f0}'..='\u{6f9}' | '\u{966}'..='\u{d6f}' => Some(digit(c).unwrap_or(c)),
        other => Some(other),
    }
}

/// The ASCII digit of an Arabic or Indic one.
fn digit(c: char) -> Option<char> {
    const ZEROS: [u32; 11] = [0x660, 0x6f0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66];
    let value = ZEROS.iter().filter_map(|zero| u32::from(c).checked_sub(*zero)).find(|value| *value < 10)?;
    char::from_digit(value, 10)
}

/// Scripts that are written without spaces between words, or whose words carry particles (Korean).
fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Cuts text where CJK begins or ends.
struct Runs<'a>(&'a str);

impl<'a> Iterator for Runs<'a> {
    type Item = (bool, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let cjk = is_cjk(self.0.chars().next()?);
        let end = self.0.char_indices().find(|(_, c)| is_cjk(*c) != cjk).map_or(self.0.len(), |(at, _)| at);
        let (run, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        Some((cjk, run))
    }
}

/// Each pair of neighbors; a lone character as it is.
fn bigrams(run: &str, each: &mut dyn FnMut(&str)) {
    let mut starts = run.char_indices().map(|(at, _)| at).chain([run.len()]);
    let (Some(mut first), Some(mut second)) = (starts.next(), starts.next()) else { return };
    if second == run.len() {
        return each(run);
    }
    for third in starts {
        if let Some(pair) = run.get(first..third) {
            each(pair);
        }
        (first, second) = (second, third);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::rag::lexical::words::MAX_TERM;

    fn check(language: Language, text: &str, expected: &[&str]) {
        let mut terms = Vec::new();
        StandardAnalyzer::new(language).analyze(text, &mut |term| terms.push(term.to_owned()));
        assert_eq!(terms, expected, "{text}");
    }

    #[test]
    fn words_are_folded_stopped_and_stemmed_by_language() {
        check(
            Language::English,
            "The company\u{2019}s PRICES, priced at 3.5%",
            &["compani", "price", "price", "3.5"],
        );
        check(Language::German, "Die Häuser", &["haus"]);
        check(Language::Spanish, "¿Cuánto cuestan los libros?", &["cuest", "libr"]);
        check(Language::Any, "The Prices", &["the", "prices"]);
        check(Language::English, "e\u{301}t\u{e9}", &["\u{e9}t\u{e9}"]);
        check(Language::English, "व्यापार योजना", &["व्यापार", "योजना"]);
        check(Language::English, "?! —", &[]);
    }

    #[test]
    fn one_indic_word_has_one_form_however_it_is_spelled() {
        // With a nukta of its own, with one inside the letter, and without; with and without a joiner.
        check(Language::Any, "फ़िल्म फ\u{93c}िल्म फिल्म", &["फिल्म"; 3]);
        check(Language::Any, "क्\u{200d}ष क्ष चाँद चांद", &["क्ष", "क्ष", "चांद", "चांद"]);
        check(Language::Any, "२०२४ 2024 ௨௦௨௪", &["2024"; 3]);
        check(Language::Hindi, "किताबें और किताब", &["किताब", "किताब"]);
        check(Language::Tamil, "இந்த புத்தகங்கள்", &["புத்தகம்"]);
    }

    #[test]
    fn every_language_drops_its_own_stop_words() {
        for language in Language::ALL {
            check(*language, language.stop_words(), &[]);
        }
    }

    #[test]
    fn ascii_between_other_words_counts_as_it_does_alone() {
        check(
            Language::English,
            "naïve prices — and \u{201c}costs\u{201d} of cafés today",
            &["naïv", "price", "cost", "café", "today"],
        );
    }

    #[test]
    fn cjk_becomes_bigrams_and_a_lone_character_stays() {
        check(Language::English, "データ base 人", &["デー", "ータ", "base", "人"]);
        check(Language::English, "한국어 a日本b", &["한국", "국어", "日本", "b"]);
    }

    #[test]
    fn an_endless_word_is_cut() {
        check(Language::Any, &"x".repeat(1000), &[&"x".repeat(MAX_TERM)]);
    }

    proptest! {
        #[test]
        fn no_term_is_empty_and_no_text_panics(text in "\\PC{0,40}") {
            for language in Language::ALL {
                StandardAnalyzer::new(*language).analyze(&text, &mut |term| assert!(!term.is_empty()));
            }
            prop_assert!(true);
        }
    }
}
