//! `Escalation`: what a person has to see, who is asked, in which order, and how long each has.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    agent::{AgentSpec, Session, event},
    error::{Error, ErrorKind, Result},
    event::{EventKind, Priority, Status},
    journal::Question,
    runtime::Context,
    types::AgentId,
    workflow::Condition,
};

/// Where questions to people stand in the journal of a run.
const PLACE: &str = "escalation";

/// People who may be asked, as one step of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EscalationLevel {
    /// Its name, unique in an escalation; the place of a question ends with it.
    pub name: String,
    /// Who may answer; anybody when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// How long they have before the next level is asked; the last level has as long as it takes when `None`, and the
    /// others an hour.
    #[serde(default, rename = "within_seconds", skip_serializing_if = "Option::is_none", with = "within")]
    pub within: Option<Duration>,
}

/// When people are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EscalationRule {
    /// Its name, unique in an escalation.
    pub name: String,
    /// What must hold of the situation; see [`Escalation`].
    pub when: Condition,
    /// How urgent it is; `normal` by default.
    #[serde(default)]
    pub urgency: Priority,
    /// What is asked, for people.
    pub prompt: String,
    /// The answers that are possible; any by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<Value>>,
    /// The names of the levels that are asked, in this order; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

/// Levels of people and the rules by which they are asked.
///
/// A rule looks at a situation, which is an object: `task` is the task with its `tags` and `fields`; `confidence` is how
/// sure the router was; `missing`, `dropped`, `disagreements` and `unresolved` are counts; `answers` has by agent what
/// each said besides claims; `least` and `most` have the smallest and the greatest of every number that answers have
/// under one name.
/// Of the rules that hold each asks its question, the most urgent first; the run waits until somebody has answered, or
/// nobody has in time.
///
/// ```
/// use raptorflow_core::orchestrator::Escalation;
/// use serde_json::json;
/// let escalation = Escalation::from_toml(r#"
///     [[level]]
///     name = "desk"
///     within_seconds = 900
///     [[level]]
///     name = "owner"
///     approvers = ["anna"]
///
///     [[rule]]
///     name = "unsure"
///     when = { at = "/least/confidence", below = 0.4 }
///     urgency = "high"
///     prompt = "An agent is not sure. What do we say?"
/// "#)?;
/// let held = escalation.held(&json!({ "least": { "confidence": 0.3 } }));
/// assert_eq!(held[0].name, "unsure");
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Escalation {
    #[serde(rename = "level")]
    levels: Vec<EscalationLevel>,
    #[serde(rename = "rule")]
    rules: Vec<EscalationRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default)]
    level: Vec<EscalationLevel>,
    #[serde(default)]
    rule: Vec<EscalationRule>,
}

/// A question that people were asked, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Escalated {
    /// The rule, or what else asked.
    pub rule: String,
    /// How urgent it was.
    pub urgency: Priority,
    /// What was asked.
    pub prompt: String,
    /// The levels that were asked, in order.
    pub asked: Vec<String>,
    /// Those of them whose answer was none of the choices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfit: Vec<String>,
    /// The level that answered; `None` when nobody did in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The answer.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub answer: Value,
}

/// What people are asked.
pub(super) struct Asking<'a> {
    /// The rule, or what else asks; the name of a place.
    pub(super) rule: &'a str,
    pub(super) urgency: Priority,
    pub(super) prompt: String,
    pub(super) choices: Option<Vec<Value>>,
    pub(super) to: &'a [String],
}

impl Escalation {
    /// Levels and rules.
    ///
    /// # Errors
    /// `InvalidInput` when there is no level, for a name that is no name or of two, and for a rule that asks a level that
    /// there is not.
    pub fn new(levels: Vec<EscalationLevel>, rules: Vec<EscalationRule>) -> Result<Self> {
        let refused = |field: &'static str, value: &str, expected: &'static str| {
            let message = "people could not be asked like this";
            Err(Error::new(ErrorKind::InvalidInput, "orchestrator.escalation", message)
                .with("field", field)
                .with("value", value)
                .with("expected", expected))
        };
        if levels.is_empty() {
            return refused("level", "none", "at least one level");
        }
        let (mut of_levels, mut of_rules) = (HashSet::new(), HashSet::new());
        for level in &levels {
            if AgentId::new(level.name.as_str()).is_err() || !of_levels.insert(level.name.as_str()) {
                return refused("level.name", &level.name, "a name that no other level has");
            }
        }
        for rule in &rules {
            if AgentId::new(rule.name.as_str()).is_err() || !of_rules.insert(rule.name.as_str()) {
                return refused("rule.name", &rule.name, "a name that no other rule has");
            }
            if let Some(unknown) = rule.to.iter().find(|level| !of_levels.contains(level.as_str())) {
                return refused("rule.to", unknown, "the name of a level");
            }
            if rule.choices.as_ref().is_some_and(Vec::is_empty) {
                return refused("rule.choices", &rule.name, "at least one choice");
            }
        }
        Ok(Self { levels, rules })
    }

    /// Reads `[[level]]` and `[[rule]]` tables.
    ///
    /// # Errors
    /// `InvalidInput` for another form, and as [`Escalation::new`].
    pub fn from_toml(text: &str) -> Result<Self> {
        let form: Form = toml::from_str(text).map_err(|err| {
            let message = "expected `[[level]]` and `[[rule]]` tables";
            Error::new(ErrorKind::InvalidInput, "orchestrator.escalation", message)
                .with("reason", err.message())
        })?;
        Self::new(form.level, form.rule)
    }

    /// The levels.
    #[must_use]
    pub fn levels(&self) -> &[EscalationLevel] {
        &self.levels
    }

    /// The rules that hold of a situation, the most urgent first.
    #[must_use]
    pub fn held(&self, situation: &Value) -> Vec<&EscalationRule> {
        let mut held: Vec<_> = self.rules.iter().filter(|rule| rule.when.holds(situation)).collect();
        held.sort_by_key(|rule| std::cmp::Reverse(rule.urgency));
        held
    }

    /// Checks an answer before it is signalled; `None` when the name is not the place of a question.
    pub(super) fn check(&self, name: &str, by: Option<&str>) -> Option<Result<()>> {
        let level = name.strip_prefix(PLACE)?.strip_prefix('/')?.rsplit_once('/')?.1;
        let level = self.levels.iter().find(|it| it.name == level)?;
        if level.approvers.is_empty() || by.is_some_and(|by| level.approvers.iter().any(|it| it == by)) {
            return Some(Ok(()));
        }
        let message = "the level takes no answer from whom it is";
        Some(Err(Error::new(ErrorKind::PermissionDenied, "orchestrator.signal", message)
            .with("signal", name)
            .with("by", by.unwrap_or("nobody"))
            .with("approvers", level.approvers.join(", "))))
    }

    /// Asks one level after another until somebody answers; once, over a resume too.
    pub(super) async fn ask(
        &self,
        session: &Session,
        spec: &AgentSpec,
        asking: Asking<'_>,
    ) -> Result<Escalated> {
        let name = format!("{PLACE}/{}", asking.rule);
        let work = |ctx: Context| async move { self.ask_levels(session, spec, &ctx, asking).await };
        session.journal().step(session.ctx(), &name, work).await
    }

    async fn ask_levels(
        &self,
        session: &Session,
        spec: &AgentSpec,
        ctx: &Context,
        asking: Asking<'_>,
    ) -> Result<Escalated> {
        let Asking { rule, urgency, prompt, choices, to } = asking;
        let mut escalated = Escalated {
            rule: rule.to_owned(),
            urgency,
            prompt: prompt.clone(),
            asked: Vec::new(),
            unfit: Vec::new(),
            by: None,
            answer: Value::Null,
        };
        let named = |name: &String| self.levels.iter().find(|level| level.name == *name);
        let chain: Vec<&EscalationLevel> =
            if to.is_empty() { self.levels.iter().collect() } else { to.iter().filter_map(named).collect() };
        for (at, level) in chain.iter().enumerate() {
            let within = match level.within {
                None if at + 1 < chain.len() => Some(UNLESS_SAID),
                within => within,
            };
            escalated.asked.push(level.name.clone());
            let question = Question {
                prompt: prompt.clone(),
                choices: choices.clone(),
                approvers: (!level.approvers.is_empty()).then(|| level.approvers.clone()),
                ..Question::default()
            };
            let told = json!({ "rule": rule, "level": level.name });
            let Some(answer) =
                asked(session, spec, (&ctx.child(&level.name), urgency), question, within, told).await?
            else {
                continue;
            };
            if choices.as_ref().is_none_or(|choices| choices.contains(&answer)) {
                escalated.by = Some(level.name.clone());
                escalated.answer = answer;
                break;
            }
            escalated.unfit.push(level.name.clone());
        }
        Ok(escalated)
    }
}

/// How long a level has that does not say, when another one comes after it.
const UNLESS_SAID: Duration = Duration::from_secs(3600);

/// Asks one level, and waits for its answer as long as it has.
async fn asked(
    session: &Session,
    spec: &AgentSpec,
    (ctx, urgency): (&Context, Priority),
    mut question: Question,
    within: Option<Duration>,
    mut told: Value,
) -> Result<Option<Value>> {
    let (journal, path) = (session.journal(), Arc::clone(ctx.path()));
    let due = within.map(|within| ctx.now().plus(within));
    question.due = due;
    if journal.ask(ctx, question).await? {
        let mut asked = event(ctx, spec, EventKind::NotificationTriggered);
        (asked.status, asked.priority) = (Status::Warning, urgency);
        if let Value::Object(told) = &mut told {
            told.insert("escalation".to_owned(), json!(&*path));
        }
        asked.data = told;
        session.means().bus.publish(ctx, asked).await?;
    }
    match due {
        None => ctx.bound("orchestrator.escalate", journal.signalled(&path)).await.map(Some),
        Some(due) => tokio::select! {
            biased;
            answer = journal.signalled(&path) => Ok(Some(answer)),
            ended = journal.timer(ctx, due) => ended.map(|_| None),
        },
    }
}

/// Seconds, or nothing.
mod within {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(within: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
        within.map(|it| it.as_secs_f64()).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(from)?;
        let refused = |_| D::Error::custom("expected a number of seconds from 0");
        seconds.map(|it| Duration::try_from_secs_f64(it).map_err(refused)).transpose()
    }
}
