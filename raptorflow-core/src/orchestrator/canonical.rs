//! The form in which claims are compared: what a writer may do differently without saying anything else is gone.

use unicode_normalization::UnicodeNormalization as _;

/// A text in the form in which claims are compared.
///
/// It is in Unicode compatibility form and lower case, and punctuation and white space only part words.
/// Signs that change what a text says stay: `+`, `#`, `%`, `<`, currency signs, and what stands inside numbers and
/// words.
pub(super) fn canonical(text: &str) -> String {
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
    use super::*;

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
