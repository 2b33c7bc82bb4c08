//! Workflows and time: time-outs of the whole and of its parts, timers over restarts, and clocks that jump.

use std::time::Duration;

use futures_util::FutureExt as _;
use raptorflow_core::{
    Workflow,
    error::ErrorKind,
    journal::Fact,
    runtime::{Clock as _, Context},
    types::Timestamp,
    workflow::{Condition, Step, after, function, repeat, timer, timer_until, workflow},
};
use serde_json::{Value, json};

use crate::{
    flows::{Host, Notes, at_path, down, flow, kill},
    support::settle,
};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn the_time_out_of_a_workflow_counts_its_work_and_no_wait() {
    let (host, notes) = (Host::new(), Notes::default());
    let long = flow()
        .timeout(Duration::from_secs(10))
        .step("work", notes.takes(4))
        .step("timer", timer(HOUR).after("work"))
        .gate("ask", after("timer"))
        .step("retry", notes.fails(1, &down()).retry_delay(Duration::from_secs(20)).after("ask"))
        .step("more", notes.takes(4).after("retry"))
        .step("last", notes.takes(4).after("more"))
        .build()
        .unwrap();
    let (engine, run) = host.start(&long, 0).await;
    host.seconds(4).await;
    host.advance(HOUR).await;
    host.advance(HOUR * 24).await;
    engine.signal(run.id(), "ask", true).await.unwrap();
    settle().await;
    host.seconds(20).await;
    engine.pause(run.id()).await.unwrap();
    host.seconds(4).await;
    assert_eq!(notes.count("more ends"), 1);
    host.advance(HOUR).await;
    let _resumed = engine.resume(run.id()).start().await.unwrap();
    settle().await;
    assert_eq!(notes.count("last"), 1);
    // Two of the ten seconds are left.
    host.advance(Duration::from_millis(1_999)).await;
    let id = run.id();
    assert!(!matches!(at_path(&engine, id, "").await.last(), Some(Fact::ExecutionFailed { .. })));
    host.advance(Duration::from_millis(1)).await;
    let err = run.outcome().await.unwrap_err();
    assert_eq!((err.kind(), err.get("workflow")), (ErrorKind::Timeout, Some("flow")));
}

#[tokio::test]
async fn a_restart_leaves_a_workflow_and_its_parts_what_is_left_of_their_time() {
    let notes = Notes::default();
    let three = |name: &str| {
        let flow = Workflow::builder(name).timeout(Duration::from_secs(10));
        let flow = flow.step("a", notes.takes(4)).step("beside", notes.takes(3));
        flow.step("b", notes.fails(1, &down()).retry_delay(HOUR).after("a"))
            .step("c", notes.takes(4).after("b"))
            .step("d", notes.takes(4).after("c"))
            .build()
            .unwrap()
    };
    let part = flow().step("part", workflow(&three("slow"))).build().unwrap();
    for whole in [three("flow"), part] {
        let host = Host::new();
        let (engine, run) = host.start(&whole, 0).await;
        let id = run.id();
        host.seconds(4).await;
        host.advance(HOUR).await;
        host.seconds(4).await;
        kill(engine, run).await;
        host.advance(HOUR).await;

        // Four seconds of `a`, four of `c`; neither `beside`, nor the pause of `b`, nor the time without a process.
        let engine = host.engine(&whole).await;
        let run = engine.resume(id).start().await.unwrap();
        settle().await;
        host.advance(Duration::from_millis(1_999)).await;
        assert!(!matches!(at_path(&engine, id, "").await.last(), Some(Fact::ExecutionFailed { .. })));
        host.advance(Duration::from_millis(1)).await;
        assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Timeout);
    }
}

/// Two steps of three seconds, and five seconds for both.
fn slow(notes: &Notes) -> Workflow {
    let slow = Workflow::builder("slow").timeout(Duration::from_secs(5));
    slow.step("a", notes.takes(3)).step("b", notes.takes(3).after("a")).build().unwrap()
}

/// The ways in which a workflow is a part of another.
fn parts(inner: &Workflow) -> [(Step, &'static str); 3] {
    [
        (workflow(inner), "part"),
        (repeat(inner, 2, Condition::value().exists(true)), "part/0"),
        (workflow(inner).map("$input"), "part/0"),
    ]
}

#[tokio::test]
async fn a_workflow_inside_of_another_has_its_own_time_out() {
    let notes = Notes::default();
    for (part, path) in parts(&slow(&notes)) {
        notes.take();
        let host = Host::new();
        let (_engine, run) = host.start(&flow().step("part", part).build().unwrap(), json!([1])).await;
        host.seconds(3).await;
        assert_eq!(notes.count(&format!("{path}/b")), 1);
        host.advance(Duration::from_millis(1_999)).await;
        host.advance(Duration::from_millis(1)).await;
        host.seconds(9).await;
        assert_eq!(notes.count(&format!("{path}/b ends")), 0, "it went on");
        let err = run.outcome().await.unwrap_err();
        let said = (err.kind(), err.get("workflow"), err.get("step"));
        assert_eq!(said, (ErrorKind::Timeout, Some("slow"), Some(path)));
    }
}

#[tokio::test]
async fn a_part_that_took_too_long_is_gone_past_when_it_is_optional_and_not_begun_again_by_a_restart() {
    let notes = Notes::default();
    for (part, path) in parts(&slow(&notes)) {
        let host = Host::new();
        let whole =
            flow().step("part", part.optional()).step("next", notes.takes(9).after("part")).build().unwrap();
        let (engine, run) = host.start(&whole, json!([1])).await;
        let id = run.id();
        host.seconds(3).await;
        host.seconds(2).await;
        assert_eq!(notes.take().last().unwrap(), "next");
        kill(engine, run).await;

        let engine = host.engine(&whole).await;
        let run = engine.resume(id).start().await.unwrap();
        settle().await;
        assert_eq!(notes.take(), ["next"], "{path}");
        host.seconds(9).await;
        assert_eq!(run.outcome().await.unwrap().output, "next");
        let state = engine.state(id, None).await.unwrap();
        assert!(whole.to_mermaid(Some(&state)).contains("class s0 failed"), "{path}");
    }
}

#[tokio::test]
async fn a_step_that_can_be_taken_back_is_finished_when_the_workflow_takes_too_long() {
    let (host, notes) = (Host::new(), Notes::default());
    let inner = Workflow::builder("inner")
        .timeout(Duration::from_secs(3))
        .step("book", notes.takes(5).compensate(notes.undoes()))
        .step("plain", notes.takes(5))
        .step("never", notes.gives(1).after("book"))
        .build()
        .unwrap();
    for (flow, path) in
        [(inner.clone(), ""), (flow().step("part", workflow(&inner)).build().unwrap(), "part/")]
    {
        notes.take();
        let (_engine, run) = host.start(&flow, 0).await;
        host.seconds(3).await;
        assert_eq!(notes.take().len(), 2);
        host.seconds(2).await;
        assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(notes.take(), [format!("{path}book ends"), format!(r#"{path}book/undo "{path}book""#)]);
    }
}

#[tokio::test]
async fn a_timer_waits_over_a_restart_for_what_is_left_and_no_longer() {
    for asleep in [10, 200] {
        let (host, notes) = (Host::new(), Notes::default());
        let soak =
            flow().step("soak", timer(HOUR)).step("next", notes.echoes().after("soak")).build().unwrap();
        let due = host.clock.now().plus(HOUR).to_string();
        let (engine, run) = host.start(&soak, 0).await;
        let id = run.id();
        host.seconds(20 * 60).await;
        kill(engine, run).await;
        host.seconds(asleep * 60).await;

        let engine = host.engine(&soak).await;
        let run = engine.resume(id).start().await.unwrap();
        settle().await;
        if asleep == 10 {
            host.advance(Duration::from_millis(29 * 60_000 + 59_999)).await;
            assert_eq!(notes.count("next"), 0, "it did not wait");
            host.advance(Duration::from_millis(1)).await;
        }
        assert_eq!(notes.count("next"), 1, "it waited too long");
        assert_eq!(run.outcome().await.unwrap().output, due);
        assert_eq!(at_path(&engine, id, "soak").await.len(), 3, "set, fired and completed, each once");
    }
}

#[tokio::test]
async fn a_timer_waits_for_a_point_in_time_that_is_written_or_found_and_not_for_one_that_has_passed() {
    let host = Host::new();
    let found = |step: &str| timer_until(format!("$input/{step}"));
    let points = flow()
        .step("written", timer_until("2026-01-01T00:00:10Z"))
        .step("found", found("later"))
        .step("passed", found("before").after("found"))
        .build()
        .unwrap();
    let input = json!({ "later": "2026-01-01T00:00:20Z", "before": "2025-01-01T00:00:00Z" });
    let (_engine, run) = host.start(&points, input.clone()).await;
    host.seconds(10).await;
    host.advance(Duration::from_millis(9_999)).await;
    let id = run.id();
    assert!(at_path(run.engine(), id, "passed").await.is_empty());
    host.advance(Duration::from_millis(1)).await;
    let output = run.outcome().await.unwrap().output;
    assert_eq!(output, json!({ "written": "2026-01-01T00:00:10Z", "passed": input["before"] }));
    let (_engine, run) = host.start(&points, json!({ "later": "soon", "before": 1 })).await;
    let err = run.outcome().await.unwrap_err();
    assert_eq!((err.kind(), err.get("step")), (ErrorKind::InvalidInput, Some("found")));
}

/// A step that notes its path and does two things of so many seconds, each bound by its time.
fn twofold(notes: &Notes, seconds: u64) -> Step {
    let notes = notes.clone();
    function(move |ctx: Context, _| {
        notes.note(&**ctx.path());
        async move {
            for _ in 0..2 {
                ctx.bound("host.call", ctx.runtime().clock().sleep(Duration::from_secs(seconds))).await?;
            }
            Ok(Value::Bool(true))
        }
    })
}

#[tokio::test]
async fn a_clock_that_jumps_neither_hangs_a_run_nor_has_anything_done_again() {
    let micros = i64::try_from(HOUR.as_micros()).unwrap();
    for jump in [micros, -micros] {
        let (host, notes) = (Host::new(), Notes::default());
        let calm = flow()
            .timeout(Duration::from_secs(60))
            .step("work", notes.takes(20))
            .step("calls", twofold(&notes, 10))
            .step("timer", timer(Duration::from_secs(20)))
            .gate("ask", after("short").timeout(Duration::from_secs(20)).default_answer("nobody"))
            .step("short", notes.gives(1))
            .step("retry", notes.fails(1, &down()).retry_delay(Duration::from_secs(20)))
            .output(json!(["$calls", "$ask", "$retry"]))
            .build()
            .unwrap();
        let (_engine, run) = host.start(&calm, 0).await;
        host.seconds(5).await;
        host.clock.jump_to(Timestamp::from_micros(host.clock.now().as_micros() + jump));
        // The lease is renewed meanwhile.
        for _ in 0..15 {
            host.seconds(1).await;
        }
        let outcome = run.outcome().now_or_never().unwrap_or_else(|| panic!("it hangs: {:?}", notes.all()));
        assert_eq!(outcome.unwrap().output, json!([true, "nobody", true]), "{jump}");
        let mut counts: Vec<_> = ["work", "work ends", "calls", "retry"].map(|note| notes.count(note)).into();
        assert_eq!(counts.pop(), Some(2), "{jump}");
        assert_eq!(counts, [1, 1, 1], "{jump}");
    }
}
