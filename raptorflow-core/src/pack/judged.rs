//! Cases that the agents of a pack are judged by.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    agent::AgentSpec,
    pack::cases::{self, Case},
    types::{AgentId, Diagnostic, Schema, nearest},
};

/// Where the cases lie: a folder for each team, in it a file for each agent.
const CASES: &str = "evals/agents";

/// One case that an agent is judged by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentCase {
    /// The name of the case, unique for its agent.
    pub name: String,
    /// The capability that is asked for; the agent as a whole when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// What the agent is given; it fits the capability's input schema.
    pub inputs: Value,
    /// The passages that it is given with them, numbered from 1; none when it is not said.
    #[serde(default)]
    pub passages: Vec<String>,
    /// What a good output does, each a statement that a reader can affirm or deny.
    pub expect: Vec<String>,
    /// What it must not do.
    #[serde(default)]
    pub refuse: Vec<String>,
    /// An output that would pass, where one is worth showing; it fits the capability's output schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

impl Case for AgentCase {
    fn name(&self) -> &str {
        &self.name
    }

    fn expect(&self) -> &[String] {
        &self.expect
    }
}

/// Cases by agent.
pub(super) type Cases = BTreeMap<AgentId, Vec<AgentCase>>;

/// An agent that may be judged, and the file that it came from.
pub(super) struct Judged<'a> {
    pub(super) file: &'a str,
    pub(super) spec: &'a AgentSpec,
    /// Whether it leads a team; a lead may have cases, a member of a team with cases must.
    pub(super) leads: bool,
}

/// Reads the cases below the folder of a pack; a pack may have none.
pub(super) fn read(root: &Path, agents: &[Judged<'_>]) -> (Cases, Vec<Diagnostic>) {
    let (mut found, mut problems) = (Cases::new(), Vec::new());
    for file in cases::files(root, CASES, &mut problems) {
        let message = format!("expected `{CASES}/TEAM/{}.jsonl`", file.stem);
        problems.push(cases::problem(&file.path, 0, "wrong_folder", message));
    }
    let teams = cases::folders(root, CASES, &mut problems);
    for team in &teams {
        for file in cases::files(root, &format!("{CASES}/{team}"), &mut problems) {
            let known = agents.iter().find(|agent| agent.spec.name.as_str() == file.stem);
            let Some(Judged { spec, .. }) = known else {
                let near = nearest(&file.stem, agents.iter().map(|agent| agent.spec.name.as_str()));
                let hint = hint(&near);
                let message = format!("the pack has no agent `{}`{hint}", file.stem);
                problems.push(cases::problem(&file.path, 0, "unknown_agent", message));
                continue;
            };
            let domain = spec.domain.as_deref().unwrap_or_default();
            if domain != team {
                let message = format!("`{}` belongs to `{domain}`; expected `{CASES}/{domain}`", file.stem);
                problems.push(cases::problem(&file.path, 0, "wrong_folder", message));
            }
            let rows = cases::rows::<AgentCase>(root, &file.path, &mut problems);
            for (line, case) in &rows {
                problems.extend(check(&file.path, *line, case, spec));
            }
            found.insert(spec.name.clone(), rows.into_iter().map(|(_, case)| case).collect());
        }
    }
    let of_teams = |agent: &&Judged<'_>| {
        !agent.leads && teams.iter().any(|team| Some(team.as_str()) == agent.spec.domain.as_deref())
    };
    problems.extend(agents.iter().filter(of_teams).filter_map(|agent| {
        let count = found.get(&agent.spec.name).map_or(0, Vec::len);
        cases::few(agent.file.to_owned(), agent.spec.name.as_str(), CASES, count)
    }));
    (found, problems)
}

/// The capability of a case is one of the agent's, and what the case holds fits it.
fn check(file: &str, line: u32, case: &AgentCase, spec: &AgentSpec) -> Vec<Diagnostic> {
    let (input, output) = match &case.capability {
        None => (None, spec.output.as_ref()),
        Some(name) => match spec.capabilities.iter().find(|it| it.name == *name) {
            Some(capability) => (Some(&capability.input), Some(&capability.output)),
            None => {
                let near = nearest(name, spec.capabilities.iter().map(|it| it.name.as_str()));
                let message = format!("`{}` has no capability `{name}`{}", spec.name, hint(&near));
                return vec![cases::problem(file, line, "unknown_capability", message)];
            }
        },
    };
    // A schema that cannot be used is told where it stands.
    let fits = |schema: Option<&Schema>, value: &Value| {
        schema.filter(|schema| schema.check().is_ok()).map(|schema| schema.validate(value))
    };
    let inputs = fits(input, &case.inputs).unwrap_or_default();
    let output = case.output.as_ref().and_then(|value| fits(output, value)).unwrap_or_default();
    let of_inputs = cases::unfit(file, line, "inputs", inputs);
    of_inputs.chain(cases::unfit(file, line, "output", output)).collect()
}

/// What may have been meant.
pub(super) fn hint(near: &[&str]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean `{}`?", near.join("` or `")) }
}
