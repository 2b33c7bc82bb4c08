//! `Reviewed`: an agent whose answers a critic reads, and who is asked again until one passes.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    agent::{
        Actor, Agent, AgentInput, AgentOutput, AgentSpec, Session,
        review::{Critic, Draft, Grade, Review},
    },
    error::{Error, ErrorKind, Result},
    types::{Money, Usage},
};

/// One answer and what the critic said of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The answer.
    pub output: AgentOutput,
    /// What the critic said.
    pub review: Review,
}

/// All answers to a question, in the order in which they came; there is at least one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rounds {
    /// Each answer with its review.
    pub rounds: Vec<Round>,
    /// Which of them has the best score; the first of several.
    pub best: usize,
}

impl Rounds {
    /// The best answer with its review.
    ///
    /// # Errors
    /// `Corrupt` when `best` names no round, which only a value that was read from elsewhere can.
    pub fn best(&self) -> Result<&Round> {
        self.rounds.get(self.best).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "review.best", "no round has this number").with("best", self.best)
        })
    }

    /// The best answer, with the tokens and the cost of all of them.
    ///
    /// # Errors
    /// As [`Rounds::best`].
    pub fn into_output(self) -> Result<AgentOutput> {
        let mut output = self.best()?.output.clone();
        let spent = || self.rounds.iter().map(|round| &round.output);
        output.usage = spent().fold(Usage::default(), |sum, output| sum.plus(output.usage));
        output.cost = sum(spent().map(|output| output.cost));
        Ok(output)
    }
}

/// The sum of costs; unknown when one is, or when there are several currencies.
fn sum(mut costs: impl Iterator<Item = Option<Money>>) -> Option<Money> {
    let first = costs.next()??;
    costs.try_fold(first, |sum, cost| sum.plus(cost?).ok())
}

/// An agent whose answers a critic reads, and who is asked again until one passes, or the rounds are used up.
///
/// It has the name and the spec of the agent and takes its place.
/// An answer that is to be revised is given back with what was found; one that is to be made anew is not, only what was
/// found is, as background.
/// The best answer is the answer, whether it passes or not; [`Reviewed::rounds`] says which, and the journal has every
/// answer below `round_1` and so on, and every review as the step `review_1` and so on.
/// An error ends the rounds, and a resumed run goes on where it was.
///
/// ```
/// use raptorflow_core::{Agent, Engine, agent::review::{Critic, Reviewed, checks::LengthCheck}};
/// use raptorflow_core::model::{CannedModel, Model};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let engine = Engine::builder().build().await?;
/// let agent = Agent::builder("plans").model_instance(Model::new(CannedModel::new("basic and team"))).build()?;
/// engine.register(Reviewed::new(agent, Critic::new().with(LengthCheck::words(1, 10))))?;
/// assert_eq!(engine.run("plans", "Which plans are there?").await?.text(), "basic and team");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Reviewed {
    agent: Agent,
    critic: Critic,
}

impl Reviewed {
    /// An agent and who reads its answers.
    #[must_use]
    pub fn new(agent: impl Into<Agent>, critic: Critic) -> Self {
        Self { agent: agent.into(), critic }
    }

    /// Asks until an answer passes, and gives every answer with its review.
    ///
    /// # Errors
    /// What the agent says, and what [`Critic::review`] says.
    ///
    /// # Cancellation
    /// Dropping the future stops the work; a later call over the same journal repeats nothing that is recorded.
    pub async fn rounds(&self, session: &Session, input: &AgentInput) -> Result<Rounds> {
        let (mut rounds, mut best): (Vec<Round>, usize) = (Vec::new(), 0);
        let mut best_score = None;
        for number in 1..=self.critic.config().rounds {
            let again;
            let asked = match rounds.last() {
                None => input,
                Some(last) => {
                    again = ask_again(input, last);
                    &again
                }
            };
            let output = self.agent.run(&session.child(&format!("round_{number}")), asked).await?;
            let draft = Draft::of(self.agent.spec(), input, &output);
            let key = format!("review_{number}");
            let work = async |ctx| self.critic.review(&ctx, &draft).await;
            let review: Review = session.journal().step(session.ctx(), &key, work).await?;
            let (score, passes) = (review.score, review.passes());
            if best_score.is_none_or(|best| score > best) {
                (best_score, best) = (Some(score), rounds.len());
            }
            rounds.push(Round { output, review });
            if passes {
                break;
            }
        }
        Ok(Rounds { rounds, best })
    }
}

/// The question with what was found in the last answer; what it was a part of comes first.
fn ask_again(input: &AgentInput, last: &Round) -> AgentInput {
    let given = match &input.background {
        Some(background) => format!("{background}\n\n"),
        None => "a question that was answered before.\n\n".to_owned(),
    };
    let hints = last.review.hints();
    let text = match last.review.grade {
        Grade::Regenerate => {
            format!("{given}An earlier answer was refused. Answer anew and avoid this:\n{hints}")
        }
        Grade::Pass | Grade::Revise => {
            let answer = match &last.output.output {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            format!("{given}An earlier answer was:\n{answer}\n\nKeep what is good and mend this:\n{hints}")
        }
    };
    input.clone().with_background(text)
}

#[async_trait]
impl Actor for Reviewed {
    fn spec(&self) -> &Arc<AgentSpec> {
        self.agent.spec()
    }

    async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        self.rounds(session, input).await?.into_output()
    }
}
