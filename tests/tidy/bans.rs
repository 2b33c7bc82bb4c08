//! What may not be written where: domain words in core, spawning, reading time and environment, machine paths.

use crate::{
    rust::{self, Keep},
    tree::{File, fails, files, passes, report},
};

/// Words of one trade or one pack; core serves them all and knows none.
const DOMAIN_WORDS: [&str; 32] = [
    "marketing",
    "marketer",
    "campaign",
    "campaigns",
    "brand",
    "branding",
    "advertising",
    "advertiser",
    "influencer",
    "hashtag",
    "newsletter",
    "funnel",
    "seo",
    "crm",
    "gst",
    "cgst",
    "sgst",
    "igst",
    "upi",
    "aadhaar",
    "diwali",
    "festival",
    "whatsapp",
    "instagram",
    "guild",
    "council",
    "architect",
    "strategos",
    "aesthete",
    "seer",
    "arbiter",
    "herald",
];

fn core_has_no_domain_word(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.in_core()) {
        let code = file.library(&rust::blank(&file.text, Keep::CodeAndStrings));
        for (at, word) in rust::words(&code) {
            for part in parts(word).filter(|part| DOMAIN_WORDS.contains(&part.as_str())) {
                let line = rust::line_of(&code, at);
                findings.push(file.finding(line, &format!("`{part}` belongs to a pack, not to core")));
            }
        }
    }
    findings
}

/// The words inside an identifier, in lower case: `GstRate` and `gst_rate` have `gst` and `rate`.
fn parts(word: &str) -> impl Iterator<Item = String> {
    let mut parts: Vec<String> = Vec::new();
    let mut small = false;
    for c in word.chars() {
        if c == '_' || (c.is_uppercase() && small) || parts.is_empty() {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut() {
            last.extend(c.to_lowercase().filter(|c| *c != '_'));
        }
        small = c.is_lowercase();
    }
    parts.into_iter()
}

/// Something that only some files may say.
struct Ban {
    /// What is banned; matched in code without comments, strings and test modules.
    written: &'static [&'static str],
    /// Where it may stand: beginnings of paths.
    allowed: &'static [&'static str],
    message: &'static str,
}

const BANS: [Ban; 4] = [
    Ban {
        written: &[
            "tokio::spawn",
            "task::spawn",
            "thread::spawn",
            "thread::Builder",
            "thread::scope",
            "spawn_blocking_on",
            "spawn_on",
            "JoinSet",
        ],
        // The writer of the SQLite store is a thread for as long as the store is open.
        allowed: &[
            "raptorflow-core/src/runtime/tasks.rs",
            "raptorflow-core/src/storage/backends/sqlite/",
            "raptorflow-py/src/",
            "raptorflow-node/src/",
        ],
        message: "only `runtime::Tasks` spawns",
    },
    Ban {
        written: &["SystemTime::now", "Instant::now", "Zoned::now", "jiff::Timestamp::now"],
        allowed: &["raptorflow-core/src/runtime/clock.rs"],
        message: "only `runtime::Clock` reads the time",
    },
    Ban {
        written: &["tokio::time::", "thread::sleep"],
        allowed: &["raptorflow-core/src/runtime/clock.rs", "raptorflow-core/src/runtime/tasks.rs"],
        message: "only `runtime::Clock` waits",
    },
    Ban {
        written: &["env::var", "env::vars", "env::set_var", "env::current_dir", "env::home_dir", "env::args"],
        allowed: &["raptorflow-core/src/engine/config", "raptorflow-core/src/security/backends/env.rs"],
        message: "only `engine::config` and the environment's secret store read the environment",
    },
];

fn only_the_owner_does_it(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && is_library(&file.path)) {
        let library = file.library_code();
        for ban in BANS.iter().filter(|ban| !ban.allowed.iter().any(|path| file.path.starts_with(path))) {
            let mut last = 0;
            for at in ban.written.iter().flat_map(|word| library.match_indices(word)).map(|(at, _)| at) {
                let line = rust::line_of(&library, at);
                if line != last {
                    findings.push(file.finding(line, ban.message));
                }
                last = line;
            }
        }
    }
    findings
}

fn is_library(path: &str) -> bool {
    ["raptorflow-core/src/", "raptorflow-core/macros/src/", "raptorflow-py/src/", "raptorflow-node/src/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}

/// Written in halves, so that this file does not contain what it looks for.
const MACHINE: [&str; 8] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("C:\\Us", "ers"),
    concat!("\"resolved\": \"", "http"),
    concat!("index-", "url"),
    concat!("https://", "registry."),
];

fn no_machine_is_named(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            for found in MACHINE.iter().filter(|found| line.contains(**found)) {
                findings.push(file.finding(number + 1, &format!("`{found}` names one machine or registry")));
            }
        }
    }
    findings
}

#[test]
fn core_knows_no_trade() {
    report("domain words", &core_has_no_domain_word(files()));
}

#[test]
fn spawning_time_and_environment_have_one_owner_each() {
    report("owners", &only_the_owner_does_it(files()));
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    report("machines", &no_machine_is_named(files()));
}

#[test]
fn a_domain_word_in_code_or_a_string_is_found_and_in_a_comment_not() {
    let path = "raptorflow-core/src/agent/a.rs";
    fails(core_has_no_domain_word, &[(path, "//! x\nfn campaign_of() {}")], "a.rs:2: `campaign`");
    fails(core_has_no_domain_word, &[(path, "struct GstRate;")], "`gst`");
    fails(core_has_no_domain_word, &[(path, "let x = \"your brand\";")], "`brand`");
    passes(core_has_no_domain_word, &[(path, "/// `add_gst` of the campaign\nfn f() {} // seer")]);
    passes(core_has_no_domain_word, &[("raptorflow-core/src/tool/tests.rs", "fn gst() {}")]);
    passes(core_has_no_domain_word, &[("packs/india/src/lib.rs", "fn gst() {}")]);
}

#[test]
fn spawning_outside_tasks_is_found() {
    let text = "fn f() {\n tokio::spawn(async {});\n}";
    fails(
        only_the_owner_does_it,
        &[("raptorflow-core/src/event/bus.rs", text)],
        "bus.rs:2: only `runtime::Tasks`",
    );
    passes(
        only_the_owner_does_it,
        &[("raptorflow-core/src/runtime/tasks.rs", text), ("tests/engine/a.rs", text)],
    );
}

#[test]
fn reading_the_time_outside_the_clock_is_found() {
    let text = "fn f() { let now = std::time::Instant::now(); }";
    fails(only_the_owner_does_it, &[("raptorflow-core/src/event/bus.rs", text)], "reads the time");
}

#[test]
fn waiting_outside_the_clock_is_found() {
    let text = "async fn f() { tokio::time::sleep(D).await; }";
    fails(only_the_owner_does_it, &[("raptorflow-core/src/model/http.rs", text)], "waits");
}

#[test]
fn reading_the_environment_outside_the_settings_is_found() {
    let text =
        "fn f() { std::env::var(\"X\"); }\n#[cfg(test)]\nmod tests {\n fn g() { std::env::var(\"X\"); }\n}";
    fails(
        only_the_owner_does_it,
        &[("raptorflow-py/src/engine.rs", text)],
        "engine.rs:1: only `engine::config`",
    );
    passes(
        only_the_owner_does_it,
        &[("raptorflow-core/src/engine/config.rs", text), ("xtask/src/plan.rs", text)],
    );
}

#[test]
fn a_machine_path_or_a_registry_is_found() {
    for found in MACHINE {
        fails(no_machine_is_named, &[("docs/a.md", &format!("see {found}x"))], "docs/a.md:1");
    }
    let locked = concat!("source = \"registry+https://github.com/rust-lang/crates", ".io-index\"");
    passes(no_machine_is_named, &[("Cargo.lock", locked)]);
}
