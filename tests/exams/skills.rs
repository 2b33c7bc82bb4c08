//! Skills in the open format (agentskills reference tests and real ones, Apache-2.0) are read and judged alike.

use std::fs;

use libtest_mimic::{Failed, Trial};
use raptorflow_core::skill::{OpenSkill, SkillFormat, SkillRegistry};
use raptorflow_tests::{exam, root};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the reference says about a fault, and what we call it.
const FAULTS: [(&str, &str); 12] = [
    ("must be lowercase", "name_case"),
    ("start or end with a hyphen", "name_hyphen"),
    ("consecutive hyphens", "name_hyphens"),
    ("invalid characters", "name_characters"),
    ("must match skill name", "name_folder"),
    ("Description exceeds", "description_too_long"),
    ("Compatibility exceeds", "compatibility_too_long"),
    ("Skill name", "name_too_long"),
    ("Missing required field", "missing_field"),
    ("Unexpected fields", "unknown_field"),
    ("must be a non-empty string", "empty_field"),
    ("must be a string", "wrong_type"),
];

#[derive(Deserialize)]
struct Case {
    id: String,
    #[serde(rename = "fn")]
    function: String,
    content: Option<String>,
    result: Option<Value>,
    metadata: Option<Value>,
    dir_name: Option<String>,
    #[serde(default)]
    errors: Vec<String>,
}

pub(crate) fn trials() -> Vec<Trial> {
    let rows = exam("dev/skills_ref_cases.jsonl");
    let absent = rows.is_none();
    let folder = root().join("../shared/exams/skills");
    let no_folder = !folder.is_dir();
    vec![
        Trial::test("skill::open_skills_are_judged_as_by_the_reference", move || {
            cases(&rows.unwrap_or_default())
        })
        .with_ignored_flag(absent),
        Trial::test("skill::real_skills_are_read", move || real(&folder)).with_ignored_flag(no_folder),
    ]
}

fn cases(rows: &str) -> Result<(), Failed> {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for row in rows.split('\n').filter(|row| !row.is_empty()) {
        let case: Case = serde_json::from_str(row)?;
        count += 1;
        let (expected, found) = match case.function.as_str() {
            "parse_frontmatter" => (case.result.clone(), parsed(&case)),
            "validate_metadata" => (Some(codes_of_reference(&case.errors)?), Some(codes(&case))),
            other => return Err(format!("no such function: {other}").into()),
        };
        if expected != found {
            wrong.push(format!("{}: expected {expected:?}, found {found:?}", case.id));
        }
    }
    if wrong.is_empty() && count > 0 {
        return Ok(());
    }
    Err(format!("{} of {count} differ:\n{}", wrong.len(), wrong.join("\n")).into())
}

fn parsed(case: &Case) -> Option<Value> {
    let skill = OpenSkill::parse(case.content.as_deref()?).ok()?;
    Some(json!([skill.metadata(), skill.body()]))
}

fn codes(case: &Case) -> Value {
    let skill = OpenSkill::from_metadata(case.metadata.clone().unwrap_or_default());
    let mut codes: Vec<String> =
        skill.check(case.dir_name.as_deref()).into_iter().map(|problem| problem.code).collect();
    codes.sort();
    // The reference tells all unknown fields in one message.
    codes.dedup_by(|a, b| a == b && a == "unknown_field");
    json!(codes)
}

fn codes_of_reference(errors: &[String]) -> Result<Value, Failed> {
    let code = |error: &String| {
        let known = FAULTS.iter().find(|(said, _)| error.contains(said));
        known.map(|(_, code)| *code).ok_or_else(|| Failed::from(format!("no code for: {error}")))
    };
    let mut codes: Vec<&str> = errors.iter().map(code).collect::<Result<_, Failed>>()?;
    codes.sort_unstable();
    Ok(json!(codes))
}

fn real(folder: &std::path::Path) -> Result<(), Failed> {
    let mut count = 0;
    for author in fs::read_dir(folder)? {
        let author = author?.path();
        let skills = SkillRegistry::load(&author)?;
        count += fs::read_dir(&author)?.count();
        for skill in skills.list() {
            let messages = skill.render(&json!({}))?;
            if skill.spec().format != SkillFormat::Open
                || messages.len() != 1
                || messages.iter().any(|message| message.text().is_empty())
            {
                return Err(format!("{} is not an open skill with instructions", skill.id()).into());
            }
        }
        count -= skills.len();
    }
    if count == 0 { Ok(()) } else { Err(format!("{count} folders gave no skill").into()) }
}
