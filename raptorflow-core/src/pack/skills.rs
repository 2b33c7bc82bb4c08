//! Skills of a pack and the cases that they are judged by.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    skill::{Skill, SkillId, SkillRegistry},
    types::Diagnostic,
};

/// Where the skills and their cases lie.
const SKILLS: &str = "skills";
const CASES: &str = "evals/skills";
/// How many cases a skill should have.
const CASES_EACH: usize = 3;
/// The largest file of cases, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

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
        let folder = root.join(CASES);
        if !folder.is_dir() {
            return;
        }
        let mut files: Vec<String> = match fs::read_dir(&folder) {
            Ok(entries) => entries
                .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
                .filter(|name| name.ends_with(".jsonl"))
                .collect(),
            Err(err) => return self.problem(CASES, 0, "unreadable", err.to_string()),
        };
        files.sort();
        for name in files {
            let file = format!("{CASES}/{name}");
            let id = name.trim_end_matches(".jsonl");
            let Some(skill) = self.skills.iter().find(|skill| skill.id().as_str() == id).cloned() else {
                self.problem(&file, 0, "unknown_skill", format!("the pack has no usable skill `{id}`"));
                continue;
            };
            let path = folder.join(&name);
            let read = match fs::metadata(&path) {
                Ok(metadata) if metadata.len() > MAX_FILE => Err(format!("over {MAX_FILE} bytes")),
                Ok(_) => fs::read_to_string(&path).map_err(|err| err.to_string()),
                Err(err) => Err(err.to_string()),
            };
            match read {
                Ok(text) => self.file(&file, &text, &skill),
                Err(reason) => self.problem(&file, 0, "unreadable", reason),
            }
        }
    }

    fn file(&mut self, file: &str, text: &str, skill: &Skill) {
        let mut names: BTreeSet<String> = BTreeSet::new();
        // Rows are split on `\n` only: texts may hold other characters that count as line ends.
        for (index, row) in text.split('\n').enumerate().filter(|(_, row)| !row.trim().is_empty()) {
            let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let case: SkillCase = match serde_json::from_str(row) {
                Ok(case) => case,
                Err(err) => {
                    self.problem(file, line, "invalid_case", err.to_string());
                    continue;
                }
            };
            if !names.insert(case.name.clone()) {
                self.problem(
                    file,
                    line,
                    "duplicate_case",
                    format!("`{}` is the name of a case above", case.name),
                );
            }
            if case.expect.iter().all(|statement| statement.trim().is_empty()) {
                self.problem(file, line, "empty_case", format!("`{}` expects nothing", case.name));
            }
            let unfit = skill.check_inputs(&case.inputs);
            if unfit.is_empty() {
                if let Err(err) = skill.render(&case.inputs) {
                    self.problem(file, line, "unrenderable_case", format!("`{}`: {err}", case.name));
                }
            } else {
                self.unfit(file, line, "inputs", unfit);
            }
            if let Some(output) = &case.output {
                self.unfit(file, line, "output", skill.check_output(output));
            }
            self.cases.entry(skill.id().clone()).or_default().push(case);
        }
    }

    fn unfit(&mut self, file: &str, line: u32, what: &str, problems: Vec<Diagnostic>) {
        for problem in problems {
            let pointer = format!("/{what}{}", problem.pointer);
            let problem = Diagnostic::error("unfit_case", problem.message).in_file(file).at(line, 1);
            self.problems.push(problem.at_pointer(pointer));
        }
    }

    fn check_counts(&mut self) {
        let few = self.skills.iter().filter_map(|skill| {
            let count = self.cases.get(skill.id()).map_or(0, Vec::len);
            (count < CASES_EACH).then(|| (skill.file().map(str::to_owned), skill.id().clone(), count))
        });
        for (file, id, count) in few.collect::<Vec<_>>() {
            let message = format!("`{id}` has {count} cases under `{CASES}`; expected at least {CASES_EACH}");
            let file = file.map_or_else(|| SKILLS.to_owned(), |file| format!("{SKILLS}/{file}"));
            self.problems.push(Diagnostic::warning("few_cases", message).in_file(file));
        }
    }

    fn problem(&mut self, file: &str, line: u32, code: &str, message: String) {
        let problem = Diagnostic::error(code, message).in_file(file);
        self.problems.push(if line > 0 { problem.at(line, 1) } else { problem });
    }
}
