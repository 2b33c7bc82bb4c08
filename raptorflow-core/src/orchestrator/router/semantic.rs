//! `SemanticRouter`: the agents and teams whose descriptions are nearest to a task.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{
    error::{Error, ErrorKind, Result},
    orchestrator::{
        AgentRank, Decision, Priority, Router, Supervisor, Task, TeamChoice,
        router::{
            agent_choice,
            capability::list,
            decision::lead,
            index::{AgentIndex, LEXICAL_SHARE, SEMANTIC_SHARE, entries},
            named::{check_teams, find_agent},
        },
    },
    rag::Embedder,
    runtime::Context,
};

/// How many agents a decision lists.
const LISTED: usize = 10;

/// Routes to the agents whose texts are nearest to the task, by words in common and by vectors.
///
/// An agent's texts are its title, tags, routing words, description, capabilities with what goes in and comes out, and
/// its instructions; a sentence in which another agent's instructions refer to it counts as well.
/// A score is from 0 to 1: a weighted sum of words, with pairs of words, and of the cosine of the vectors, each as a
/// share of the best.
/// The vector has a third of the weight with an embedder that knows words alone, and two thirds with one that knows
/// meaning.
/// A team is as near as its nearest agent, and those with 0.7 of the best score work on the task: 0.9 where the task
/// wants speed, 0.5 where it wants quality.
/// With [`to_agents`](Self::to_agents) only the nearest agents work on it, and no others of their teams.
/// The confidence is the lead of the nearest over the next that would have been chosen otherwise; it is no probability.
///
/// Descriptions are embedded once, and again when teams or agents change.
///
/// ```
/// use raptorflow_core::{Agent, orchestrator::{SemanticRouter, Supervisor, TeamSpec}};
/// use raptorflow_core::{rag::HashingEmbedder, runtime::{Context, Runtime}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let spec: TeamSpec = toml::from_str(r#"
///     name = "plans"
///     title = "Plans"
///     concern = "plans and execution"
///     heading = "The plan"
///     description = "Says who does what until when."
/// "#).unwrap();
/// let lead = Agent::builder("planner").description("Breaks work down into steps.").build()?;
/// let member = Agent::builder("dates").description("Knows every deadline and date.").build()?;
/// let teams = [Supervisor::new(spec, lead, vec![member])];
/// let router = SemanticRouter::new(HashingEmbedder::default());
/// let ranked = router.rank(&Context::new(&Runtime::current()?), "By which deadline?", &teams).await?;
/// assert_eq!((ranked[0].agent.as_str(), ranked.len()), ("dates", 2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SemanticRouter {
    embedder: Arc<dyn Embedder>,
    share: f64,
    examples: BTreeMap<String, Vec<String>>,
    agents: Option<usize>,
    // A std mutex: no await happens while it is held.
    index: Arc<Mutex<Option<Arc<AgentIndex>>>>,
}

impl SemanticRouter {
    /// A router to teams.
    pub fn new(embedder: impl Embedder) -> Self {
        let share = if embedder.semantic() { SEMANTIC_SHARE } else { LEXICAL_SHARE };
        Self {
            embedder: Arc::new(embedder),
            share,
            examples: BTreeMap::new(),
            agents: None,
            index: Arc::default(),
        }
    }

    /// Routes to this many of the nearest agents, at least 1, whatever their teams.
    #[must_use]
    pub fn to_agents(mut self, count: usize) -> Self {
        self.agents = Some(count.max(1));
        self
    }

    /// Another weight of the vector, from 0 for words alone to 1 for vectors alone.
    ///
    /// # Errors
    /// `InvalidInput` when it is outside of these bounds.
    pub fn with_vector_share(mut self, share: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&share) {
            let message = "expected a share from 0 to 1";
            return Err(Error::new(ErrorKind::InvalidInput, "orchestrator.semantic", message)
                .with("field", "share")
                .with("value", share));
        }
        self.share = share;
        Ok(self)
    }

    /// Adds requests that an agent, named `agent` or `team.agent`, is there for.
    #[must_use]
    pub fn with_examples<T: Into<String>>(
        mut self,
        agent: impl Into<String>,
        examples: impl IntoIterator<Item = T>,
    ) -> Self {
        self.examples.entry(agent.into()).or_default().extend(examples.into_iter().map(Into::into));
        self
    }

    /// All agents of the teams, the nearest first; equals stay in the order of the teams.
    ///
    /// # Errors
    /// What the embedder says.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing half done.
    pub async fn rank(&self, ctx: &Context, request: &str, teams: &[Supervisor]) -> Result<Vec<AgentRank>> {
        let index = self.index(ctx, teams).await?;
        let ranked = index.rank(ctx, &*self.embedder, request, self.share).await?;
        let agents = teams.iter().flat_map(Supervisor::agents);
        let mut ranked: Vec<AgentRank> = index
            .entries
            .iter()
            .zip(ranked)
            .zip(agents)
            .map(|((entry, it), agent)| AgentRank {
                team: entry.team.clone(),
                agent: agent.name().clone(),
                score: it.score,
                words: it.words,
            })
            .collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(ranked)
    }

    async fn index(&self, ctx: &Context, teams: &[Supervisor]) -> Result<Arc<AgentIndex>> {
        let entries = entries(teams, &self.examples);
        let known = self.index.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.entries == entries) {
            return Ok(known);
        }
        // Two at the same time both make it; that costs once more, and no one waits.
        let index = Arc::new(AgentIndex::new(ctx, &*self.embedder, entries).await?);
        *self.index.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&index));
        Ok(index)
    }

    /// The nearest agents alone.
    fn nearest(
        &self,
        count: usize,
        task: &Task,
        teams: &[Supervisor],
        ranked: &[AgentRank],
    ) -> Result<Decision> {
        let nearest = ranked.get(..count.min(ranked.len())).unwrap_or_default();
        let mut agents = Vec::new();
        for it in nearest {
            let (team, agent) = find_agent(teams, &format!("{}.{}", it.team, it.agent))?;
            let mut choice = agent_choice(team, agent, &task.goal, why(it));
            (choice.score, choice.words) = (it.score, it.words.clone());
            agents.push(choice);
        }
        let chosen = |team: &str| nearest.iter().any(|it| it.team == team);
        Ok(Decision::new("semantic", choices(task, teams, ranked, |it| chosen(&it.team))).with_agents(agents))
    }
}

#[async_trait]
impl Router for SemanticRouter {
    async fn route(&self, ctx: &Context, task: &Task, teams: &[Supervisor]) -> Result<Decision> {
        check_teams(task, teams)?;
        let mut ranked = self.rank(ctx, &task.goal, teams).await?;
        let named = |team: &str| task.teams.is_empty() || task.teams.iter().any(|name| name == team);
        ranked.sort_by_key(|it| !named(&it.team));
        let open = ranked.iter().filter(|it| named(&it.team)).count();
        let best = ranked.first().map_or(0.0, |it| it.score);
        let (decision, sure) = match self.agents {
            Some(count) => {
                let decision = self.nearest(count.min(open), task, teams, &ranked)?;
                (decision, lead(ranked.iter().take(open).map(|it| it.score)))
            }
            None => {
                let needed = best * needed_share(task.priority);
                let chosen = |it: &AgentRank| {
                    named(&it.team) && (!task.teams.is_empty() || best <= 0.0 || it.score >= needed)
                };
                let choices = choices(task, teams, &ranked, chosen);
                let sure = lead(choices.iter().filter(|it| named(&it.team)).map(|it| it.score));
                (Decision::new("semantic", choices), sure)
            }
        };
        let mut decision = decision.with_confidence(sure);
        ranked.truncate(LISTED);
        decision.ranking = ranked;
        Ok(decision)
    }
}

/// Every team by its nearest agent, in the order in which agents are ranked.
fn choices(
    task: &Task,
    teams: &[Supervisor],
    ranked: &[AgentRank],
    chosen: impl Fn(&AgentRank) -> bool,
) -> Vec<TeamChoice> {
    let mut choices: Vec<TeamChoice> = Vec::with_capacity(teams.len());
    for it in ranked {
        if choices.iter().any(|known| known.team == it.team) {
            continue;
        }
        choices.push(TeamChoice {
            team: it.team.clone(),
            score: it.score,
            words: it.words.clone(),
            chosen: chosen(it),
            reason: why(it),
            focus: task.goal.clone(),
        });
    }
    choices
}

/// The share of the best score that a team needs.
fn needed_share(priority: Priority) -> f64 {
    match priority {
        Priority::Balanced => 0.7,
        Priority::Speed => 0.9,
        Priority::Quality => 0.5,
    }
}

fn why(it: &AgentRank) -> String {
    match it.words.as_slice() {
        [] => format!("{} is near by its vector alone", it.agent),
        words => format!("{} shares {} with the goal", it.agent, list(words)),
    }
}
