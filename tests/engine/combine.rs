//! What several answers amount to: every claim once or listed as dropped, whatever the order of the answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::{
    prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
    sample::Index,
};
use raptorflow_core::{
    agent::AgentOutput,
    orchestrator::{Claim, Combined, Contribution, Source, combine},
    types::{AgentId, Passage},
};
use serde_json::{Value, json};

const TEXT: &str = "# Journal\n\nThe journal is\nthe truth. Budgets hold.\nNothing is lost.\n";

fn passage(number: u32, source: &str) -> Passage {
    let text: Arc<str> = TEXT.into();
    Passage { number, source: source.into(), lines: (10, 14), heading: "Journal".into(), text }
}

fn contribution(agent: &str, output: Value) -> Contribution {
    let passages = vec![passage(1, "a.md"), passage(2, "b.md")];
    let output = AgentOutput { output, passages, ..AgentOutput::default() };
    Contribution { agent: AgentId::new(agent).unwrap(), output }
}

fn combined(answers: &[(&str, Value)]) -> (Combined, Vec<Source>) {
    let given: Vec<Contribution> =
        answers.iter().map(|(agent, output)| contribution(agent, output.clone())).collect();
    let mut sources = Vec::new();
    (combine(&given, &mut sources), sources)
}

fn finding(claim: &str) -> Value {
    json!({ "findings": [{ "claim": claim, "sources": [1] }] })
}

/// Whether two claims count as one.
fn same(left: &str, right: &str) -> bool {
    combined(&[("a", finding(left)), ("b", finding(right))]).0.claims.len() == 1
}

#[test]
fn claims_are_one_when_only_case_space_and_punctuation_differ() {
    for (left, right) in [
        ("The journal is the truth.", "the journal  is the truth"),
        ("It takes 5 %.", "It takes 5%"),
        ("\u{201c}Stop\u{201d}, it said!", "stop it said"),
        ("It isn\u{2019}t lost", "it isn't lost"),
        ("A **bold** `claim`", "a bold claim"),
        ("Ｆｕｌｌ ｗｉｄｔｈ", "full width"),
        ("It grew by 1.5.", "It grew by 1.5"),
    ] {
        assert!(same(left, right), "{left} / {right}");
    }
}

#[test]
fn claims_stay_two_when_a_sign_changes_what_they_say() {
    for (left, right) in [
        ("It is written in C++", "It is written in C#"),
        ("It costs $5", "It costs €5"),
        ("It grew by 5 %", "It grew by -5 %"),
        ("It grew by 5", "It grew by \u{2212}5"),
        ("a > b", "a < b"),
        ("It grew by 1.5", "It grew by 15"),
        ("It grew by 1,5", "It grew by 15"),
        ("😀", "😡"),
        ("!!!", "???"),
    ] {
        let (combined, _) = combined(&[("a", finding(left)), ("b", finding(right))]);
        assert_eq!(combined.claims.len() + combined.dropped.len(), 2, "{left} / {right}");
    }
}

#[test]
fn citations_may_stand_behind_or_before_what_they_support() {
    let check = |text: &str, expected: &[(&str, &[u32])]| {
        let (combined, sources) = combined(&[("a", json!(text))]);
        let found: Vec<(&str, Vec<&str>)> = combined
            .claims
            .iter()
            .map(|claim| (claim.text.as_str(), claim.sources.iter().map(|it| place(&sources, *it)).collect()))
            .collect();
        let documents =
            |numbers: &[u32]| numbers.iter().map(|it| ["a.md", "b.md"][*it as usize - 1]).collect();
        let expected: Vec<(&str, Vec<&str>)> =
            expected.iter().map(|(text, numbers)| (*text, documents(numbers))).collect();
        assert_eq!((found, combined.dropped.len()), (expected, 0), "{text}");
    };
    check(
        "Budgets hold. [1] Nothing is lost [2][1].",
        &[("Budgets hold.", &[1]), ("Nothing is lost", &[2, 1])],
    );
    check(
        "[1] Budgets hold.\n- [2] [1] Nothing is lost.",
        &[("Budgets hold.", &[1]), ("Nothing is lost.", &[2, 1])],
    );
    check("[1] Budgets hold. [2] Nothing is lost.", &[("Budgets hold.", &[1]), ("Nothing is lost.", &[2])]);
    check("See [the list](x.md) of budgets [2]", &[("See [the list](x.md) of budgets", &[2])]);
    check("[1]", &[]);
    check("", &[]);
}

fn place(sources: &[Source], number: u32) -> &str {
    &sources[number as usize - 1].source
}

#[test]
fn whatever_is_no_claim_is_listed_and_nothing_is_lost() {
    let findings = json!({ "findings": [
        "just text",
        { "claim": 7, "sources": [1] },
        { "claim": " ", "sources": [1] },
        { "claim": "Budgets hold.", "sources": ["1", -1, 1.5] },
        { "claim": "Budgets hold.", "sources": "1" },
        { "claim": "Nothing is lost.", "sources": [1.0, 9] },
    ]});
    let (result, _) = combined(&[("a", findings)]);
    assert_eq!(
        result.claims.iter().map(|claim| claim.text.as_str()).collect::<Vec<_>>(),
        ["Nothing is lost."]
    );
    let dropped: Vec<(&str, &str)> =
        result.dropped.iter().map(|it| (it.text.as_str(), it.reason.as_str())).collect();
    assert_eq!(
        dropped,
        [
            ("just text", "it is no claim with sources"),
            ("{\"claim\":7,\"sources\":[1]}", "it is no claim with sources"),
            ("", "it says nothing"),
            ("Budgets hold.", "it cites no passage that was given"),
            ("Budgets hold.", "it cites nothing"),
        ]
    );
    for (output, details) in [
        (json!({ "findings": "none", "risk": 1 }), json!({ "findings": "none", "risk": 1 })),
        (json!([1, 2]), json!({ "answer": [1, 2] })),
        (json!(5), json!({ "answer": 5 })),
    ] {
        assert_eq!(combined(&[("a", output)]).0.details["a"], details);
    }
    assert!(combined(&[("a", json!(null)), ("b", json!({ "findings": [] }))]).0.details.is_empty());
}

#[test]
fn a_claim_rests_on_the_lines_where_it_stands_and_else_on_its_passage() {
    let lines = |claim: &str| combined(&[("a", finding(claim))]).1[0].lines;
    assert_eq!(lines("The journal is the truth."), (12, 13));
    assert_eq!(lines("Nothing is lost."), (14, 14));
    assert_eq!(lines("Budgets are kept."), (10, 14));
    let (_, sources) = combined(&[("a", finding("Budgets hold.")), ("b", finding("Nothing else."))]);
    assert_eq!(sources.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 2]);
}

fn any_answer() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("Budgets hold."),
        Just("budgets hold"),
        Just("Nothing is lost."),
        Just("The journal is the truth."),
        Just("C++"),
        Just("C#"),
        Just(""),
    ];
    let cited = proptest::collection::vec(prop_oneof![Just(1), Just(2), Just(7)], 0..3);
    let claim = (text, cited).prop_map(|(claim, sources)| json!({ "claim": claim, "sources": sources }));
    let finding = prop_oneof![8 => claim, 1 => any::<u8>().prop_map(Value::from)];
    proptest::collection::vec(finding, 0..6).prop_map(|findings| json!({ "findings": findings }))
}

/// What is said, by whom and on which places it rests, without any order and numbering.
type Said = BTreeMap<BTreeSet<String>, (BTreeSet<String>, BTreeSet<(String, (u32, u32))>)>;

fn unordered(claims: &[Claim], sources: &[Source], answers: &[(&str, Value)]) -> Said {
    claims
        .iter()
        .map(|claim| {
            let texts = answers.iter().flat_map(|(_, answer)| answer["findings"].as_array().unwrap());
            let texts = texts.filter_map(|finding| finding["claim"].as_str());
            let wordings =
                texts.filter(|text| !text.is_empty() && same(text, &claim.text)).map(str::to_owned);
            let agents = claim.agents.iter().map(ToString::to_string).collect();
            let places = claim.sources.iter().map(|number| &sources[*number as usize - 1]);
            let places = places.map(|source| (source.source.clone(), source.lines)).collect();
            (wordings.collect(), (agents, places))
        })
        .collect()
}

proptest! {
    #[test]
    fn every_finding_is_in_a_claim_or_dropped(answers in proptest::collection::vec(any_answer(), 1..4)) {
        let answers: Vec<(&str, Value)> = ["a", "b", "c"].into_iter().zip(answers).collect();
        let (combined, sources) = combined(&answers);
        for (agent, answer) in &answers {
            for finding in answer["findings"].as_array().unwrap() {
                let text = finding["claim"].as_str().map_or_else(|| finding.to_string(), str::to_owned);
                let kept = combined.claims.iter().any(|claim| {
                    !text.is_empty() && same(&claim.text, &text) && claim.agents.iter().any(|it| it.as_str() == *agent)
                });
                let dropped = combined.dropped.iter().any(|it| it.text == text && it.agent.as_str() == *agent);
                prop_assert!(kept || dropped, "{} of {}", text, agent);
            }
        }
        for claim in &combined.claims {
            prop_assert!(!claim.sources.is_empty() && !claim.agents.is_empty());
            prop_assert!(claim.sources.iter().all(|number| sources.iter().any(|it| it.number == *number)));
        }
        let numbers: Vec<u32> = sources.iter().map(|source| source.number).collect();
        prop_assert_eq!(numbers, (1..=u32::try_from(sources.len()).unwrap()).collect::<Vec<_>>());
    }

    #[test]
    fn another_order_of_the_answers_changes_only_the_order(
        answers in proptest::collection::vec(any_answer(), 3),
        from in any::<Index>(),
        to in any::<Index>(),
    ) {
        let mut answers: Vec<(&str, Value)> = ["a", "b", "c"].into_iter().zip(answers).collect();
        let (before, sources) = combined(&answers);
        let said = unordered(&before.claims, &sources, &answers);
        answers.swap(from.index(3), to.index(3));
        let (after, sources) = combined(&answers);
        prop_assert_eq!(unordered(&after.claims, &sources, &answers), said);
        prop_assert_eq!(before.claims.len(), after.claims.len());
        prop_assert_eq!(before.dropped.len(), after.dropped.len());
    }
}
