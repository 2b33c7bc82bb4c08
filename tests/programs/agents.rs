//! The examples `handoff` and `critic`: who answers, and what a second round changes.

use std::process::Command;

use crate::build::example;

fn shown(name: &str) -> String {
    let output = Command::new(example(name)).output().expect("the example starts");
    let shown = String::from_utf8(output.stdout).expect("it shows UTF-8");
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    shown
}

#[test]
fn a_conversation_goes_to_who_knows_with_as_much_of_it_as_the_policy_says() {
    let shown = shown("handoff");
    let billing =
        "answered by billing: billing here, I was told: Why is my bill so high? | Explain the last bill.";
    assert!(shown.contains(billing), "{shown}");
    let support = "answered by support: support here, I was told: Help with the failing import.\n";
    assert!(shown.contains(support), "{shown}");
}

#[test]
fn an_answer_that_does_not_pass_is_given_again() {
    let shown = shown("critic");
    let reviews: Vec<&str> = shown.lines().filter(|line| line.starts_with("review_")).collect();
    assert_eq!(reviews.len(), 2, "{shown}");
    assert!(reviews[1].contains("100 of 100, 0 findings"), "{shown}");
    assert!(shown.ends_with("The basic plan costs ₹499 a month.\n"), "{shown}");
}
