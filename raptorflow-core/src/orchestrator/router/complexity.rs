//! `ComplexityRouter`: light, hybrid or heavy ways for a task, by its words, its length and its clauses.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    agent::terms,
    error::{Error, ErrorKind, Result},
    orchestrator::{
        Decision, Priority, Router, RouterStep, Supervisor, Task,
        router::{
            clause::clauses,
            named::{check_teams, of_names},
        },
    },
    rag::lexical::StandardAnalyzer,
    runtime::Context,
};

/// How many words make a goal long; half as many make it middling.
const LONG: usize = 60;
/// How many clauses make a goal manifold.
const MANIFOLD: usize = 4;

/// How much a task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Complexity {
    /// One short thing.
    Light,
    /// Something between.
    Hybrid,
    /// Several things, or one that takes thought.
    Heavy,
}

/// Words that say how much a task asks for, in any inflection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ComplexityWords {
    /// Words of tasks that take thought.
    pub heavy: Vec<String>,
    /// Words of tasks that are soon done.
    pub light: Vec<String>,
}

impl Default for ComplexityWords {
    /// A few English ones: plan, compare, analyze and the like; list, define, translate and the like.
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            heavy: words(&[
                "plan",
                "compare",
                "analyze",
                "design",
                "evaluate",
                "investigate",
                "assess",
                "weigh",
            ]),
            light: words(&["list", "define", "translate", "look", "tell", "count", "name", "spell"]),
        }
    }
}

/// Who takes tasks of one complexity.
#[derive(Clone, Debug)]
pub enum Way {
    /// Whom this router chooses.
    Router(Arc<dyn Router>),
    /// These teams.
    Teams(Vec<String>),
}

impl Way {
    /// Whom this router chooses.
    pub fn router(router: impl Router) -> Self {
        Self::Router(Arc::new(router))
    }

    /// These teams.
    pub fn teams<T: Into<String>>(teams: impl IntoIterator<Item = T>) -> Self {
        Self::Teams(teams.into_iter().map(Into::into).collect())
    }
}

/// Routes by how much a task asks for.
///
/// A goal gets two points for more than 60 words and one for more than 30, one for each clause after the first up to
/// three, one for each heavy word up to three, and loses one for each light word.
/// Up to 1 point it is light, from 4 on it is heavy, and hybrid between.
/// A task that wants [`Priority::Speed`] takes the next lighter way, one that wants [`Priority::Quality`] the next
/// heavier one.
/// The points stand in [`Decision::steps`].
///
/// ```
/// use raptorflow_core::orchestrator::{CapabilityRouter, Complexity, ComplexityRouter, Task, Way};
/// let ways = || Way::router(CapabilityRouter);
/// let router = ComplexityRouter::new(ways(), ways(), ways());
/// assert_eq!(router.assess(&Task::new("List the open invoices.")).0, Complexity::Light);
/// let heavy = "Compare the three sites, evaluate what each costs, and plan the move.";
/// assert_eq!(router.assess(&Task::new(heavy)).0, Complexity::Heavy);
/// ```
#[derive(Clone, Debug)]
pub struct ComplexityRouter {
    light: Way,
    hybrid: Way,
    heavy: Way,
    words: ComplexityWords,
}

impl ComplexityRouter {
    /// A way for each complexity, with the default words.
    #[must_use]
    pub fn new(light: Way, hybrid: Way, heavy: Way) -> Self {
        Self { light, hybrid, heavy, words: ComplexityWords::default() }
    }

    /// Other words.
    #[must_use]
    pub fn with_words(mut self, words: ComplexityWords) -> Self {
        self.words = words;
        self
    }

    /// How much a task asks for, and why in a few words.
    #[must_use]
    pub fn assess(&self, task: &Task) -> (Complexity, String) {
        let analyzer = StandardAnalyzer::default();
        let goal = terms(&analyzer, &task.goal);
        let among = |words: &[String]| {
            let stems: Vec<String> = words.iter().flat_map(|word| terms(&analyzer, word)).collect();
            goal.iter().filter(|term| stems.contains(term)).count()
        };
        let words = task.goal.split_whitespace().count();
        let parts = clauses(&task.goal).into_iter().filter(|part| !part.trim().is_empty()).count();
        let (heavy, light) = (among(&self.words.heavy).min(3), among(&self.words.light));
        let of_length = usize::from(words > LONG) + usize::from(words > LONG / 2);
        let of_parts = parts.clamp(1, MANIFOLD) - 1;
        let points = (of_length + of_parts + heavy).saturating_sub(light);
        let found = match points {
            0 | 1 => Complexity::Light,
            2 | 3 => Complexity::Hybrid,
            _ => Complexity::Heavy,
        };
        let taken = match (task.priority, found) {
            (Priority::Speed, Complexity::Heavy) | (Priority::Quality, Complexity::Light) => {
                Complexity::Hybrid
            }
            (Priority::Speed, _) => Complexity::Light,
            (Priority::Quality, _) => Complexity::Heavy,
            (Priority::Balanced, found) => found,
        };
        let name = |it| match it {
            Complexity::Light => "light",
            Complexity::Hybrid => "hybrid",
            Complexity::Heavy => "heavy",
        };
        let changed = match task.priority {
            Priority::Balanced => "",
            Priority::Speed => ", and speed is wanted",
            Priority::Quality => ", and quality is wanted",
        };
        let why = format!(
            "{}: {points} points ({words} words, {parts} clauses, {heavy} heavy and {light} light words){changed}",
            name(taken)
        );
        (taken, why)
    }
}

#[async_trait]
impl Router for ComplexityRouter {
    async fn route(&self, ctx: &Context, task: &Task, teams: &[Supervisor]) -> Result<Decision> {
        check_teams(task, teams)?;
        let (complexity, reason) = self.assess(task);
        let way = match complexity {
            Complexity::Light => &self.light,
            Complexity::Hybrid => &self.hybrid,
            Complexity::Heavy => &self.heavy,
        };
        let step = RouterStep { router: "complexity".to_owned(), confidence: None, accepted: true, reason };
        let mut decision = match way {
            Way::Router(router) => router.route(ctx, task, teams).await?,
            Way::Teams(names) => {
                let names = if task.teams.is_empty() { names } else { &task.teams };
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                if names.is_empty() {
                    let message = "expected a team for tasks of this complexity";
                    return Err(Error::new(ErrorKind::InvalidInput, "orchestrator.complexity", message));
                }
                let decision = of_names(task, teams, &names, &[], &step.reason)?;
                Decision { router: "complexity".to_owned(), ..decision }
            }
        };
        decision.steps.insert(0, step);
        Ok(decision)
    }
}
