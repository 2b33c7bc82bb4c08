//! Cross-reference checks of a pack; every problem is reported.

use std::collections::BTreeMap;

use crate::{
    agent::AgentSpec,
    pack::{
        Manifest, flows,
        load::{Found, TeamFile, stem},
        place::Place,
    },
    types::{AgentId, Diagnostic},
    workflow::WorkflowSpec,
};

/// Whether every file of the pack could be read.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Files {
    /// All of them.
    All,
    /// Some could not, which is reported; what is missing because of it is no further problem.
    Some,
}

/// The files of a pack that name each other.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) manifest: &'a Found<Manifest>,
    pub(super) teams: &'a [Found<TeamFile>],
    pub(super) agents: &'a [Found<AgentSpec>],
    pub(super) flows: &'a [Found<WorkflowSpec>],
}

/// Everything about a pack that one file alone cannot show.
pub(super) fn validate(parts: Parts<'_>, files: Files) -> Vec<Diagnostic> {
    let Parts { manifest, teams, agents, .. } = parts;
    let mut problems = Vec::new();
    check_names(parts, &mut problems);
    check_teams(teams, agents, files, &mut problems);
    check_flows(parts, files, &mut problems);
    for team in teams {
        check_agent(team.lead(), &team.value.supervisor, &mut problems);
    }
    for agent in agents {
        check_agent(agent.place(), &agent.value, &mut problems);
    }
    if files == Files::All {
        check_contents(manifest, teams, agents, &mut problems);
    }
    problems
}

/// Every workflow can be built, and its steps name agents and capabilities that there are.
fn check_flows(parts: Parts<'_>, files: Files, problems: &mut Vec<Diagnostic>) {
    let leads = parts.teams.iter().map(|team| &team.value.supervisor);
    let others = parts.flows.iter().map(|flow| flow.value.name.as_str());
    let known = flows::Known {
        agents: leads.chain(parts.agents.iter().map(|agent| &agent.value)).collect(),
        others: others.chain([parts.manifest.value.name.as_str()]).collect(),
    };
    for flow in parts.flows {
        problems.extend(flows::check_alone(flow));
        if files == Files::All {
            problems.extend(flows::check_names(flow, &known));
        }
    }
}

/// Names can be names, files are named after what they hold, and no two things have one name.
fn check_names(parts: Parts<'_>, problems: &mut Vec<Diagnostic>) {
    let Parts { manifest, teams, agents, flows } = parts;
    let named_teams = teams.iter().map(|team| (team.value.name.as_str(), team.place()));
    let leads = teams.iter().map(|team| (team.value.supervisor.name.as_str(), team.lead()));
    let members = agents.iter().map(|agent| (agent.value.name.as_str(), agent.place()));
    let members = members.chain(flows.iter().map(|flow| (flow.value.name.as_str(), flow.place())));
    for (name, place) in named_teams.clone().chain([(manifest.value.name.as_str(), manifest.place())]) {
        if let Err(err) = AgentId::new(name) {
            problems.push(place.problem("name", name, "invalid_name", err.message().to_owned()));
        }
    }
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    owners.insert(&manifest.value.name, &manifest.file);
    for (name, place) in leads.chain(members.clone()) {
        if let Some(other) = owners.insert(name, place.file()) {
            let message = format!("`{name}` is named in `{other}` too");
            problems.push(place.problem("name", name, "duplicate_name", message));
        }
    }
    for (name, place) in named_teams.chain(members) {
        if stem(place.file()) != name {
            let message = format!("the file is not named after `{name}`; expected `{name}.toml`");
            problems.push(place.problem("name", name, "file_name", message));
        }
    }
}

/// Every agent belongs to a team that exists, and lies in its folder.
fn check_teams(
    teams: &[Found<TeamFile>],
    agents: &[Found<AgentSpec>],
    files: Files,
    problems: &mut Vec<Diagnostic>,
) {
    let known: Vec<&str> = teams.iter().map(|team| team.value.name.as_str()).collect();
    for agent in agents {
        let domain = agent.value.domain.as_deref().unwrap_or_default();
        let folder = agent.file.rsplit(['/', '\\']).nth(1).unwrap_or_default();
        let (code, message) = if domain.is_empty() {
            let message = "expected `domain`, the name of a team".to_owned();
            problems.push(agent.place().problem(
                "name",
                agent.value.name.as_str(),
                "missing_domain",
                message,
            ));
            continue;
        } else if !known.contains(&domain) && files == Files::All {
            ("unknown_domain", format!("no domain `{domain}` in the pack; known: {}", known.join(", ")))
        } else if folder != domain {
            ("wrong_folder", format!("the file is under `{folder}`; expected `agents/{domain}`"))
        } else {
            continue;
        };
        problems.push(agent.place().problem("domain", domain, code, message));
    }
}

/// An agent says what it does, and its capabilities have different names and usable time-outs.
fn check_agent(place: Place<'_>, spec: &AgentSpec, problems: &mut Vec<Diagnostic>) {
    let name = spec.name.as_str();
    if spec.description.trim().is_empty() {
        let message = format!("`{name}` says not what it does");
        problems.push(place.problem("name", name, "empty_description", message));
    }
    if spec.instructions.trim().is_empty() {
        let message = format!("`{name}` has no instructions");
        problems.push(place.problem("name", name, "empty_instructions", message));
    }
    if spec.limits.steps == 0 {
        let message = format!("`steps` of `{name}` is 0; expected at least 1");
        problems.push(place.problem("steps", "", "invalid_limit", message));
    }
    for (index, capability) in spec.capabilities.iter().enumerate() {
        let before =
            spec.capabilities.iter().take(index).filter(|other| other.name == capability.name).count();
        if before > 0 {
            let message = format!("`{name}` has two capabilities `{}`", capability.name);
            problems.push(place.problem_of(
                before,
                "name",
                &capability.name,
                "duplicate_capability",
                message,
            ));
        }
        if capability.timeout_seconds == 0 {
            let message = format!("`timeout_seconds` of `{}` is 0; expected at least 1", capability.name);
            problems.push(place.problem_of(before, "name", &capability.name, "invalid_timeout", message));
        }
    }
}

/// What the manifest counts is what there is, and that is at least one team.
fn check_contents(
    manifest: &Found<Manifest>,
    teams: &[Found<TeamFile>],
    agents: &[Found<AgentSpec>],
    problems: &mut Vec<Diagnostic>,
) {
    let leads = teams.iter().map(|team| team.value.supervisor.capabilities.len());
    let members = agents.iter().map(|agent| agent.value.capabilities.len());
    let (contents, place) = (manifest.value.contents, manifest.place().below("[contents]"));
    problems.extend(check_counts(
        manifest,
        &[
            ("domains", contents.domains, teams.len()),
            ("agents", contents.agents, agents.len()),
            ("supervisors", contents.supervisors, teams.len()),
            ("capabilities", contents.capabilities, leads.chain(members).sum()),
        ],
    ));
    if teams.is_empty() {
        let message = "a pack has at least one file under `domains`".to_owned();
        problems.push(place.problem("domains", "", "no_domain", message));
    }
}

/// What the manifest counts is what there is: the name of each count, what is said and what was found.
pub(super) fn check_counts(manifest: &Found<Manifest>, counts: &[(&str, usize, usize)]) -> Vec<Diagnostic> {
    let place = manifest.place().below("[contents]");
    let differ = counts.iter().filter(|(_, said, found)| said != found);
    differ
        .map(|(what, said, found)| {
            let message = format!("the manifest says {said} {what}, the pack has {found}");
            place.problem(what, "", "wrong_count", message)
        })
        .collect()
}
