//! What aggregation promises: a table of cases, and properties over 100,000 random inputs.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{
    error::ErrorKind,
    rag::FnEmbedder,
    runtime::{Context, Runtime},
    workflow::{
        Aggregate, Aggregated, Aggregation, Opinion, Side, TextMatch, Tie, Undecided,
        canonical::canonical_value,
    },
};

fn said<const N: usize>(values: [Value; N]) -> Vec<Opinion> {
    values.into_iter().enumerate().map(|(index, value)| Opinion::new(format!("a{index}"), value)).collect()
}

fn decide(method: Aggregate, opinions: &[Opinion]) -> Aggregated {
    Aggregation::new(method).decide(opinions).unwrap()
}

#[test]
fn each_method_gives_its_value() {
    let mixed = || said([json!("Yes"), json!("no"), json!(" yes. ")]);
    for (method, opinions, expected) in [
        (Aggregate::All, mixed(), json!({ "a0": "Yes", "a1": "no", "a2": " yes. " })),
        (Aggregate::First, mixed(), json!("Yes")),
        (Aggregate::Combine, mixed(), json!([" yes. ", "no"])),
        (Aggregate::Majority, mixed(), json!(" yes. ")),
        (Aggregate::Vote, mixed(), json!(" yes. ")),
        (Aggregate::Consensus, said([json!(1), json!(1.0)]), json!(1)),
        (Aggregate::Average, said([json!(1), json!(2.5), json!(-0.5)]), json!(1.0)),
        (Aggregate::Merge, said([json!({ "a": 1 }), json!({ "b": 2 })]), json!({ "a": 1, "b": 2 })),
        (Aggregate::Merge, said([json!([1]), json!("two")]), json!([1, "two"])),
    ] {
        let decided = decide(method, &opinions);
        assert_eq!(decided.value, Some(expected), "{method:?}");
        assert_eq!(decided.method, method);
    }
    let ranked = [Opinion::new("a", 1).with_priority(-1), Opinion::new("b", 2).with_priority(3)];
    assert_eq!(decide(Aggregate::Priority, &ranked).value, Some(json!(2)));
    let scored = [Opinion::new("a", 1).with_score(7.0), Opinion::new("b", 2).with_confidence(0.9)];
    assert_eq!(decide(Aggregate::Best, &scored).value, Some(json!(1)));
}

#[test]
fn dissent_says_who_and_what_and_nothing_is_dropped_silently() {
    let decided = decide(Aggregate::Majority, &said([json!("a"), json!("b"), json!("A")]));
    let against: Vec<_> = decided.dissent.iter().map(|it| (it.agent.as_str(), it.value.clone())).collect();
    assert_eq!(against, [("a1", json!("b"))]);
    let decided = decide(Aggregate::Average, &said([json!(3), json!("many"), json!(null), json!(5)]));
    let out: Vec<_> = decided.left_out.iter().map(|it| (it.agent.as_str(), it.reason.as_str())).collect();
    assert_eq!(
        (decided.value, out),
        (Some(json!(4.0)), vec![("a1", "it is no number"), ("a2", "it is no number")])
    );
    assert!(decided.dissent.is_empty() && (decided.confidence - 0.5).abs() < 1e-9);
    let decided = decide(Aggregate::Merge, &said([json!({ "k": 1 }), json!({ "k": 2 })]));
    assert_eq!((decided.left_out[0].agent.as_str(), &decided.left_out[0].value), ("a1", &json!(2)));
    let decided = decide(Aggregate::Best, &[Opinion::new("a", 1).with_score(1.0), Opinion::new("b", 2)]);
    assert_eq!(decided.left_out[0].agent, "b");
}

#[test]
fn a_tie_comes_to_what_the_rule_says_and_is_told() {
    let level = || {
        vec![
            Opinion::new("a", "x").with_priority(1).with_confidence(0.4),
            Opinion::new("b", "y").with_priority(2).with_confidence(0.9),
        ]
    };
    for (tie, expected) in [
        (Tie::None, None),
        (Tie::First, Some("x")),
        (Tie::HighestPriority, Some("y")),
        (Tie::LowestPriority, Some("x")),
        (Tie::MostConfident, Some("y")),
    ] {
        let decided = Aggregation::new(Aggregate::Vote).with_tie(tie).decide(&level()).unwrap();
        assert_eq!(decided.value, expected.map(Value::from), "{tie:?}");
        assert_eq!(decided.tie.unwrap().between.len(), 2);
        assert_eq!(decided.undecided, expected.is_none().then_some(Undecided::Tie));
        assert_eq!(decided.dissent.len(), if expected.is_some() { 1 } else { 2 });
    }
    // A rule that leaves a tie does not decide by the order instead.
    let same = said([json!("x"), json!("y")]);
    for tie in [Tie::HighestPriority, Tie::MostConfident] {
        assert_eq!(Aggregation::new(Aggregate::Vote).with_tie(tie).decide(&same).unwrap().value, None);
    }
}

#[test]
fn what_cannot_be_counted_with_is_refused_and_what_cannot_be_decided_says_why() {
    for opinion in [
        Opinion::new("a", 1).with_weight(f64::NAN),
        Opinion::new("a", 1).with_weight(-1.0),
        Opinion::new("a", 1).with_weight(f64::INFINITY),
        Opinion::new("a", 1).with_confidence(1.5),
        Opinion::new("a", 1).with_confidence(f64::NAN),
        Opinion::new("a", 1).with_score(f64::NAN),
    ] {
        let err = Aggregation::new(Aggregate::Vote).decide(&[opinion]).unwrap_err();
        assert_eq!((err.kind(), err.get("agent")), (ErrorKind::InvalidInput, Some("a")));
    }
    for threshold in [-0.1, 1.1, f64::NAN] {
        let err = Aggregation::new(Aggregate::Vote).with_threshold(threshold).decide(&[]).unwrap_err();
        assert_eq!(err.get("field"), Some("threshold"));
    }
    let why =
        |aggregation: Aggregation, opinions: &[Opinion]| aggregation.decide(opinions).unwrap().undecided;
    for method in [Aggregate::All, Aggregate::Majority, Aggregate::Average, Aggregate::Best] {
        assert_eq!(why(Aggregation::new(method), &[]), Some(Undecided::NoOpinions));
    }
    let weightless = [Opinion::new("a", 1).with_weight(0.0)];
    assert_eq!(why(Aggregation::new(Aggregate::Vote), &weightless), Some(Undecided::NoWeight));
    assert_eq!(
        why(Aggregation::new(Aggregate::Average), &said([json!("x")])),
        Some(Undecided::NothingUsable)
    );
    let split = said([json!(1), json!(2), json!(1)]);
    assert_eq!(why(Aggregation::new(Aggregate::Consensus), &split), Some(Undecided::BelowThreshold));
    assert_eq!(why(Aggregation::new(Aggregate::Consensus).with_threshold(0.6), &split), None);
    // Who gave nothing is still one of those who were asked.
    let absent = Aggregation::new(Aggregate::Majority).with_absent([1.0]);
    assert_eq!(why(absent, &split), Some(Undecided::BelowThreshold));
}

#[test]
fn texts_are_folded_unless_they_are_to_be_exact() {
    let opinions = said([json!("Yes"), json!("yes")]);
    let vote = Aggregation::new(Aggregate::Consensus);
    assert!(vote.decide(&opinions).unwrap().value.is_some());
    assert!(vote.with_texts(TextMatch::Exact).decide(&opinions).unwrap().value.is_none());
}

#[tokio::test]
async fn texts_that_mean_the_same_are_one_side_whatever_the_order() {
    let ctx = Context::new(&Runtime::current().unwrap());
    let places = HashMap::from([("up", 0.0_f32), ("upward", 0.3), ("rising", 0.6), ("down", 3.0)]);
    let embedder = FnEmbedder::new("test:angles", 2, move |texts: Vec<String>| {
        let vectors: Vec<Vec<f32>> =
            texts.iter().map(|text| vec![places[text.as_str()].cos(), places[text.as_str()].sin()]).collect();
        async move { Ok(vectors) }
    })
    .unwrap();
    let mut opinions = said([json!("rising"), json!("down"), json!("up"), json!("upward"), json!(4)]);
    let vote = Aggregation::new(Aggregate::Majority);
    for _ in 0..2 {
        // `up` and `rising` are 0.6 apart, and `upward` joins them.
        let decided = vote.decide_by_meaning(&ctx, &embedder, 0.95, &opinions).await.unwrap();
        assert_eq!(decided.value, Some(json!("rising")));
        assert_eq!((decided.sides[0].agents.len(), decided.dissent.len()), (3, 2));
        opinions.reverse();
    }
    assert_eq!(vote.decide_by_meaning(&ctx, &embedder, 0.99, &opinions).await.unwrap().value, None);
    let err = vote.decide_by_meaning(&ctx, &embedder, 1.5, &opinions).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput);
}

const METHODS: [Aggregate; 10] = [
    Aggregate::All,
    Aggregate::First,
    Aggregate::Combine,
    Aggregate::Consensus,
    Aggregate::Majority,
    Aggregate::Merge,
    Aggregate::Priority,
    Aggregate::Average,
    Aggregate::Vote,
    Aggregate::Best,
];
const INPUTS: usize = 100_000;

fn any_value(rng: &mut fastrand::Rng) -> Value {
    match rng.u8(..8) {
        0 => json!(rng.u8(..3)),
        1 => json!(f64::from(rng.u8(..3))),
        2 => json!(["Yes", "yes ", "no", "?", "!"][rng.usize(..5)]),
        3 => json!({ "k": rng.u8(..2), "l": [rng.bool()] }),
        4 => json!([rng.u8(..2)]),
        5 => Value::Null,
        6 => json!(rng.f64() * 1e300),
        _ => json!(rng.bool()),
    }
}

fn any_opinions(rng: &mut fastrand::Rng) -> Vec<Opinion> {
    (0..rng.usize(..5))
        .map(|index| {
            let mut opinion = Opinion::new(format!("a{index}"), any_value(rng));
            opinion.weight = [0.0, 0.1, 0.2, 1.0, 1.0, 3.0][rng.usize(..6)];
            opinion.confidence = rng.bool().then(|| rng.f64());
            opinion.score = rng.bool().then(|| rng.f64() - 0.5);
            opinion.priority = rng.i64(-1..2);
            opinion
        })
        .collect()
}

fn any_aggregation(rng: &mut fastrand::Rng) -> Aggregation {
    let tie = [Tie::None, Tie::HighestPriority, Tie::LowestPriority, Tie::MostConfident, Tie::Seeded(7)];
    let mut aggregation = Aggregation::new(METHODS[rng.usize(..METHODS.len())]).with_tie(tie[rng.usize(..5)]);
    aggregation.threshold = rng.bool().then(|| rng.f64());
    aggregation
}

fn same(value: Option<&Value>) -> String {
    value.map_or_else(String::new, |value| canonical_value(value, TextMatch::Folded))
}

#[test]
fn over_100_000_inputs_every_opinion_is_accounted_for_and_the_order_decides_nothing() {
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..INPUTS {
        let (aggregation, mut opinions) = (any_aggregation(&mut rng), any_opinions(&mut rng));
        let decided = aggregation.decide(&opinions).unwrap();
        assert_eq!(decided.value.is_none(), decided.undecided.is_some());
        assert!((0.0..=1.0).contains(&decided.confidence), "{decided:?}");
        assert_eq!(decided.sides.iter().map(|side| side.agents.len()).sum::<usize>(), opinions.len());
        if decided.value.is_none() {
            let told = |it: &Opinion| {
                decided.dissent.contains(it) || decided.left_out.iter().any(|out| out.agent == it.agent)
            };
            assert!(opinions.iter().all(told), "{decided:?}");
        }
        if matches!(
            aggregation.method,
            Aggregate::All | Aggregate::First | Aggregate::Combine | Aggregate::Merge
        ) {
            continue;
        }
        rng.shuffle(&mut opinions);
        let again = aggregation.decide(&opinions).unwrap();
        assert_eq!(same(decided.value.as_ref()), same(again.value.as_ref()), "{aggregation:?} {opinions:?}");
        assert_eq!(decided.undecided, again.undecided);
    }
}

#[test]
fn over_100_000_inputs_another_voice_for_the_winner_keeps_it_and_weight_decides() {
    let mut rng = fastrand::Rng::with_seed(2);
    for _ in 0..INPUTS {
        let opinions = any_opinions(&mut rng);
        let method = [Aggregate::Majority, Aggregate::Vote, Aggregate::Consensus][rng.usize(..3)];
        let mut aggregation = Aggregation::new(method);
        aggregation.threshold = Some(rng.f64());
        let decided = aggregation.decide(&opinions).unwrap();
        let Some(winner) = &decided.value else { continue };
        let found = |side: &&Side| same(Some(&side.value)) == same(Some(winner));
        let weight = decided.sides.iter().find(found).unwrap().weight;
        assert!(decided.sides.iter().all(|side| side.weight <= weight));
        let mut more = opinions.clone();
        more.push(Opinion::new("one more", winner.clone()).with_weight(rng.f64()));
        let after = aggregation.decide(&more).unwrap();
        assert_eq!(same(after.value.as_ref()), same(Some(winner)), "{method:?} {opinions:?}");
    }
}
