//! `nearest`: the known names closest to one that was not found.

/// How many names are proposed at most.
const MAX_NAMES: usize = 3;
/// How many edits a proposal may be away: this many at least, or a third of the name.
const MIN_EDITS: usize = 2;
/// Only so much of a name is compared, in characters, so that the work stays bounded.
const MAX_COMPARED: usize = 64;

/// The known names that somebody who wrote `name` may have meant, best first, at most three.
///
/// Letter case does not count; a name that contains the other counts as near.
///
/// ```
/// use raptorflow_core::types::nearest;
/// assert_eq!(nearest("pricng", ["pricing", "research", "draft"]), ["pricing"]);
/// assert_eq!(nearest("gst", ["add_gst", "discount"]), ["add_gst"]);
/// assert!(nearest("publish", ["pricing", "research"]).is_empty());
/// ```
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = folded(name);
    let limit = MIN_EDITS.max(wanted.len() / 3);
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|candidate| {
            let letters = folded(candidate);
            let edits = edits(&wanted, &letters);
            let close = edits <= limit && edits < wanted.len();
            (close || contains(&wanted, &letters) || contains(&letters, &wanted))
                .then_some((edits, candidate))
        })
        .collect();
    near.sort_unstable();
    near.into_iter().map(|(_, candidate)| candidate).take(MAX_NAMES).collect()
}

fn folded(name: &str) -> Vec<char> {
    name.chars().flat_map(char::to_lowercase).take(MAX_COMPARED).collect()
}

fn contains(whole: &[char], part: &[char]) -> bool {
    part.len() >= 3 && whole.windows(part.len()).any(|window| window == part)
}

/// The Levenshtein distance, one row at a time.
fn edits(left: &[char], right: &[char]) -> usize {
    if right.is_empty() {
        return left.len();
    }
    let mut row: Vec<usize> = (1..=right.len()).collect();
    for (index, a) in left.iter().enumerate() {
        let (mut diagonal, mut before) = (index, index + 1);
        for (cell, b) in row.iter_mut().zip(right) {
            before = (diagonal + usize::from(a != b)).min(before + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, before);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        let count = |a: &str, b: &str| edits(&folded(a), &folded(b));
        assert_eq!(count("kitten", "sitting"), 3);
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("abc", ""), 3);
        assert_eq!(count("Draft", "dratf"), 2);
    }

    #[test]
    fn a_short_name_is_not_near_to_every_other() {
        assert!(nearest("ab", ["xy", "yz"]).is_empty());
        assert!(nearest("", ["xy"]).is_empty());
    }

    #[test]
    fn the_best_proposals_come_first_and_are_few() {
        assert_eq!(
            nearest("tool_1", ["tool_22", "tool_2", "tool_1x", "tool_3"]),
            ["tool_1x", "tool_2", "tool_3"]
        );
    }
}
