//! `Review`: what is done about a report before it is the answer: conflicts are settled, and people are asked.

use serde_json::{Map, Value, json};

use crate::{
    agent::{AgentSpec, Session},
    error::Result,
    orchestrator::{
        Conflicts, Escalation, Report, Task, answered::sum, conflict::Settled, escalation::Asking,
    },
};

/// What an orchestrator was told to do about its reports.
#[derive(Debug, Default)]
pub(super) struct Review {
    pub(super) conflicts: Option<Conflicts>,
    pub(super) escalation: Option<Escalation>,
}

impl Review {
    pub(super) fn is_wanted(&self) -> bool {
        self.conflicts.is_some() || self.escalation.is_some()
    }

    /// Checks what somebody is about to say to a run.
    pub(super) fn check(&self, name: &str, by: Option<&str>) -> Result<()> {
        let of_rules = self.escalation.as_ref().and_then(|it| it.check(name, by));
        let of_conflicts = || self.conflicts.as_ref().and_then(|it| it.check(name, by));
        of_rules.or_else(of_conflicts).unwrap_or(Ok(()))
    }

    pub(super) async fn apply(
        &self,
        session: &Session,
        spec: &AgentSpec,
        task: &Task,
        report: &mut Report,
    ) -> Result<()> {
        if let Some(conflicts) = &self.conflicts {
            let Settled { resolutions, outputs } =
                conflicts.settle(session, spec, &task.goal, &report.disagreements).await?;
            report.resolutions = resolutions;
            report.usage = outputs.iter().fold(report.usage, |sum, output| sum.plus(output.usage));
            report.cost = sum(std::iter::once(report.cost).chain(outputs.iter().map(|output| output.cost)));
        }
        if let Some(escalation) = &self.escalation {
            for rule in escalation.held(&situation(task, report)) {
                let asking = Asking {
                    rule: &rule.name,
                    urgency: rule.urgency,
                    prompt: rule.prompt.clone(),
                    choices: rule.choices.clone(),
                    to: &rule.to,
                };
                report.escalations.push(escalation.ask(session, spec, asking).await?);
            }
        }
        Ok(())
    }
}

/// What rules look at; see [`Escalation`].
fn situation(task: &Task, report: &Report) -> Value {
    let answers: Map<String, Value> =
        report.sections.iter().flat_map(|section| section.details.clone()).collect();
    let (mut least, mut most) = (Map::new(), Map::new());
    for (name, value) in answers.values().filter_map(Value::as_object).flatten() {
        let Some(number) = value.as_f64() else { continue };
        let keep = |extremes: &mut Map<String, Value>, better: fn(f64, f64) -> bool| {
            let known = extremes.get(name).and_then(Value::as_f64);
            if known.is_none_or(|known| better(number, known)) {
                extremes.insert(name.clone(), json!(number));
            }
        };
        keep(&mut least, |new, known| new < known);
        keep(&mut most, |new, known| new > known);
    }
    let missing: usize = report.sections.iter().map(|section| section.missing.len()).sum();
    let settled = report.resolutions.iter().filter(|it| it.position.is_some()).count();
    json!({
        "task": { "tags": task.tags, "fields": task.fields },
        "confidence": report.decision.confidence,
        "missing": missing,
        "dropped": report.dropped.len(),
        "disagreements": report.disagreements.len(),
        "unresolved": report.disagreements.len() - settled.min(report.disagreements.len()),
        "answers": answers,
        "least": least,
        "most": most,
    })
}
