//! Addresses of the internet (registries of IANA) may be asked by a tool or not.

use libtest_mimic::{Failed, Trial};
use raptorflow_core::tool::is_public;
use raptorflow_tests::exam;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    id: String,
    ip: String,
    allow: bool,
}

pub(crate) fn trial() -> Trial {
    let rows = exam("dev/ip_allow_cases.jsonl");
    let absent = rows.is_none();
    Trial::test("tool::addresses_are_judged_as_the_registries_say", move || check(&rows.unwrap_or_default()))
        .with_ignored_flag(absent)
}

fn check(rows: &str) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows.split('\n').filter(|row| !row.is_empty()) {
        let case: Case = serde_json::from_str(row)?;
        count += 1;
        if is_public(case.ip.parse()?) != case.allow {
            wrong.push(format!("{} {}", case.id, case.ip));
        }
    }
    if wrong.is_empty() && count > 0 {
        return Ok(());
    }
    Err(format!("{} of {count} differ: {}", wrong.len(), wrong.join(", ")).into())
}
