//! Compares what happened in a step with what its scenario expects; only what is written is compared.

use std::fmt::Debug;

use raptorflow_core::{
    Engine, Error, Result,
    economics::UsageReport,
    engine::Outcome,
    event::EventKind,
    journal::RunState,
    model::ChatRequest,
    types::{Diagnostics, Message, Part, RunId},
};
use serde_json::Value;

use crate::{
    format::{Asked, Called, Cited, Did, Expect, Failure, Given, Part as Shows, Shown, Spent, Told},
    host::Calls,
};

/// What one step did.
#[derive(Default)]
pub(crate) struct Happened {
    pub(crate) run: Option<RunId>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) error: Option<Error>,
    pub(crate) documents: Option<Vec<String>>,
    pub(crate) events: Vec<EventKind>,
    pub(crate) state: Option<RunState>,
    /// What an answer that was read as it arrived showed.
    pub(crate) parts: Vec<Shows>,
    pub(crate) report: Option<UsageReport>,
    /// The engine, whose layers are looked at.
    pub(crate) did: Option<Engine>,
    /// Why the step could not be taken.
    pub(crate) missing: Option<&'static str>,
}

impl Happened {
    pub(crate) fn ended(ended: Result<Outcome>) -> Self {
        match ended {
            Ok(outcome) => Self { outcome: Some(outcome), ..Self::default() },
            Err(err) => Self::failed(Some(err)),
        }
    }

    /// A step that gives nothing.
    pub(crate) fn done(done: Result<()>) -> Self {
        Self::failed(done.err())
    }

    pub(crate) fn failed(error: Option<Error>) -> Self {
        Self { error, ..Self::default() }
    }
}

type Verdict = std::result::Result<(), String>;

pub(crate) fn compare(expect: &Expect, happened: &Happened, calls: &Calls) -> Verdict {
    if let Some(missing) = happened.missing {
        return Err(missing.to_owned());
    }
    match (&expect.error, &happened.error) {
        (Some(wanted), Some(err)) => failure(wanted, err)?,
        (Some(wanted), None) => return Err(format!("expected the error `{}`, got none", wanted.kind)),
        (None, Some(err)) => return Err(format!("failed: {err:#}")),
        (None, None) => {}
    }
    if calls.unscripted > 0 {
        return Err(format!("the model was asked {} times more than it has replies", calls.unscripted));
    }
    outcome(expect, happened)?;
    if let Some(wanted) = &expect.state {
        state(wanted, happened.state.as_ref().ok_or("expected a state, got none")?)?;
    }
    if let Some(wanted) = &expect.parts {
        same("parts", wanted, &happened.parts)?;
    }
    if let Some(wanted) = &expect.spent {
        spent(wanted, happened.report.as_ref().ok_or("expected a report, got none")?)?;
    }
    if let Some(wanted) = &expect.layers {
        did(wanted, happened.did.as_ref().ok_or("expected an engine, got none")?)?;
    }
    if let Some(wanted) = &expect.documents {
        same("documents", &Some(wanted), &happened.documents.as_ref())?;
    }
    if let Some(wanted) = &expect.events {
        same("events", wanted, &happened.events)?;
    }
    if let Some(wanted) = &expect.model_calls {
        same("model_calls", wanted, &calls.requests.len())?;
    }
    if let Some(wanted) = &expect.requests {
        same("how many requests", &wanted.len(), &calls.requests.len())?;
        for (wanted, got) in wanted.iter().zip(&calls.requests) {
            request(wanted, got)?;
        }
    }
    if let Some(wanted) = &expect.tool_calls {
        tool_calls(wanted, &calls.tools)?;
    }
    if let Some(wanted) = &expect.function_calls {
        let wanted: Vec<_> = wanted.iter().map(|call| (&call.name, &call.input)).collect();
        let got: Vec<_> = calls.functions.iter().map(|call| (&call.name, &call.input)).collect();
        same("function_calls", &wanted, &got)?;
    }
    Ok(())
}

fn same<T: Debug + PartialEq>(what: &str, wanted: &T, got: &T) -> Verdict {
    if wanted == got { Ok(()) } else { Err(format!("{what}: expected {wanted:?}, got {got:?}")) }
}

/// Whether two values are equal, with numbers by value: 5 is 5.0.
fn equal(wanted: &Value, got: &Value) -> bool {
    match (wanted, got) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

fn same_value(what: &str, wanted: &Value, got: &Value) -> Verdict {
    if equal(wanted, got) { Ok(()) } else { Err(format!("{what}: expected {wanted}, got {got}")) }
}

fn failure(wanted: &Failure, err: &Error) -> Verdict {
    same("kind of the error", &wanted.kind, &err.kind())?;
    for (key, value) in &wanted.context {
        same(&format!("`{key}` of the error"), &Some(value.as_str()), &err.get(key))?;
    }
    if let Some(wanted) = &wanted.problems {
        let told = err.cause::<Diagnostics>().map(|problems| problems.0.as_slice()).unwrap_or_default();
        let told: Vec<_> = told.iter().map(|problem| &problem.message).collect();
        let fits =
            wanted.len() == told.len() && wanted.iter().zip(&told).all(|(says, told)| told.contains(says));
        if !fits {
            return Err(format!("problems: expected {wanted:?}, got {told:?}"));
        }
    }
    match &wanted.says {
        Some(says) if !format!("{err:#}").contains(says) => {
            Err(format!("the error does not say `{says}`: {err:#}"))
        }
        _ => Ok(()),
    }
}

fn outcome(expect: &Expect, happened: &Happened) -> Verdict {
    let wants = expect.output.is_some()
        || expect.finish.is_some()
        || expect.usage.is_some()
        || expect.cost.is_some()
        || expect.passages.is_some();
    if !wants {
        return Ok(());
    }
    let outcome = happened.outcome.as_ref().ok_or("expected an outcome, got none")?;
    if let Some(wanted) = &expect.output {
        same_value("output", wanted, &outcome.output)?;
    }
    if let Some(wanted) = &expect.finish {
        same("finish", wanted, &outcome.finish)?;
    }
    let usage = serde_json::to_value(outcome.usage).map_err(|err| err.to_string())?;
    for (field, wanted) in expect.usage.iter().flatten() {
        same_value(&format!("usage.{field}"), wanted, &usage[field])?;
    }
    if expect.cost.is_some() {
        same("cost", &expect.cost, &outcome.cost.map(|cost| cost.to_string()))?;
    }
    if let Some(wanted) = &expect.passages {
        let got: Vec<Cited> = outcome
            .passages
            .iter()
            .map(|passage| Cited { number: passage.number, source: passage.source.to_string() })
            .collect();
        same("passages", wanted, &got)?;
    }
    Ok(())
}

fn spent(wanted: &Spent, got: &UsageReport) -> Verdict {
    let cost = got.total.cost.map(|cost| cost.to_string()).unwrap_or_default();
    let models = got.models.iter().map(|(model, sum)| (model.clone(), sum.calls)).collect();
    same("spent", wanted, &Spent { calls: got.total.calls, cost, models })
}

fn did(wanted: &Did, engine: &Engine) -> Verdict {
    if let Some(breakers) = &wanted.breakers {
        let got =
            engine.breakers().iter().map(|breaker| (breaker.model.to_string(), breaker.state)).collect();
        same("breakers", breakers, &got)?;
    }
    if wanted.cache_hits.is_some() {
        same("cache_hits", &wanted.cache_hits, &engine.cache_stats().map(|stats| stats.exact_hits))?;
    }
    if wanted.refused.is_some() {
        same("refused", &wanted.refused, &engine.rate_limits().iter().map(|rule| rule.refused).max())?;
    }
    Ok(())
}

fn state(wanted: &Shown, got: &RunState) -> Verdict {
    if let Some(status) = &wanted.status {
        same("status", status, &got.summary.status)?;
    }
    if let Some(input) = &wanted.input {
        same_value("input of the run", input, &got.input)?;
    }
    if let Some(steps) = &wanted.steps {
        let found = got.steps.iter().map(|step| (step.path.to_string(), step.status)).collect();
        same("steps", steps, &found)?;
    }
    for (path, output) in &wanted.outputs {
        let step = got.steps.iter().find(|step| *step.path == **path);
        let found = step.and_then(|step| step.output.as_ref()).unwrap_or(&Value::Null);
        same_value(&format!("output of {path}"), output, found)?;
    }
    if let Some(signals) = &wanted.signals {
        let found = got.signals.iter().map(|signal| Given {
            name: signal.name.to_string(),
            value: signal.value.clone(),
            by: signal.by.as_deref().map(str::to_owned),
        });
        same("signals", signals, &found.collect())?;
    }
    if wanted.forked_at.is_some() {
        same("forked_at", &wanted.forked_at, &got.forked_from.map(|(_, at)| at))?;
    }
    Ok(())
}

fn request(wanted: &Asked, got: &ChatRequest) -> Verdict {
    same("roles", &wanted.roles, &got.messages.iter().map(|message| message.role).collect())?;
    let (first, last) = (got.messages.first(), got.messages.last());
    if wanted.first.is_some() {
        same("first message", &wanted.first, &first.map(Message::text))?;
    }
    if wanted.last.is_some() {
        same("last message", &wanted.last, &last.map(Message::text))?;
    }
    if let Some(tools) = &wanted.tools {
        same("tools", tools, &got.tools.iter().map(|tool| tool.name.clone()).collect())?;
    }
    let parts = last.map(|message| message.parts.as_slice()).unwrap_or_default();
    if let Some(passages) = &wanted.passages {
        let given = parts.iter().filter_map(|part| match part {
            Part::Passage(passage) => Some(passage.source.to_string()),
            _ => None,
        });
        same("passages", passages, &given.collect())?;
    }
    let Some(results) = &wanted.results else { return Ok(()) };
    let given: Vec<_> = parts
        .iter()
        .filter_map(|part| match part {
            Part::ToolResult(result) => Some(result),
            _ => None,
        })
        .collect();
    same("how many results", &results.len(), &given.len())?;
    for (wanted, got) in results.iter().zip(given) {
        same("id of the result", &wanted.id, &got.id)?;
        same("name of the result", &wanted.name, &got.name)?;
        same("is_error", &wanted.error.is_some(), &got.is_error)?;
        told(wanted, &got.content)?;
    }
    Ok(())
}

fn told(wanted: &Told, content: &Value) -> Verdict {
    if let Some(kind) = wanted.error {
        same_value("error of the result", &Value::from(kind.code()), &content["error"])?;
    }
    if let Some(wanted) = &wanted.content {
        same_value("content of the result", wanted, content)?;
    }
    match &wanted.says {
        Some(says) if !content.to_string().contains(says) => {
            Err(format!("the result does not say `{says}`: {content}"))
        }
        _ => Ok(()),
    }
}

/// Calls that only read may arrive in any order.
fn tool_calls(wanted: &[Called], got: &[Called]) -> Verdict {
    let mut left: Vec<&Called> = got.iter().collect();
    for call in wanted {
        let place =
            left.iter().position(|other| other.name == call.name && equal(&call.arguments, &other.arguments));
        match place {
            Some(place) => drop(left.remove(place)),
            None => return Err(format!("tool_calls: expected {call:?} among {got:?}")),
        }
    }
    if left.is_empty() { Ok(()) } else { Err(format!("tool_calls: not expected: {left:?}")) }
}
