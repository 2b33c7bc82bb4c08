//! `SkillAgent`: an agent that works by a skill.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    agent::{Actor, AgentInput, AgentKind, AgentOutput, AgentSpec, LlmAgent, Session, driver},
    error::{Error, ErrorKind, Result},
    model::{FallbackLayer, Layer as _, Model, ModelSettings},
    skill::{Skill, SkillFormat, SkillRegistry},
    tool::{Tool, ToolRegistry},
    types::{Digest, Message, Role},
};

/// The step under which the messages of the skill are journalled.
const STEP: &str = "skill";
/// What a model is asked when the skill and its inputs leave nothing to ask.
const BEGIN: &str = "Carry out the task.";

/// An agent that works by a skill: instructions, models, tools, bounds and the form of the answer are the skill's.
///
/// Its input is an object with the skill's inputs; a text is taken for the only input that is required, or for the
/// question where the skill has no inputs.
/// What the skill came to is journalled with its version, so that a run that is resumed goes on with the text that it
/// began with, whatever the file says by then.
///
/// The model is the one that [`SkillAgent::with_model`] gave; else the skill's first choice, with its fallbacks
/// behind it, and the engine's default where the skill names none.
/// Tools that the skill requires must be known to the engine; optional ones are used where they are.
/// Its time, its calls of tools, its tokens and its cost are bounded as the skill says, and an answer that does not fit
/// goes back as often as the skill allows.
///
/// ```
/// use raptorflow_core::{Engine, agent::SkillAgent, model::{CannedModel, Model}, skill::Skill};
/// use serde_json::json;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let skill = Skill::parse("\
/// ---
/// skill_id: talk.greet.v1
/// name: Greet
/// description: Greets somebody.
/// version: 1.0.0
/// inputs:
///   who: string
/// ---
/// ## MISSION
/// Greet {{ who }}.
/// ")?;
/// let engine = Engine::builder().build().await?;
/// let model = Model::new(CannedModel::new("Hello Asha!"));
/// engine.register(SkillAgent::new(skill)?.with_model(model))?;
/// let outcome = engine.run("talk.greet.v1", json!({"who": "Asha"})).await?;
/// assert_eq!(outcome.text(), "Hello Asha!");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SkillAgent {
    spec: Arc<AgentSpec>,
    source: Source,
    model: Option<Model>,
    tools: ToolRegistry,
}

#[derive(Clone)]
enum Source {
    One(Skill),
    Newest(SkillRegistry),
}

/// What a skill came to for the inputs of a run; with it a run goes on also when the skill is gone.
#[derive(Serialize, Deserialize)]
struct Rendered {
    digest: Digest,
    spec: AgentSpec,
    optional_tools: Vec<String>,
    models: Vec<String>,
    question: String,
}

impl SkillAgent {
    /// An agent that works by this skill and is called like it.
    ///
    /// # Errors
    /// `InvalidInput` when the settings of the skill's model are out of their range.
    pub fn new(skill: Skill) -> Result<Self> {
        let spec = spec_of(skill.id().as_str(), &skill)?;
        Ok(Self { spec: Arc::new(spec), source: Source::One(skill), model: None, tools: ToolRegistry::new() })
    }

    /// An agent that works by what a registry has under an id when a run begins: a folder that is read again needs
    /// nothing more.
    ///
    /// With the id of a family, such as `writing.summary`, it is the newest version.
    ///
    /// # Errors
    /// `NotFound` with the nearest id, and as [`SkillAgent::new`].
    pub fn of(skills: &SkillRegistry, id: &str) -> Result<Self> {
        let spec = spec_of(id, &skills.get(id)?)?;
        let source = Source::Newest(skills.clone());
        Ok(Self { spec: Arc::new(spec), source, model: None, tools: ToolRegistry::new() })
    }

    /// Takes this model, whatever the skill says.
    #[must_use]
    pub fn with_model(mut self, model: Model) -> Self {
        self.model = Some(model);
        self
    }

    /// Takes a model by name, whatever the skill says.
    #[must_use]
    pub fn with_model_name(mut self, name: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.spec).model = Some(name.into());
        self
    }

    /// What it may do; what its caller may by default, see [`AgentBuilder::grants`](crate::agent::AgentBuilder::grants).
    #[must_use]
    pub fn with_grants<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        Arc::make_mut(&mut self.spec).grants = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// A tool of its own, beside those of the engine.
    ///
    /// # Errors
    /// `AlreadyExists` for two tools of one name.
    pub fn with_tool(mut self, tool: impl Tool) -> Result<Self> {
        self.tools.register(tool)?;
        Ok(self)
    }

    fn skill(&self) -> Result<Skill> {
        match &self.source {
            Source::One(skill) => Ok(skill.clone()),
            Source::Newest(skills) => skills.get(self.spec.name.as_str()),
        }
    }

    /// What the skill says now, for what is asked.
    fn render(&self, input: &Value) -> Result<Rendered> {
        let skill = self.skill()?;
        let messages = skill.render(&inputs(&skill, input))?;
        let of = |role: Role| {
            let texts = messages.iter().filter(|message| message.role == role).map(Message::text);
            texts.collect::<Vec<_>>().join("\n\n")
        };
        let mut spec = spec_of(self.spec.name.as_str(), &skill)?;
        spec.instructions = of(Role::System).into();
        let mut question = of(Role::User);
        if question.is_empty() {
            question = match input {
                Value::String(question) if skill.spec().inputs.is_empty() => question.clone(),
                _ => BEGIN.to_owned(),
            };
        }
        let said = skill.spec();
        Ok(Rendered {
            digest: skill.digest(),
            spec,
            optional_tools: said.tools.optional.clone(),
            models: said.model.primary.iter().chain(&said.model.fallback).cloned().collect(),
            question,
        })
    }

    /// The agent that a run is, by what was recorded of the skill.
    fn ready(&self, session: &Session, rendered: Rendered) -> LlmAgent {
        let Rendered { mut spec, optional_tools, models, .. } = rendered;
        let engine = &session.means().tools;
        let offered = optional_tools.into_iter().filter(|name| engine.find(name).is_some());
        spec.tools.extend(offered);
        // The agent's own go before those of the engine.
        spec.tools.retain(|name| self.tools.find(name).is_none());
        spec.model.clone_from(&self.spec.model);
        let own = self.model.is_some() || spec.model.is_some();
        let others = match models.split_first() {
            Some((first, others)) if !own => {
                spec.model = Some(first.as_str().into());
                others
            }
            _ => &[],
        };
        let first = spec.model.clone();
        let agent = LlmAgent::new(spec, self.model.clone(), self.tools.clone());
        match first {
            Some(first) if !others.is_empty() => {
                let named = |name: &str| session.means().models.named(name);
                let others = others.iter().fold(FallbackLayer::new(), |layer, name| layer.or(named(name)));
                agent.with_layered_model(others.wrap(named(&first)))
            }
            _ => agent,
        }
    }
}

/// What a skill says of the agent that works by it.
fn spec_of(name: &str, skill: &Skill) -> Result<AgentSpec> {
    let said = skill.spec();
    let mut spec = AgentSpec::new(name)?;
    spec.title = said.name.as_str().into();
    spec.domain = Some(said.category.as_str()).filter(|category| !category.is_empty()).map(Into::into);
    spec.kind = AgentKind::Generator;
    spec.description = said.description.as_str().into();
    spec.tags.clone_from(&said.tags);
    spec.model_settings = Arc::new(ModelSettings {
        temperature: said.model.temperature.map(|it| it as f32),
        top_p: said.model.top_p.map(|it| it as f32),
        max_output_tokens: said.model.max_tokens,
        ..ModelSettings::default()
    });
    spec.model_settings.check().map_err(|err| err.with("skill", skill.id()))?;
    spec.output = (!said.outputs.is_empty()).then(|| skill.output_schema().clone());
    if said.format == SkillFormat::Typed {
        spec.tools.clone_from(&said.tools.required);
        let limits = said.limits;
        spec.limits.tool_calls = limits.max_tool_calls;
        spec.limits.steps = limits.max_tool_calls.saturating_add(limits.max_retries).saturating_add(1);
        spec.limits.tokens = Some(limits.max_tokens.into());
        spec.limits.cost = Some(limits.max_cost);
        spec.limits.repairs = limits.max_retries;
        spec.limits.seconds = Some(limits.timeout.as_secs().max(1));
    }
    Ok(spec)
}

/// The inputs of a skill, from what the agent was asked.
fn inputs(skill: &Skill, input: &Value) -> Value {
    let Value::String(text) = input else { return input.clone() };
    let mut required = skill.spec().inputs.iter().filter(|field| field.required);
    match (required.next(), required.next()) {
        (Some(only), None) => Value::Object(Map::from_iter([(only.name.clone(), text.as_str().into())])),
        // It is the question; where inputs are wanted, each that is missing is named.
        _ => Value::Object(Map::new()),
    }
}

#[async_trait]
impl Actor for SkillAgent {
    fn spec(&self) -> &Arc<AgentSpec> {
        &self.spec
    }

    async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        if let Some(capability) = &input.capability {
            let message = "an agent that works by a skill has no capabilities besides it";
            let err = Error::new(ErrorKind::NotFound, "agent.capability", message);
            return Err(err.with("agent", &self.spec.name).with("capability", capability));
        }
        let work = async |_ctx| self.render(&input.input);
        let mut rendered: Rendered = session.journal().step(session.ctx(), STEP, work).await?;
        let question = std::mem::take(&mut rendered.question);
        let input = AgentInput { input: Value::String(question), ..input.clone() };
        driver::drive(&self.ready(session, rendered), session, &input).await
    }
}

impl fmt::Debug for SkillAgent {
    /// Without the text, which does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SkillAgent").field("name", &self.spec.name).finish_non_exhaustive()
    }
}
