//! `combine`: the claims of several agents, each once, with all who made it and all that it rests on.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::{
    agent::AgentOutput,
    orchestrator::{Claim, Dropped, Source},
    types::{AgentId, Passage},
    workflow::canonical,
};

/// One agent's answer, on its way into a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    /// Who answered.
    pub agent: AgentId,
    /// The answer.
    pub output: AgentOutput,
}

/// What several answers amount to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Combined {
    /// The claims, each once, in the order of first mention.
    pub claims: Vec<Claim>,
    /// What agents answered besides claims, by agent.
    pub details: Map<String, Value>,
    /// Claims that were left out.
    pub dropped: Vec<Dropped>,
}

/// Joins answers: equal claims become one, claims without a valid source are listed as dropped.
///
/// Claims are equal when they are after Unicode compatibility normalization, lower case, and without
/// punctuation and extra white space; signs that change what is said, like `+`, `%` or `$`, count.
/// An answer holds claims either as an array `findings` of objects with `claim` and `sources`, or as text whose
/// sentences carry citations `[n]` behind them, or before them where a line begins with one; `n` is the number of a
/// passage that the agent was given.
/// What an answer holds besides is in the details; of an answer that is neither text nor object they are `answer`.
/// `sources` grows by the places that are cited; a claim that stands in its passage word for word is cited by the
/// lines that it stands on, any other by the lines of the passage.
#[must_use]
pub fn combine(contributions: &[Contribution], sources: &mut Vec<Source>) -> Combined {
    let mut combined = Combined::default();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for Contribution { agent, output } in contributions {
        for Said { text, cited } in said(&output.output) {
            let places: Vec<u32> = cited
                .iter()
                .flatten()
                .filter_map(|number| {
                    output.passages.iter().find(|passage| Some(u64::from(passage.number)) == *number)
                })
                .map(|passage| cite(sources, passage, &text))
                .collect();
            if let Some(reason) = unusable(&text, cited.as_deref(), &places) {
                combined.dropped.push(Dropped { agent: agent.clone(), text, reason: reason.to_owned() });
                continue;
            }
            let index = *seen.entry(canonical(&text)).or_insert(combined.claims.len());
            match combined.claims.get_mut(index) {
                Some(claim) => {
                    add_new(&mut claim.sources, places);
                    add_new(&mut claim.agents, vec![agent.clone()]);
                }
                None => combined.claims.push(Claim { text, sources: places, agents: vec![agent.clone()] }),
            }
        }
        let details = details(&output.output);
        if !details.is_empty() {
            combined.details.insert(agent.to_string(), Value::Object(details));
        }
    }
    combined
}

/// Something that an answer says.
struct Said {
    text: String,
    /// The numbers that it cites, `None` for what is no number; `None` as a whole when it is no claim.
    cited: Option<Vec<Option<u64>>>,
}

/// Why something that was said cannot be a claim of a report.
fn unusable(text: &str, cited: Option<&[Option<u64>]>, places: &[u32]) -> Option<&'static str> {
    match cited {
        None => Some("it is no claim with sources"),
        Some(_) if canonical(text).is_empty() => Some("it says nothing"),
        Some([]) => Some("it cites nothing"),
        Some(_) if places.is_empty() => Some("it cites no passage that was given"),
        Some(_) => None,
    }
}

/// Everything in an answer that is, or should be, a claim.
fn said(output: &Value) -> Vec<Said> {
    match output {
        Value::String(text) => text.lines().flat_map(cited_sentences).collect(),
        Value::Object(fields) => {
            let findings = fields.get("findings").and_then(Value::as_array);
            findings.into_iter().flatten().map(finding).collect()
        }
        _ => Vec::new(),
    }
}

fn finding(value: &Value) -> Said {
    let Some(claim) = value.get("claim").and_then(Value::as_str) else {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        return Said { text, cited: None };
    };
    let sources = value.get("sources").and_then(Value::as_array).into_iter().flatten();
    Said { text: claim.trim().to_owned(), cited: Some(sources.map(number).collect()) }
}

/// For JSON Schema 3.0 is an integer too.
fn number(value: &Value) -> Option<u64> {
    let whole = |float: &f64| *float >= 0.0 && *float <= f64::from(u32::MAX) && float.fract() == 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|float| float as u64))
}

/// `A claim. [1] Another [2][3].` and `[1] A claim. [2][3] Another.` as two claims each; text without a citation is
/// one that cites nothing.
fn cited_sentences(line: &str) -> Vec<Said> {
    let line = line.trim().trim_start_matches(['-', '*', '#', ' ']);
    let mut found: Vec<Said> = Vec::new();
    let mut add = |text: &str, numbers: &mut Vec<Option<u64>>| {
        let text = text.trim_matches([' ', '\t']).trim_start_matches(['.', ',', ';', ' ']);
        if !text.trim_matches('.').is_empty() {
            found.push(Said { text: text.to_owned(), cited: Some(std::mem::take(numbers)) });
        }
    };
    let before_text = matches!(next_citation(line), Some(("", ..)));
    let (mut text, mut numbers, mut rest) = ("", Vec::new(), line);
    while let Some((before, number, after)) = next_citation(rest) {
        let new_text = !before.trim_matches([' ', '.', ',', ';']).is_empty();
        if before_text {
            if new_text {
                add(before, &mut numbers);
            }
        } else if new_text {
            add(text, &mut numbers);
            text = before;
        }
        numbers.push(Some(number));
        rest = after;
    }
    if before_text {
        add(rest, &mut numbers);
    } else {
        add(text, &mut numbers);
        add(rest, &mut Vec::new());
    }
    found
}

fn next_citation(text: &str) -> Option<(&str, u64, &str)> {
    let mut from = 0;
    while let Some(open) = text.get(from..)?.find('[').map(|at| at + from) {
        let (before, inside) = text.split_at_checked(open)?;
        let (number, after) = inside.strip_prefix('[')?.split_once(']')?;
        if let Ok(number) = number.parse() {
            return Some((before, number, after));
        }
        from = open + 1;
    }
    None
}

fn details(output: &Value) -> Map<String, Value> {
    match output {
        Value::Null | Value::String(_) => Map::new(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, value)| *name != "findings" || !value.is_array())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        other => Map::from_iter([("answer".to_owned(), other.clone())]),
    }
}

/// The number of the place that a claim rests on; a place that is cited already keeps its number.
fn cite(sources: &mut Vec<Source>, passage: &Passage, claim: &str) -> u32 {
    let lines = locate(passage, claim).unwrap_or(passage.lines);
    let known = sources.iter().find(|source| *source.source == *passage.source && source.lines == lines);
    if let Some(source) = known {
        return source.number;
    }
    let number = u32::try_from(sources.len()).unwrap_or(u32::MAX).saturating_add(1);
    let (source, heading) = (passage.source.as_ref().to_owned(), passage.heading.clone());
    sources.push(Source { number, source, lines, heading });
    number
}

/// The lines of a passage on which a claim stands word for word, white space aside.
fn locate(passage: &Passage, claim: &str) -> Option<(u32, u32)> {
    let wanted: Vec<&str> = claim.split_whitespace().collect();
    let mut words: Vec<(u32, &str)> = Vec::new();
    for (line, text) in (passage.lines.0..).zip(passage.text.lines()) {
        words.extend(text.split_whitespace().map(|word| (line, word)));
    }
    if wanted.is_empty() {
        return None;
    }
    let stands = |window: &&[(u32, &str)]| {
        let last = wanted.len() - 1;
        window.iter().zip(&wanted).enumerate().all(|(at, ((_, word), claim))| {
            // A sentence may begin behind a mark-up sign and end before one.
            word == claim || (at == 0 && word.ends_with(claim)) || (at == last && word.starts_with(claim))
        })
    };
    let window = words.windows(wanted.len()).find(stands)?;
    Some((window.first()?.0, window.last()?.0))
}

fn add_new<T: PartialEq>(known: &mut Vec<T>, more: Vec<T>) {
    for item in more {
        if !known.contains(&item) {
            known.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn contribution(agent: &str, output: Value) -> Contribution {
        let text: Arc<str> = "# Title\n\nThe journal is\nthe truth. Budgets hold.\n".into();
        let passage =
            Passage { number: 1, source: "a.md".into(), lines: (10, 13), heading: String::new(), text };
        let output = AgentOutput { output, passages: vec![passage], ..AgentOutput::default() };
        Contribution { agent: AgentId::new(agent).unwrap(), output }
    }

    #[test]
    fn equal_claims_become_one_with_both_agents_and_the_lines_they_stand_on() {
        let mut sources = Vec::new();
        let one = json!({"findings": [{"claim": "The journal is the truth.", "sources": [1]}]});
        let two =
            json!({"findings": [{"claim": "the journal is  the truth", "sources": [1]}], "risk": "low"});
        let combined = combine(&[contribution("a", one), contribution("b", two)], &mut sources);
        assert_eq!(combined.claims.len(), 1);
        assert_eq!(combined.claims[0].agents.len(), 2);
        assert_eq!(sources[0].lines, (12, 13));
        assert_eq!(combined.details["b"], json!({"risk": "low"}));
    }

    #[test]
    fn a_claim_without_a_valid_source_is_listed_as_dropped() {
        let mut sources = Vec::new();
        let combined =
            combine(&[contribution("a", json!("Budgets hold. [1] Nobody knows. [7] Truly"))], &mut sources);
        assert_eq!(combined.claims.len(), 1);
        let reasons: Vec<&str> = combined.dropped.iter().map(|it| it.reason.as_str()).collect();
        assert_eq!(reasons, ["it cites no passage that was given", "it cites nothing"]);
    }
}
