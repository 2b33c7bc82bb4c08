//! Compensation: what a failed workflow did is taken back, last first, also over crashes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use raptorflow_core::{
    Engine, Workflow,
    agent::{AgentSpec, FunctionAgent},
    error::ErrorKind,
    journal::Fact,
    runtime::Context,
    storage::MemoryStore,
    testing::{Fault, FaultyLog},
    tool::FunctionTool,
    types::{Schema, ToolSpec},
    workflow::{Condition, WorkflowBuilder, agent, function, repeat, tool, workflow},
};
use serde_json::{Value, json};

use crate::{
    flows::{Host, Notes, at_path, down, flow, kill, outcome, wrong},
    support::{facts, settle},
};

/// What was taken back, without what was done before.
fn undone(notes: &Notes) -> Vec<String> {
    notes.all().into_iter().filter(|note| note.contains("/undo")).collect()
}

#[tokio::test]
async fn what_was_done_is_taken_back_in_reverse_order_of_its_end() {
    let (host, notes) = (Host::new(), Notes::default());
    let trip = flow()
        .step("hotel", notes.takes(2).compensate(notes.undoes()))
        .step("flight", notes.takes(1).compensate(notes.undoes()))
        .step("look", notes.gives("nothing to take back").after("hotel"))
        .step("pay", notes.fails(9, &wrong()).after("look").after("flight").compensate(notes.undoes()))
        .build()
        .unwrap();
    let (engine, run) = host.start(&trip, 0).await;
    let id = run.id();
    host.seconds(1).await;
    host.seconds(1).await;
    let err = run.outcome().await.unwrap_err();
    assert_eq!((err.kind(), err.get("step")), (ErrorKind::InvalidInput, Some("pay")));
    // The step that failed did nothing that could be taken back.
    assert_eq!(undone(&notes), [r#"hotel/undo "hotel""#, r#"flight/undo "flight""#]);
    assert_eq!(
        facts(&engine, id).await[5..],
        [
            "pay: step_failed",
            "rollback_started",
            "hotel/undo: step_completed",
            "flight/undo: step_completed",
            "execution_failed"
        ]
    );
}

#[tokio::test]
async fn a_fork_takes_back_what_it_did_itself_and_nothing_that_the_other_run_did() {
    let (host, notes) = (Host::new(), Notes::default());
    let trip = flow()
        .step("hotel", notes.gives("hotel").compensate(notes.undoes()))
        .step("flight", notes.gives("flight").after("hotel").compensate(notes.undoes()))
        .step("pay", notes.fails(9, &wrong()).after("flight"))
        .build()
        .unwrap();
    let (engine, run) = host.start(&trip, 0).await;
    let id = run.id();
    run.outcome().await.unwrap_err();
    let all = [r#"flight/undo "flight""#, r#"hotel/undo "hotel""#];
    assert_eq!(undone(&notes), all);
    // After the start and the definition, after the hotel, and after the flight.
    for (at, expected) in [(2, &all[..]), (3, &all[..1]), (4, &[])] {
        let fork = engine.fork(id, at).await.unwrap();
        notes.take();
        assert_eq!(engine.resume(fork).await.unwrap_err().get("step"), Some("pay"));
        assert_eq!(undone(&notes), expected, "{at}");
    }
}

#[tokio::test]
async fn items_turns_and_workflows_inside_are_taken_back_too() {
    let notes = Notes::default();
    let inner = Workflow::builder("inner")
        .step("a", notes.gives(1).compensate(notes.undoes()))
        .step("b", notes.gives(2).after("a").compensate(notes.undoes()))
        .build()
        .unwrap();
    let whole = flow()
        .step("each", notes.echoes().map("$input").parallel(1).compensate(notes.undoes()))
        .step("nested", workflow(&inner).after("each"))
        .step("turns", repeat(&inner, 2, Condition::value().equals(0)).after("nested"))
        .step("wide", workflow(&inner).map("$input").parallel(1).after("turns"))
        .step("fails", notes.fails(9, &wrong()).after("wide"))
        .build()
        .unwrap();
    outcome(&whole, json!(["x", "y"])).await.unwrap_err();
    assert_eq!(
        undone(&notes),
        [
            "wide/1/b/undo 2",
            "wide/1/a/undo 1",
            "wide/0/b/undo 2",
            "wide/0/a/undo 1",
            "turns/1/b/undo 2",
            "turns/1/a/undo 1",
            "turns/0/b/undo 2",
            "turns/0/a/undo 1",
            "nested/b/undo 2",
            "nested/a/undo 1",
            r#"each/1/undo "y""#,
            r#"each/0/undo "x""#,
        ]
    );
}

#[tokio::test]
async fn an_optional_failure_a_completed_run_and_a_cancelled_one_take_nothing_back() {
    let (host, notes) = (Host::new(), Notes::default());
    let begun = |notes: &Notes| flow().step("done", notes.gives(1).compensate(notes.undoes()));
    let optional =
        begun(&notes).step("fails", notes.fails(9, &wrong()).after("done").optional()).build().unwrap();
    outcome(&optional, 0).await.unwrap();
    let hangs = begun(&notes).step("hangs", notes.hangs().after("done")).build().unwrap();
    let (_engine, run) = host.start(&hangs, 0).await;
    run.cancel();
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(undone(&notes).is_empty());
}

#[tokio::test]
async fn a_step_that_can_be_taken_back_is_finished_before_it_is() {
    let (host, notes) = (Host::new(), Notes::default());
    let flow = flow()
        .step("book", notes.takes(5).compensate(notes.undoes()))
        .step("plain", notes.takes(5))
        .step("wait", notes.takes(1))
        .step("fails", notes.fails(9, &wrong()).after("wait"))
        .build()
        .unwrap();
    let (_engine, run) = host.start(&flow, 0).await;
    host.seconds(1).await;
    assert!(undone(&notes).is_empty());
    host.seconds(4).await;
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!((notes.count("book ends"), notes.count("plain ends")), (1, 0));
    assert_eq!(undone(&notes), [r#"book/undo "book""#]);
}

#[tokio::test]
async fn a_time_out_of_the_workflow_takes_back_what_was_done() {
    let (host, notes) = (Host::new(), Notes::default());
    let flow = flow()
        .timeout(Duration::from_secs(3))
        .step("done", notes.gives(1).compensate(notes.undoes()))
        .step("slow", notes.takes(9).after("done"))
        .build()
        .unwrap();
    let (_engine, run) = host.start(&flow, 0).await;
    host.seconds(3).await;
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(undone(&notes), ["done/undo 1"]);
}

#[tokio::test]
async fn a_compensation_is_tried_again_with_one_key_and_has_a_time_out() {
    let (host, notes, keys) = (Host::new(), Notes::default(), Arc::new(Mutex::new(Vec::new())));
    let (noted, seen) = (notes.clone(), Arc::clone(&keys));
    let undo = function(move |ctx: Context, _| {
        seen.lock().unwrap().push(ctx.idempotency_key().unwrap().to_owned());
        noted.note(&**ctx.path());
        let calls = noted.count("done/undo");
        async move {
            match calls {
                1 => Err(down()),
                2 => std::future::pending().await,
                _ => Ok(Value::Null),
            }
        }
    });
    let done = notes.gives(1).timeout(Duration::from_secs(7)).retry_delay(Duration::ZERO).compensate(undo);
    let flow =
        flow().step("done", done).step("fails", notes.fails(9, &wrong()).after("done")).build().unwrap();
    let (_engine, run) = host.start(&flow, 0).await;
    let id = run.id();
    host.seconds(7).await;
    let err = run.outcome().await.unwrap_err();
    assert_eq!(err.get("not rolled back"), None);
    assert_eq!(*keys.lock().unwrap(), vec![format!("{id}/done/undo"); 3]);
}

#[tokio::test]
async fn a_compensation_that_fails_is_named_and_the_others_are_carried_out() {
    let notes = Notes::default();
    let flow = flow()
        .step("a", notes.gives(1).compensate(notes.undoes()))
        .step("b", notes.gives(2).after("a").compensate(notes.fails(1, &wrong())))
        .step("c", notes.gives(3).after("b").compensate(notes.undoes()))
        .step("fails", notes.fails(9, &down()).after("c").retries(0))
        .build()
        .unwrap();
    let engine = Engine::builder().build().await.unwrap();
    engine.register(flow.clone()).unwrap();
    let run = engine.start(&flow, "go").await.unwrap();
    let id = run.id();
    let err = run.outcome().await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unavailable);
    assert!(err.get("not rolled back").unwrap().starts_with("b/undo: host.call"), "{err}");
    assert_eq!(undone(&notes), ["c/undo 3", "b/undo", "a/undo 1"]);

    // Only what was not taken back is tried again, and the workflow stays failed.
    let before = notes.all().len();
    let err = engine.resume(id).await.unwrap_err();
    assert_eq!(
        (err.kind(), err.get("step"), err.get("not rolled back")),
        (ErrorKind::Unavailable, Some("fails"), None)
    );
    assert_eq!(notes.all()[before..], ["b/undo"]);
}

/// Three steps that can be taken back and one that fails, and a compensation of `b` that takes 5 seconds.
fn saga(notes: &Notes) -> WorkflowBuilder {
    flow()
        .step("a", notes.gives(1).compensate(notes.undoes()))
        .step("b", notes.gives(2).after("a").compensate(notes.takes(5)))
        .step("c", notes.gives(3).after("b").compensate(notes.undoes()))
        .step("fails", notes.fails(9, &wrong()).after("c"))
}

#[tokio::test]
async fn a_crash_in_a_rollback_goes_on_with_it() {
    let (host, notes) = (Host::new(), Notes::default());
    let flow = saga(&notes).build().unwrap();
    let (engine, run) = host.start(&flow, 0).await;
    let id = run.id();
    assert_eq!(undone(&notes), ["c/undo 3", "b/undo"]);
    kill(engine, run).await;
    notes.take();

    let engine = host.engine(&flow).await;
    let run = engine.resume(id).start().await.unwrap();
    settle().await;
    host.seconds(5).await;
    let err = run.outcome().await.unwrap_err();
    assert_eq!(
        (err.kind(), err.get("step"), err.get("not rolled back")),
        (ErrorKind::InvalidInput, Some("fails"), None)
    );
    assert_eq!(notes.all(), ["b/undo", "b/undo ends", "a/undo 1"]);
}

#[tokio::test]
async fn what_was_done_before_a_crash_is_taken_back_when_the_workflow_fails_before_it_comes_to_it() {
    let (host, notes) = (Host::new(), Notes::default());
    let store = MemoryStore::new();
    let (hanging, failing) = (notes.clone(), notes.clone());
    // `breaks` is the first to begin: after the crash it fails before `done` is looked at.
    let flow = |first: raptorflow_core::workflow::Step| {
        flow().step("breaks", first).step("done", notes.gives(1).compensate(notes.undoes())).build().unwrap()
    };
    let before = flow(hanging.hangs());
    let (storage, _) = FaultyLog::storage(&store, []);
    let engine = host.engine_over(storage.clone(), &before).await;
    let run = engine.start(&before, "go").await.unwrap();
    let id = run.id();
    settle().await;
    kill(engine, run).await;

    let engine = host.engine_over(storage, &flow(failing.fails(9, &wrong()))).await;
    let err = engine.resume(id).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput);
    assert_eq!(undone(&notes), ["done/undo 1"]);
}

#[tokio::test]
async fn a_crash_at_any_append_of_a_rollback_takes_each_step_back_once_or_the_one_at_work_twice() {
    for fault in [Fault::Before, Fault::After] {
        // The start, four steps, the start of the rollback, three compensations, the end.
        for broken in 1..10 {
            let (host, notes, store) = (Host::new(), Notes::default(), MemoryStore::new());
            let flow = saga(&notes).build().unwrap();
            let faults =
                (broken..99).map(|append| (append, if append == broken { fault } else { Fault::Before }));
            let (storage, log) = FaultyLog::storage(&store, faults);
            let engine = host.engine_over(storage, &flow).await;
            let run = engine.start(&flow, "go").await.unwrap();
            let id = run.id();
            settle().await;
            host.seconds(5).await;
            run.outcome().await.unwrap_err();
            assert!(log.calls() > broken, "no append has the number {broken}");
            engine.shutdown().await.unwrap();

            let engine = host.engine_over(FaultyLog::storage(&store, []).0, &flow).await;
            let run = engine.resume(id).start().await.unwrap();
            settle().await;
            host.seconds(5).await;
            let err = run.outcome().await.unwrap_err();
            assert_eq!(
                (err.kind(), err.get("not rolled back")),
                (ErrorKind::InvalidInput, None),
                "{fault:?} {broken}"
            );
            let twice: usize = ["a/undo 1", "b/undo", "c/undo 3"]
                .iter()
                .map(|step| {
                    let count = notes.count(step);
                    assert!((1..=2).contains(&count), "{step} {count} times with {fault:?} {broken}");
                    count - 1
                })
                .sum();
            assert!(twice <= 1, "{fault:?} {broken}: {:?}", notes.all());
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_is_no_reason_to_take_anything_back() {
    for optional in [false, true] {
        let (host, notes, store) = (Host::new(), Notes::default(), MemoryStore::new());
        let mut work = notes.gives("x").after("done");
        if optional {
            work = work.optional();
        }
        let flow = flow()
            .step("done", notes.gives(1).compensate(notes.undoes()))
            .step("work", work)
            .step("next", notes.echoes().after("work"))
            .build()
            .unwrap();
        // The start, the record of `done`, and that of `work`, which alone fails.
        let (storage, _) = FaultyLog::storage(&store, [(2, Fault::Before)]);
        let engine = host.engine_over(storage, &flow).await;
        let run = engine.start(&flow, "go").await.unwrap();
        let id = run.id();
        assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(undone(&notes).is_empty());
        assert_eq!(notes.count("next"), 0, "nothing goes on from what is not recorded");
        assert_eq!(engine.resume(id).await.unwrap().output, "x");
        assert_eq!((notes.count("done"), notes.count("work")), (1, 2));
    }
}

#[tokio::test]
async fn tools_and_agents_take_back_too_and_are_given_the_output() {
    let notes = Notes::default();
    let (by_tool, by_agent) = (notes.clone(), notes.clone());
    let spec = ToolSpec::new("unpublish", "Takes a page down.", Schema::any_object());
    let unpublish = FunctionTool::new(spec, move |_, given: Value| {
        by_tool.note(format!("tool {given}"));
        std::future::ready(Ok(Value::Null))
    });
    let apologizer = FunctionAgent::new(AgentSpec::new("apologizer").unwrap(), move |_, input| {
        by_agent.note(format!("agent {}", input.input));
        std::future::ready(Ok(json!("sorry")))
    });
    let engine = Engine::builder().tool(unpublish).build().await.unwrap();
    engine.register(apologizer).unwrap();
    let flow = flow()
        .step("page", notes.gives(json!({ "url": "/x" })).compensate(tool("unpublish")))
        .step("mail", notes.gives("sent").after("page").compensate(agent("apologizer")))
        .step("fails", notes.fails(9, &wrong()).after("mail"))
        .build()
        .unwrap();
    let run = engine.start(&flow, "go").await.unwrap();
    let id = run.id();
    let err = run.outcome().await.unwrap_err();
    assert_eq!(err.get("not rolled back"), None, "{err}");
    assert_eq!(notes.all()[3..], [r#"agent "sent""#, r#"tool {"url":"/x"}"#]);
    assert!(matches!(at_path(&engine, id, "page/undo").await[..], [Fact::StepCompleted { .. }]));
}
