//! `RuleRouter`: rules that somebody declared, in the order of their priority.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    agent::terms,
    error::{Error, ErrorKind, Result},
    orchestrator::{
        Decision, Router, RouterStep, Supervisor, Task,
        router::named::{check_teams, of_names, team_choices},
    },
    rag::lexical::StandardAnalyzer,
    runtime::Context,
};

/// The most memory that one compiled expression may take.
const MAX_EXPRESSION: usize = 1 << 20;

/// What happens after a rule that fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// No further rule is looked at.
    #[default]
    Stop,
    /// Rules after it may add teams and agents.
    GoOn,
}

/// When a task is for whom; every condition that is set has to hold, and a rule without one always fits.
///
/// ```
/// use raptorflow_core::orchestrator::{Rule, RuleRouter};
/// let rule: Rule = toml::from_str(r#"
///     name = "invoices"
///     words = ["invoice", "tax return"]
///     teams = ["finance"]
///     priority = 10
/// "#).unwrap();
/// assert!(RuleRouter::new([rule]).is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, unique in a router.
    pub name: String,
    /// One of these words or phrases is in the goal, in any inflection.
    #[serde(default)]
    pub words: Vec<String>,
    /// The goal matches this regular expression, upper and lower case being the same.
    #[serde(default)]
    pub regex: Option<String>,
    /// The task has one of these tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The task has all of these fields with these values.
    #[serde(default)]
    pub fields: BTreeMap<String, Value>,
    /// Teams that work on it.
    #[serde(default)]
    pub teams: Vec<String>,
    /// Agents that work on it, as `agent` or `team.agent`.
    #[serde(default)]
    pub agents: Vec<String>,
    /// Rules with more of it are looked at first; 0 by default, and equals in the order in which they are declared.
    #[serde(default)]
    pub priority: i64,
    /// What happens after it.
    #[serde(default)]
    pub then: Then,
}

/// Routes by declared rules.
///
/// The rules that fit decide with the confidence 1, and each stands in [`Decision::steps`].
/// Where none fits, all teams are chosen, or those that the task names, with the confidence 0, so that a
/// [`RouterChain`](crate::orchestrator::RouterChain) goes on.
/// A task that names teams leaves a rule only what is of those teams.
#[derive(Debug)]
pub struct RuleRouter {
    rules: Vec<Prepared>,
    analyzer: StandardAnalyzer,
}

#[derive(Debug)]
struct Prepared {
    rule: Rule,
    regex: Option<Regex>,
    /// Each word or phrase as stems.
    phrases: Vec<Vec<String>>,
}

impl RuleRouter {
    /// Prepares rules.
    ///
    /// # Errors
    /// `InvalidInput` for a rule that names nobody, has the name of another one, a word without a letter, or an
    /// expression that does not compile within 1 MiB.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Result<Self> {
        let analyzer = StandardAnalyzer::default();
        let mut names = HashSet::new();
        let mut prepared = Vec::new();
        for rule in rules {
            if !names.insert(rule.name.clone()) {
                return Err(refused("two rules have this name", &rule, "name"));
            }
            if rule.teams.is_empty() && rule.agents.is_empty() {
                return Err(refused("expected a team or an agent", &rule, "teams"));
            }
            prepared.push(Prepared::new(rule, &analyzer)?);
        }
        prepared.sort_by_key(|it| std::cmp::Reverse(it.rule.priority));
        Ok(Self { rules: prepared, analyzer })
    }

    fn fitting(&self, task: &Task) -> Vec<&Rule> {
        let goal = terms(&self.analyzer, &task.goal);
        let mut fitting = Vec::new();
        for it in self.rules.iter().filter(|it| it.fits(task, &goal)) {
            fitting.push(&it.rule);
            if it.rule.then == Then::Stop {
                break;
            }
        }
        fitting
    }
}

impl Prepared {
    fn new(rule: Rule, analyzer: &StandardAnalyzer) -> Result<Self> {
        let compile = |text: &String| {
            RegexBuilder::new(text).case_insensitive(true).size_limit(MAX_EXPRESSION).build().map_err(|err| {
                refused("not a regular expression", &rule, "regex").with("value", text).caused_by(err)
            })
        };
        let regex = rule.regex.as_ref().map(compile).transpose()?;
        let phrases: Vec<Vec<String>> = rule.words.iter().map(|word| terms(analyzer, word)).collect();
        if phrases.iter().any(Vec::is_empty) {
            return Err(refused("expected words that say something, not stop words alone", &rule, "words"));
        }
        Ok(Self { rule, regex, phrases })
    }

    fn fits(&self, task: &Task, goal: &[String]) -> bool {
        let rule = &self.rule;
        let has = |phrase: &Vec<String>| goal.windows(phrase.len()).any(|part| part == phrase.as_slice());
        (self.phrases.is_empty() || self.phrases.iter().any(has))
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(&task.goal))
            && (rule.tags.is_empty() || rule.tags.iter().any(|tag| task.tags.contains(tag)))
            && rule.fields.iter().all(|(name, value)| task.fields.get(name) == Some(value))
    }
}

#[async_trait]
impl Router for RuleRouter {
    async fn route(&self, _ctx: &Context, task: &Task, teams: &[Supervisor]) -> Result<Decision> {
        check_teams(task, teams)?;
        let rules = self.fitting(task);
        let allowed = |team: &str| task.teams.is_empty() || task.teams.iter().any(|name| name == team);
        let wanted: Vec<&str> = rules.iter().flat_map(|rule| &rule.teams).map(String::as_str).collect();
        let agents: Vec<&str> = rules.iter().flat_map(|rule| &rule.agents).map(String::as_str).collect();
        let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        let reason = format!("by the rule {}", names.join(", "));
        let mut decision = of_names(task, teams, &wanted, &agents, &reason)?;
        decision.agents.retain(|it| allowed(&it.team));
        for choice in &mut decision.teams {
            choice.chosen &= allowed(&choice.team);
        }
        let step = |reason: String, accepted| RouterStep {
            router: "rules".to_owned(),
            confidence: Some(if accepted { 1.0 } else { 0.0 }),
            accepted,
            reason,
        };
        if decision.teams.iter().any(|it| it.chosen) {
            let steps = names.iter().map(|name| step(format!("the rule {name} fits"), true)).collect();
            return Ok(Decision { router: "rules".to_owned(), steps, ..decision });
        }
        let all: Vec<&str> = teams.iter().map(Supervisor::name).filter(|name| allowed(name)).collect();
        let why = if task.teams.is_empty() { "no rule fits, so all are asked" } else { "named in the task" };
        let mut decision = Decision::new("rules", team_choices(task, teams, &all, why)).with_confidence(0.0);
        decision.steps.push(step("no rule fits".to_owned(), false));
        Ok(decision)
    }
}

fn refused(message: &'static str, rule: &Rule, field: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "orchestrator.rules", message)
        .with("rule", &rule.name)
        .with("field", field)
}
