//! Cross-reference checks of a pack; every problem is reported.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    agent::AgentSpec,
    pack::{
        Manifest,
        load::{Found, TeamFile, stem},
    },
    types::Diagnostic,
};

/// Everything about a pack that one file alone cannot show.
pub(super) fn validate(
    manifest: &Found<Manifest>,
    teams: &[Found<TeamFile>],
    agents: &[Found<AgentSpec>],
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    check_names(manifest, teams, agents, &mut problems);
    check_teams(teams, agents, &mut problems);
    for team in teams {
        check_agent(&team.file, &team.text, &team.value.supervisor, &mut problems);
    }
    for agent in agents {
        check_agent(&agent.file, &agent.text, &agent.value, &mut problems);
    }
    check_contents(manifest, teams, agents, &mut problems);
    problems
}

/// Files are named after what they hold, and no two things have one name.
fn check_names(
    manifest: &Found<Manifest>,
    teams: &[Found<TeamFile>],
    agents: &[Found<AgentSpec>],
    problems: &mut Vec<Diagnostic>,
) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let leads = teams.iter().map(|team| (team.value.supervisor.name.as_str(), &team.file, &team.text));
    let members = agents.iter().map(|agent| (agent.value.name.as_str(), &agent.file, &agent.text));
    owners.insert(&manifest.value.name, &manifest.file);
    for (name, file, text) in leads.chain(members) {
        if let Some(other) = owners.insert(name, file) {
            let message = format!("`{name}` is named in `{other}` too");
            problems.push(at(file, text, name, "duplicate_name", message));
        }
    }
    let named_teams = teams.iter().map(|team| (team.value.name.as_str(), &team.file, &team.text));
    let named_agents = agents.iter().map(|agent| (agent.value.name.as_str(), &agent.file, &agent.text));
    for (name, file, text) in named_teams.chain(named_agents) {
        if stem(file) != name {
            let message = format!("the file is not named after `{name}`; expected `{name}.toml`");
            problems.push(at(file, text, name, "file_name", message));
        }
    }
}

/// Every agent belongs to a team that exists, and lies in its folder.
fn check_teams(teams: &[Found<TeamFile>], agents: &[Found<AgentSpec>], problems: &mut Vec<Diagnostic>) {
    let known: Vec<&str> = teams.iter().map(|team| team.value.name.as_str()).collect();
    for agent in agents {
        let domain = agent.value.domain.as_deref().unwrap_or_default();
        let folder = agent.file.rsplit(['/', '\\']).nth(1).unwrap_or_default();
        let (code, message) = if domain.is_empty() {
            ("missing_domain", "expected `domain`, the name of a team".to_owned())
        } else if !known.contains(&domain) {
            ("unknown_domain", format!("no domain `{domain}` in the pack; known: {}", known.join(", ")))
        } else if folder != domain {
            ("wrong_folder", format!("the file is under `{folder}`; expected `agents/{domain}`"))
        } else {
            continue;
        };
        problems.push(at(&agent.file, &agent.text, domain, code, message));
    }
}

/// An agent says what it does, and its capabilities have different names and usable time-outs.
fn check_agent(file: &Arc<str>, text: &str, spec: &AgentSpec, problems: &mut Vec<Diagnostic>) {
    let name = spec.name.as_str();
    if spec.description.trim().is_empty() {
        problems.push(at(file, text, name, "empty_description", format!("`{name}` says not what it does")));
    }
    if spec.instructions.trim().is_empty() {
        problems.push(at(file, text, name, "empty_instructions", format!("`{name}` has no instructions")));
    }
    for (index, capability) in spec.capabilities.iter().enumerate() {
        let twice = spec.capabilities.iter().take(index).any(|other| other.name == capability.name);
        if twice {
            let message = format!("`{name}` has two capabilities `{}`", capability.name);
            problems.push(at(file, text, &capability.name, "duplicate_capability", message));
        }
        if capability.timeout_seconds == 0 {
            let message = format!("`timeout_seconds` of `{}` is 0; expected at least 1", capability.name);
            problems.push(at(file, text, &capability.name, "invalid_timeout", message));
        }
    }
}

/// What the manifest counts is what there is.
fn check_contents(
    manifest: &Found<Manifest>,
    teams: &[Found<TeamFile>],
    agents: &[Found<AgentSpec>],
    problems: &mut Vec<Diagnostic>,
) {
    let leads = teams.iter().map(|team| team.value.supervisor.capabilities.len());
    let members = agents.iter().map(|agent| agent.value.capabilities.len());
    let contents = manifest.value.contents;
    let counts = [
        ("domains", contents.domains, teams.len()),
        ("agents", contents.agents, agents.len()),
        ("supervisors", contents.supervisors, teams.len()),
        ("capabilities", contents.capabilities, leads.chain(members).sum()),
    ];
    for (what, said, found) in counts {
        if said != found {
            let message = format!("the manifest says {said} {what}, the pack has {found}");
            let offset = manifest.text.find(&format!("\n{what}")).map_or(0, |at| at + 1);
            let problem = Diagnostic::error("wrong_count", message).in_file(Arc::clone(&manifest.file));
            problems.push(problem.at_offset(&manifest.text, offset));
        }
    }
}

/// A problem at the first place where a name stands in quotes.
fn at(file: &Arc<str>, text: &str, name: &str, code: &str, message: String) -> Diagnostic {
    let offset = text.find(&format!("\"{name}\"")).unwrap_or(0);
    Diagnostic::error(code, message).in_file(Arc::clone(file)).at_offset(text, offset)
}
