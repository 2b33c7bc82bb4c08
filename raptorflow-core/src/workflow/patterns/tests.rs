//! What patterns promise whatever their members say: an end within the bounds, and a record of everything.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind},
    types::Usage,
    workflow::{
        Aggregate, Aggregation, Complete, Consensus, DebateFormat, Decision, Member, PanelOrder,
        PanelStrategy, Pattern, PatternSpec, Role, Stopped, VerificationLevel, debate, expert_panel,
        map_reduce, parallel,
        patterns::machine::{Answered, Heard, PatternRun, Step, Until},
        reflection, sequential, verification,
    },
};

const ANSWERS: usize = 100_000;

fn members(rng: &mut fastrand::Rng, roles: &[Option<Role>]) -> Vec<Member> {
    (0..rng.usize(1..4))
        .map(|index| {
            let mut member = Member::new(format!("m{index}")).with_weight(f64::from(rng.u8(..3)));
            member.role = roles[rng.usize(..roles.len())];
            member
        })
        .collect()
}

fn pick<T: Copy>(rng: &mut fastrand::Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

/// Any pattern; many of them are refused.
fn any_spec(rng: &mut fastrand::Rng) -> PatternSpec {
    let debaters = [Some(Role::Advocate), Some(Role::Critic), Some(Role::Moderator), None];
    let experts = [Some(Role::Primary), Some(Role::Advisor), Some(Role::Reviewer), None];
    let mut spec: PatternSpec = match rng.u8(..7) {
        0 => {
            let mut members = members(rng, &[None]);
            members.iter_mut().for_each(|member| member.optional = rng.bool());
            members[0].undo = rng.bool().then(|| "undo".to_owned());
            sequential(members).into()
        }
        1 => {
            let methods =
                [Aggregate::All, Aggregate::Vote, Aggregate::Best, Aggregate::Average, Aggregate::First];
            let complete = [Complete::All, Complete::Any, Complete::Majority, Complete::Threshold];
            let built = parallel(members(rng, &[None])).aggregate(Aggregation::new(pick(rng, &methods)));
            let built = built.complete(pick(rng, &complete));
            if rng.bool() { built.fail_fast().into() } else { built.into() }
        }
        2 => {
            let formats = [
                DebateFormat::RoundRobin,
                DebateFormat::FreeForm,
                DebateFormat::Structured,
                DebateFormat::Socratic,
            ];
            let agree =
                [Consensus::Unanimous, Consensus::Majority, Consensus::WeightedVote, Consensus::Confidence];
            let mut built = debate(members(rng, &debaters)).rounds(rng.u32(1..4)).turns(rng.u32(1..4));
            built = built.format(pick(rng, &formats));
            if rng.bool() {
                built = built.judge("judge");
            }
            if rng.bool() {
                built = built.consensus(pick(rng, &agree));
            }
            if rng.bool() { built.without_early_stop().into() } else { built.into() }
        }
        3 => {
            let levels = [VerificationLevel::Basic, VerificationLevel::Critical];
            let mut built =
                verification(members(rng, &[None])).level(pick(rng, &levels)).iterations(rng.u32(1..4));
            if rng.bool() {
                built = built.author("author");
            }
            if rng.bool() { built.majority_is_enough().into() } else { built.into() }
        }
        4 => {
            let strategies = [
                PanelStrategy::Coordinator,
                PanelStrategy::Consensus,
                PanelStrategy::WeightedMerge,
                PanelStrategy::SequentialBuild,
                PanelStrategy::BestSolution,
            ];
            let built = expert_panel(members(rng, &experts)).strategy(pick(rng, &strategies));
            if rng.bool() { built.one_by_one().into() } else { built.into() }
        }
        5 => {
            let built = map_reduce(members(rng, &[None])).at_once(rng.usize(1..4)).threshold(rng.f64());
            if rng.bool() { built.reducer("reducer").into() } else { built.into() }
        }
        _ => reflection("author").critic("critic").rounds(rng.u32(1..4)).into(),
    };
    spec.tokens = rng.bool().then(|| rng.u64(1..40));
    spec
}

/// Any answer: a position, nonsense, nothing, or a failure.
fn any_answer(rng: &mut fastrand::Rng) -> Result<Heard, Error> {
    let output = match rng.u8(..10) {
        0 => return Err(Error::new(ErrorKind::Unavailable, "host.call", "down")),
        1 => Value::Null,
        2 => json!("  "),
        3 => json!({ "confidence": 7, "score": "high" }),
        4 => json!({ "answer": rng.u8(..2), "confidence": rng.f64(), "score": rng.f64() }),
        5 => json!("Position: yes\nConfidence: 90%\nm0: 0.4\nScore: 0.9"),
        6 => json!("Verdict: request revision"),
        7 => json!("Verdict: approve"),
        8 => json!("Decided: no"),
        _ => json!(rng.u8(..3)),
    };
    let usage = Usage { output_tokens: rng.u64(..4), ..Usage::default() };
    Ok(Heard { output, usage, limited: rng.u8(..9) == 0, ..Heard::default() })
}

/// Plays a pattern to its end, and gives how many turns were asked and what it came to.
fn play(spec: &PatternSpec, rng: &mut fastrand::Rng) -> (u64, Result<Decision, Error>) {
    let mut machine = match PatternRun::new(spec, &json!([1, 2, 3])) {
        Ok(machine) => machine,
        Err(err) => return (0, Err(err)),
    };
    let (mut answered, mut keys, mut failed) = (Vec::new(), HashSet::new(), 0);
    loop {
        let batch = match machine.next(std::mem::take(&mut answered)) {
            Ok(Step::Ask(batch)) => batch,
            Ok(Step::Done(decision)) => {
                assert!(decision.turns.len() + decision.missing.len() >= keys.len(), "{decision:?}");
                let told = decision.missing.iter().filter(|it| it.error.is_some()).count();
                assert!(told >= failed, "{decision:?}");
                return (keys.len() as u64, Ok(*decision));
            }
            Ok(Step::Fail { error, .. }) | Err(error) => return (keys.len() as u64, Err(error)),
        };
        assert!(!batch.asks.is_empty(), "{spec:?}");
        let stops = !matches!(batch.until, Until::All);
        for ask in batch.asks {
            assert!(keys.insert(ask.key.clone()), "{} is asked twice of {spec:?}", ask.key);
            // A batch that ends early leaves some of its turns without an answer.
            if stops && !answered.is_empty() && rng.u8(..3) == 0 {
                continue;
            }
            let outcome = any_answer(rng);
            failed += usize::from(outcome.is_err());
            answered.push(Answered { ask, outcome });
        }
    }
}

#[test]
fn over_100_000_answers_every_pattern_ends_within_its_turns_and_tells_who_is_missing() {
    let (mut rng, mut answers, mut decided, mut kinds) = (fastrand::Rng::with_seed(3), 0, 0, HashSet::new());
    while answers < ANSWERS {
        let Ok(pattern) = Pattern::new(any_spec(&mut rng)) else { continue };
        let (turns, outcome) = play(pattern.spec(), &mut rng);
        assert!(turns <= pattern.most_turns(), "{turns} turns of {pattern:?}");
        answers += usize::try_from(turns).unwrap().max(1);
        let Ok(decision) = outcome else { continue };
        decided += 1;
        kinds.insert(decision.pattern.clone());
        assert!((0.0..=1.0).contains(&decision.confidence), "{decision:?}");
        assert!(!(decision.agreed && decision.stopped == Stopped::Tokens), "{decision:?}");
        if decided % 64 == 0 {
            let data = serde_json::to_value(&decision).unwrap();
            assert_eq!(serde_json::to_value(Decision::of(&data).unwrap()).unwrap(), data);
        }
    }
    assert_eq!(kinds.len(), 7, "{kinds:?}");
    assert!(decided > 1_000, "{decided}");
}

#[test]
fn the_same_answers_lead_to_the_same_decision() {
    let mut rng = fastrand::Rng::with_seed(4);
    for seed in 0..500 {
        let Ok(pattern) = Pattern::new(any_spec(&mut rng)) else { continue };
        let again =
            || play(pattern.spec(), &mut fastrand::Rng::with_seed(seed)).1.map_err(|err| err.to_string());
        assert_eq!(again(), again());
    }
}

#[test]
fn a_pattern_that_cannot_work_is_refused_with_every_problem() {
    let none: [&str; 0] = [];
    let problems = |built: Result<Pattern, Error>| format!("{:#}", built.unwrap_err());
    for (built, said) in [
        (sequential(none).build(), "expected at least one"),
        (parallel(none).build(), "expected at least one"),
        (verification(none).build(), "expected at least one"),
        (map_reduce(none).build(), "expected at least one"),
        (expert_panel(none).build(), "at least one expert"),
        (expert_panel([Member::new("a").with_role(Role::Reviewer)]).build(), "at least one expert"),
        (debate(["alone"]).build(), "at least two sides"),
        (
            debate([Member::new("a"), Member::new("b").with_role(Role::Moderator)]).build(),
            "at least two sides",
        ),
        (debate(["a", "b"]).consensus(Consensus::Moderator).build(), "needs a `judge`"),
        (debate(["a", "a"]).build(), "known as `a`"),
        (debate(["a", "b"]).rounds(0).build(), "from 1 to 100"),
        (debate(["a", "b"]).turns(101).build(), "from 1 to 100"),
        (debate(["a", "b"]).confidence(f64::NAN).build(), "from 0 to 1"),
        (parallel([Member::new("a").with_weight(f64::NAN)]).build(), "weight of `a`"),
        (parallel([Member::new("a").with_weight(-1.0)]).build(), "weight of `a`"),
        (parallel([Member::new("a").with_weight(0.0)]).build(), "weigh nothing"),
        (parallel([Member::new("a").with_role(Role::Critic)]).build(), "cannot be critic"),
        (parallel([Member::new("a").optional()]).build(), "only a sequence"),
        (parallel([Member::new("")]).build(), "needs an `agent`"),
        (map_reduce(["a"]).at_once(1).build(), "never ends"),
        (parallel(["a"]).name("a/b").build(), "slashes"),
        (parallel(["a"]).tokens(0).build(), "at least 1"),
        (parallel([debate(["alone"])]).build(), "at least two sides"),
    ] {
        let told = problems(built);
        assert!(told.contains(said), "{told}");
    }
    let both = problems(debate(["alone"]).rounds(0).build());
    assert!(both.contains("at least two sides") && both.contains("from 1 to 100"), "{both}");
    let err = PatternSpec::from_json(r#"{ "pattern": { "debate": { "members": ["a", 3] } } }"#).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_defaults_of_data_are_those_of_code() {
    for (data, built) in [
        (json!({ "sequential": { "members": ["a", "b"] } }), sequential(["a", "b"]).build()),
        (json!({ "parallel": { "members": ["a", "b"] } }), parallel(["a", "b"]).build()),
        (json!({ "debate": { "members": ["a", "b"] } }), debate(["a", "b"]).build()),
        (json!({ "verification": { "verifiers": ["a", "b"] } }), verification(["a", "b"]).build()),
        (json!({ "expert_panel": { "members": ["a", "b"] } }), expert_panel(["a", "b"]).build()),
        (json!({ "map_reduce": { "mappers": ["a", "b"] } }), map_reduce(["a", "b"]).build()),
        (json!({ "reflection": { "author": "a" } }), reflection("a").build()),
    ] {
        let read = PatternSpec::from_json(&json!({ "pattern": data }).to_string()).unwrap();
        let built = built.unwrap();
        assert_eq!(&read, built.spec());
        assert_eq!(Pattern::new(read).unwrap().name(), built.name());
    }
}

#[test]
fn a_panel_in_order_sees_what_was_said() {
    let spec: PatternSpec = expert_panel(["a", "b"]).one_by_one().into();
    let mut machine = PatternRun::new(&spec, &json!("Shall we?")).unwrap();
    let Step::Ask(first) = machine.next(Vec::new()).unwrap() else { panic!("nobody is asked") };
    let ask = first.asks.into_iter().next().unwrap();
    let heard = Heard { output: json!("yes, on Monday"), ..Heard::default() };
    let Step::Ask(second) = machine.next(vec![Answered { ask, outcome: Ok(heard) }]).unwrap() else {
        panic!("the second is not asked")
    };
    assert_eq!(second.asks[0].input["said"][0]["said"], "yes, on Monday");
    assert!(second.asks[0].input["goal"].as_str().unwrap().contains("yes, on Monday"));
    assert_eq!(PanelOrder::default(), PanelOrder::Parallel);
}
