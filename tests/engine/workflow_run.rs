//! How a workflow goes: the order of steps, the ways between them, attempts, time-outs, and what ends it.

use std::{future, time::Duration};

use raptorflow_core::{
    Workflow,
    error::{Error, ErrorKind, Retry},
    journal::Fact,
    workflow::{Condition, function, repeat, workflow},
};
use serde_json::{Value, json};

use crate::{
    flows::{Host, Notes, at_path, down, flow, kill, outcome, output, wrong},
    support::{facts, run_of, settle},
};

#[tokio::test]
async fn a_step_begins_only_when_all_before_it_are_settled() {
    let (host, notes) = (Host::new(), Notes::default());
    let diamond = flow()
        .step("last", notes.gives(1).after("slow").after("quick"))
        .step("slow", notes.takes(5).after("first"))
        .step("quick", notes.takes(1).after("first"))
        .step("first", notes.gives(1))
        .build()
        .unwrap();
    let (_engine, run) = host.start(&diamond, 0).await;
    assert_eq!(notes.take(), ["first", "slow", "quick"]);
    host.seconds(1).await;
    assert_eq!(notes.take(), ["quick ends"]);
    host.seconds(3).await;
    assert!(notes.take().is_empty());
    host.seconds(1).await;
    assert_eq!(notes.take(), ["slow ends", "last"]);
    assert_eq!(run.outcome().await.unwrap().output, 1);
}

#[tokio::test]
async fn no_more_steps_are_at_work_than_the_workflow_allows() {
    let (host, notes) = (Host::new(), Notes::default());
    let mut wide = flow().parallel(2);
    for name in ["a", "b", "c", "d", "e"] {
        wide = wide.step(name, notes.takes(1));
    }
    let (_engine, run) = host.start(&wide.build().unwrap(), 0).await;
    assert_eq!(notes.take(), ["a", "b"]);
    host.seconds(1).await;
    assert_eq!(notes.take(), ["a ends", "c", "b ends", "d"]);
    host.seconds(1).await;
    assert_eq!(notes.take(), ["c ends", "e", "d ends"]);
    host.seconds(1).await;
    assert!(run.outcome().await.is_ok());
}

#[tokio::test]
async fn a_way_is_taken_when_its_condition_holds_and_what_it_leads_to_is_skipped_otherwise() {
    for (kind, expected) in [("refund", vec!["sort", "refund", "thank"]), ("praise", vec!["sort", "note"])] {
        let notes = Notes::default();
        let is = |kind: &str| Condition::at("/kind").equals(kind);
        let ways = flow()
            .step("sort", notes.echoes())
            .step("refund", notes.gives("paid").after_when("sort", is("refund")))
            .step("note", notes.gives("noted").after_when("sort", is("praise")))
            // Two steps behind the way that may not be taken.
            .step("thank", notes.gives("thanked").after("refund"));
        let output = output(ways, json!({ "kind": kind })).await;
        assert_eq!(notes.all(), expected);
        let expected =
            if kind == "refund" { json!({ "thank": "thanked" }) } else { json!({ "note": "noted" }) };
        assert_eq!(output, expected);
    }
}

#[tokio::test]
async fn branches_come_together_where_one_way_is_enough_and_nowhere_else() {
    for (n, all, any) in [(1, false, true), (5, true, true), (-1, false, false)] {
        let notes = Notes::default();
        let ways = flow()
            .step("n", notes.echoes())
            .step("small", notes.gives("s").after_when("n", Condition::value().above(0.0)))
            .step("large", notes.gives("l").after_when("n", Condition::value().above(3.0)))
            .step("both", notes.echoes().after("small").after("large"))
            .step("either", notes.echoes().after("small").after("large").any())
            .output(json!({ "both": "$both", "either": "$either" }));
        let output = output(ways, n).await;
        assert_eq!((notes.count("both"), notes.count("either")), (usize::from(all), usize::from(any)), "{n}");
        let either = match n {
            1 => json!({ "small": "s" }),
            5 => json!({ "small": "s", "large": "l" }),
            _ => Value::Null,
        };
        assert_eq!(output["either"], either);
        assert_eq!(output["both"], if all { either } else { Value::Null });
    }
}

#[tokio::test]
async fn an_optional_step_that_fails_is_null_to_those_after_it() {
    let notes = Notes::default();
    let optional = flow()
        .step("extra", notes.fails(9, &wrong()).optional())
        .step("alone", notes.echoes().after("extra"))
        .step("told", notes.echoes().after("extra").input(json!({ "extra": "$extra", "deep": "$extra/x" })))
        .step("without", notes.gives("w").after_when("extra", Condition::value().exists(false)))
        .step("with", notes.gives("x").after_when("extra", Condition::value().exists(true)));
    let output = output(optional, 0).await;
    assert_eq!(output, json!({ "alone": null, "told": { "extra": null, "deep": null }, "without": "w" }));
    assert_eq!(notes.count("with"), 0);
}

#[tokio::test]
async fn an_optional_workflow_or_repetition_that_fails_stops_nothing_but_itself() {
    let notes = Notes::default();
    let inner = Workflow::builder("inner")
        .step("breaks", notes.fails(9, &wrong()))
        .step("never", notes.gives(1).after("breaks"))
        .build()
        .unwrap();
    for step in [workflow(&inner), repeat(&inner, 3, Condition::value().exists(true))] {
        let host = Host::new();
        let whole = flow()
            .step("nested", step.optional())
            .step("beside", notes.takes(5))
            .step("behind", notes.gives("ok").after("nested").after("beside"))
            .build()
            .unwrap();
        let (_engine, run) = host.start(&whole, 0).await;
        host.seconds(5).await;
        assert_eq!(run.outcome().await.unwrap().output, "ok");
    }
    assert_eq!(notes.count("nested/never"), 0);
}

#[tokio::test]
async fn a_required_step_that_fails_stops_the_others_and_begins_nothing_new() {
    let (host, notes) = (Host::new(), Notes::default());
    let failing = flow()
        .step("slow", notes.takes(5))
        .step("breaks", notes.takes(1))
        .step("fails", notes.fails(9, &wrong()).after("breaks"))
        .step("never", notes.gives(1).after("slow"))
        .build()
        .unwrap();
    let (engine, run) = host.start(&failing, 0).await;
    let id = run.id();
    host.seconds(1).await;
    let err = run.outcome().await.unwrap_err();
    assert_eq!((err.kind(), err.get("step"), run_of(&err)), (ErrorKind::InvalidInput, Some("fails"), id));
    assert_eq!(notes.all(), ["slow", "breaks", "breaks ends", "fails"]);
    assert_eq!(
        facts(&engine, id).await[2..],
        ["breaks: step_completed", "fails: step_failed", "execution_failed"]
    );
    // What was stopped says nothing about how it would have ended.
    assert!(at_path(&engine, id, "slow").await.is_empty());
}

#[tokio::test]
async fn a_panic_of_a_function_is_a_failure_that_is_tried_again() {
    let notes = Notes::default();
    let noted = notes.clone();
    let panics = function(move |ctx: raptorflow_core::runtime::Context, _| {
        noted.note(&**ctx.path());
        assert!(noted.all().len() > 1, "the first time");
        future::ready(Ok(json!("calm")))
    });
    let flow = flow().step("panics", panics.retry_delay(Duration::ZERO));
    assert_eq!(output(flow, 0).await, "calm");
    assert_eq!(notes.all().len(), 2);
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again_as_often_as_said() {
    let soon = |kind| Error::new(kind, "host.call", "try later").retryable(Retry::Soon);
    let never = |kind| Error::new(kind, "host.call", "no");
    for (error, attempts) in [
        (never(ErrorKind::RateLimited), 3),
        (never(ErrorKind::Unavailable), 3),
        (never(ErrorKind::Timeout), 3),
        (never(ErrorKind::InvalidOutput), 3),
        (never(ErrorKind::Callback), 3),
        (soon(ErrorKind::Conflict), 3),
        (never(ErrorKind::InvalidInput), 1),
        (never(ErrorKind::PermissionDenied), 1),
        (never(ErrorKind::NotFound), 1),
        (never(ErrorKind::Unavailable).retryable(Retry::Exhausted), 1),
    ] {
        let notes = Notes::default();
        let step = notes.fails(99, &error).retries(2).retry_delay(Duration::ZERO);
        let err = outcome(&flow().step("call", step).build().unwrap(), 0).await.unwrap_err();
        assert_eq!((notes.all().len(), err.kind()), (attempts, error.kind()), "{error:?}");
    }
    let notes = Notes::default();
    let thrice = flow().step("call", notes.fails(99, &down()).retry_delay(Duration::ZERO)).build().unwrap();
    outcome(&thrice, 0).await.unwrap_err();
    assert_eq!(notes.all().len(), 4, "3 retries by default");
}

#[tokio::test]
async fn a_retry_waits_longer_each_time_and_as_long_as_the_other_side_says() {
    let (host, notes) = (Host::new(), Notes::default());
    let backoff =
        flow().step("call", notes.fails(3, &down()).retry_delay(Duration::from_secs(8))).build().unwrap();
    let (_engine, run) = host.start(&backoff, 0).await;
    // Half of each delay is random: 4 to 8, 8 to 16, 15 to 30 seconds.
    let mut calls = 1;
    for (least, most) in [(4, 8), (8, 16), (15, 30)] {
        assert_eq!(notes.all().len(), calls);
        host.advance(Duration::from_secs(least) - Duration::from_millis(1)).await;
        assert_eq!(notes.all().len(), calls, "it came before {least} s");
        host.advance(Duration::from_secs(most - least) + Duration::from_millis(1)).await;
        calls += 1;
        assert_eq!(notes.all().len(), calls, "it did not come within {most} s");
    }
    assert_eq!(run.outcome().await.unwrap().output, true);

    let (host, notes) = (Host::new(), Notes::default());
    let busy = down().retryable(Retry::After(Duration::from_secs(100)));
    let (_engine, run) = host.start(&flow().step("call", notes.fails(1, &busy)).build().unwrap(), 0).await;
    host.advance(Duration::from_millis(99_999)).await;
    assert_eq!(notes.all().len(), 1);
    host.advance(Duration::from_millis(1)).await;
    assert_eq!(notes.all().len(), 2);
    assert!(run.outcome().await.is_ok());
}

#[tokio::test]
async fn attempts_are_counted_over_a_crash() {
    let (host, notes) = (Host::new(), Notes::default());
    let step = notes.fails(99, &down()).retries(3).retry_delay(Duration::from_secs(1));
    let flow = flow().step("call", step).build().unwrap();
    let (engine, run) = host.start(&flow, 0).await;
    let id = run.id();
    host.seconds(1).await;
    assert_eq!(notes.take().len(), 2);
    kill(engine, run).await;

    let engine = host.engine(&flow).await;
    let run = engine.resume(id).start().await.unwrap();
    for _ in 0..60 {
        host.seconds(1).await;
    }
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(notes.all().len(), 2, "4 attempts in all");
    let attempts: Vec<u32> = at_path(&engine, id, "call")
        .await
        .iter()
        .filter_map(
            |fact| if let Fact::RetryTriggered { attempt, .. } = fact { Some(*attempt) } else { None },
        )
        .collect();
    assert_eq!(attempts, [1, 2, 3]);

    // A run that failed as a whole has all its tries again.
    notes.take();
    let run = engine.resume(id).start().await.unwrap();
    for _ in 0..60 {
        host.seconds(1).await;
    }
    run.outcome().await.unwrap_err();
    assert_eq!(notes.all().len(), 4);
}

#[tokio::test]
async fn an_attempt_ends_at_its_time_out_and_the_next_has_its_whole_time() {
    let (host, notes) = (Host::new(), Notes::default());
    let step = notes.hangs().timeout(Duration::from_secs(7)).retries(1).retry_delay(Duration::ZERO);
    let (_engine, run) = host.start(&flow().step("hangs", step).build().unwrap(), 0).await;
    host.advance(Duration::from_millis(6_999)).await;
    assert_eq!(notes.all().len(), 1);
    host.advance(Duration::from_millis(1)).await;
    assert_eq!(notes.all().len(), 2);
    host.seconds(7).await;
    let err = run.outcome().await.unwrap_err();
    assert_eq!((err.kind(), err.get("step")), (ErrorKind::Timeout, Some("hangs")));

    let (host, notes) = (Host::new(), Notes::default());
    let (_engine, run) =
        host.start(&flow().step("hangs", notes.hangs().retries(0)).build().unwrap(), 0).await;
    host.advance(Duration::from_millis(29_999)).await;
    settle().await;
    host.advance(Duration::from_millis(1)).await;
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Timeout, "30 s by default");
}
