//! `Pattern`: the handle to a pattern, which is an agent like any other.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use indexmap::IndexMap;

use crate::{
    agent::{Actor, AgentInput, AgentKind, AgentOutput, AgentSpec, Session},
    error::{Error, Result},
    journal::Fact,
    types::{AgentId, Diagnostics, Digest},
    workflow::{
        PatternSpec,
        patterns::{
            check::{most_turns, problems},
            driver,
        },
    },
};

/// How many digits of a digest tell patterns apart.
const DIGITS: usize = 16;
/// How many of them stand in a name.
const NAME_DIGITS: usize = 8;

/// A checked pattern; an actor, so an engine runs it like an agent, and it takes part in other patterns and in
/// workflows. Cloning shares it.
///
/// ```
/// use raptorflow_core::{Engine, agent::{AgentSpec, FunctionAgent}};
/// use raptorflow_core::workflow::{Aggregate, Workflow, agent, parallel};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let engine = Engine::builder().build().await?;
/// for (name, answer) in [("a", "yes"), ("b", "no"), ("c", "Yes.")] {
///     engine.register(FunctionAgent::new(AgentSpec::new(name)?, move |_ctx, _input| async move { Ok(answer.into()) }))?;
/// }
/// engine.register(parallel(["a", "b", "c"]).aggregate(Aggregate::Majority).name("ask").build()?)?;
/// let flow = Workflow::builder("launch").step("ask", agent("ask")).output("$ask/answer").build()?;
/// assert_eq!(engine.run(flow, "Shall we?").await?.output, "Yes.");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pattern(Arc<Inner>);

struct Inner {
    spec: PatternSpec,
    agent: Arc<AgentSpec>,
    definition: Arc<IndexMap<Arc<str>, Arc<str>>>,
    /// Why it cannot run, where it was not checked when it was built.
    wrong: Option<Error>,
}

impl Pattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// `InvalidInput` with every problem as [`Diagnostics`]: nobody who takes part, a debate with one side, a weight or
    /// a share that is no such number, rounds out of range, two members of one name.
    pub fn new(spec: impl Into<PatternSpec>) -> Result<Self> {
        let pattern = Self::unchecked(spec.into());
        match &pattern.0.wrong {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(pattern),
        }
    }

    /// A pattern whose problems are told by the run.
    pub(super) fn unchecked(spec: PatternSpec) -> Self {
        let problems = problems(&spec);
        let digits = digest(&spec);
        let fallback = || AgentId::of_kind(spec.pattern.name(), digits.get(..NAME_DIGITS).unwrap_or(&digits));
        // A name that does not fit is one of the problems.
        let name = if spec.name.is_empty() { None } else { AgentId::new(spec.name.as_str()).ok() };
        let agent = AgentSpec {
            kind: AgentKind::Coordinator,
            description: spec.description.as_str().into(),
            ..AgentSpec::of(name.unwrap_or_else(fallback))
        };
        let wrong = (!problems.is_empty()).then(|| {
            let err = Diagnostics(problems).into_error("pattern.build", "the pattern has problems");
            err.with("pattern", &agent.name)
        });
        let definition = Arc::new(definition(&spec));
        Self(Arc::new(Inner { spec, agent: Arc::new(agent), definition, wrong }))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &AgentId {
        &self.0.agent.name
    }

    /// It as data.
    #[must_use]
    pub fn spec(&self) -> &PatternSpec {
        &self.0.spec
    }

    /// How many turns it takes at most, tries of a turn that failed and what happens inside of members not counted.
    #[must_use]
    pub fn most_turns(&self) -> u64 {
        most_turns(&self.0.spec.pattern)
    }

    pub(super) fn definition(&self) -> &Arc<IndexMap<Arc<str>, Arc<str>>> {
        &self.0.definition
    }

    pub(super) fn check(&self) -> Result<()> {
        self.0.wrong.clone().map_or(Ok(()), Err)
    }
}

/// What a run that goes on with it has to have begun with: the options, and each member.
fn definition(spec: &PatternSpec) -> IndexMap<Arc<str>, Arc<str>> {
    let plain = PatternSpec { description: String::new(), name: String::new(), ..spec.clone() };
    let members = spec.pattern.voices().into_iter();
    let members = members.map(|member| (member.label().into(), digest(member).into()));
    std::iter::once(("options".into(), digest(&plain).into())).chain(members).collect()
}

fn digest(data: &impl serde::Serialize) -> String {
    let digest = Digest::of(serde_json::to_vec(data).unwrap_or_default()).to_string();
    digest.chars().filter(char::is_ascii_hexdigit).take(DIGITS).collect()
}

#[async_trait]
impl Actor for Pattern {
    fn spec(&self) -> &Arc<AgentSpec> {
        &self.0.agent
    }

    fn opening(&self) -> Vec<Fact> {
        vec![Fact::DefinitionRecorded { steps: Arc::clone(self.definition()) }]
    }

    async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        input.without_attachments()?;
        driver::run(self, session, input).await
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.0.spec.pattern.name();
        f.debug_struct("Pattern").field("name", self.name()).field("kind", &kind).finish_non_exhaustive()
    }
}
