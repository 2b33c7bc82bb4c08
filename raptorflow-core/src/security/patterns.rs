//! `PatternRedactor`: finds what has the form of personal data, with check digits where there are any.

use std::{borrow::Cow, ops::Range};

use crate::security::{Finding, Redactor};

const EMAIL: &str = "EMAIL";
const PHONE: &str = "PHONE";
const CARD: &str = "CARD";
const TAX_ID: &str = "TAX_ID";
const NATIONAL_ID: &str = "NATIONAL_ID";

/// Finds email addresses, phone numbers, payment cards, and the tax and identity numbers of India.
///
/// | label | what |
/// |---|---|
/// | `EMAIL` | an address with a domain of two parts or more |
/// | `PHONE` | `+` and 8 to 15 digits; ten digits of an Indian mobile, also behind `0` or `91`; `415-555-0132` |
/// | `CARD` | 13 to 19 digits that begin as a card does and end with the right Luhn digit |
/// | `TAX_ID` | a PAN: five letters of which the fourth says who holds it, four digits, a letter |
/// | `NATIONAL_ID` | an Aadhaar number: twelve digits, the first from 2, with the right Verhoeff digit |
///
/// Digits may be grouped by single spaces and hyphens, those of phone numbers also by dots and parentheses.
/// It finds forms and not meanings: names, places and what is written in words stay, and a number that happens to have
/// a form is taken for it.
/// It is linear in the length of the text.
///
/// ```
/// use raptorflow_core::security::{PatternRedactor, Redactor as _};
/// let text = "Card 4111 1111 1111 1111, not 4111 1111 1111 1112.";
/// let found = PatternRedactor.find(text);
/// assert_eq!((found.len(), &text[found[0].range.clone()]), (1, "4111 1111 1111 1111"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PatternRedactor;

impl Redactor for PatternRedactor {
    fn find(&self, text: &str) -> Vec<Finding> {
        let bytes = text.as_bytes();
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            let finding = match byte {
                b'@' => email(bytes, at, found.last()),
                b'0'..=b'9' | b'+' | b'(' if begins(bytes, at) => number(bytes, at),
                b'A'..=b'Z' if begins(bytes, at) => tax_id(bytes, at),
                _ => None,
            };
            at = finding.as_ref().map_or(at + 1, |finding| finding.range.end);
            found.extend(finding);
        }
        found
    }
}

fn finding(range: Range<usize>, label: &'static str) -> Finding {
    Finding { range, label: Cow::Borrowed(label) }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Whether no word reaches into this place from the left.
fn begins(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| bytes.get(before)).copied();
    before.is_none_or(|before| !is_word(before))
}

/// Whether no word goes on at this place.
fn ends(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).copied().is_none_or(|after| !is_word(after))
}

/// The address around an `@`, not reaching back into the last finding.
fn email(bytes: &[u8], at: usize, last: Option<&Finding>) -> Option<Finding> {
    let local = |byte: &&u8| is_word(**byte) || b".%+-".contains(*byte);
    let room = bytes.get(last.map_or(0, |last| last.range.end)..at)?;
    let mut start = at - room.iter().rev().take(64).take_while(local).count();
    while bytes.get(start).is_some_and(|byte| b".%+-".contains(byte)) {
        start += 1;
    }
    // A character of several bytes is not cut in two.
    while bytes.get(start).is_some_and(|byte| byte & 0xC0 == 0x80) {
        start += 1;
    }
    let rest = bytes.get(at + 1..)?;
    let domain = |byte: &&u8| byte.is_ascii_alphanumeric() || b".-".contains(*byte);
    let mut length = rest.iter().take(253).take_while(domain).count();
    while rest.get(..length).is_some_and(|domain| domain.ends_with(b".") || domain.ends_with(b"-")) {
        length -= 1;
    }
    let mut parts = rest.get(..length)?.split(|byte| *byte == b'.');
    let top = parts.next_back()?;
    let named = parts.next().is_some_and(|first| !first.is_empty()) && parts.all(|part| !part.is_empty());
    let fits = start < at && named && top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic);
    fits.then(|| finding(start..at + 1 + length, EMAIL))
}

/// Five letters, four digits and a letter in capitals; the fourth letter is the kind of holder.
fn tax_id(bytes: &[u8], at: usize) -> Option<Finding> {
    let word = bytes.get(at..at + 10)?;
    let fits = word.iter().enumerate().all(|(place, byte)| match place {
        3 => b"ABCFGHJLPT".contains(byte),
        5..=8 => byte.is_ascii_digit(),
        _ => byte.is_ascii_uppercase(),
    });
    (fits && ends(bytes, at + 10)).then(|| finding(at..at + 10, TAX_ID))
}

/// Digits in groups.
#[derive(Default)]
struct Number {
    digits: Vec<u8>,
    /// Where each group ends: how many digits there are up to it, and the place in the text.
    groups: Vec<(usize, usize)>,
    plus: bool,
    /// Whether a dot or parenthesis is between its digits.
    dotted: bool,
}

/// The longest run of groups from here on that is something.
fn number(bytes: &[u8], start: usize) -> Option<Finding> {
    let mut number = Number { plus: bytes.get(start) == Some(&b'+'), ..Number::default() };
    let mut at = start + usize::from(number.plus);
    let mut best = None;
    while number.digits.len() < 20 {
        let group = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if group > 0 {
            number.digits.extend(bytes.get(at..at + group)?.iter().map(|byte| byte - b'0'));
            at += group;
            number.groups.push((number.digits.len(), at));
            if ends(bytes, at)
                && let Some(label) = number.label()
            {
                best = Some(finding(start..at, label));
            }
        }
        let between = bytes.get(at..)?.iter().take(3).take_while(|byte| b" -.()".contains(byte)).count();
        let Some(gap) = bytes.get(at..at + between) else { break };
        let opens = number.digits.is_empty() && gap == b"(";
        let simple = gap == b" " || gap == b"-" || gap == b".";
        let around = matches!(gap, b" (" | b"-(" | b"(" | b") " | b")-" | b")");
        if !(opens || simple || around) || (group == 0 && !opens) {
            break;
        }
        number.dotted |= !(gap == b" " || gap == b"-");
        at += between;
    }
    best
}

impl Number {
    fn label(&self) -> Option<&'static str> {
        if !self.plus && !self.dotted {
            if self.is_card() {
                return Some(CARD);
            }
            if self.is_national_id() {
                return Some(NATIONAL_ID);
            }
        }
        self.is_phone().then_some(PHONE)
    }

    fn is_card(&self) -> bool {
        let begins = match self.digits[..] {
            [4 | 5, ..] => true,
            [3, second, ..] => matches!(second, 0 | 4..=8),
            [6, second, ..] => matches!(second, 0 | 2 | 4 | 5),
            [8, second, ..] => matches!(second, 1 | 2),
            [2, 2..=7, ..] => self.digits.len() == 16,
            _ => false,
        };
        begins && (13..=19).contains(&self.digits.len()) && luhn(&self.digits)
    }

    fn is_national_id(&self) -> bool {
        let grouped = matches!(self.groups[..], [_] | [(4, _), (8, _), (12, _)]);
        grouped && self.digits.len() == 12 && self.digits.first() >= Some(&2) && verhoeff(&self.digits)
    }

    fn is_phone(&self) -> bool {
        if self.plus {
            return (8..=15).contains(&self.digits.len()) && self.digits.first() != Some(&0);
        }
        let ends: Vec<usize> = self.groups.iter().map(|(digits, _)| *digits).collect();
        let mobile = |rest: &[u8]| rest.len() == 10 && rest.first() >= Some(&6);
        match (&self.digits[..], &ends[..]) {
            // In one piece, or in two halves.
            (digits, [10] | [5, 10]) if mobile(digits) && !self.dotted => true,
            ([0, rest @ ..], [11] | [1 | 6, 11]) if mobile(rest) && !self.dotted => true,
            ([9, 1, rest @ ..], [12] | [2, 12] | [2, 7, 12]) if mobile(rest) && !self.dotted => true,
            // As they are written in North America.
            ([2..=9, _, _, 2..=9, ..], [3, 6, 10]) => true,
            ([1, 2..=9, _, _, 2..=9, ..], [1, 4, 7, 11]) => true,
            _ => false,
        }
    }
}

/// Whether the last digit is the right one after Luhn.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = (0_u32..)
        .zip(digits.iter().rev())
        .map(|(place, digit)| match u32::from(*digit) << (place % 2) {
            double @ 10.. => double - 9,
            single => single,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether the last digit is the right one after Verhoeff: the symmetries of a pentagon, permuted by place.
fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTED: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let product = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b) % 5,
        (false, true) => 5 + (a + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let permute = |digit: u8, times: usize| {
        (0..times).fold(digit, |digit, _| PERMUTED.get(usize::from(digit)).copied().unwrap_or(digit))
    };
    let check = digits
        .iter()
        .rev()
        .enumerate()
        .fold(0, |check, (place, digit)| product(check, permute(*digit, place % 8)));
    check == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found, as `LABEL text`.
    fn found(text: &str) -> Vec<String> {
        let all = PatternRedactor.find(text);
        all.into_iter().map(|it| format!("{} {}", it.label, &text[it.range])).collect()
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(found(text), expected, "{text}");
    }

    #[test]
    fn addresses_are_found_without_what_is_around_them() {
        check("Write to asha.rao+x@mail.example.co.in.", &["EMAIL asha.rao+x@mail.example.co.in"]);
        check("<a@b.io>,(c@d.io)", &["EMAIL a@b.io", "EMAIL c@d.io"]);
        check("जोशी@example.in", &["EMAIL जोशी@example.in"]);
        for none in ["a@b", "@handle", "a@.com", "a @b.io", "x@1.2", "user@", "a@b..io", "@"] {
            check(none, &[]);
        }
    }

    #[test]
    fn cards_need_their_check_digit() {
        check("4111 1111 1111 1111", &["CARD 4111 1111 1111 1111"]);
        check("5500-0000-0000-0004 12/29", &["CARD 5500-0000-0000-0004"]);
        check("4111111111111111 123", &["CARD 4111111111111111"]);
        check("378282246310005", &["CARD 378282246310005"]);
        check("6521 1111 1111 1110", &["CARD 6521 1111 1111 1110"]);
        for none in ["4111 1111 1111 1112", "1111 1111 1111 1117", "x4111111111111111", "4111111111111111x"] {
            check(none, &[]);
        }
    }

    #[test]
    fn identity_numbers_need_their_check_digit() {
        check("2341 2341 2346", &["NATIONAL_ID 2341 2341 2346"]);
        check("no. 234123412346.", &["NATIONAL_ID 234123412346"]);
        for none in ["2341 2341 2345", "234 123 412 346", "0341 2341 2346", "234.1234.12346"] {
            check(none, &[]);
        }
    }

    #[test]
    fn every_wrong_digit_and_every_swap_of_neighbors_is_noticed() {
        let right = [2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 6];
        assert!(verhoeff(&right));
        for place in 0..12 {
            for digit in (0..10).filter(|digit| *digit != right[place]) {
                let mut wrong = right;
                wrong[place] = digit;
                assert!(!verhoeff(&wrong), "{wrong:?}");
            }
            let mut swapped = right;
            swapped.swap(place, (place + 1).min(11));
            assert_eq!(verhoeff(&swapped), swapped == right, "{swapped:?}");
        }
    }

    #[test]
    fn tax_ids_are_whole_words_in_capitals() {
        check("PAN ABCPE1234F", &["TAX_ID ABCPE1234F"]);
        for none in ["abcpe1234f", "ABCDE1234F", "XABCPE1234F", "ABCPE1234FX", "ABCPE1234"] {
            check(none, &[]);
        }
    }

    #[test]
    fn phones_are_found_in_the_ways_they_are_written() {
        for phone in [
            "+91 98765 43210",
            "+91-9876543210",
            "9876543210",
            "98765 43210",
            "09876543210",
            "919876543210",
            "+1 (415) 555-0132",
            "415-555-0132",
            "(415) 555-0132",
            "415.555.0132",
            "1-415-555-0132",
            "+442079460958",
        ] {
            check(&format!("Call {phone}, please"), &[&format!("PHONE {phone}")]);
        }
    }

    #[test]
    fn prices_dates_times_and_counts_are_left_alone() {
        for none in [
            "₹1,23,45,678.90",
            "2026-11-21 16:32:15",
            "1700000000",
            "1700000000000",
            "10.0.0.1:8080",
            "3.14159265358979",
            "v1.2.3-4",
            "order 5876543210",
            "a1b2c3d4",
            "+5",
            "(2024)",
            "1 2 3 4 5 6 7 8 9 10",
            "01a1fd91-21e3-72b2-bf57-40761c303d32",
        ] {
            check(none, &[]);
        }
    }

    #[test]
    fn what_follows_one_another_is_found_one_by_one() {
        check(
            "a@x.in 9876543210 ABCPE1234F 4111111111111111",
            &["EMAIL a@x.in", "PHONE 9876543210", "TAX_ID ABCPE1234F", "CARD 4111111111111111"],
        );
    }

    proptest::proptest! {
        #[test]
        fn findings_are_in_order_and_on_characters_for_any_text(text in "[0-9a-zA-Zé@.+() \\-_]{0,60}") {
            let mut end = 0;
            for it in PatternRedactor.find(&text) {
                proptest::prop_assert!(it.range.start >= end && text.get(it.range.clone()).is_some());
                end = it.range.end;
            }
        }
    }
}
