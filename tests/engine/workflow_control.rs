//! What is said to workflows from outside: pause, cancel, answers to gates, signals, and who may go on with a run.

use std::{sync::Arc, time::Duration};

use raptorflow_core::{
    Engine, Workflow,
    error::ErrorKind,
    journal::{JournalConfig, RunStatus},
    runtime::{Runtime, Tasks},
    types::RunId,
    workflow::{Condition, Step, after, agent, repeat, workflow},
};
use serde_json::{Value, json};

use crate::{
    flows::{Host, Notes, at_path, flow, kill, wrong},
    support::{facts, run_of, settle},
};

async fn status(engine: &Engine, run: RunId) -> RunStatus {
    engine.state(run, None).await.unwrap().summary.status
}

/// Two steps, one after the other, of which the first takes five seconds.
fn pair(notes: &Notes) -> Workflow {
    let pair = Workflow::builder("pair").step("a", notes.takes(5));
    pair.step("b", notes.takes(5).after("a")).build().unwrap()
}

#[tokio::test]
async fn a_paused_workflow_finishes_what_is_under_way_and_begins_nothing() {
    let notes = Notes::default();
    let inner = pair(&notes);
    let list = || notes.takes(5).map("$input").parallel(1);
    for (step, next) in [
        (workflow(&inner), "step/b"),
        (repeat(&inner, 1, Condition::value().exists(true)), "step/0/b"),
        (workflow(&inner).map("$input"), "step/0/b"),
        (list(), "step/1"),
    ] {
        notes.take();
        let host = Host::new();
        let (engine, run) = host.start(&flow().step("step", step).build().unwrap(), json!([1, 2])).await;
        let id = run.id();
        engine.pause(id).await.unwrap();
        assert_eq!(engine.pause(id).await.unwrap_err().kind(), ErrorKind::Conflict);
        host.seconds(5).await;
        host.seconds(3600).await;
        let ends = notes.take();
        assert!(ends.iter().any(|note| note.ends_with(" ends")), "it was stopped");
        assert!(!ends.contains(&next.to_owned()), "{next} began while paused");
        assert_eq!(status(&engine, id).await, RunStatus::Paused);

        let resumed = engine.resume(id).start().await.unwrap();
        settle().await;
        assert_eq!((notes.count(next), status(&engine, id).await), (1, RunStatus::Running));
        host.seconds(5).await;
        host.seconds(5).await;
        // Both who wait for it learn how it ended.
        assert_eq!(run.outcome().await.unwrap().output, resumed.outcome().await.unwrap().output);
        assert_eq!(engine.pause(id).await.unwrap_err().kind(), ErrorKind::Conflict, "it has ended");
    }
}

#[tokio::test]
async fn a_failure_ends_a_paused_workflow_whose_parts_wait_to_go_on() {
    let (host, notes) = (Host::new(), Notes::default());
    let whole = flow()
        .step("part", workflow(&pair(&notes)))
        .step("items", notes.takes(5).map("$input").parallel(1))
        .step("slow", notes.takes(9))
        .step("fails", notes.fails(9, &wrong()).after("slow"))
        .step("late", notes.hangs().timeout(Duration::from_secs(9)).retries(0))
        .build()
        .unwrap();
    let (engine, run) = host.start(&whole, json!([1, 2])).await;
    let id = run.id();
    engine.pause(id).await.unwrap();
    host.seconds(5).await;
    host.seconds(4).await;
    let err = run.outcome().await.unwrap_err();
    assert_eq!((err.kind(), err.get("step")), (ErrorKind::Timeout, Some("late")));
    assert_eq!(status(&engine, id).await, RunStatus::Failed);
}

#[tokio::test]
async fn a_paused_run_can_be_cancelled_and_after_a_crash_it_is_not_paused_any_more() {
    let (host, notes) = (Host::new(), Notes::default());
    let pair = pair(&notes);
    let (engine, run) = host.start(&pair, 0).await;
    engine.pause(run.id()).await.unwrap();
    host.seconds(5).await;
    engine.cancel(run.id()).await.unwrap();
    settle().await;
    assert_eq!(status(&engine, run.id()).await, RunStatus::Cancelled);
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);

    let (engine, run) = host.start(&pair, 0).await;
    let id = run.id();
    engine.pause(id).await.unwrap();
    host.seconds(5).await;
    notes.take();
    kill(engine, run).await;
    let engine = host.engine(&pair).await;
    let run = engine.resume(id).start().await.unwrap();
    settle().await;
    assert_eq!(notes.all(), ["b"]);
    host.seconds(5).await;
    assert_eq!(run.outcome().await.unwrap().output, "b");
}

#[tokio::test]
async fn cancelling_stops_every_step_at_work_wherever_it_stands_and_is_final() {
    let (host, notes) = (Host::new(), Notes::default());
    let inner = Workflow::builder("inner").step("deep", notes.takes(5)).build().unwrap();
    let wide = flow()
        .step("plain", notes.takes(5))
        .step("kept", notes.takes(5).compensate(notes.undoes()))
        .step("items", notes.takes(5).map("$input"))
        .step("part", workflow(&inner))
        .step("turns", repeat(&inner, 3, Condition::value().exists(false)))
        .gate("ask", Step::default())
        .step("timer", raptorflow_core::workflow::timer(Duration::from_secs(5)))
        .step("retry", notes.fails(9, &crate::flows::down()))
        .build()
        .unwrap();
    let (engine, run) = host.start(&wide, json!([1, 2])).await;
    let id = run.id();
    engine.cancel(id).await.unwrap();
    let err = run.outcome().await.unwrap_err();
    assert_eq!((err.kind(), run_of(&err)), (ErrorKind::Cancelled, id));
    let before = notes.take();
    host.seconds(60).await;
    assert!(notes.take().is_empty(), "something went on after {before:?}");
    let last = facts(&engine, id).await;
    assert_eq!(last.last().unwrap(), "execution_cancelled");
    assert!(!last.iter().any(|fact| fact.contains("step_") || fact.contains("rollback")), "{last:?}");
    assert_eq!(engine.resume(id).await.unwrap_err().kind(), ErrorKind::Cancelled);
}

/// A workflow with a gate, what goes on after a yes, and what is told otherwise.
fn asking(gate: Step, notes: &Notes) -> Workflow {
    flow()
        .gate("ask", gate)
        .step("go", notes.echoes().after("ask"))
        .step("told", notes.gives("no").after_when("ask", Condition::value().equals(false)))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_gate_gives_its_answer_and_a_no_skips_what_comes_after() {
    for (answer, output) in [
        (json!(true), json!({ "go": true })),
        (json!(false), json!({ "told": "no" })),
        (json!({ "amount": 5 }), json!({ "go": { "amount": 5 } })),
        (json!("no"), json!({ "go": "no" })),
        (Value::Null, json!({ "go": null })),
    ] {
        let (host, notes) = (Host::new(), Notes::default());
        let (engine, run) = host.start(&asking(Step::default(), &notes), 0).await;
        engine.signal(run.id(), "ask", answer).await.unwrap();
        assert_eq!(run.outcome().await.unwrap().output, output);
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_question_or_while_nobody_works_on_the_run_is_found() {
    let (host, notes) = (Host::new(), Notes::default());
    let late = flow().step("work", notes.takes(5)).gate("ask", after("work")).build().unwrap();
    let (engine, run) = host.start(&late, 0).await;
    engine.signal(run.id(), "ask", "early").await.unwrap();
    host.seconds(5).await;
    assert_eq!(run.outcome().await.unwrap().output, "early");

    let (engine, run) = host.start(&late, 0).await;
    let id = run.id();
    host.seconds(5).await;
    kill(engine, run).await;
    let engine = host.engine(&late).await;
    engine.signal(id, "ask", "meanwhile").await.unwrap();
    assert_eq!(engine.resume(id).await.unwrap().output, "meanwhile");
}

#[tokio::test]
async fn a_gate_that_nobody_answers_in_time_takes_its_default_or_fails_over_restarts_too() {
    for default in [Some("nobody"), None] {
        for restart in [false, true] {
            let (host, notes) = (Host::new(), Notes::default());
            let mut gate = Step::default().timeout(Duration::from_secs(60));
            if let Some(default) = default {
                gate = gate.default_answer(default);
            }
            let flow = asking(gate, &notes);
            let (mut engine, mut run) = host.start(&flow, 0).await;
            let id = run.id();
            host.seconds(40).await;
            if restart {
                kill(engine, run).await;
                engine = host.engine(&flow).await;
                run = engine.resume(id).start().await.unwrap();
                settle().await;
            }
            host.advance(Duration::from_millis(19_999)).await;
            assert_eq!((notes.all().len(), status(&engine, id).await), (0, RunStatus::Running));
            host.advance(Duration::from_millis(1)).await;
            match (default, run.outcome().await) {
                (Some(default), outcome) => assert_eq!(outcome.unwrap().output, json!({ "go": default })),
                (None, outcome) => {
                    let err = outcome.unwrap_err();
                    assert_eq!((err.kind(), err.get("gate")), (ErrorKind::Timeout, Some("ask")));
                }
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_a_gate_does_not_take_changes_nothing() {
    let (host, notes) = (Host::new(), Notes::default());
    let schema = json!({ "type": "object", "required": ["amount"] });
    let mut strict =
        Step::default().choices([json!({ "amount": 5 }), json!({ "amount": 7 })]).approvers(["ann"]);
    strict = strict.prompt("How much?");
    let (engine, run) = host.start(&asking(strict, &notes), 0).await;
    let id = run.id();
    let before = facts(&engine, id).await;
    for (name, value, by, kind, field) in [
        ("ask", json!({ "amount": 6 }), Some("ann"), ErrorKind::InvalidInput, "expected"),
        ("ask", schema, Some("ann"), ErrorKind::InvalidInput, "gate"),
        ("ask", json!({ "amount": 5 }), Some("bob"), ErrorKind::PermissionDenied, "approvers"),
        ("ask", json!({ "amount": 5 }), None, ErrorKind::PermissionDenied, "by"),
        ("aks", json!({ "amount": 5 }), Some("ann"), ErrorKind::NotFound, "known"),
        ("go", json!(1), Some("ann"), ErrorKind::NotFound, "gate"),
    ] {
        let mut signal = engine.signal(id, name, value);
        if let Some(by) = by {
            signal = signal.by(by);
        }
        let err = signal.await.unwrap_err();
        assert_eq!((err.kind(), run_of(&err)), (kind, id), "{name} {by:?}");
        assert!(err.get(field).is_some(), "{err} has no {field}");
    }
    assert_eq!(facts(&engine, id).await, before);
    engine.signal(id, "ask", json!({ "amount": 7 })).by("ann").await.unwrap();
    let err = engine.signal(id, "ask", json!({ "amount": 5 })).by("ann").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Conflict, "it was answered");
    assert_eq!(run.outcome().await.unwrap().output, json!({ "go": { "amount": 7 } }));
    let err = engine.signal(id, "ask", json!({ "amount": 5 })).by("ann").await.unwrap_err();
    assert_eq!((err.kind(), run_of(&err)), (ErrorKind::Conflict, id), "it has ended");
}

#[tokio::test]
async fn a_gate_inside_is_answered_under_its_path() {
    let (host, notes) = (Host::new(), Notes::default());
    let asks = Workflow::builder("asks").gate("ask", Step::default().choices([1, 2])).build().unwrap();
    let whole = flow()
        .step("part", workflow(&asks))
        .step("items", workflow(&asks).map("$input"))
        .step("turns", repeat(&asks, 2, Condition::value().equals(2)))
        .step("other", agent("asks"))
        .step("end", notes.echoes().after("part").after("items").after("turns").after("other"))
        .build()
        .unwrap();
    let engine = host.engine(&whole).await;
    engine.register(asks).unwrap();
    let run = engine.start(&whole, json!([0, 0])).await.unwrap();
    settle().await;
    let id = run.id();
    assert_eq!(engine.signal(id, "part/ask", 3).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(engine.signal(id, "items/ask", 1).await.unwrap_err().kind(), ErrorKind::NotFound);
    for (path, answer) in [
        ("part/ask", 1),
        ("items/0/ask", 1),
        ("items/1/ask", 2),
        ("turns/0/ask", 1),
        ("turns/1/ask", 2),
        ("other/asks/ask", 1),
    ] {
        engine.signal(id, path, answer).await.unwrap();
        settle().await;
    }
    let output = json!({ "part": 1, "items": [1, 2], "turns": 2, "other": 1 });
    assert_eq!(run.outcome().await.unwrap().output, output);
}

#[tokio::test]
async fn a_workflow_at_work_in_a_living_process_is_not_taken_from_it() {
    let (host, notes) = (Host::new(), Notes::default());
    let pair = pair(&notes);
    let (_engine, run) = host.start(&pair, 0).await;
    let id = run.id();
    let runtime = Runtime::new(Arc::new(host.clock.clone()), Tasks::current().unwrap());
    let builder = Engine::builder().storage_handle(host.storage.clone()).runtime(runtime);
    let other = builder.journal(JournalConfig::default()).build().await.unwrap();
    other.register(pair).unwrap();
    let taken = tokio::spawn({
        let other = other.clone();
        async move { other.resume(id).await }
    });
    settle().await;
    for _ in 0..50 {
        host.advance(Duration::from_millis(200)).await;
    }
    let err = taken.await.unwrap().unwrap_err();
    assert_eq!((err.kind(), run_of(&err)), (ErrorKind::Conflict, id));
    assert_eq!(run.outcome().await.unwrap().output, "b");
    assert_eq!(notes.all(), ["a", "a ends", "b", "b ends"]);
    // What has ended is told by anybody.
    assert_eq!(other.resume(id).await.unwrap().output, "b");
    assert!(at_path(&other, id, "").await.len() == 3, "nobody resumed it");
}
