//! The numbers and addresses of a text, in forms that can be compared.

use std::ops::Range;

/// The addresses in a text, without the punctuation behind them.
pub(crate) fn urls(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (start, _) in text.match_indices(['h', 'w', 'H', 'W']) {
        let rest = text.get(start..).unwrap_or_default();
        let begins = ["http://", "https://", "www."].iter().any(|start| {
            rest.get(..start.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(start))
        });
        if begins && found.last().is_none_or(|last| last.end <= start) {
            let ends = |c: char| c.is_whitespace() || "<>\"'`()[]{}|".contains(c);
            let url = rest.split(ends).next().unwrap_or_default();
            let url = url.trim_end_matches(['.', ',', ';', ':', '!', '?']);
            found.push(start..start + url.len());
        }
    }
    found
}

/// An address in the form that is compared.
pub(crate) fn plain_url(url: &str) -> String {
    url.trim_end_matches('/').to_lowercase()
}

/// The numbers of a text outside of some places, which are in order, in the form that is compared.
pub(crate) fn numbers(text: &str, taken: &[Range<usize>]) -> Vec<(Range<usize>, String)> {
    let mut found = Vec::new();
    let (bytes, mut at) = (text.as_bytes(), 0);
    while let Some(byte) = bytes.get(at).copied() {
        if !byte.is_ascii_digit() {
            at += 1;
            continue;
        }
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let start = at;
        while digit(at) || (matches!(bytes.get(at), Some(b'.' | b',')) && digit(at + 1)) {
            at += 1;
        }
        let before = text.get(..start).unwrap_or_default();
        let in_name = before.ends_with(|c: char| c.is_alphabetic() || c == '_');
        let margin = before.trim_end_matches([' ', '\t']);
        let after = text.get(at..).unwrap_or_default();
        let begins_line = margin.is_empty() || margin.ends_with('\n');
        let of_list = begins_line && (after.starts_with(". ") || after.starts_with(") "));
        let last = taken.partition_point(|range| range.start <= start).checked_sub(1);
        let is_taken = last.and_then(|last| taken.get(last)).is_some_and(|range| range.contains(&start));
        if !in_name && !of_list && !is_taken {
            found.push((start..at, plain_number(text.get(start..at).unwrap_or_default())));
        }
    }
    found
}

/// A number in the form that is compared.
fn plain_number(number: &str) -> String {
    let number = number.replace(',', "");
    let number = match number.split_once('.') {
        Some((whole, part)) if !part.contains('.') => {
            let part = part.trim_end_matches('0');
            if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
        }
        _ => number,
    };
    let short = number.trim_start_matches('0');
    if short.is_empty() || short.starts_with('.') { format!("0{short}") } else { short.to_owned() }
}
