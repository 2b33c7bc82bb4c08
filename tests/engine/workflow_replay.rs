//! Workflows done again from their journals: crashes after every append, forks from every entry, changed definitions.

use std::{collections::BTreeMap, time::Duration};

use raptorflow_core::{
    Engine, Workflow,
    engine::Outcome,
    error::{Error, ErrorKind, Result},
    journal::{Entry, Fact, RunStatus},
    storage::MemoryStore,
    testing::{Fault, FaultyLog},
    types::RunId,
    workflow::{Condition, Step, StepFunction, after, repeat, timer, timer_until, workflow},
};
use serde_json::{Value, json};

use crate::{
    flows::{Host, Notes, at_path, down, flow, kill},
    support::{entries, run_of, settle},
};

/// A step that notes its path and key, and gives one more than it was given.
fn adds(notes: &Notes) -> Step {
    let notes = notes.clone();
    Step::calling(StepFunction::new(move |ctx, input: Value| {
        notes.note(ctx.idempotency_key().unwrap_or_default());
        async move {
            // Steps that are under way at the same time mix.
            tokio::task::yield_now().await;
            Ok((input.as_i64().unwrap_or_default() + 1).into())
        }
    }))
    .retries(0)
}

/// Everything that a workflow can be made of: a list, a repetition, a workflow inside, a timer, a gate, a failure that
/// is tried again and one that is gone past.
fn everything(notes: &Notes) -> Workflow {
    let inner =
        Workflow::builder("inner").step("x", adds(notes)).step("y", adds(notes).after("x")).build().unwrap();
    let notes_of_failures = notes.clone();
    let fails = Step::calling(StepFunction::new(move |ctx, _| {
        notes_of_failures.note(ctx.idempotency_key().unwrap_or_default());
        std::future::ready(Err(down()))
    }));
    flow()
        .step("first", adds(notes))
        .step("each", adds(notes).map("$input/list").after("first"))
        .step("part", workflow(&inner).input("$first").after("first"))
        .step("turns", repeat(&inner, 5, Condition::value().at_least(6.0)).after("part"))
        .step("extra", fails.retries(1).retry_delay(Duration::ZERO).optional().after("first"))
        .step("soak", timer(Duration::from_secs(60)).after("turns").after("each").after("extra"))
        .gate("ask", after("soak"))
        .step("last", adds(notes).input("$turns").after("ask"))
        .output(json!(["$each", "$part", "$turns", "$extra", "$ask", "$last"]))
        .build()
        .unwrap()
}

fn input() -> Value {
    json!({ "list": [10, 20, 30] })
}

fn output() -> Value {
    json!([[11, 21, 31], 3, 7, null, "yes", 8])
}

/// Waits for the end of a run, lets the time pass and answers when it is asked.
async fn finish(host: &Host, engine: &Engine, id: RunId) -> Result<Outcome> {
    let run = engine.resume(id).start().await?;
    see_to(host, engine, id).await;
    run.outcome().await
}

async fn see_to(host: &Host, engine: &Engine, id: RunId) {
    for _ in 0..3 {
        settle().await;
        host.seconds(60).await;
        if let Ok(state) = engine.state(id, None).await
            && state.steps.iter().any(|step| &*step.path == "soak" && step.ended.is_some())
        {
            // It may be answered already, or have ended.
            drop(engine.signal(id, "ask", "yes").await);
        }
    }
    settle().await;
}

/// How often each key was worked on.
fn counts(notes: &Notes) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for note in notes.all() {
        *counts.entry(note).or_default() += 1;
    }
    counts
}

/// The keys of the steps that are recorded as done.
fn acknowledged(entries: &[Entry], id: RunId) -> Vec<String> {
    let done = entries
        .iter()
        .filter(|entry| matches!(entry.fact, Fact::StepCompleted { .. } | Fact::StepFailed { .. }));
    done.map(|entry| format!("{id}/{}", entry.path)).collect()
}

#[tokio::test]
async fn a_crash_at_any_append_repeats_no_acknowledged_step_and_changes_no_output() {
    let (host, notes, store) = (Host::new(), Notes::default(), MemoryStore::new());
    let whole = everything(&notes);
    let (storage, log) = FaultyLog::storage(&store, []);
    let engine = host.engine_over(storage, &whole).await;
    let run = engine.start(&whole, input()).await.unwrap();
    see_to(&host, &engine, run.id()).await;
    assert_eq!(run.outcome().await.unwrap().output, output());
    let (appends, expected) = (log.calls(), counts(&notes).len());
    assert!(appends >= 20, "{appends}");

    let mut repeated = 0;
    for fault in [Fault::Before, Fault::After] {
        for broken in 1..appends {
            let at = format!("{fault:?} {broken}");
            let (host, notes, store) = (Host::new(), Notes::default(), MemoryStore::new());
            let whole = everything(&notes);
            // Nothing is written any more once the store is broken.
            let faults =
                (broken..999).map(|append| (append, if append == broken { fault } else { Fault::Before }));
            let engine = host.engine_over(FaultyLog::storage(&store, faults).0, &whole).await;
            let run = engine.start(&whole, input()).await.unwrap();
            let id = run.id();
            see_to(&host, &engine, id).await;
            kill(engine, run).await;

            let engine = host.engine_over(FaultyLog::storage(&store, []).0, &whole).await;
            let done = acknowledged(&entries(&engine, id).await, id);
            let before = notes.take();
            let outcome = finish(&host, &engine, id).await.unwrap_or_else(|err| panic!("{at}: {err:#}"));
            assert_eq!(outcome.output, output(), "{at}");
            let again = notes.all();
            if let Some(key) = again.iter().find(|key| done.contains(key)) {
                panic!("{at}: {key} ran again although its end is recorded");
            }
            repeated += again.iter().filter(|key| before.contains(key)).count();
            before.into_iter().for_each(|key| notes.note(key));
            assert_eq!(counts(&notes).len(), expected, "{at}: {:?}", counts(&notes));
        }
    }
    assert!(repeated > 0, "no crash fell between the work of a step and its record");
}

#[tokio::test]
async fn a_fork_from_any_entry_gives_the_same_output_and_repeats_nothing_before_it() {
    let (host, notes) = (Host::new(), Notes::default());
    let whole = everything(&notes);
    let (engine, run) = host.start(&whole, input()).await;
    let id = run.id();
    see_to(&host, &engine, id).await;
    assert_eq!(run.outcome().await.unwrap().output, output());
    let (history, all) = (entries(&engine, id).await, counts(&notes).len());
    for at in 1..history.len() {
        notes.take();
        let fork = engine.fork(id, at as u64).await.unwrap();
        assert_eq!(finish(&host, &engine, fork).await.unwrap().output, output(), "{at}");
        let taken = &history[..at];
        // What failed is tried again in a fork.
        let done = taken.iter().filter(|entry| {
            matches!(entry.fact, Fact::StepCompleted { .. }) && !["soak", "ask"].contains(&&*entry.path)
        });
        assert_eq!(counts(&notes).len(), all - done.count(), "{at}");
        assert!(notes.all().iter().all(|key| key.starts_with(&fork.to_string())), "keys of its own");
        assert_eq!(entries(&engine, fork).await[..at], *taken);
    }
    assert_eq!(entries(&engine, id).await, history, "the other run is left as it is");
}

#[tokio::test]
async fn a_fork_of_nothing_beyond_the_end_or_behind_it_is_refused() {
    let (host, notes) = (Host::new(), Notes::default());
    let whole = flow().step("a", adds(&notes)).build().unwrap();
    let (engine, run) = host.start(&whole, 1).await;
    let id = run.id();
    run.outcome().await.unwrap();
    let length = entries(&engine, id).await.len() as u64;
    for at in [0, length, length + 1, u64::MAX] {
        let err = engine.fork(id, at).await.unwrap_err();
        let said = (err.kind(), err.get("at").map(str::to_owned), err.get("length").map(str::to_owned));
        assert_eq!(said, (ErrorKind::InvalidInput, Some(at.to_string()), Some(length.to_string())));
        assert_eq!(run_of(&err), id);
    }
    let unknown = engine.runtime().ids().run();
    assert_eq!(engine.fork(unknown, 1).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_fork_of_a_failed_run_tries_again_what_failed_and_one_of_a_paused_run_is_not_paused() {
    let (host, notes) = (Host::new(), Notes::default());
    let wrong = Error::new(ErrorKind::InvalidInput, "host.call", "not today");
    let whole = flow()
        .step("a", notes.gives(1))
        .step("b", notes.fails(1, &wrong).after("a"))
        .step("c", notes.takes(5).after("b"))
        .build()
        .unwrap();
    let (engine, run) = host.start(&whole, 0).await;
    let id = run.id();
    run.outcome().await.unwrap_err();
    let length = entries(&engine, id).await.len() as u64;
    let fork = engine.fork(id, length).await.unwrap();
    let run = engine.resume(fork).start().await.unwrap();
    settle().await;
    assert_eq!(notes.all(), ["a", "b", "b", "c"]);
    engine.pause(fork).await.unwrap();
    let length = entries(&engine, fork).await.len() as u64;
    let second = engine.fork(fork, length).await.unwrap();
    let other = engine.resume(second).start().await.unwrap();
    settle().await;
    host.seconds(5).await;
    assert_eq!(other.outcome().await.unwrap().output, "c");
    assert_eq!(engine.state(fork, None).await.unwrap().summary.status, RunStatus::Completed);
    drop(run);
}

#[tokio::test]
async fn a_changed_definition_is_an_error_that_names_the_step_and_how_it_changed() {
    let notes = Notes::default();
    let begun = || flow().step("a", adds(&notes)).step("b", notes.hangs().after("a"));
    let nested = |retries| {
        let inner = Workflow::builder("inner").step("x", notes.hangs().retries(retries)).build().unwrap();
        begun().step("c", workflow(&inner).after("b")).build().unwrap()
    };
    let b = || notes.hangs().after("a");
    let changed = |b: Step| flow().step("a", adds(&notes)).step("b", b).build().unwrap();
    for (before, after, step, change) in [
        (begun().build().unwrap(), changed(b().timeout(Duration::from_secs(9))), "b", "changed"),
        (begun().build().unwrap(), changed(b().version("2")), "b", "changed"),
        (begun().build().unwrap(), changed(b().input(json!(1))), "b", "changed"),
        (begun().build().unwrap(), changed(notes.hangs()), "b", "changed"),
        (begun().build().unwrap(), flow().step("a", adds(&notes)).build().unwrap(), "b", "removed"),
        (begun().build().unwrap(), begun().step("c", b()).build().unwrap(), "c", "added"),
        (nested(1), nested(2), "c", "changed"),
    ] {
        for fork in [None, Some(1), Some(2), Some(3)] {
            let host = Host::new();
            let (engine, run) = host.start(&before, 0).await;
            let mut id = run.id();
            if let Some(at) = fork {
                id = engine.fork(id, at).await.unwrap();
                drop(engine.resume(id).start().await.unwrap());
                settle().await;
            }
            kill(engine, run).await;
            notes.take();
            let engine = host.engine(&after).await;
            let recorded = entries(&engine, id).await;
            let err = engine.resume(id).start().await.unwrap_err();
            assert_eq!(
                (err.kind(), err.get("step"), err.get("change"), run_of(&err)),
                (ErrorKind::Conflict, Some(step), Some(change), id),
                "{fork:?}"
            );
            assert!(notes.all().is_empty(), "a step began");
            assert_eq!(entries(&engine, id).await, recorded, "the run is left as it is");
            // With the old definition it goes on.
            let engine = host.engine(&before).await;
            let run = engine.resume(id).start().await.unwrap();
            settle().await;
            assert_eq!(notes.all().len(), 1, "{fork:?}");
            run.cancel();
        }
    }
}

#[tokio::test]
async fn what_is_only_said_of_a_step_and_the_order_of_steps_may_change() {
    let notes = Notes::default();
    let (a, b) = (|| adds(&notes), || notes.takes(5).after("a"));
    let before = flow().step("a", a()).step("b", b()).build().unwrap();
    let host = Host::new();
    let (engine, run) = host.start(&before, 0).await;
    let id = run.id();
    kill(engine, run).await;
    let after = flow().step("b", b().description("Takes long.")).step("a", a()).description("New.");
    let engine = host.engine(&after.build().unwrap()).await;
    let run = engine.resume(id).start().await.unwrap();
    settle().await;
    host.seconds(5).await;
    assert_eq!(run.outcome().await.unwrap().output, "b");
    let due = timer_until("2026-01-01T00:00:00Z");
    assert_ne!(flow().step("t", due).build().unwrap().definition(), before.definition());
    assert!(!at_path(&engine, id, "b").await.is_empty());
}
