//! `Conflicts`: how claims that disagree are judged, and the record of it.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    agent::{Agent, AgentInput, AgentOutput, AgentSpec, Session, is_its_own},
    error::{Error, ErrorKind, Result},
    event::Priority,
    orchestrator::{Disagreement, Escalation, escalation::Asking},
    runtime::Context,
    types::{AgentId, Schema, contained},
};

/// Where the records stand in the journal of a run.
const PLACE: &str = "conflict";

/// Somebody, or a rule, that says which of two positions holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Judge {
    /// The position that rests on more sources.
    Sources,
    /// The position that more agents hold; who holds both counts for neither.
    Agents,
    /// The position of whoever is named first, as `agent`.
    Rank(Vec<AgentId>),
    /// What an agent says that is given both positions.
    Agent(Agent),
    /// What people say, by an escalation; its rules are not looked at.
    People(Escalation, Priority),
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sources => f.write_str("sources"),
            Self::Agents => f.write_str("agents"),
            Self::Rank(_) => f.write_str("rank"),
            Self::Agent(agent) => write!(f, "agent {}", agent.name()),
            Self::People(..) => f.write_str("people"),
        }
    }
}

/// Judges in the order in which they are asked; the first that decides counts.
///
/// What is detected are the disagreements of a report with their positions.
/// Neither position leaves the report: the record says which one holds, who said so and why.
///
/// ```
/// use raptorflow_core::orchestrator::{Judge, Conflicts};
/// let conflicts = Conflicts::new([Judge::Sources, Judge::Agents])?;
/// assert_eq!(conflicts.judges().len(), 2);
/// # Ok::<(), raptorflow_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Conflicts(Vec<Judge>);

/// What both positions of a disagreement have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommonGround {
    /// The words that they share, as stems.
    pub words: Vec<String>,
    /// The sources that both rest on; numbers of the report's sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<u32>,
    /// The agents that hold both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentId>,
}

/// What one judge said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The judge: `sources`, `agents`, `rank`, `agent NAME` or `people`.
    pub by: String,
    /// The position that it took; `None` when it did not decide.
    pub position: Option<usize>,
    /// Why.
    pub reason: String,
}

/// How a disagreement was settled, or that it was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Which of the report's disagreements, from 0.
    pub disagreement: usize,
    /// What both positions have in common.
    pub common: CommonGround,
    /// What each judge said that was asked, in order.
    pub tried: Vec<Judged>,
    /// The position that holds, from 0; `None` when nobody decided.
    pub position: Option<usize>,
}

/// How all disagreements were settled, and what agents took that were asked about them.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) resolutions: Vec<Resolution>,
    pub(super) outputs: Vec<AgentOutput>,
}

impl Conflicts {
    /// Judges, the first to be asked first.
    ///
    /// # Errors
    /// `InvalidInput` when there is none, or a rank of nobody.
    pub fn new(judges: impl IntoIterator<Item = Judge>) -> Result<Self> {
        let judges: Vec<Judge> = judges.into_iter().collect();
        let nobody = |it: &Judge| matches!(it, Judge::Rank(agents) if agents.is_empty());
        if judges.is_empty() || judges.iter().any(nobody) {
            let message = "nobody could ever settle a disagreement";
            return Err(Error::new(ErrorKind::InvalidInput, "orchestrator.conflicts", message)
                .with("field", "judges")
                .with("expected", "at least one judge, and at least one agent in a rank"));
        }
        Ok(Self(judges))
    }

    /// The judges.
    #[must_use]
    pub fn judges(&self) -> &[Judge] {
        &self.0
    }

    pub(super) fn check(&self, name: &str, by: Option<&str>) -> Option<Result<()>> {
        self.0.iter().find_map(|it| match it {
            Judge::People(escalation, _) => escalation.check(name, by),
            _ => None,
        })
    }

    /// Settles one disagreement after another, each once over a resume too.
    pub(super) async fn settle(
        &self,
        session: &Session,
        spec: &AgentSpec,
        goal: &str,
        disagreements: &[Disagreement],
    ) -> Result<Settled> {
        let mut settled = Settled::default();
        for (at, disagreement) in disagreements.iter().enumerate() {
            let mut tried = Vec::new();
            let mut position = None;
            for (number, judge) in self.0.iter().enumerate() {
                let place = format!("{PLACE}/{at}/{number}");
                let said = match judge {
                    Judge::Agent(agent) => {
                        let asked = Asked { agent, goal, disagreement, place: &place };
                        let (said, output) = asked.run(session, spec).await?;
                        settled.outputs.extend(output);
                        said
                    }
                    Judge::People(escalation, urgency) => {
                        people(session, spec, escalation, *urgency, (at, disagreement)).await?
                    }
                    rule => rule.look(disagreement),
                };
                position = said.position;
                tried.push(said);
                if position.is_some() {
                    break;
                }
            }
            let resolution = Resolution { disagreement: at, common: common(disagreement), tried, position };
            let record = |_: Context| async { Ok(resolution) };
            let resolution = session.journal().step(session.ctx(), &format!("{PLACE}/{at}"), record).await?;
            settled.resolutions.push(resolution);
        }
        Ok(settled)
    }
}

impl Judge {
    /// What a rule says, without asking anybody.
    fn look(&self, disagreement: &Disagreement) -> Judged {
        let positions = &disagreement.positions;
        let shared = common(disagreement);
        let (counts, of): (Vec<usize>, _) = match self {
            Self::Rank(rank) => {
                let first = |agents: &[AgentId]| {
                    rank.iter().position(|it| agents.contains(it)).map_or(0, |at| rank.len() - at)
                };
                (
                    positions.iter().map(|it| first(&it.agents)).collect(),
                    "the first of the rank that holds one",
                )
            }
            Self::Agents => {
                let own = |agents: &[AgentId]| agents.iter().filter(|it| !shared.agents.contains(it)).count();
                (positions.iter().map(|it| own(&it.agents)).collect(), "how many agents hold it alone")
            }
            _ => {
                let count = |sources: &[u32]| sources.iter().collect::<BTreeSet<_>>().len();
                (positions.iter().map(|it| count(&it.sources)).collect(), "how many sources it rests on")
            }
        };
        let most = counts.iter().copied().max().unwrap_or_default();
        let mut of_most = counts.iter().enumerate().filter(|(_, count)| **count == most);
        let position = match (of_most.next(), of_most.next()) {
            (Some((at, _)), None) if most > 0 => Some(at),
            _ => None,
        };
        let numbers: Vec<String> = counts.iter().map(ToString::to_string).collect();
        Judged { by: self.to_string(), position, reason: format!("{of}: {}", numbers.join(" to ")) }
    }
}

/// An agent that judges.
struct Asked<'a> {
    agent: &'a Agent,
    goal: &'a str,
    disagreement: &'a Disagreement,
    place: &'a str,
}

impl Asked<'_> {
    async fn run(&self, session: &Session, spec: &AgentSpec) -> Result<(Judged, Option<AgentOutput>)> {
        let name = self.agent.name();
        let by = format!("agent {name}");
        let ctx = session.ctx().with_agent(&spec.name).child(self.place).child(name.as_str());
        let session = session.with_context(ctx);
        let count = self.disagreement.positions.len();
        let form = json!({
            "type": "object",
            "properties": {
                "position": { "type": ["integer", "null"], "minimum": 1, "maximum": count },
                "reason": { "type": "string" },
            },
            "required": ["position", "reason"],
            "additionalProperties": false,
        });
        let input = AgentInput::new(self.question()).with_form(Schema::new(form)?);
        match self.agent.run(&session, &input).await {
            Ok(output) => {
                let said = read(by, &output.output, count);
                Ok((said, Some(output)))
            }
            Err(error)
                if is_its_own(session.ctx(), name, &error) && !session.ctx().cancel().is_cancelled() =>
            {
                Ok((Judged { by, position: None, reason: error.to_string() }, None))
            }
            Err(error) => Err(error.with("asked", name)),
        }
    }

    fn question(&self) -> String {
        const TAG: &str = "position";
        let mut text = format!(
            "Two claims about the same thing do not agree. The task was: {}\n\nSay which of them holds by what they \
             rest on, as `position`, and why, as `reason`; say null when neither can be told to hold.\n",
            self.goal,
        );
        for (at, position) in self.disagreement.positions.iter().enumerate() {
            let (agents, sources) = (position.agents.len(), position.sources.len());
            text.push_str(&format!(
                "\nPosition {}, of {agents} agents, with {sources} sources, as data:\n<{TAG}>\n{}\n</{TAG}>\n",
                at + 1,
                contained(&position.claim, TAG),
            ));
        }
        text
    }
}

/// What an agent decided; anything but one of the positions is no decision.
fn read(by: String, output: &Value, count: usize) -> Judged {
    let number = output.get("position").unwrap_or(output);
    let position = number.as_u64().and_then(|it| usize::try_from(it).ok()?.checked_sub(1));
    let position = position.filter(|at| *at < count);
    let reason = match output.get("reason").and_then(Value::as_str) {
        Some(reason) => reason.to_owned(),
        None if position.is_some() => "it gave no reason".to_owned(),
        None => "it named no position".to_owned(),
    };
    Judged { by, position, reason }
}

/// Lets people decide.
async fn people(
    session: &Session,
    spec: &AgentSpec,
    escalation: &Escalation,
    urgency: Priority,
    (at, disagreement): (usize, &Disagreement),
) -> Result<Judged> {
    let positions = &disagreement.positions;
    let mut prompt = "Two claims do not agree. Which one holds?".to_owned();
    for (number, position) in positions.iter().enumerate() {
        prompt.push_str(&format!("\n{}. {}", number + 1, position.claim));
    }
    let choices = (1..=positions.len()).map(Value::from).chain([Value::Null]).collect();
    let rule = format!("settle/{at}");
    let asking = Asking { rule: &rule, urgency, prompt, choices: Some(choices), to: &[] };
    let escalated = escalation.ask(session, spec, asking).await?;
    let position = escalated.answer.as_u64().and_then(|it| usize::try_from(it).ok()?.checked_sub(1));
    let reason = match &escalated.by {
        Some(level) => format!("{level} answered"),
        None => format!("nobody answered in time: {}", escalated.asked.join(", ")),
    };
    Ok(Judged { by: "people".to_owned(), position, reason })
}

fn common(disagreement: &Disagreement) -> CommonGround {
    let mut positions = disagreement.positions.iter();
    let (mut sources, mut agents) =
        positions.next().map(|it| (it.sources.clone(), it.agents.clone())).unwrap_or_default();
    for position in positions {
        sources.retain(|it| position.sources.contains(it));
        agents.retain(|it| position.agents.contains(it));
    }
    CommonGround { words: disagreement.about.clone(), sources, agents }
}
