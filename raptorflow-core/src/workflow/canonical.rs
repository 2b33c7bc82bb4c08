//! The form in which claims and answers are compared: what can be written in two ways is written in one.

use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

use crate::workflow::TextMatch;

/// Up to here every whole number is one of its own as a float.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value in the form in which answers are compared: equal values give equal texts, and others do not.
///
/// The keys of objects are in order, whole numbers are written alike with and without a fraction, and texts are folded
/// when they are matched that way.
pub(super) fn canonical_value(value: &Value, texts: TextMatch) -> String {
    normal(value, texts).to_string()
}

fn normal(value: &Value, texts: TextMatch) -> Value {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            Value::Object(
                sorted.into_iter().map(|(key, value)| (key.clone(), normal(value, texts))).collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| normal(item, texts)).collect()),
        Value::Number(number) => number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < EXACT)
            .map_or_else(|| value.clone(), |float| Value::from(float as i64)),
        Value::String(text) if texts == TextMatch::Folded => {
            let folded = canonical(text);
            // A text of nothing but punctuation is compared as it is.
            if folded.is_empty() { text.trim().into() } else { folded.into() }
        }
        other => other.clone(),
    }
}

/// A text in the form in which claims are compared.
///
/// It is in Unicode compatibility form and lower case, and punctuation and white space only part words.
/// Signs that change what a text says stay: `+`, `#`, `%`, `<`, currency signs, and what stands inside numbers and
/// words.
pub(crate) fn canonical(text: &str) -> String {
    let folded: Vec<char> = text.nfkc().flat_map(char::to_lowercase).map(plain).collect();
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for (index, c) in folded.iter().copied().enumerate() {
        let after = folded.get(index + 1).copied().unwrap_or(' ');
        match kind(before, c, after) {
            Kind::Word => out.push(c),
            Kind::Gap => out.push(' '),
            Kind::Nothing => {}
            Kind::Sign => out.extend([' ', c, ' ']),
        }
        before = c;
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One character for all that mean the same.
fn plain(c: char) -> char {
    match c {
        '\u{2010}'..='\u{2013}' | '\u{2212}' => '-',
        '\u{2018}' | '\u{2019}' | '\u{2bc}' => '\'',
        _ => c,
    }
}

enum Kind {
    /// A part of a word or number.
    Word,
    /// Between words.
    Gap,
    /// As if it were not there.
    Nothing,
    /// A word of its own.
    Sign,
}

fn kind(before: char, c: char, after: char) -> Kind {
    let inside = before.is_alphanumeric() && after.is_alphanumeric();
    match c {
        _ if c.is_alphanumeric() => Kind::Word,
        '\'' if inside => Kind::Nothing,
        '.' | '-' if inside => Kind::Word,
        ',' if before.is_ascii_digit() && after.is_ascii_digit() => Kind::Word,
        '-' if after.is_ascii_digit() => Kind::Word,
        _ if c.is_whitespace() || is_punctuation(c) => Kind::Gap,
        _ if c.is_ascii() || is_sign(c) => Kind::Sign,
        // Marks that belong to the letter before them.
        _ => Kind::Word,
    }
}

fn is_punctuation(c: char) -> bool {
    matches!(
        c,
        '.' | ',' | ';' | ':' | '!' | '?' | '"' | '\'' | '(' | ')' | '[' | ']' | '{' | '}' | '*' | '_' | '`'
            | '-' | '/' | '\\' | '«' | '»' | '¡' | '¿' | '·' | '،' | '؛' | '؟' | '।' | '॥'
            | '\u{2014}'..='\u{2027}' | '\u{2032}'..='\u{203e}' | '\u{3001}'..='\u{303f}'
    )
}

/// Currency signs, arrows, operators, emoji: whole blocks that hold no letters and no marks.
fn is_sign(c: char) -> bool {
    matches!(c, '\u{a2}'..='\u{b1}' | '×' | '÷' | '\u{2030}' | '\u{20a0}'..='\u{20cf}' | '\u{2190}'..='\u{2bff}')
        || matches!(c, '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_the_same_in_whatever_way_they_are_written() {
        let same = |left: Value, right: Value| {
            canonical_value(&left, TextMatch::Folded) == canonical_value(&right, TextMatch::Folded)
        };
        assert!(same(json!(1), json!(1.0)) && same(json!(0), json!(-0.0)));
        assert!(same(json!({ "a": 1, "b": [2] }), json!({ "b": [2.0], "a": 1 })));
        assert!(same(json!(" Yes. "), json!("yes")) && same(json!({ "a": "No" }), json!({ "a": "no" })));
        assert!(!same(json!("1"), json!(1)) && !same(json!("?"), json!("!")) && !same(json!([]), json!({})));
        assert!(!same(json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64)));
        let exact = |text: &str| canonical_value(&json!(text), TextMatch::Exact);
        assert_ne!(exact("Yes"), exact("yes"));
    }

    #[test]
    fn punctuation_goes_and_signs_that_mean_something_stay() {
        for (text, expected) in [
            ("  The *journal*, is:\tthe truth!  ", "the journal is the truth"),
            ("It isn\u{2019}t v1.2.", "it isnt v1.2"),
            ("C++ / C#", "c + + c #"),
            ("5% or 5 % of $1,000.50", "5 % or 5 % of $ 1,000.50"),
            ("\u{2212}5 and -5 and self-hosted - so", "-5 and -5 and self-hosted so"),
            ("a\u{2014}b", "a b"),
            ("Ｅlevé ﬁne", "elevé fine"),
            ("हिन्दी।", "हिन्दी"),
            ("👍 ok", "👍 ok"),
            ("?!", ""),
        ] {
            assert_eq!(canonical(text), expected);
            assert_eq!(canonical(expected), expected);
        }
    }
}
