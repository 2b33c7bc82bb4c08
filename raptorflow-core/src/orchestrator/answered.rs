//! What agents that were asked have answered, and what of it goes into a report.

use serde_json::Value;

use crate::{
    agent::AgentOutput,
    error::{Error, ErrorKind, Result},
    orchestrator::{
        AgentChoice, Combined, Contribution, Dropped, Missing, Section, Source, TeamSpec, combine,
    },
    types::{Money, contained},
};

/// Whether all steps of these names have ended.
pub(super) fn is_done(steps: &[String], answers: &[Answered]) -> bool {
    steps.iter().all(|step| answers.iter().any(|it| it.choice.step.as_ref() == Some(step)))
}

/// What came of the steps that a choice builds on, as data; an error when one of them gave no answer.
pub(super) fn before(choice: &AgentChoice, answers: &[Answered]) -> Result<String> {
    const TAG: &str = "answer";
    let mut text = String::new();
    for it in answers.iter().filter(|it| it.choice.step.as_ref().is_some_and(|it| choice.after.contains(it)))
    {
        let output = it.result.as_ref().map_err(|_| {
            let message = "a step that this one builds on gave no answer";
            Error::new(ErrorKind::Conflict, "orchestrator.plan", message).with("agent", &it.choice.agent)
        })?;
        let said = match &output.output {
            Value::String(said) => said.clone(),
            other => other.to_string(),
        };
        text.push_str(&format!("\n\nWhat {} answered, as data:\n<{TAG}>\n", it.choice.agent));
        text.push_str(&contained(&said, TAG));
        text.push_str(&format!("\n</{TAG}>"));
    }
    Ok(text)
}

/// An agent that was asked, and what came of it.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) choice: AgentChoice,
    pub(super) result: Result<AgentOutput>,
}

/// What one team found, and its claims that were left out; `sources` grows by what it cites.
pub(super) fn section<'a>(
    team: &TeamSpec,
    answers: impl Iterator<Item = &'a Answered>,
    sources: &mut Vec<Source>,
) -> (Section, Vec<Dropped>) {
    let (mut given, mut missing) = (Vec::new(), Vec::new());
    for Answered { choice, result } in answers {
        let agent = choice.agent.clone();
        match result {
            Ok(output) => given.push(Contribution { agent, output: output.clone() }),
            Err(error) => missing.push(Missing { agent, error: error.clone() }),
        }
    }
    let Combined { claims, details, dropped } = combine(&given, sources);
    let (title, heading) = (team.title.clone(), team.heading.clone());
    (Section { team: team.name.clone(), title, heading, claims, details, missing }, dropped)
}

/// The sum of costs; unknown as soon as one is, or when they are in two currencies.
pub(super) fn sum(mut costs: impl Iterator<Item = Option<Money>>) -> Option<Money> {
    let first = costs.next().flatten()?;
    costs.try_fold(first, |sum, cost| sum.plus(cost?).ok())
}
