//! Skills of a pack and the cases that they are judged by.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    pack::cases::{self, Case},
    skill::{Skill, SkillId, SkillRegistry},
    types::Diagnostic,
};

/// Where the skills and their cases lie.
const SKILLS: &str = "skills";
const CASES: &str = "evals/skills";

/// One case that a skill is judged by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillCase {
    /// The name of the case, unique for its skill.
    pub name: String,
    /// What the skill is given; it fits the skill's schema.
    pub inputs: Value,
    /// What a good output does, each a statement that a reader can affirm or deny.
    pub expect: Vec<String>,
    /// What it must not do.
    #[serde(default)]
    pub refuse: Vec<String>,
    /// An output that would pass, where one is worth showing; it fits the skill's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

impl Case for SkillCase {
    fn name(&self) -> &str {
        &self.name
    }

    fn expect(&self) -> &[String] {
        &self.expect
    }
}

/// What was read.
#[derive(Default)]
pub(super) struct Skills {
    pub(super) skills: Vec<Skill>,
    pub(super) cases: BTreeMap<SkillId, Vec<SkillCase>>,
    pub(super) problems: Vec<Diagnostic>,
}

/// Reads skills and cases below the folder of a pack; a pack may have none.
pub(super) fn read(root: &Path) -> Skills {
    let mut found = Skills::default();
    let folder = root.join(SKILLS);
    if folder.is_dir() {
        match SkillRegistry::open(&folder) {
            Ok(registry) => {
                let placed = |problem: Diagnostic| {
                    let file = problem.file.as_deref().map(|file| format!("{SKILLS}/{file}"));
                    problem.in_file(file.unwrap_or_else(|| SKILLS.to_owned()))
                };
                found.problems.extend(registry.diagnostics().into_iter().map(placed));
                found.skills = registry.list();
            }
            Err(err) => found.problems.push(Diagnostic::error("unreadable", err.to_string()).in_file(SKILLS)),
        }
    }
    found.read_cases(root);
    found.check_counts();
    found
}

impl Skills {
    fn read_cases(&mut self, root: &Path) {
        for file in cases::files(root, CASES, &mut self.problems) {
            let (path, id) = (file.path, file.stem);
            let Some(skill) = self.skills.iter().find(|skill| skill.id().as_str() == id).cloned() else {
                let message = format!("the pack has no usable skill `{id}`");
                self.problems.push(cases::problem(&path, 0, "unknown_skill", message));
                continue;
            };
            let rows = cases::rows(root, &path, &mut self.problems);
            for (line, case) in &rows {
                self.check_case(&path, *line, case, &skill);
            }
            self.cases.insert(skill.id().clone(), rows.into_iter().map(|(_, case)| case).collect());
        }
    }

    fn check_case(&mut self, file: &str, line: u32, case: &SkillCase, skill: &Skill) {
        let unfit = skill.check_inputs(&case.inputs);
        if unfit.is_empty() {
            if let Err(err) = skill.render(&case.inputs) {
                let message = format!("`{}`: {err}", case.name);
                self.problems.push(cases::problem(file, line, "unrenderable_case", message));
            }
        } else {
            self.problems.extend(cases::unfit(file, line, "inputs", unfit));
        }
        if let Some(output) = &case.output {
            self.problems.extend(cases::unfit(file, line, "output", skill.check_output(output)));
        }
    }

    fn check_counts(&mut self) {
        let few = self.skills.iter().filter_map(|skill| {
            let count = self.cases.get(skill.id()).map_or(0, Vec::len);
            let file = skill.file().map_or_else(|| SKILLS.to_owned(), |file| format!("{SKILLS}/{file}"));
            cases::few(file, skill.id().as_str(), CASES, count)
        });
        self.problems.extend(few.collect::<Vec<_>>());
    }
}
