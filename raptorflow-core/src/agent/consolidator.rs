//! `Consolidator`: an agent that makes facts of the episodes in a memory.

use std::{pin::pin, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    agent::{Actor, AgentInput, AgentOutput, AgentSpec, Session, driver},
    error::{Error, ErrorKind, Result},
    event::EventKind,
    journal::Fact,
    memory::{Memories, MemoryItem, Scope, consolidated, consolidation_request},
    model::{Answer, check_answer},
};

/// How many episodes are taken at once by default.
const EPISODES: usize = 20;

/// An agent that makes facts of the episodes of a scope: oldest first, each once, with links to its episodes.
///
/// Its input is `{"scope": {"user": …}, "episodes": 20}`, and its output says the `facts` by id and how many `episodes`
/// were read.
/// The model is that of the memory, or the engine's default; its call is recorded and paid like any other, and a run
/// that breaks off is resumed without a second one.
/// Episodes stay as they are, and fade.
///
/// ```
/// use raptorflow_core::{Engine, agent::Consolidator, memory::{MemoryConfig, Scope}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let engine = Engine::builder().memory(MemoryConfig::new("words")).build().await?;
/// engine.register(Consolidator::new("consolidator")?)?;
/// let outcome = engine.memory()?.consolidate(&Scope::default().with_user("asha")?).await?;
/// // There are no episodes, so no model is asked.
/// assert_eq!(outcome.output["episodes"], 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Consolidator {
    spec: Arc<AgentSpec>,
}

/// What it is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    scope: Scope,
    #[serde(default = "episodes")]
    episodes: usize,
}

fn episodes() -> usize {
    EPISODES
}

/// What there is, as the run found it.
#[derive(Debug, Deserialize, Serialize)]
struct Found {
    episodes: Vec<MemoryItem>,
    subjects: Vec<Arc<str>>,
}

impl Consolidator {
    /// A consolidator of a name.
    ///
    /// # Errors
    /// `InvalidInput` when the name does not fit.
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self> {
        let mut spec = AgentSpec::new(name)?;
        spec.description = Arc::from("Makes facts of the episodes in a memory.");
        Ok(Self { spec: Arc::new(spec) })
    }

    async fn consolidate(&self, session: &Session, wanted: &Wanted) -> Result<AgentOutput> {
        let ctx = session.ctx();
        let memories = session.means().memory.as_ref().ok_or_else(|| {
            let message = "the engine was built without a memory";
            Error::new(ErrorKind::InvalidInput, "agent.memory", message).with("field", "memory")
        })?;
        let Wanted { scope, episodes } = wanted;
        let found: Found = session
            .journal()
            .step(ctx, "episodes", async |ctx| {
                let (episodes, subjects) = memories.unconsolidated(&ctx, scope, *episodes).await?;
                Ok(Found { episodes, subjects })
            })
            .await?;
        let Some(last) = found.episodes.last() else {
            return Ok(AgentOutput::new(json!({ "facts": [], "episodes": 0 })));
        };
        let answer = self.answer(session, memories, &found).await?;
        let facts = memories.items().append(ctx, scope, consolidated(&answer, &found.episodes)).await?;
        memories.set_consolidated(ctx, scope, last).await?;
        session.means().bus.publish(ctx, driver::event(ctx, &self.spec, EventKind::DataCreated)).await?;
        let facts: Vec<String> = facts.into_iter().map(|fact| fact.id).collect();
        Ok(AgentOutput::new(json!({ "facts": facts, "episodes": found.episodes.len() })))
    }

    /// What the model said, once a run.
    async fn answer(&self, session: &Session, memories: &Memories, found: &Found) -> Result<Value> {
        let step = session.ctx().child("facts");
        let request = consolidation_request(found.subjects.iter().map(|subject| &**subject), &found.episodes);
        let known = session.journal().recorded(step.path()).into_iter().find_map(|entry| match entry.fact {
            Fact::StepCompleted { value, .. } => Some(value),
            _ => None,
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let model = session.model(memories.model()).await?;
        let key = format!("{}/{}", step.run_id(), step.path());
        let ctx = step.with_idempotency_key(key).with_agent(&self.spec.name);
        let answer = model.complete(&ctx, &request).await?;
        let checked = check_answer(&request.output, &answer);
        let cost = session.means().prices.cost(&answer.model, &answer.usage, ctx.now());
        let responded = Fact::ModelResponded {
            model: answer.model.as_ref().to_owned(),
            message: answer.message,
            usage: answer.usage,
            cost,
            truncated: false,
        };
        match checked {
            Answer::Valid(value) => {
                let done = Fact::StepCompleted { value: value.clone(), took: None };
                session.journal().append(&ctx, &[responded, done]).await?;
                Ok(value)
            }
            Answer::Invalid { problems, .. } => {
                // It was paid for; a resumed run asks again.
                session.journal().append(&ctx, &[responded]).await?;
                let message = "the model's facts do not fit the schema";
                Err(Error::new(ErrorKind::InvalidOutput, "agent.memory", message)
                    .with("model", &model.info().name)
                    .with("problems", problems.len()))
            }
        }
    }
}

#[async_trait]
impl Actor for Consolidator {
    fn spec(&self) -> &Arc<AgentSpec> {
        &self.spec
    }

    async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        input.without_attachments()?;
        let wanted = Wanted::deserialize(&input.input).map_err(|err| {
            let expected = "expected an object with the scope, and how many episodes";
            Error::new(ErrorKind::InvalidInput, "agent.memory", expected)
                .with("field", "input")
                .caused_by(err)
        })?;
        wanted.scope.check()?;
        driver::observed(session, &self.spec, pin!(self.consolidate(session, &wanted))).await
    }
}
