//! From the gates, timers and compensations of a workflow as data to those of its graph.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

use crate::{
    types::{Schema, Timestamp},
    workflow::{
        CompensateSpec, GateSpec, StepSpec, TimerSpec,
        compile::{Compiler, RETRIES, TIMEOUT, backoff, is_reference},
        graph::{Action, Compensation, Gate, Timer},
    },
};

impl Compiler<'_> {
    pub(super) fn gate(&mut self, at: &str, step: &StepSpec, gate: &GateSpec) -> Option<Gate> {
        let at = format!("{at}/gate");
        let nobody = |what: &str| format!("nobody can answer `{}`: {what}", step.name);
        if gate.choices.as_ref().is_some_and(Vec::is_empty) {
            self.problem(&format!("{at}/choices"), "unanswerable", nobody("there is no choice"));
        }
        if gate.approvers.as_ref().is_some_and(Vec::is_empty) {
            self.problem(&format!("{at}/approvers"), "unanswerable", nobody("there is no approver"));
        }
        if gate.timeout.is_some_and(|timeout| timeout.is_zero()) {
            self.problem(&format!("{at}/timeout"), "unanswerable", nobody("there is no time to"));
        }
        if gate.schema.as_ref().is_some_and(takes_nothing) {
            self.problem(&format!("{at}/schema"), "unanswerable", nobody("no value fits the schema"));
        }
        let schema = match gate.schema.clone().map(Schema::new).transpose() {
            Ok(schema) => schema,
            Err(err) => {
                self.problem(&format!("{at}/schema"), "invalid_schema", err.to_string());
                None
            }
        };
        let compiled = Gate {
            prompt: gate.prompt.clone(),
            choices: gate.choices.clone(),
            schema,
            approvers: gate.approvers.clone(),
            timeout: gate.timeout,
            default: gate.default.clone(),
        };
        let choices = gate.choices.iter().flatten().filter(|choice| !compiled.fits(choice)).count();
        if choices > 0 && Some(choices) == gate.choices.as_ref().map(Vec::len) {
            self.problem(&at, "unanswerable", nobody("no choice fits the schema"));
        }
        match &gate.default {
            Some(default) if !compiled.fits(default) => {
                let message = format!("the default of `{}` is none of its answers", step.name);
                self.problem(&format!("{at}/default"), "invalid_default", message);
            }
            Some(_) if gate.timeout.is_none() => {
                let message =
                    format!("the default of `{}` needs a timeout after which it is taken", step.name);
                self.problem(&format!("{at}/default"), "invalid_default", message);
            }
            _ => {}
        }
        Some(compiled)
    }

    pub(super) fn timer(
        &mut self,
        at: &str,
        timer: &TimerSpec,
        by_name: &HashMap<Arc<str>, usize>,
    ) -> Option<Timer> {
        let at = format!("{at}/timer");
        match (timer.seconds, &timer.until) {
            (Some(duration), None) => Some(Timer::After(duration)),
            (None, Some(reference)) if is_reference(reference) => {
                Some(Timer::Found(self.template(&format!("{at}/until"), reference, by_name, false)))
            }
            (None, Some(point)) => match point.as_str().unwrap_or_default().parse::<Timestamp>() {
                Ok(point) => Some(Timer::At(point)),
                Err(err) => {
                    self.problem(&format!("{at}/until"), "invalid_time", err.to_string());
                    None
                }
            },
            _ => {
                self.problem(&at, "invalid_time", "expected either `seconds` or `until`");
                None
            }
        }
    }

    pub(super) fn compensation(
        &mut self,
        at: &str,
        step: &StepSpec,
        by: &CompensateSpec,
    ) -> Option<Compensation> {
        let at = format!("{at}/compensate");
        if step.workflow.is_some() || step.repeat.is_some() || step.gate.is_some() || step.timer.is_some() {
            let message = format!(
                "`{}` does nothing itself that can be taken back; say it of the steps inside",
                step.name
            );
            self.problem(&at, "no_effect", message);
        }
        let action = match (&by.agent, &by.tool, &by.function) {
            (Some(name), None, None) => Action::Agent { name: name.as_str().into(), capability: None },
            (None, Some(name), None) => Action::Tool(name.as_str().into()),
            (None, None, Some(name)) => Action::Function(self.function(&format!("{at}/function"), name)?),
            _ => {
                self.problem(&at, "no_action", "expected exactly one of agent, tool and function");
                return None;
            }
        };
        Some(Compensation {
            action,
            timeout: step.timeout.unwrap_or(TIMEOUT),
            retries: step.retries.unwrap_or(RETRIES),
            backoff: backoff(step),
        })
    }
}

/// Whether it is plain that no value fits a schema.
fn takes_nothing(schema: &Value) -> bool {
    let Value::Object(parts) = schema else { return *schema == Value::Bool(false) };
    let each = |name: &str| parts.get(name).and_then(Value::as_array).into_iter().flatten();
    let none_of = |name| each(name).next().is_some() && each(name).all(takes_nothing);
    parts.get("not").is_some_and(takes_everything)
        || each("allOf").any(takes_nothing)
        || none_of("anyOf")
        || none_of("oneOf")
        || parts.get("enum").is_some_and(|values| *values == Value::Array(Vec::new()))
}

/// Whether it is plain that every value fits a schema.
fn takes_everything(schema: &Value) -> bool {
    match schema {
        Value::Object(parts) => parts.iter().all(|(name, part)| name == "not" && takes_nothing(part)),
        _ => *schema == Value::Bool(true),
    }
}
