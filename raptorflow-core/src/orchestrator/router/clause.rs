//! Clauses of a goal, and which team gets which.

use std::collections::BTreeMap;

use crate::agent::Matcher;

/// The share of a clause's best score that a team needs to work on the clause.
const CLAUSE_SHARE: f64 = 0.7;
/// What ends a clause.
const CLAUSE_ENDS: [char; 6] = [',', ';', ':', '.', '?', '!'];

/// The clauses of a goal for each team that some of them fit.
pub(super) fn share_out(goal: &str, matcher: &Matcher) -> BTreeMap<String, String> {
    let clauses: Vec<&str> =
        clauses(goal).into_iter().map(bare).filter(|clause| !clause.is_empty()).collect();
    let mut shares: BTreeMap<String, String> = BTreeMap::new();
    if clauses.len() < 2 {
        return shares;
    }
    for clause in clauses {
        let ranked = matcher.rank(clause);
        let best = ranked.first().map_or(0.0, |it| it.score);
        for it in ranked.into_iter().filter(|it| it.score > 0.0 && it.score >= best * CLAUSE_SHARE) {
            let share = shares.entry(it.name).or_default();
            if !share.is_empty() {
                share.push_str("; ");
            }
            share.push_str(clause);
        }
    }
    shares
}

/// The parts of a goal between marks that end a clause; a mark inside a number, name or address ends none.
pub(super) fn clauses(goal: &str) -> Vec<&str> {
    let (mut found, mut start) = (Vec::new(), 0);
    let mut chars = goal.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let word_ends = chars.peek().is_none_or(|(_, next)| next.is_whitespace());
        if c == '\n' || (CLAUSE_ENDS.contains(&c) && word_ends) {
            found.extend(goal.get(start..at));
            start = at + c.len_utf8();
        }
    }
    found.extend(goal.get(start..));
    found
}

/// A clause without the conjunction that joins it to the one before.
fn bare(clause: &str) -> &str {
    let clause = clause.trim().trim_end_matches(CLAUSE_ENDS);
    ["and ", "or ", "but "].iter().find_map(|word| clause.strip_prefix(word)).unwrap_or(clause)
}
