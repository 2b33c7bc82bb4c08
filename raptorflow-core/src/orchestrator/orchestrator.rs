//! `Orchestrator`: accepts a task, routes it to teams, runs their agents in parallel and combines what they say.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::{
    agent::{
        Actor, Agent, AgentInput, AgentKind, AgentOutput, AgentSpec, Session, event, is_its_own, observed,
    },
    error::{Error, ErrorKind, Result},
    event::{EventKind, Priority},
    journal::Fact,
    orchestrator::{
        Admission, AgentChoice, CapabilityRouter, Claim, Conflicts, Decision, Escalation, Report, Router,
        RouterCall, Supervisor, Task, Working,
        answered::{Answered, before, is_done, section, sum},
        disagreement::disagreements,
        restart::restarting,
        review::Review,
        router::by_name,
    },
    runtime::Context,
    types::{AgentId, Message, Usage},
};

/// Settings of an orchestrator.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OrchestratorConfig {
    /// How many agents run at the same time; 16 by default.
    pub parallel: usize,
}

impl Default for OrchestratorConfig {
    fn default() -> Self {
        Self { parallel: 16 }
    }
}

impl OrchestratorConfig {
    /// Another bound on agents at the same time, at least 1.
    #[must_use]
    pub fn with_parallel(mut self, parallel: usize) -> Self {
        self.parallel = parallel.max(1);
        self
    }
}

/// Teams under one name; an actor whose output is a [`Report`].
///
/// What is decided and what each agent answers is journalled under `route` and `team/agent`, so that a resumed run
/// asks only those that had not finished.
/// An agent that cannot answer is listed as missing; one that cannot be reached, is refused or cancelled ends the
/// run with its error, and the run can be resumed.
///
/// ```
/// use raptorflow_core::agent::{Agent, AgentSpec, FunctionAgent, Routing};
/// use raptorflow_core::{Engine, orchestrator::{Orchestrator, Report, Supervisor, TeamSpec}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> raptorflow_core::Result<()> {
/// let team = |name: &str, words: &[&str]| TeamSpec {
///     name: name.to_owned(),
///     title: name.to_owned(),
///     concern: String::new(),
///     heading: name.to_owned(),
///     description: String::new(),
///     channels: Vec::new(),
///     routing: Routing { words: words.iter().map(|word| (*word).to_owned()).collect() },
/// };
/// let lead = |name: &'static str| -> raptorflow_core::Result<Agent> {
///     Ok(FunctionAgent::new(AgentSpec::new(name)?, move |_ctx, _input| async move { Ok(name.into()) }).into())
/// };
/// let teams = vec![
///     Supervisor::new(team("plans", &["plan", "milestone"]), lead("planner")?, vec![]),
///     Supervisor::new(team("risks", &["risk", "threat"]), lead("watcher")?, vec![]),
/// ];
/// let engine = Engine::builder().build().await?;
/// engine.register(Orchestrator::new("office", teams)?)?;
/// let outcome = engine.run("office", "Which risk threatens us?").await?;
/// let report: Report = serde_json::from_value(outcome.output).unwrap();
/// assert_eq!((report.sections.len(), report.sections[0].team.as_str()), (1, "risks"));
/// // What the agent said rests on no passage.
/// assert_eq!(report.dropped[0].text, "watcher");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Orchestrator {
    spec: Arc<AgentSpec>,
    teams: Vec<Supervisor>,
    router: Arc<dyn Router>,
    config: OrchestratorConfig,
    admission: Option<(Admission, Priority)>,
    review: Review,
}

impl Orchestrator {
    /// Teams under a name, routed by capability.
    ///
    /// # Errors
    /// `InvalidInput` when a name does not fit or there is no team; `AlreadyExists` when two teams, or two agents of
    /// one team, have one name.
    pub fn new(name: impl Into<Arc<str>>, teams: Vec<Supervisor>) -> Result<Self> {
        let mut spec = AgentSpec::new(name)?;
        spec.kind = AgentKind::Orchestrator;
        if teams.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "orchestrator.new",
                "expected at least one team",
            )
            .with("orchestrator", spec.name));
        }
        check_names(&teams)?;
        let (router, config) = (Arc::new(CapabilityRouter), OrchestratorConfig::default());
        Ok(Self { spec: Arc::new(spec), teams, router, config, admission: None, review: Review::default() })
    }

    /// Another router.
    #[must_use]
    pub fn with_router(mut self, router: Arc<dyn Router>) -> Self {
        self.router = router;
        self
    }

    /// Other settings.
    #[must_use]
    pub fn with_config(mut self, config: OrchestratorConfig) -> Self {
        self.config = config;
        self
    }

    /// Lets every agent wait for a slot of an admission before it is asked, with so much urgency; several
    /// orchestrators may share one.
    ///
    /// An agent that is not admitted ends the run with `RateLimited`, and the run can be resumed.
    #[must_use]
    pub fn with_admission(mut self, admission: Admission, urgency: Priority) -> Self {
        self.admission = Some((admission, urgency));
        self
    }

    /// Settles claims that disagree; without it they are listed and left to the reader.
    #[must_use]
    pub fn with_conflicts(mut self, conflicts: Conflicts) -> Self {
        self.review.conflicts = Some(conflicts);
        self
    }

    /// Asks people about reports for which a rule holds; the run waits for their answers.
    #[must_use]
    pub fn with_escalation(mut self, escalation: Escalation) -> Self {
        self.review.escalation = Some(escalation);
        self
    }

    /// What the whole is for.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.spec).description = description.into();
        self
    }

    /// The teams.
    #[must_use]
    pub fn teams(&self) -> &[Supervisor] {
        &self.teams
    }

    async fn orchestrate(&self, session: &Session, task: &Task) -> Result<AgentOutput> {
        self.tell(session, EventKind::StatusUpdated, json!({ "state": "planning" })).await?;
        let (decision, working) = self.decide(session, task).await?;
        for choice in &decision.agents {
            let data = json!({ "team": choice.team, "agent": choice.agent, "capability": choice.capability });
            self.tell(session, EventKind::ResourceAllocated, data).await?;
        }
        let agents = decision.agents.len();
        self.tell(session, EventKind::StatusUpdated, json!({ "state": "executing", "agents": agents }))
            .await?;
        let answers = self.work(session, task, &decision, working).await?;
        let mut report = self.report(task, decision, &answers)?;
        if self.review.is_wanted() {
            self.tell(session, EventKind::StatusUpdated, json!({ "state": "validating" })).await?;
            self.review.apply(session, &self.spec, task, &mut report).await?;
        }
        self.tell(session, EventKind::StatusUpdated, json!({ "state": "completing" })).await?;
        let (usage, cost) = (report.usage, report.cost);
        let output = serde_json::to_value(&report).map_err(|err| {
            Error::new(ErrorKind::Internal, "orchestrator.report", "the report does not serialize")
                .caused_by(err)
        })?;
        let output = AgentOutput { output, usage, cost, ..AgentOutput::default() };
        self.tell(session, EventKind::WorkflowCompleted, json!({ "agents": agents })).await?;
        Ok(output)
    }

    /// Who works on the task, decided once, also over a resume; and that they are at work, in the same order.
    async fn decide(&self, session: &Session, task: &Task) -> Result<(Decision, Vec<Working>)> {
        let begun: Mutex<Vec<Working>> = Mutex::new(Vec::new());
        let held = &begun;
        let route = |ctx: Context| async move {
            let mut decision = match by_name(task, &self.teams)? {
                Some(decision) => decision,
                None => self.router.route(&ctx, task, &self.teams).await?,
            };
            self.pay(session, &ctx, &decision.calls).await?;
            let (agents, working) = self.delegate(session, task, &decision)?.into_iter().unzip();
            decision.agents = agents;
            *held.lock().unwrap_or_else(PoisonError::into_inner) = working;
            Ok::<_, Error>(decision)
        };
        let decision = session.journal().step(session.ctx(), "route", route).await?;
        let mut working = begun.into_inner().unwrap_or_else(PoisonError::into_inner);
        if working.len() != decision.agents.len() {
            // It was decided before; what was at work then is not any more.
            let begin = |it: &AgentChoice| Ok(self.team(&it.team)?.balancer().begin(it.agent.as_str()));
            working = decision.agents.iter().map(begin).collect::<Result<_>>()?;
        }
        Ok((decision, working))
    }

    /// Records what the router's calls of models took.
    async fn pay(&self, session: &Session, ctx: &Context, calls: &[RouterCall]) -> Result<()> {
        let responded = |call: &RouterCall| Fact::ModelResponded {
            model: call.model.clone(),
            message: Message::assistant(call.said.as_str()),
            usage: call.usage,
            cost: session.means().prices.cost(&call.model, &call.usage, ctx.now()),
            truncated: false,
        };
        let facts: Vec<Fact> = calls.iter().map(responded).collect();
        if facts.is_empty() { Ok(()) } else { session.journal().append(ctx, &facts).await.map(drop) }
    }

    /// The agents that a decision names, and those that chosen teams without such an agent choose.
    fn delegate(
        &self,
        session: &Session,
        task: &Task,
        decision: &Decision,
    ) -> Result<Vec<(AgentChoice, Working)>> {
        let availability = |name: &str| session.means().agents.metrics(name).availability;
        let mut agents = Vec::new();
        for choice in decision.teams.iter().filter(|choice| choice.chosen) {
            let team = self.team(&choice.team)?;
            let named: Vec<&AgentChoice> =
                decision.agents.iter().filter(|it| it.team == choice.team).collect();
            for it in &named {
                self.agent(it)?;
                agents.push(((*it).clone(), team.balancer().begin(it.agent.as_str())));
            }
            if named.is_empty() {
                let (count, balance) = (task.agents_per_team, task.balance);
                agents.extend(team.delegate_begun(&choice.focus, count, balance, availability));
            }
        }
        let refused =
            |message: &'static str| Error::new(ErrorKind::InvalidOutput, "orchestrator.route", message);
        let mut chosen = HashSet::new();
        if let Some((twice, _)) = agents.iter().find(|(it, _)| !chosen.insert((&it.team, &it.agent))) {
            return Err(refused("the router chose a team twice").with("team", &twice.team));
        }
        if let Some(other) = decision.agents.iter().find(|it| !chosen.contains(&(&it.team, &it.agent))) {
            return Err(refused("the router chose an agent and not its team").with("agent", &other.agent));
        }
        if agents.is_empty() {
            let message = "the router chose no team";
            return Err(Error::new(ErrorKind::NotFound, "orchestrator.route", message)
                .with("router", &decision.router));
        }
        Ok(agents)
    }

    /// Asks all of them, those first that wait for nobody; who waits is told what came of it.
    async fn work(
        &self,
        session: &Session,
        task: &Task,
        decision: &Decision,
        working: Vec<Working>,
    ) -> Result<Vec<Answered>> {
        let mut waiting: Vec<(AgentChoice, Working)> = decision.agents.iter().cloned().zip(working).collect();
        let mut answers: Vec<Answered> = Vec::new();
        while !waiting.is_empty() {
            let ready: Vec<(AgentChoice, Working)>;
            (ready, waiting) = waiting.into_iter().partition(|(it, _)| is_done(&it.after, &answers));
            if ready.is_empty() {
                let message = "steps wait for each other, or for one that there is not";
                return Err(Error::new(ErrorKind::InvalidOutput, "orchestrator.plan", message)
                    .with("router", &decision.router));
            }
            let asked: Vec<_> = ready
                .into_iter()
                .map(|(it, working)| {
                    let before = before(&it, &answers);
                    (it, working, before)
                })
                .collect();
            let found: Vec<Answered> = stream::iter(asked)
                .map(|(choice, working, before)| async move {
                    let answered = match before {
                        Ok(before) => self.ask(session, task, choice, &before).await,
                        Err(error) => Ok(Answered { choice, result: Err(error) }),
                    };
                    drop(working);
                    answered
                })
                .buffered(self.config.parallel.max(1))
                .try_collect()
                .await?;
            answers.extend(found);
        }
        Ok(answers)
    }

    async fn ask(
        &self,
        session: &Session,
        task: &Task,
        choice: AgentChoice,
        before: &str,
    ) -> Result<Answered> {
        let agent = self.agent(&choice)?;
        let input = match &choice.capability {
            Some(capability) => AgentInput::for_capability(capability.as_str(), &choice.focus),
            None => AgentInput::new(choice.focus.as_str()),
        };
        let input = if choice.focus == task.goal && before.is_empty() {
            input
        } else {
            input.with_background(format!("{}{before}", task.goal))
        };
        let ctx = session.ctx().with_agent(&self.spec.name).child(&choice.team).child(choice.agent.as_str());
        let session = session.with_context(ctx);
        let failed =
            session.journal().recorded(session.ctx().path()).into_iter().find_map(|entry| match entry.fact {
                Fact::StepFailed { error } => Some(error),
                _ => None,
            });
        if let Some(error) = failed {
            return Ok(Answered { choice, result: Err(error) });
        }
        let _permit = match &self.admission {
            Some((admission, urgency)) => Some(
                admission
                    .admit(session.ctx(), *urgency)
                    .await
                    .map_err(|error| error.with("asked", &choice.agent))?,
            ),
            None => None,
        };
        let policy = self.team(&choice.team)?.restart();
        match restarting(&session, agent, &input, policy).await {
            Ok(output) => Ok(Answered { choice, result: Ok(output) }),
            Err(error)
                if is_its_own(session.ctx(), &choice.agent, &error)
                    && !session.ctx().cancel().is_cancelled() =>
            {
                session.journal().append(session.ctx(), &[Fact::StepFailed { error: error.clone() }]).await?;
                Ok(Answered { choice, result: Err(error) })
            }
            Err(error) => Err(error.with("asked", &choice.agent)),
        }
    }

    fn report(&self, task: &Task, decision: Decision, answers: &[Answered]) -> Result<Report> {
        if let Some(error) = answers.iter().find_map(|it| it.result.as_ref().err())
            && answers.iter().all(|it| it.result.is_err())
        {
            return Err(error.clone());
        }
        let (mut sources, mut sections, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
        for choice in decision.teams.iter().filter(|choice| choice.chosen) {
            let team = self.team(&choice.team)?.spec();
            let of_team = answers.iter().filter(|it| it.choice.team == team.name);
            let (section, left_out) = section(team, of_team, &mut sources);
            sections.push(section);
            dropped.extend(left_out);
        }
        let outputs = || answers.iter().filter_map(|it| it.result.as_ref().ok());
        let usage = outputs().fold(Usage::default(), |sum, output| sum.plus(output.usage));
        let (goal, cost) = (task.goal.clone(), sum(outputs().map(|output| output.cost)));
        let all: Vec<Claim> = sections.iter().flat_map(|section| section.claims.iter().cloned()).collect();
        let disagreements = disagreements(&all);
        let (resolutions, escalations) = (Vec::new(), Vec::new());
        Ok(Report {
            goal,
            sections,
            disagreements,
            resolutions,
            escalations,
            dropped,
            sources,
            decision,
            usage,
            cost,
        })
    }

    fn team(&self, name: &str) -> Result<&Supervisor> {
        self.teams.iter().find(|team| team.name() == name).ok_or_else(|| changed("team", name))
    }

    fn agent(&self, choice: &AgentChoice) -> Result<&Agent> {
        let agents = self.team(&choice.team)?.agents();
        agents
            .iter()
            .find(|agent| *agent.name() == choice.agent)
            .ok_or_else(|| changed("agent", choice.agent.as_str()))
    }

    async fn tell(&self, session: &Session, kind: EventKind, data: Value) -> Result<()> {
        let mut event = event(session.ctx(), &self.spec, kind);
        event.data = data;
        session.means().bus.publish(session.ctx(), event).await
    }
}

#[async_trait]
impl Actor for Orchestrator {
    fn spec(&self) -> &Arc<AgentSpec> {
        &self.spec
    }

    fn check_signal(&self, name: &str, _value: &Value, by: Option<&str>) -> Result<()> {
        self.review.check(name, by)
    }

    async fn run(&self, session: &Session, input: &AgentInput) -> Result<AgentOutput> {
        input.without_attachments()?;
        let task = Task::from_input(input)?;
        observed(session, &self.spec, pin!(self.orchestrate(session, &task))).await
    }
}

fn changed(what: &'static str, name: &str) -> Error {
    let message =
        "the recorded decision names something that is gone; the definition has changed since the run began";
    Error::new(ErrorKind::Conflict, "orchestrator.resume", message).with(what, name)
}

/// Refuses names of teams, and of agents within a team, that are used twice: they are the places of a journal.
fn check_names(teams: &[Supervisor]) -> Result<()> {
    let twice = |what, name: &str| {
        let message = "two have this name";
        Err(Error::new(ErrorKind::AlreadyExists, "orchestrator.new", message).with(what, name))
    };
    let mut known = HashSet::new();
    for team in teams {
        AgentId::new(team.name()).map_err(|err| {
            let message = "not a name of a team";
            Error::new(ErrorKind::InvalidInput, "orchestrator.new", message)
                .with("team", team.name())
                .caused_by(err)
        })?;
        if !known.insert(team.name()) {
            return twice("team", team.name());
        }
        let mut agents = HashSet::new();
        if let Some(agent) = team.agents().iter().find(|agent| !agents.insert(agent.name())) {
            return twice("agent", agent.name().as_str());
        }
    }
    Ok(())
}
