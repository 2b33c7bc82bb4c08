//! Checks of the workflows of a pack: each one alone, and the agents and capabilities that its steps name.

use crate::{
    agent::AgentSpec,
    pack::{judged::hint, load::Found},
    types::{Diagnostic, Diagnostics, nearest},
    workflow::{StepSpec, Workflow, WorkflowSpec},
};

/// What steps of a pack's workflows may name.
pub(super) struct Known<'a> {
    /// The agents, leads included.
    pub(super) agents: Vec<&'a AgentSpec>,
    /// What has no capabilities of its own: the orchestrator and the workflows.
    pub(super) others: Vec<&'a str>,
}

/// Every problem that a workflow has without the rest of the pack; each at its step.
pub(super) fn check_alone(flow: &Found<WorkflowSpec>) -> Vec<Diagnostic> {
    let Err(err) = Workflow::from_spec(flow.value.clone()) else { return Vec::new() };
    let Some(Diagnostics(problems)) = err.cause::<Diagnostics>() else {
        let name = flow.value.name.as_str();
        return vec![flow.place().problem("name", name, "invalid_workflow", err.to_string())];
    };
    let placed = |problem: &Diagnostic| {
        let step = problem.pointer.strip_prefix("/steps/").and_then(|rest| {
            let index = rest.split('/').next().and_then(|index| index.parse::<usize>().ok())?;
            flow.value.steps.get(index)
        });
        // The name of the workflow itself may be that of a step too; it stands first.
        let name = step.map_or(flow.value.name.as_str(), |step| step.name.as_str());
        at(flow, name, &problem.code, problem.message.clone()).at_pointer(problem.pointer.clone())
    };
    problems.iter().map(placed).collect()
}

/// Every agent and capability that a workflow names and the pack does not have.
pub(super) fn check_names(flow: &Found<WorkflowSpec>, known: &Known<'_>) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for step in &flow.value.steps {
        let mut told = |code: &str, message: String| problems.push(at(flow, &step.name, code, message));
        check_step(step, known, &mut told);
    }
    problems
}

/// What a step names, and what the steps inside of it name.
fn check_step(step: &StepSpec, known: &Known<'_>, told: &mut dyn FnMut(&str, String)) {
    let several = step.agents.iter().flatten();
    let capability = step.capability.as_deref();
    let undo = step.compensate.as_ref().and_then(|undo| undo.agent.as_ref());
    let named = step.agent.iter().chain(several).map(|name| (name, capability));
    for (name, capability) in named.chain(undo.map(|name| (name, None))) {
        let agent = known.agents.iter().find(|agent| agent.name.as_str() == name);
        let Some(agent) = agent else {
            if !known.others.contains(&name.as_str()) {
                let agents = known.agents.iter().map(|agent| agent.name.as_str());
                let near = nearest(name, agents.chain(known.others.iter().copied()));
                told("unknown_agent", format!("the pack has no agent `{name}`{}", hint(&near)));
            } else if let Some(capability) = capability {
                told("unknown_capability", format!("`{name}` has no capabilities, got `{capability}`"));
            }
            continue;
        };
        let Some(capability) = capability else { continue };
        if !agent.capabilities.iter().any(|it| it.name == capability) {
            let near = nearest(capability, agent.capabilities.iter().map(|it| it.name.as_str()));
            let message = format!("`{name}` has no capability `{capability}`{}", hint(&near));
            told("unknown_capability", message);
        }
    }
    let inner = step.workflow.iter().chain(step.repeat.iter().map(|repeat| &repeat.workflow));
    inner.flat_map(|flow| &flow.steps).for_each(|step| check_step(step, known, told));
}

fn at(flow: &Found<WorkflowSpec>, name: &str, code: &str, message: String) -> Diagnostic {
    flow.place().problem("name", name, code, message)
}
