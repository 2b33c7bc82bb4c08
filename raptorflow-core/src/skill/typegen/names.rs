//! Names of types: in capitals, and different from each other.

use crate::skill::SkillId;

/// `writing.summary.v2` is `WritingSummaryV2`; the first version has no number.
pub(super) fn of_skill(id: &SkillId) -> String {
    let mut name = capitalized(id.family());
    match id.version() {
        Some(version) if version > 1 => name.push_str(&format!("V{version}")),
        _ => {}
    }
    if name.starts_with(|c: char| c.is_alphabetic()) { name } else { format!("Skill{name}") }
}

/// `two_words` is `TwoWords`; whatever is no letter or digit separates.
pub(super) fn capitalized(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let capital = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
    };
    words.map(capital).collect()
}

/// Text on one line, for a comment that `end` would close.
pub(super) fn comment(text: &str, end: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if end.is_empty() { line } else { line.replace(end, "") }
}

/// A text in double quotes, with JSON's escapes, which all three languages read.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
