//! Teams of function agents that note what they are asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use raptorflow_core::{
    Agent, Engine,
    agent::{AgentInput, AgentSpec, FunctionAgent, Routing},
    error::Result,
    orchestrator::{Orchestrator, Report, Supervisor, TeamSpec},
    runtime::Context,
};
use serde_json::{Value, json};

pub(crate) fn team_spec(name: &str, words: &[&str]) -> TeamSpec {
    TeamSpec {
        name: name.to_owned(),
        title: String::new(),
        concern: String::new(),
        heading: name.to_owned(),
        description: String::new(),
        channels: vec![],
        routing: Routing { words: words.iter().map(|word| (*word).to_owned()).collect() },
    }
}

/// What the agents of a test did, by name.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<BTreeMap<String, Vec<AgentInput>>>>);

impl Calls {
    fn note(&self, name: &str, input: AgentInput) -> usize {
        let mut calls = self.0.lock().unwrap();
        let calls = calls.entry(name.to_owned()).or_default();
        calls.push(input);
        calls.len()
    }

    pub(crate) fn counts(&self) -> Vec<(String, usize)> {
        self.0.lock().unwrap().iter().map(|(name, calls)| (name.clone(), calls.len())).collect()
    }

    pub(crate) fn of(&self, name: &str) -> Vec<AgentInput> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    /// An agent that notes what it is asked and answers by how often it was.
    pub(crate) fn agent(
        &self,
        name: &str,
        answer: impl Fn(usize) -> Result<Value> + Send + Sync + 'static,
    ) -> Agent {
        let (calls, own_name) = (self.clone(), name.to_owned());
        let work = move |_: Context, input: AgentInput| {
            let answer = answer(calls.note(&own_name, input));
            async move { answer }
        };
        FunctionAgent::new(AgentSpec::new(name).unwrap(), work).into()
    }
}

pub(crate) fn done(_: usize) -> Result<Value> {
    Ok(json!({ "done": true }))
}

pub(crate) fn supervisors(teams: &[(&str, &[&str])], calls: &Calls) -> Vec<Supervisor> {
    let team = |(name, words): &(&str, &[&str])| {
        let lead = calls.agent(&format!("{name}-lead"), done);
        Supervisor::new(team_spec(name, words), lead, vec![calls.agent(&format!("{name}-member"), done)])
    };
    teams.iter().map(team).collect()
}

pub(crate) async fn with(orchestrator: Orchestrator) -> Engine {
    let engine = Engine::builder().build().await.unwrap();
    engine.register(orchestrator).unwrap();
    engine
}

pub(crate) async fn report(engine: &Engine, task: impl Into<AgentInput>) -> Report {
    serde_json::from_value(engine.run("office", task).await.unwrap().output).unwrap()
}

pub(crate) const TEAMS: [(&str, &[&str]); 3] =
    [("plans", &["plan", "milestone"]), ("risks", &["risk", "threat"]), ("prices", &["price", "budget"])];
