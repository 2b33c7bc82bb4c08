//! What members say, read: a position, how sure, a score, a verdict, out of JSON or text.

use serde_json::{Map, Value};

use crate::workflow::{Decision, Problem, Verdict};

/// An answer, read; whatever was said, there is a reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// What it stands for.
    pub(super) position: Value,
    pub(super) confidence: Option<f64>,
    pub(super) score: Option<f64>,
    pub(super) verdict: Option<Verdict>,
    /// Whether it says that it is decided or done.
    pub(super) decided: Option<bool>,
    /// Scores of others by label, or anything else that has a name and a number.
    pub(super) scores: Vec<(String, f64)>,
    pub(super) problems: Vec<Problem>,
}

/// Where an object says what it stands for, the first that there is.
const POSITION: [&str; 5] = ["position", "vote", "answer", "value", "output"];

/// What an answer says: of a decision its answer, of an object its fields, of a text its lines such as `Position: wait`
/// and `Confidence: 0.7`, or JSON that it is.
pub(super) fn read(said: &Value) -> Reading {
    if let Some(decision) = decision(said) {
        let empty = decision.answer.is_null();
        return Reading {
            position: decision.answer,
            confidence: Some(decision.confidence).filter(|it| (0.0..=1.0).contains(it)),
            verdict: decision.verdict,
            problems: if empty { vec![Problem::Empty] } else { Vec::new() },
            ..Reading::default()
        };
    }
    match said {
        Value::Object(fields) => read_fields(fields, said),
        Value::String(text) => read_text(text),
        Value::Null => Reading { problems: vec![Problem::Empty], ..Reading::default() },
        other => Reading { position: other.clone(), ..Reading::default() },
    }
}

/// The decision that an answer is, where it is one.
pub(super) fn decision(said: &Value) -> Option<Decision> {
    // Most answers are none, and need no copy.
    said.get("stopped").and_then(|_| serde_json::from_value(said.clone()).ok())
}

fn read_fields(fields: &Map<String, Value>, whole: &Value) -> Reading {
    let position = POSITION.iter().find_map(|name| fields.get(*name)).unwrap_or(whole);
    let mut reading = Reading { position: position.clone(), ..Reading::default() };
    for (name, value) in fields {
        reading.note(name, value);
    }
    if let Some(scores) = fields.get("scores").and_then(Value::as_object) {
        reading.scores =
            scores.iter().filter_map(|(name, value)| Some((name.clone(), part(value)?))).collect();
    }
    let empty = reading.position.is_null() || fields.is_empty();
    if empty {
        reading.problems.push(Problem::Empty);
    }
    reading
}

fn read_text(text: &str) -> Reading {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Reading { problems: vec![Problem::Empty], ..Reading::default() };
    }
    let fenced = trimmed.strip_prefix("```json").and_then(|rest| rest.trim_end().strip_suffix("```"));
    if let Ok(Value::Object(fields)) = serde_json::from_str(fenced.unwrap_or(trimmed)) {
        let whole = Value::Object(fields.clone());
        return read_fields(&fields, &whole);
    }
    let mut reading = Reading { position: trimmed.into(), ..Reading::default() };
    for line in trimmed.lines() {
        let line = line.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '-' | '#' | '`'));
        let Some((name, said)) = line.split_once(':') else { continue };
        let name = name.trim_matches(|c: char| c.is_whitespace() || c == '*').to_lowercase();
        let said = said.trim_matches(|c: char| c.is_whitespace() || c == '*');
        if said.is_empty() {
            continue;
        }
        let value = Value::from(said);
        match name.as_str() {
            "position" | "vote" | "answer" => reading.position = value,
            _ => {
                reading.note(&name, &value);
                if let Some(score) = part(&value) {
                    reading.scores.push((name, score));
                }
            }
        }
    }
    reading
}

impl Reading {
    /// A field by its name; others are left alone.
    fn note(&mut self, name: &str, value: &Value) {
        match name {
            "confidence" => {
                self.confidence = part(value);
                if self.confidence.is_none() && !value.is_null() {
                    self.problems.push(Problem::Confidence);
                }
            }
            "score" => {
                self.score = part(value);
                if self.score.is_none() && !value.is_null() {
                    self.problems.push(Problem::Score);
                }
            }
            "verdict" => self.verdict = verdict(value),
            "decided" | "done" => self.decided = truth(value),
            _ => {}
        }
    }

    /// Whether it says anything that can be gone on with.
    pub(super) fn is_empty(&self) -> bool {
        self.problems.contains(&Problem::Empty)
    }
}

/// A number from 0 to 1, also as text or in percent.
fn part(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => match text.trim().strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
            None => text.trim().parse().ok()?,
        },
        other => other.as_f64()?,
    };
    (0.0..=1.0).contains(&number).then_some(number)
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => match text.trim().trim_end_matches('.').to_lowercase().as_str() {
            "yes" | "true" => Some(true),
            "no" | "false" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn verdict(value: &Value) -> Option<Verdict> {
    let words = value.as_str()?.to_lowercase();
    let words: Vec<&str> =
        words.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        ["approve" | "approved"] => Some(Verdict::Approve),
        ["approve" | "approved", "with", "notes"] => Some(Verdict::ApproveWithNotes),
        ["request", "revision"] | ["revise"] => Some(Verdict::RequestRevision),
        ["reject" | "rejected"] => Some(Verdict::Reject),
        ["escalate" | "escalated"] => Some(Verdict::Escalate),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn positions_are_read_from_objects_and_from_lines_of_text() {
        for (said, position, confidence) in [
            (json!("We should wait.\n\n**Position:** wait\nConfidence: 70%"), json!("wait"), Some(0.7)),
            (json!({ "position": "wait", "confidence": 0.7, "why": "…" }), json!("wait"), Some(0.7)),
            (json!("```json\n{\"answer\": 4, \"confidence\": \"0.7\"}\n```"), json!(4), Some(0.7)),
            (json!("just text"), json!("just text"), None),
            (json!({ "a": 1 }), json!({ "a": 1 }), None),
            (json!(7), json!(7), None),
        ] {
            let reading = read(&said);
            assert_eq!(
                (reading.position, reading.confidence, reading.problems),
                (position, confidence, vec![])
            );
        }
    }

    #[test]
    fn nonsense_is_told_and_does_not_count() {
        for said in [json!(null), json!("  "), json!({}), json!({ "answer": null })] {
            assert_eq!(read(&said).problems, [Problem::Empty], "{said}");
        }
        for confidence in [json!(1.5), json!(-1), json!("very"), json!([])] {
            let reading = read(&json!({ "answer": 1, "confidence": confidence }));
            assert_eq!((reading.confidence, reading.problems), (None, vec![Problem::Confidence]));
        }
        assert_eq!(read(&json!("Score: high")).problems, [Problem::Score]);
    }

    #[test]
    fn verdicts_scores_and_ends_are_read() {
        let reading = read(&json!("Verdict: Approve with notes.\nScore: 0.9\nDecided: yes\nanna: 0.4"));
        assert_eq!((reading.verdict, reading.score), (Some(Verdict::ApproveWithNotes), Some(0.9)));
        assert_eq!(reading.decided, Some(true));
        assert!(reading.scores.contains(&("anna".to_owned(), 0.4)));
        assert_eq!(read(&json!({ "verdict": "perhaps" })).verdict, None);
        assert_eq!(read(&json!({ "scores": { "a": 0.5 } })).scores, [("a".to_owned(), 0.5)]);
    }
}
