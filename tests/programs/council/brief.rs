//! The brief: sections, claims that stand where they are cited, and the same words each time.

use std::{collections::BTreeSet, fs, path::Path};

use raptorflow_core::orchestrator::Report;
use serde_json::Value;

use super::program::{council, documents, json_of, report_of, stderr, stdout};

/// Words without marks at their ends, so that mark-up beside a sentence does not matter.
fn words(text: &str) -> Vec<String> {
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect()
}

/// Every claim cites lines that exist and say it word for word, as the offline model promises.
fn check_citations(folder: &Path, report: &Report) {
    for claim in report.sections.iter().flat_map(|section| &section.claims) {
        assert!(!claim.sources.is_empty(), "no source: {}", claim.text);
        for number in &claim.sources {
            let source = report.sources.iter().find(|it| it.number == *number).expect("the source is listed");
            let text = fs::read_to_string(folder.join(&source.source)).expect("the cited file is there");
            let (first, last) = (source.lines.0 as usize, source.lines.1 as usize);
            assert!(1 <= first && first <= last && last <= text.lines().count(), "{source:?}");
            let cited: Vec<&str> = text.lines().skip(first - 1).take(last - first + 1).collect();
            let (cited, said) = (words(&cited.join("\n")), words(&claim.text));
            let stands = cited.windows(said.len().max(1)).any(|window| window == said);
            assert!(
                stands,
                "{} lines {first}-{last} do not say: {}\n{said:?}\n{cited:?}",
                source.source, claim.text
            );
        }
    }
}

fn claims(report: &Report) -> usize {
    report.sections.iter().map(|section| section.claims.len()).sum()
}

#[test]
fn the_project_s_own_documents_give_seven_sections_whose_every_claim_stands_where_it_is_cited() {
    let report = report_of(&json_of(&council().arg("--json").output().unwrap()));
    assert!(
        report.sections.len() >= 7,
        "{:?}",
        report.sections.iter().map(|it| &it.heading).collect::<Vec<_>>()
    );
    assert!(report.sections.iter().all(|section| !section.claims.is_empty()));
    check_citations(&raptorflow_tests::root().join("docs"), &report);
}

#[test]
fn any_folder_of_documents_will_do_nested_and_with_names_in_any_script() {
    let folder = documents();
    fs::create_dir_all(folder.path().join("नोट्स")).unwrap();
    let text = "A launch without an owner slips.\r\nThe owner of the launch is the release team.\r\n";
    fs::write(folder.path().join("नोट्स/बाज़ार.txt"), text).unwrap();
    let output = council()
        .arg("--json")
        .arg("--docs")
        .arg(folder.path())
        .arg("Who owns the launch?")
        .output()
        .unwrap();
    let report = report_of(&json_of(&output));
    check_citations(folder.path(), &report);
    assert!(report.sources.iter().any(|source| source.source.ends_with("बाज़ार.txt")), "{:?}", report.sources);
}

#[test]
fn the_markdown_says_who_answered_first_and_then_everything_that_a_brief_has() {
    let folder = documents();
    let output =
        council().arg("--docs").arg(folder.path()).arg("What is the risk of the launch?").output().unwrap();
    let (brief, shown) = (stdout(&output), stderr(&output));
    assert!(brief.lines().next().unwrap().starts_with("Answered by offline:extractive"), "{brief}");
    assert!(shown.lines().next().unwrap().starts_with("Answered by offline:extractive"), "{shown}");
    for expected in [
        "## What disagreed",
        "## Who was chosen and why",
        "## Sources",
        "- Tokens: ",
        "- Cost: 0.000000 USD",
        "- Time: ",
    ] {
        assert!(brief.contains(expected), "no {expected} in\n{brief}");
    }
    for line in brief.lines().filter(|line| line.ends_with(")*")) {
        assert!(line.contains("] *("), "a claim without a citation: {line}");
    }
    assert!(shown.contains("is executing") && shown.contains("done in"), "the bus is shown: {shown}");
}

#[test]
fn the_same_documents_and_goal_give_the_same_brief() {
    let folder = documents();
    let ask = || {
        json_of(
            &council()
                .arg("--json")
                .arg("--docs")
                .arg(folder.path())
                .arg("Plan the launch.")
                .output()
                .unwrap(),
        )
    };
    let (first, second) = (ask(), ask());
    assert_eq!(first["report"], second["report"]);
    assert_ne!(first["run"], second["run"]);
}

#[test]
fn a_brief_goes_to_a_file_when_asked() {
    let folder = documents();
    let file = folder.path().join("brief.json");
    let mut call = council();
    call.arg("--json").arg("--docs").arg(folder.path()).arg("--out").arg(&file).arg("Plan the launch.");
    let output = call.output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{}", stderr(&output));
    let brief: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(claims(&report_of(&brief)) > 0);
}

#[test]
fn the_pack_is_checked_on_its_own() {
    let output = council().arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("no problem found"));
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn abstracts_answer_a_question_with_their_own_words() {
    let folder = raptorflow_tests::root().join("../shared/data/scifact_sample");
    let mut call = council();
    call.arg("--json").arg("--docs").arg(&folder).arg("Which treatments reduce mortality?");
    let report = report_of(&json_of(&call.output().unwrap()));
    check_citations(&folder, &report);
    let cited: BTreeSet<&str> = report.sources.iter().map(|source| source.source.as_str()).collect();
    assert!(cited.len() >= 5, "{cited:?}");
    assert!(
        report.sections.iter().any(|section| section.claims.iter().any(|it| it.text.contains("mortality")))
    );
}
