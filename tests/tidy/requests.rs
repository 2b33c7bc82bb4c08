//! The labelled requests that measure routing: known labels, unique ids, and enough for every agent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::tree::{File, fails, files, passes, report};

/// Each file and how many requests every agent has in it at least.
const FILES: [(&str, usize); 2] =
    [("packs/council/evals/routing.jsonl", 8), ("packs/council/evals/routing_dev.jsonl", 2)];

fn requests_are_labelled(files: &[File]) -> Vec<String> {
    let agents: BTreeSet<String> = files.iter().filter_map(|file| agent(&file.path)).collect();
    let (mut ids, mut findings) = (BTreeSet::new(), Vec::new());
    for (path, least) in FILES {
        let mut counts: BTreeMap<&str, usize> = agents.iter().map(|name| (name.as_str(), 0)).collect();
        let Some(file) = files.iter().find(|file| file.path == path) else {
            findings.push(format!("{path}:1: is missing"));
            continue;
        };
        for (number, line) in file.text.lines().enumerate() {
            let mut finding = |message: &str| findings.push(file.finding(number + 1, message));
            let Ok(case) = serde_json::from_str::<Value>(line) else {
                finding("is no JSON");
                continue;
            };
            let text = |field: &str| case[field].as_str().unwrap_or_default().to_owned();
            if text("id").is_empty() || !ids.insert(text("id")) {
                finding("has no id of its own");
            }
            if text("request").trim().is_empty() {
                finding("has no request");
            }
            match counts.get_mut(text("agent").as_str()) {
                Some(count) => *count += 1,
                None => finding(&format!("`{}` is no agent", text("agent"))),
            }
            for also in case["also"].as_array().into_iter().flatten() {
                if !agents.contains(also.as_str().unwrap_or_default()) {
                    finding(&format!("`{also}` is no agent"));
                }
            }
        }
        for (name, count) in counts.into_iter().filter(|(_, count)| *count < least) {
            findings
                .push(file.finding(1, &format!("`{name}` has {count} requests; expected at least {least}")));
        }
    }
    findings
}

/// `DOMAIN.AGENT` of an agent's file.
fn agent(path: &str) -> Option<String> {
    let (domain, name) =
        path.strip_prefix("packs/council/agents/")?.strip_suffix(".toml")?.split_once('/')?;
    Some(format!("{domain}.{name}"))
}

#[test]
fn every_request_has_a_known_label_and_every_agent_enough_requests() {
    report("labelled requests", &requests_are_labelled(files()));
}

#[test]
fn a_wrong_label_a_second_id_and_an_agent_without_requests_are_found() {
    let line = |id: usize, agent: &str| format!(r#"{{"id": "{id}", "request": "x", "agent": "{agent}"}}"#);
    let lines =
        |from: usize, count: usize| (from..from + count).map(|id| line(id, "a.b") + "\n").collect::<String>();
    let check = |main: &str, dev: &str, part: Option<&str>| {
        let files = [("packs/council/agents/a/b.toml", ""), (FILES[0].0, main), (FILES[1].0, dev)];
        match part {
            Some(part) => fails(requests_are_labelled, &files, part),
            None => passes(requests_are_labelled, &files),
        }
    };
    let main = lines(0, 8);
    check(&main, &lines(8, 2), None);
    check(&main, &lines(7, 2), Some("routing_dev.jsonl:1: has no id of its own"));
    check(&main, &lines(8, 1), Some("`a.b` has 1 requests"));
    check(&(main.clone() + &line(20, "a.c")), &lines(8, 2), Some("`a.c` is no agent"));
}
