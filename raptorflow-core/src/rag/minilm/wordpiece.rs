//! `WordPiece`: the tokenizer of BERT, read from a `tokenizer.json`.

use std::{collections::HashMap, path::Path};

use regex::Regex;
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization as _;

use crate::error::{Error, ErrorKind, Result};

/// What a `tokenizer.json` says, as far as this tokenizer has a use for it.
///
/// Its `truncation` and `padding` are left alone on purpose: they are what somebody used last, and some published
/// files pad every text to 128 tokens.
#[derive(Debug, Deserialize)]
struct File {
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<Typed>,
    model: Model,
}

#[derive(Debug, Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default = "yes")]
    clean_text: bool,
    #[serde(default = "yes")]
    handle_chinese_chars: bool,
    strip_accents: Option<bool>,
    #[serde(default = "yes")]
    lowercase: bool,
}

#[derive(Debug, Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    max_input_chars_per_word: Option<usize>,
    /// Of other models it is a list.
    vocab: serde_json::Value,
}

fn yes() -> bool {
    true
}

/// Cuts texts into the numbers of words and parts of words.
///
/// What looks like a special token in a text, such as `[SEP]`, is cut like any other text.
#[derive(Debug)]
pub(super) struct WordPiece {
    starts: HashMap<Box<str>, u32>,
    parts: HashMap<Box<str>, u32>,
    first: u32,
    last: u32,
    unknown: u32,
    size: usize,
    longest_word: usize,
    clean: bool,
    space_ideographs: bool,
    strip_accents: bool,
    lowercase: bool,
    control: Regex,
    mark: Regex,
    punctuation: Regex,
}

impl WordPiece {
    /// From the content of a file.
    ///
    /// # Errors
    /// `InvalidInput` when it is not JSON of this form, or of another kind of tokenizer.
    pub(super) fn parse(path: &Path, content: &[u8]) -> Result<Self> {
        let wrong = |message: &'static str| {
            Error::new(ErrorKind::InvalidInput, "embedder.open", message).with("file", path.display())
        };
        let file: File = serde_json::from_slice(content)
            .map_err(|err| wrong("the file is not a tokenizer").caused_by(err))?;
        let expected = |field: &'static str, expected: &'static str, got: &str| {
            if got == expected {
                return Ok(());
            }
            let err = wrong("the tokenizer is of another kind");
            Err(err.with("field", field).with("expected", expected).with("got", got))
        };
        expected("model.type", "WordPiece", file.model.kind.as_deref().unwrap_or("WordPiece"))?;
        let normalizer = file.normalizer.ok_or_else(|| wrong("the tokenizer has no normalizer"))?;
        expected("normalizer.type", "BertNormalizer", &normalizer.kind)?;
        let before = file.pre_tokenizer.map(|typed| typed.kind).unwrap_or_default();
        expected("pre_tokenizer.type", "BertPreTokenizer", &before)?;
        let vocabulary: HashMap<Box<str>, u32> = serde_json::from_value(file.model.vocab)
            .map_err(|err| wrong("the vocabulary is not a table of numbers").caused_by(err))?;
        let number = |token: &str| {
            let missing = || wrong("a token is missing from the vocabulary").with("token", token);
            vocabulary.get(token).copied().ok_or_else(missing)
        };
        let (first, last) = (number("[CLS]")?, number("[SEP]")?);
        let unknown = number(file.model.unk_token.as_deref().unwrap_or("[UNK]"))?;
        let size = vocabulary.values().max().map_or(0, |highest| *highest as usize + 1);
        let prefix = file.model.continuing_subword_prefix.unwrap_or_else(|| "##".to_owned());
        let class = |pattern: &str| {
            Regex::new(pattern).map_err(|err| {
                Error::new(ErrorKind::Internal, "embedder.open", "a class of characters is missing")
                    .caused_by(err)
            })
        };
        let (mut starts, mut parts) = (HashMap::new(), HashMap::new());
        for (token, number) in vocabulary {
            if let Some(part) = token.strip_prefix(&*prefix) {
                parts.insert(part.into(), number);
            }
            starts.insert(token, number);
        }
        Ok(Self {
            starts,
            parts,
            first,
            last,
            unknown,
            size,
            longest_word: file.model.max_input_chars_per_word.unwrap_or(100),
            clean: normalizer.clean_text,
            space_ideographs: normalizer.handle_chinese_chars,
            strip_accents: normalizer.strip_accents.unwrap_or(normalizer.lowercase),
            lowercase: normalizer.lowercase,
            control: class(r"^[\p{Cc}\p{Cf}\p{Co}]")?,
            mark: class(r"^\p{Mn}")?,
            punctuation: class(r"^\p{P}")?,
        })
    }

    /// One more than its highest number.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The numbers of a text, at most `limit` with the marks of its start and end; what is longer is cut off unread.
    pub(super) fn tokens(&self, text: &str, limit: usize) -> Vec<u32> {
        let limit = limit.max(2) - 1;
        let mut tokens = vec![self.first];
        // Letters of a word beyond the longest are counted and not kept.
        let (mut word, mut letters) = (String::new(), 0);
        for letter in self.letters(text) {
            if tokens.len() >= limit {
                break;
            }
            let alone = self.is_punctuation(letter);
            if alone || letter.is_whitespace() {
                self.push(&word, letters, &mut tokens);
                (word, letters) = (String::new(), 0);
                if alone {
                    self.push(letter.encode_utf8(&mut [0; 4]), 1, &mut tokens);
                }
                continue;
            }
            letters += 1;
            if letters <= self.longest_word {
                word.push(letter);
            }
        }
        self.push(&word, letters, &mut tokens);
        tokens.truncate(limit);
        tokens.push(self.last);
        tokens
    }

    /// A word as its longest known parts, from the left; unknown as a whole when some part is.
    fn push(&self, word: &str, letters: usize, tokens: &mut Vec<u32>) {
        if word.is_empty() {
            return;
        }
        if letters > self.longest_word {
            return tokens.push(self.unknown);
        }
        let (before, mut rest, mut known) = (tokens.len(), word, &self.starts);
        while !rest.is_empty() {
            let ends = rest.char_indices().rev().map(|(at, letter)| at + letter.len_utf8());
            let found = ends
                .filter_map(|end| rest.split_at_checked(end))
                .find_map(|(part, rest)| known.get(part).map(|number| (*number, rest)));
            let Some((number, after)) = found else {
                tokens.truncate(before);
                return tokens.push(self.unknown);
            };
            tokens.push(number);
            (rest, known) = (after, &self.parts);
        }
    }

    /// The letters of a text as the model knows them.
    fn letters<'a>(&'a self, text: &'a str) -> Box<dyn Iterator<Item = char> + 'a> {
        let cleaned = text.chars().filter(|letter| !self.clean || !self.is_dropped(*letter));
        let spaced = cleaned.flat_map(|letter| {
            let apart = self.space_ideographs && is_ideograph(letter);
            let around = apart.then_some(' ');
            around.into_iter().chain([letter]).chain(around)
        });
        // Letters of ASCII have no accents.
        match (self.strip_accents && !text.is_ascii(), self.lowercase) {
            (true, true) => {
                Box::new(spaced.nfd().filter(|letter| !self.is_mark(*letter)).flat_map(char::to_lowercase))
            }
            (true, false) => Box::new(spaced.nfd().filter(|letter| !self.is_mark(*letter))),
            (false, true) => Box::new(spaced.flat_map(char::to_lowercase)),
            (false, false) => Box::new(spaced),
        }
    }

    fn is_dropped(&self, letter: char) -> bool {
        if letter.is_ascii() {
            return letter.is_ascii_control() && !matches!(letter, '\t' | '\n' | '\r');
        }
        letter == '\u{fffd}' || is_in(&self.control, letter)
    }

    fn is_mark(&self, letter: char) -> bool {
        !letter.is_ascii() && is_in(&self.mark, letter)
    }

    fn is_punctuation(&self, letter: char) -> bool {
        if letter.is_ascii() {
            return letter.is_ascii_punctuation();
        }
        !letter.is_alphanumeric() && is_in(&self.punctuation, letter)
    }
}

fn is_in(class: &Regex, letter: char) -> bool {
    class.is_match(letter.encode_utf8(&mut [0; 4]))
}

/// The blocks that BERT takes for words of one character.
fn is_ideograph(letter: char) -> bool {
    matches!(
        u32::from(letter),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}
