//! The examples `debate`, `panel` and `verification`: what is decided, and the record of how.

use std::process::Command;

use crate::build::example;

fn shown(name: &str) -> String {
    let output = Command::new(example(name)).output().expect("the example starts");
    let shown = String::from_utf8(output.stdout).expect("it shows UTF-8");
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    shown
}

#[test]
fn a_debate_shows_who_gave_way_and_what_the_judge_decided() {
    let shown = shown("debate");
    assert!(shown.contains("round 1, pro (argument): \"ship on Monday\""), "{shown}");
    assert!(shown.ends_with("\"ship on Tuesday\": Judged after 1 round, sure by 0.95\n"), "{shown}");
}

#[test]
fn a_panel_shows_the_best_answer_and_the_others() {
    let shown = shown("panel");
    assert!(shown.starts_with("\"raise the price by 8 %\", scored 0.85, agreed: true\n"), "{shown}");
    assert!(shown.contains("sales said: \"raise the price by 5 %\""), "{shown}");
}

#[test]
fn a_verification_shows_each_check_until_it_passes() {
    let shown = shown("verification");
    assert!(shown.contains("round 1, words: Some(RequestRevision), Some(0.4)"), "{shown}");
    assert!(shown.ends_with("\"The basic plan costs ₹499 a month.\": Approved after 2 rounds\n"), "{shown}");
}
