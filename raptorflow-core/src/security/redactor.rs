//! `Redactor`, which finds personal data in text, and `Placeholders`, which stand for it and are put back.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    fmt::{self, Debug},
    ops::Range,
};

/// How long the label of a finding may be, in bytes.
const MAX_LABEL: usize = 32;

/// Personal data in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it is, in bytes.
    pub range: Range<usize>,
    /// What it is, like `EMAIL`; upper-case letters, digits and `_`.
    pub label: Cow<'static, str>,
}

/// Finds personal data in text.
///
/// # Contract
/// - findings come in the order of the text, do not overlap and lie on character boundaries.
/// - the same text gives the same findings.
pub trait Redactor: Debug + Send + Sync + 'static {
    /// What there is in a text.
    fn find(&self, text: &str) -> Vec<Finding>;
}

/// Placeholders such as `[EMAIL_1]` that stand for values, and the way back.
///
/// The same value has the same placeholder; numbers follow the order of first sight, so that the texts of a conversation
/// that is sent again, and grows, get the same ones.
/// A placeholder that a text has of its own is left to it, when it was told of with [`Placeholders::reserve`].
///
/// ```
/// use raptorflow_core::security::{PatternRedactor, Placeholders};
/// let mut placeholders = Placeholders::new();
/// let hidden = placeholders.hide(&PatternRedactor, "Write to asha@example.com.").unwrap();
/// assert_eq!(hidden, "Write to [EMAIL_1].");
/// assert_eq!(placeholders.restore("I wrote to [EMAIL_1]."), "I wrote to asha@example.com.");
/// ```
#[derive(Clone, Default)]
pub struct Placeholders {
    by_value: HashMap<(Cow<'static, str>, String), String>,
    by_placeholder: HashMap<String, String>,
    /// How many of each label there are.
    counts: HashMap<Cow<'static, str>, u32>,
    reserved: HashSet<String>,
    longest: usize,
}

impl Placeholders {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing was hidden.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_value.is_empty()
    }

    /// Leaves what looks like a placeholder in a text to that text.
    pub fn reserve(&mut self, text: &str) {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('[') {
            if let Some((inside, _)) = after.split_once(']')
                && inside.len() <= MAX_LABEL + 11
                && inside.bytes().all(is_of_label)
            {
                self.reserved.insert(format!("[{inside}]"));
            }
            rest = after;
        }
    }

    /// The text with placeholders in place of what a redactor finds; `None` when it finds nothing.
    pub fn hide(&mut self, redactor: &dyn Redactor, text: &str) -> Option<String> {
        let findings = redactor.find(text);
        if findings.is_empty() {
            return None;
        }
        let (mut hidden, mut end) = (String::with_capacity(text.len()), 0);
        for finding in findings {
            // A finding that breaks the contract is left out: the text is not worth a panic.
            let (Some(before), Some(value)) =
                (text.get(end..finding.range.start), text.get(finding.range.clone()))
            else {
                continue;
            };
            hidden.push_str(before);
            hidden.push_str(self.placeholder(finding.label, value));
            end = finding.range.end;
        }
        hidden.push_str(text.get(end..).unwrap_or_default());
        Some(hidden)
    }

    /// The text with the values back in place of their placeholders.
    #[must_use]
    pub fn restore(&self, text: &str) -> String {
        self.restore_as(text, Cow::Borrowed)
    }

    /// As [`Placeholders::restore`], for text inside of JSON strings: values are escaped.
    #[must_use]
    pub fn restore_in_json(&self, text: &str) -> String {
        self.restore_as(text, |value| {
            let quoted = serde_json::Value::from(value).to_string();
            let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            Cow::Owned(inner.unwrap_or(value).to_owned())
        })
    }

    /// How many bytes at the end of a text could be the beginning of a placeholder.
    ///
    /// Whoever restores a text that arrives in pieces keeps them back until more arrives.
    #[must_use]
    pub fn unfinished(&self, text: &str) -> usize {
        let Some(start) = text.rfind('[') else { return 0 };
        let Some(tail) = text.get(start..) else { return 0 };
        let may =
            tail.len() < self.longest && self.by_placeholder.keys().any(|known| known.starts_with(tail));
        if may { tail.len() } else { 0 }
    }

    fn restore_as<'a>(&'a self, text: &str, form: impl Fn(&'a str) -> Cow<'a, str>) -> String {
        let (mut whole, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((before, after)) = rest.split_once('[') {
            whole.push_str(before);
            let known = after.split_once(']').filter(|(inside, _)| inside.len() + 2 <= self.longest);
            let value = known.and_then(|(inside, left)| {
                self.by_placeholder.get(&format!("[{inside}]")).map(|value| (value, left))
            });
            if let Some((value, left)) = value {
                whole.push_str(&form(value));
                rest = left;
            } else {
                whole.push('[');
                rest = after;
            }
        }
        whole.push_str(rest);
        whole
    }

    fn placeholder(&mut self, label: Cow<'static, str>, value: &str) -> &str {
        let Self { by_value, by_placeholder, counts, reserved, longest } = self;
        by_value.entry((label, value.to_owned())).or_insert_with_key(|(label, value)| {
            let count = counts.entry(label.clone()).or_default();
            let placeholder = loop {
                *count += 1;
                let placeholder = format!("[{}_{count}]", clean(label));
                if !reserved.contains(&placeholder) && !by_placeholder.contains_key(&placeholder) {
                    break placeholder;
                }
            };
            *longest = placeholder.len().max(*longest);
            by_placeholder.insert(placeholder.clone(), value.clone());
            placeholder
        })
    }
}

impl Debug for Placeholders {
    /// Says how many there are and never for what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Placeholders").field("count", &self.by_placeholder.len()).finish_non_exhaustive()
    }
}

fn is_of_label(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

/// A label that a placeholder can be made of.
fn clean(label: &str) -> String {
    let text: String =
        label.to_ascii_uppercase().chars().filter(|c| u8::try_from(*c).is_ok_and(is_of_label)).collect();
    text.chars().take(MAX_LABEL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::PatternRedactor;

    fn hide(placeholders: &mut Placeholders, text: &str) -> String {
        placeholders.hide(&PatternRedactor, text).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn a_value_has_one_placeholder_and_numbers_follow_first_sight() {
        let mut all = Placeholders::new();
        assert_eq!(hide(&mut all, "a@x.in, b@x.in and a@x.in"), "[EMAIL_1], [EMAIL_2] and [EMAIL_1]");
        assert_eq!(hide(&mut all, "again b@x.in"), "again [EMAIL_2]");
        assert_eq!(all.restore("[EMAIL_2][EMAIL_1] [EMAIL_3] [x] ["), "b@x.ina@x.in [EMAIL_3] [x] [");
        assert!(!format!("{all:?}").contains("x.in"));
    }

    #[test]
    fn what_a_text_has_of_its_own_is_left_to_it() {
        let mut all = Placeholders::new();
        let text = "[EMAIL_1] is not a@x.in";
        all.reserve(text);
        assert_eq!(hide(&mut all, text), "[EMAIL_1] is not [EMAIL_2]");
        assert_eq!(all.restore("[EMAIL_1] [EMAIL_2]"), "[EMAIL_1] a@x.in");
    }

    #[test]
    fn values_are_escaped_inside_of_json() {
        #[derive(Debug)]
        struct Quoted;
        impl Redactor for Quoted {
            fn find(&self, text: &str) -> Vec<Finding> {
                vec![Finding { range: 0..text.len(), label: "my label!".into() }]
            }
        }
        let mut all = Placeholders::new();
        assert_eq!(all.hide(&Quoted, "say \"hi\"\n").unwrap(), "[MYLABEL_1]");
        assert_eq!(all.restore_in_json("{\"a\": \"[MYLABEL_1]\"}"), "{\"a\": \"say \\\"hi\\\"\\n\"}");
    }

    #[test]
    fn the_beginning_of_a_placeholder_is_kept_back_and_nothing_else() {
        let mut all = Placeholders::new();
        assert_eq!(all.unfinished("text ["), 0, "there is no placeholder");
        hide(&mut all, "a@x.in");
        for (text, kept) in [
            ("text [", 1),
            ("text [EMA", 4),
            ("[EMAIL_1", 8),
            ("[EMAIL_1]", 0),
            ("[EMX", 0),
            ("[a] b", 0),
            ("", 0),
        ] {
            assert_eq!(all.unfinished(text), kept, "{text}");
        }
    }
}
