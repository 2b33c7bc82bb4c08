//! Registers a valid pack: its agents, its supervisors, an orchestrator over its teams, its workflows; all or nothing.

use std::sync::Arc;

use crate::{
    agent::{Agent, AgentBuilder, AgentRegistry, AgentSpec},
    error::Result,
    orchestrator::{Orchestrator, Supervisor},
    pack::Pack,
    workflow::Workflow,
};

impl Pack {
    /// Registers every agent and workflow of the pack, and an orchestrator with the pack's name over its teams.
    ///
    /// # Errors
    /// `AlreadyExists` when a name is taken; then nothing is registered.
    pub fn install(&self, agents: &AgentRegistry) -> Result<()> {
        let build = |spec: &AgentSpec| AgentBuilder::from_spec(spec.clone()).build();
        let members: Vec<Agent> = self.agents.iter().map(build).collect::<Result<_>>()?;
        let mut all = members.clone();
        let mut teams = Vec::with_capacity(self.teams.len());
        for (team, lead) in &self.teams {
            let lead = build(lead)?;
            let of_team = |agent: &&Agent| agent.spec().domain.as_deref() == Some(team.name.as_str());
            teams.push(Supervisor::new(
                team.clone(),
                lead.clone(),
                members.iter().filter(of_team).cloned().collect(),
            ));
            all.push(lead);
        }
        let name: Arc<str> = self.manifest.name.as_str().into();
        let orchestrator =
            Orchestrator::new(name, teams)?.with_description(self.manifest.description.as_str());
        all.push(Agent::new(orchestrator));
        for flow in &self.workflows {
            all.push(Agent::new(Workflow::from_spec(flow.clone())?));
        }
        agents.register_all(all)
    }
}
