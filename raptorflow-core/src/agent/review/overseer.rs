//! `Overseer`: whether an answer may leave, as it is, mended, or not at all.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    agent::review::{Constitution, Critic, Draft, Finding, Grade, Review, Severity},
    error::Result,
    runtime::Context,
    security::{PatternRedactor, Placeholders, Redactor},
};

/// What is to be done with an answer; a later one outweighs those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may leave, with personal data hidden.
    Approve,
    /// It is mended and comes again.
    Revise,
    /// It is not used.
    Reject,
    /// A person decides.
    Escalate,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The critic's score does not pass.
    Score {
        /// What it is.
        score: u32,
        /// What passes.
        pass: u32,
    },
    /// A policy is broken.
    Policy {
        /// The check of the findings, `constitution.NAME`.
        policy: String,
        /// How bad that is.
        severity: Severity,
    },
    /// There is personal data of a kind for which people are asked.
    PersonalData {
        /// What it is, like `EMAIL`.
        label: String,
    },
    /// There is personal data in a number or in the name of a field, where nothing can stand for it.
    NotMaskable {
        /// What it is, like `PHONE`.
        label: String,
    },
    /// With personal data hidden the answer does not fit its schema.
    MaskBreaksForm,
    /// It was mended as often as allowed.
    Attempts {
        /// How often it came.
        attempts: u32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Score { score, pass } => write!(f, "the score is {score}, and {pass} passes"),
            Self::Policy { policy, .. } => write!(f, "the policy `{policy}` is broken"),
            Self::PersonalData { label } => write!(f, "there is personal data: {label}"),
            Self::NotMaskable { label } => write!(f, "there is personal data that cannot be hidden: {label}"),
            Self::MaskBreaksForm => {
                f.write_str("the answer does not fit its schema once personal data is hidden")
            }
            Self::Attempts { attempts } => write!(f, "it came {attempts} times and is not good enough"),
        }
    }
}

/// When people are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OverseerConfig {
    /// How often an answer may come; the last one is approved or escalated. 3 by default.
    pub attempts: u32,
    /// Kinds of personal data for which people are asked, such as `CARD`; none by default.
    pub escalate: Vec<String>,
}

impl Default for OverseerConfig {
    fn default() -> Self {
        Self { attempts: 3, escalate: Vec::new() }
    }
}

/// What an overseer decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What is to be done.
    pub verdict: Verdict,
    /// Why it is not approved; empty when it is.
    pub reasons: Vec<Reason>,
    /// The answer with placeholders in place of personal data.
    pub output: Value,
    /// How many values of each kind were hidden.
    pub masked: BTreeMap<String, usize>,
    /// What the critic says of the answer as it came.
    pub review: Review,
    /// How it breaks the constitution.
    pub broken: Vec<Finding>,
}

/// A critic, a redactor and a constitution that decide together.
///
/// | what there is | verdict |
/// |---|---|
/// | a score that passes, no policy broken, personal data that was hidden | approve |
/// | a score between, or a policy broken that is not of high severity | revise |
/// | a score below the one that is made anew, or a policy of high severity broken | reject |
/// | personal data of a kind that people see, or that cannot be hidden; or no approval at the last attempt | escalate |
///
/// The worst of what there is counts, and all reasons are told.
/// It hides what its redactor finds in the strings of the answer; what that cannot see stays.
/// Findings may quote what they are about, personal data included; they are for the agent and not for the reader.
///
/// ```
/// use raptorflow_core::agent::review::{Critic, Draft, Overseer, Verdict, checks::LengthCheck};
/// use raptorflow_core::runtime::{Context, Runtime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let ctx = Context::new(&Runtime::current()?);
/// let overseer = Overseer::new(Critic::new().with(LengthCheck::words(1, 20)));
/// let decision = overseer.decide(&ctx, &Draft::new("Whom do I ask?", "Write to asha@example.com."), 1).await?;
/// assert_eq!((decision.verdict, decision.output.as_str()), (Verdict::Approve, Some("Write to [EMAIL_1].")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Overseer {
    critic: Critic,
    constitution: Constitution,
    redactor: Arc<dyn Redactor>,
    config: OverseerConfig,
}

impl Overseer {
    /// An overseer with a critic, without policies, who finds personal data by its form.
    #[must_use]
    pub fn new(critic: Critic) -> Self {
        Self {
            critic,
            constitution: Constitution::default(),
            redactor: Arc::new(PatternRedactor),
            config: OverseerConfig::default(),
        }
    }

    /// Sets the policies.
    ///
    /// # Errors
    /// As [`Constitution::validate`].
    pub fn with_constitution(mut self, constitution: Constitution) -> Result<Self> {
        constitution.validate()?;
        self.constitution = constitution;
        Ok(self)
    }

    /// Sets who finds personal data.
    #[must_use]
    pub fn with_redactor(mut self, redactor: impl Redactor) -> Self {
        self.redactor = Arc::new(redactor);
        self
    }

    /// Sets when people are asked.
    #[must_use]
    pub fn configure(mut self, config: OverseerConfig) -> Self {
        self.config = config;
        self
    }

    /// Decides about an answer that comes for the `attempt`th time, counted from 1.
    ///
    /// # Errors
    /// As [`Critic::review`]; an answer that was not checked is not decided about.
    ///
    /// # Cancellation
    /// Dropping the future drops the check at work.
    pub async fn decide(&self, ctx: &Context, draft: &Draft, attempt: u32) -> Result<Decision> {
        let review = self.critic.review(ctx, draft).await?;
        let broken = self.constitution.find(draft);
        let mut mask = Mask::new(&*self.redactor, &draft.answer);
        let output = mask.hide(&draft.answer);
        let mut verdicts = vec![(Verdict::Approve, None)];
        if !review.passes() {
            let verdict = if review.grade == Grade::Regenerate { Verdict::Reject } else { Verdict::Revise };
            let reason = Reason::Score { score: review.score, pass: self.critic.config().pass };
            verdicts.push((verdict, Some(reason)));
        }
        let policies: BTreeMap<&str, Severity> =
            broken.iter().map(|finding| (&*finding.check, finding.severity)).collect();
        for (policy, severity) in policies {
            let verdict = if severity == Severity::High { Verdict::Reject } else { Verdict::Revise };
            verdicts.push((verdict, Some(Reason::Policy { policy: policy.to_owned(), severity })));
        }
        let seen = mask.masked.keys().chain(mask.stays.keys());
        let mut asked: Vec<String> =
            seen.filter(|label| self.config.escalate.contains(label)).cloned().collect();
        asked.sort();
        asked.dedup();
        let asked = asked.into_iter().map(|label| Reason::PersonalData { label });
        let stays = mask.stays.keys().map(|label| Reason::NotMaskable { label: label.clone() });
        let unfit = draft.schema.as_ref().is_some_and(|schema| {
            schema.validate(&draft.answer).is_empty() && !schema.validate(&output).is_empty()
        });
        let unfit = unfit.then_some(Reason::MaskBreaksForm);
        verdicts.extend(asked.chain(stays).chain(unfit).map(|reason| (Verdict::Escalate, Some(reason))));
        let worst = |all: &[(Verdict, Option<Reason>)]| {
            all.iter().map(|(verdict, _)| *verdict).max().unwrap_or(Verdict::Approve)
        };
        let verdict = worst(&verdicts);
        if matches!(verdict, Verdict::Revise | Verdict::Reject) && attempt >= self.config.attempts {
            verdicts.push((Verdict::Escalate, Some(Reason::Attempts { attempts: attempt })));
        }
        Ok(Decision {
            verdict: worst(&verdicts),
            reasons: verdicts.into_iter().filter_map(|(_, reason)| reason).collect(),
            output,
            masked: mask.masked,
            review,
            broken,
        })
    }
}

/// Hides personal data in the strings of a value and counts it everywhere.
struct Mask<'a> {
    redactor: &'a dyn Redactor,
    placeholders: Placeholders,
    masked: BTreeMap<String, usize>,
    /// What is where nothing can stand for it.
    stays: BTreeMap<String, usize>,
}

impl<'a> Mask<'a> {
    fn new(redactor: &'a dyn Redactor, answer: &Value) -> Self {
        let mut placeholders = Placeholders::new();
        placeholders.reserve(&match answer {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        Self { redactor, placeholders, masked: BTreeMap::new(), stays: BTreeMap::new() }
    }

    fn hide(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                count(&mut self.masked, self.redactor, text);
                Value::String(self.placeholders.hide(self.redactor, text).unwrap_or_else(|| text.clone()))
            }
            Value::Number(number) => {
                count(&mut self.stays, self.redactor, &number.to_string());
                value.clone()
            }
            Value::Array(items) => items.iter().map(|item| self.hide(item)).collect(),
            Value::Object(fields) => {
                let hidden = fields.iter().map(|(name, value)| {
                    count(&mut self.stays, self.redactor, name);
                    (name.clone(), self.hide(value))
                });
                Value::Object(hidden.collect())
            }
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }
}

fn count(counts: &mut BTreeMap<String, usize>, redactor: &dyn Redactor, text: &str) {
    for finding in redactor.find(text) {
        *counts.entry(finding.label.into_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        agent::review::{Policy, Rule, checks::ToneCheck},
        runtime::Runtime,
        types::Schema,
    };

    /// Eight points for each `bad`; no `odd`, and no `evil`, which is of high severity.
    fn overseer() -> Overseer {
        let tone = ToneCheck { unwanted: vec!["bad".into()], wanted: Vec::new() };
        let banned = |word: &str, severity| {
            let rule = Rule::BannedWords { words: vec![word.to_owned()] };
            Policy { severity, ..Policy::new(word, rule) }
        };
        let policies = vec![banned("odd", Severity::Low), banned("evil", Severity::High)];
        let config = OverseerConfig { escalate: vec!["CARD".into()], ..OverseerConfig::default() };
        let overseer = Overseer::new(Critic::new().with(tone)).configure(config);
        overseer.with_constitution(Constitution { policies }).unwrap()
    }

    async fn decide(answer: Value, attempt: u32) -> Decision {
        let ctx = Context::new(&Runtime::current().unwrap());
        overseer().decide(&ctx, &Draft::new("", answer), attempt).await.unwrap()
    }

    #[tokio::test]
    async fn the_worst_of_what_there_is_decides() {
        let rows = [
            (json!("fine"), 1, Verdict::Approve, 0),
            (json!("fine, once more"), 9, Verdict::Approve, 0),
            (json!("bad ".repeat(3)), 1, Verdict::Approve, 0),
            (json!("bad ".repeat(4)), 1, Verdict::Revise, 1),
            (json!("bad ".repeat(4)), 3, Verdict::Escalate, 2),
            (json!("bad ".repeat(7)), 2, Verdict::Reject, 1),
            (json!("odd, odd"), 1, Verdict::Revise, 1),
            (json!("odd and evil"), 1, Verdict::Reject, 2),
            (json!("evil"), 3, Verdict::Escalate, 2),
            (json!("asha@example.com"), 1, Verdict::Approve, 0),
            (json!("4111 1111 1111 1111"), 1, Verdict::Escalate, 1),
            (json!({"card": 4_111_111_111_111_111_u64}), 1, Verdict::Escalate, 2),
            (json!({"asha@example.com": 1}), 1, Verdict::Escalate, 1),
            (json!("evil 4111 1111 1111 1111"), 1, Verdict::Escalate, 2),
        ];
        for (answer, attempt, verdict, reasons) in rows {
            let decision = decide(answer.clone(), attempt).await;
            assert_eq!(
                (decision.verdict, decision.reasons.len()),
                (verdict, reasons),
                "{answer} {decision:?}"
            );
        }
    }

    #[tokio::test]
    async fn personal_data_is_hidden_in_every_string_and_counted() {
        let answer = json!({"a": ["été a@x.in", "b@x.in"], "b": {"c": "a@x.in [EMAIL_3]"}, "d": 7});
        let decision = decide(answer, 1).await;
        let hidden = json!({"a": ["été [EMAIL_1]", "[EMAIL_2]"], "b": {"c": "[EMAIL_1] [EMAIL_3]"}, "d": 7});
        assert_eq!((decision.verdict, &decision.output), (Verdict::Approve, &hidden));
        assert_eq!(decision.masked.get("EMAIL"), Some(&3));
    }

    #[tokio::test]
    async fn a_form_that_hiding_breaks_is_for_people() {
        let ctx = Context::new(&Runtime::current().unwrap());
        let mut draft = Draft::new("", "a@x.in");
        draft.schema = Some(Schema::new(json!({"type": "string", "pattern": "@"})).unwrap());
        let decision = Overseer::new(Critic::new()).decide(&ctx, &draft, 1).await.unwrap();
        assert_eq!(
            (decision.verdict, decision.reasons.as_slice()),
            (Verdict::Escalate, &[Reason::MaskBreaksForm][..])
        );
        assert!(decision.reasons[0].to_string().contains("schema"));
    }
}
