//! Which characters people see as emojis.

use std::ops::Range;

/// Characters that show as pictures by themselves, from Unicode's `Emoji_Presentation` and the pictures around them.
///
/// The last two lines are signs that Unicode shows as text by default and that people mean as emojis.
const PICTURES: &[(u32, u32)] = &[
    (0x231A, 0x231B),
    (0x23E9, 0x23EC),
    (0x23F0, 0x23F0),
    (0x23F3, 0x23F3),
    (0x25FD, 0x25FE),
    (0x2614, 0x2615),
    (0x2648, 0x2653),
    (0x267F, 0x267F),
    (0x2693, 0x2693),
    (0x26A1, 0x26A1),
    (0x26AA, 0x26AB),
    (0x26BD, 0x26BE),
    (0x26C4, 0x26C5),
    (0x26CE, 0x26CE),
    (0x26D4, 0x26D4),
    (0x26EA, 0x26EA),
    (0x26F2, 0x26F3),
    (0x26F5, 0x26F5),
    (0x26FA, 0x26FA),
    (0x26FD, 0x26FD),
    (0x2705, 0x2705),
    (0x270A, 0x270B),
    (0x2728, 0x2728),
    (0x274C, 0x274C),
    (0x274E, 0x274E),
    (0x2753, 0x2755),
    (0x2757, 0x2757),
    (0x2795, 0x2797),
    (0x27B0, 0x27B0),
    (0x27BF, 0x27BF),
    (0x2B1B, 0x2B1C),
    (0x2B50, 0x2B50),
    (0x2B55, 0x2B55),
    (0x1F004, 0x1F004),
    (0x1F0CF, 0x1F0CF),
    (0x1F18E, 0x1F18E),
    (0x1F191, 0x1F19A),
    (0x1F1E6, 0x1F1FF),
    (0x1F201, 0x1F201),
    (0x1F21A, 0x1F21A),
    (0x1F22F, 0x1F22F),
    (0x1F232, 0x1F23A),
    (0x1F250, 0x1F251),
    (0x1F300, 0x1F64F),
    (0x1F680, 0x1F6FF),
    (0x1F7E0, 0x1F7F0),
    (0x1F900, 0x1F9FF),
    (0x1FA70, 0x1FAFF),
    (0x2639, 0x263B),
    (0x2763, 0x2764),
];
/// Asks for the picture of the character before it.
const AS_PICTURE: char = '\u{FE0F}';

/// The emojis of a text as ranges of bytes; a sequence of several is one range.
pub(super) fn emojis(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut before = None;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let joins = matches!(c, '\u{200D}' | AS_PICTURE | '\u{20E3}');
        match found.last_mut() {
            Some(last) if last.end == at && (joins || is_picture(c)) => last.end = end,
            _ if is_picture(c) => found.push(at..end),
            _ if c == AS_PICTURE => found.push(before.unwrap_or(at)..end),
            _ => {}
        }
        before = Some(at);
    }
    found
}

fn is_picture(c: char) -> bool {
    let code = u32::from(c);
    code >= 0x231A && PICTURES.iter().any(|(first, last)| (*first..=*last).contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_found_and_signs_are_not() {
        let check = |text: &str, found: &[&str]| {
            let emojis: Vec<&str> = emojis(text).into_iter().map(|range| &text[range]).collect();
            assert_eq!(emojis, found, "{text}");
        };
        check("Launch 🚀 now 🎉🎉", &["🚀", "🎉🎉"]);
        check("👩‍💻 and 🇮🇳 and ☎️ and 1️⃣", &["👩‍💻", "🇮🇳", "☎️", "1️⃣"]);
        check("❤ ☺", &["❤", "☺"]);
        check("₹1,000 → 5 ★ © ™ ✓ § नमस्ते 日本 #1 *", &[]);
    }
}
