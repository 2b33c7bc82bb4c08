//! Templates (cases of pallets/jinja, BSD-3) are rendered as by its sandbox, nearly all of them.

use libtest_mimic::{Failed, Trial};
use raptorflow_core::skill::{Escape, Template, TemplateConfig, Undefined};
use raptorflow_tests::exam;
use serde::Deserialize;
use serde_json::Value;

/// How many of a hundred must agree; what is left is HTML for browsers and corners of raw blocks.
const REQUIRED: usize = 95;

#[derive(Deserialize)]
struct Case {
    id: String,
    template: String,
    context: Value,
    expected: Option<String>,
    env: Env,
}

#[derive(Deserialize)]
struct Env {
    trim_blocks: bool,
    lstrip_blocks: bool,
    keep_trailing_newline: bool,
    autoescape: bool,
    undefined: String,
}

pub(crate) fn trial() -> Trial {
    let rows = exam("dev/jinja2_render_cases.jsonl");
    let absent = rows.is_none();
    Trial::test("skill::templates_are_rendered_as_by_jinja", move || check(&rows.unwrap_or_default()))
        .with_ignored_flag(absent)
}

fn check(rows: &str) -> Result<(), Failed> {
    let (mut differ, mut no_error, mut count) = (Vec::new(), Vec::new(), 0);
    for row in rows.split('\n').filter(|row| !row.is_empty()) {
        let case: Case = serde_json::from_str(row)?;
        count += 1;
        match (rendered(&case), &case.expected) {
            (Ok(text), Some(expected)) if text == *expected => {}
            (Err(_), None) => {}
            (Ok(_), None) => no_error.push(case.id),
            (Ok(text), Some(_)) => differ.push(format!("{} gave {text:?}", case.id)),
            (Err(err), Some(_)) => differ.push(format!("{} gave {err:#}", case.id)),
        }
    }
    if !no_error.is_empty() {
        return Err(format!("no error: {}", no_error.join(" ")).into());
    }
    let agree = count - differ.len();
    if count > 0 && agree * 100 >= count * REQUIRED {
        return Ok(());
    }
    Err(format!("{agree} of {count} agree:\n{}", differ.join("\n")).into())
}

fn rendered(case: &Case) -> raptorflow_core::Result<String> {
    let config = TemplateConfig {
        undefined: match case.env.undefined.as_str() {
            "StrictUndefined" => Undefined::Strict,
            "ChainableUndefined" => Undefined::Chainable,
            _ => Undefined::Lenient,
        },
        escape: if case.env.autoescape { Escape::Html } else { Escape::None },
        trim_blocks: case.env.trim_blocks,
        lstrip_blocks: case.env.lstrip_blocks,
        keep_trailing_newline: case.env.keep_trailing_newline,
        ..TemplateConfig::default()
    };
    Template::new(&case.template, &config)?.render(&case.context)
}
