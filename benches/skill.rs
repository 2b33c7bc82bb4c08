//! Skills: rendering one, compiling one, and reading a folder of a thousand again, changed and unchanged.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use std::{fs, path::Path};

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use raptorflow_core::skill::{Skill, SkillRegistry};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// How many skills the folder has.
const SKILLS: usize = 1_000;

fn main() {
    divan::main();
}

fn text(index: usize, rule: &str) -> String {
    format!(
        "---
skill_id: bench.skill_{index}.v1
name: Skill {index}
description: Answers questions about subject {index}.
version: 1.0.0
tags: [bench, answers]
inputs:
  topic: {{ type: string, description: What it is about., max_length: 500 }}
  tone: {{ type: string, enum: [plain, warm], default: plain }}
  points: {{ type: list, items: string, max_items: 8, default: [] }}
outputs:
  answer: string
  sources: {{ type: list, items: string }}
---
## IDENTITY
You are a clerk who answers in a {{{{ tone }}}} tone.
## CONTEXT INJECTION
The topic is {{{{ topic }}}}.
{{% for point in points %}}
{{{{ loop.index }}}}. {{{{ point }}}}
{{% endfor %}}
## MISSION
Answer in three sentences.
## METHODOLOGY
Read, compare, write.
## RULES
{rule}
## TOOL USAGE
None.
## OUTPUT FORMAT
JSON with `answer` and `sources`.
## SELF-CORRECTION
Read it again as somebody who doubts it.
"
    )
}

fn inputs() -> Value {
    json!({ "topic": "Opening hours of the library", "points": ["Weekdays", "Holidays", "The reading room"] })
}

fn write_all(folder: &Path, rule: &str) {
    for index in 0..SKILLS {
        fs::write(folder.join(format!("{index}.md")), text(index, rule)).expect("a file");
    }
}

#[divan::bench]
fn render(bencher: Bencher<'_, '_>) {
    let (skill, inputs) = (Skill::parse(&text(1, "Be brief.")).expect("a skill"), inputs());
    bencher.bench_local(|| skill.render(black_box(&inputs)).expect("messages"));
}

#[divan::bench]
fn compile(bencher: Bencher<'_, '_>) {
    let text = text(1, "Be brief.");
    bencher.bench_local(|| Skill::parse(black_box(&text)).expect("a skill"));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn reload_changed(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a folder");
    write_all(folder.path(), "Be brief.");
    let skills = SkillRegistry::load(folder.path()).expect("skills");
    let mut round = 0;
    bencher
        .counter(ItemsCount::new(SKILLS))
        .with_inputs(|| {
            round += 1;
            write_all(folder.path(), &format!("Be brief, round {round}."));
        })
        .bench_local_values(|()| assert_eq!(skills.reload().expect("a report").changed.len(), SKILLS));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn reload_unchanged(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a folder");
    write_all(folder.path(), "Be brief.");
    let skills = SkillRegistry::load(folder.path()).expect("skills");
    bencher
        .counter(ItemsCount::new(SKILLS))
        .bench_local(|| assert_eq!(skills.reload().expect("a report").unchanged, SKILLS));
}
