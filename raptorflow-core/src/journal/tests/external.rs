//! What is said to a run from outside is appended once, refused in time, and heard by the owner.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use indexmap::IndexMap;
use serde_json::json;

use crate::{
    error::ErrorKind,
    journal::{
        Fact, Opened, RunStatus, StepStatus,
        tests::support::{World, completed, failed, settle, step},
    },
    runtime::Context,
    storage::{Append, MemoryStore},
    testing::{Fault, FaultyLog},
    types::Timestamp,
};

#[tokio::test]
async fn a_signal_is_given_once_and_wakes_who_waits_and_a_resumed_run_still_has_it() {
    let world = World::new();
    assert_eq!(world.signal("yes").await.unwrap_err().kind(), ErrorKind::NotFound);
    let journal = world.created().await;
    let mut waiting = Box::pin(journal.signalled("yes"));
    assert!((&mut waiting).now_or_never().is_none() && journal.signal("yes").is_none());
    assert_eq!(world.signal("yes").await.unwrap(), 2);
    assert_eq!(waiting.await, json!("yes"));
    let again = world.signal("yes").await.unwrap_err();
    assert_eq!((again.kind(), again.get("signal")), (ErrorKind::Conflict, Some("yes")));
    drop(journal);

    let (journal, _) = world.opened().await;
    assert_eq!(journal.signalled("yes").await, json!("yes"));
    journal.finish(&world.ctx, &[completed()]).await.unwrap();
    let late = world.signal("late").await.unwrap_err();
    assert_eq!((late.kind(), late.get("status")), (ErrorKind::Conflict, Some("completed")));
}

#[tokio::test]
async fn a_pause_is_asked_for_once_and_ends_with_the_word_to_go_on_or_with_a_resume() {
    let world = World::new();
    let (journals, ctx) = (&world.journals, &world.ctx);
    let run = ctx.run_id();
    let journal = world.created().await;
    assert_eq!(journals.unpause(ctx, run).await.unwrap_err().kind(), ErrorKind::Conflict);
    journals.pause(ctx, run).await.unwrap();
    assert_eq!(journals.pause(ctx, run).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(journal.is_paused() && journal.unpaused().now_or_never().is_none());
    assert_eq!(journals.summary(ctx, run).await.unwrap().status, RunStatus::Paused);
    journals.unpause(ctx, run).await.unwrap();
    assert!(!journal.is_paused() && journal.unpaused().now_or_never().is_some());
    journals.pause(ctx, run).await.unwrap();
    drop(journal);
    let (journal, _) = world.opened().await;
    assert!(!journal.is_paused() && journal.has_history());
    journal.finish(ctx, &[failed()]).await.unwrap();
    assert_eq!(journals.pause(ctx, run).await.unwrap_err().get("status"), Some("failed"));
}

#[tokio::test]
async fn a_wish_to_cancel_stops_the_owner_or_the_one_who_opens_next_and_is_forgotten_by_a_failure() {
    let world = World::new();
    let (journals, ctx) = (&world.journals, &world.ctx);
    let journal = world.created().await;
    journals.request_cancel(ctx, ctx.run_id()).await.unwrap();
    assert!(journal.cancel().is_cancelled() && !journal.is_lost());
    drop(journal);
    let (journal, _) = world.opened().await;
    assert!(journal.cancel().is_cancelled());
    journal.finish(ctx, &[failed()]).await.unwrap();
    let (journal, _) = world.opened().await;
    assert!(!journal.cancel().is_cancelled());
}

#[tokio::test]
async fn a_fork_has_the_first_entries_of_another_run_and_goes_its_own_way() {
    let world = World::new();
    let (journals, ctx) = (&world.journals, &world.ctx);
    let journal = world.created().await;
    journal.append_at("a", &[step(1), step(2)]).await.unwrap();
    let first_child = journal.child(&ctx.child("b"), "other").await.unwrap();
    journals.pause(ctx, ctx.run_id()).await.unwrap();
    journal.finish(ctx, &[completed()]).await.unwrap();

    let fork = Context::new(ctx.runtime());
    for (at, length) in [(0, "6"), (6, "6"), (7, "6")] {
        let err = journals.fork(&fork, ctx.run_id(), at).await.unwrap_err();
        assert_eq!((err.kind(), err.get("length")), (ErrorKind::InvalidInput, Some(length)));
    }
    let unknown = Context::new(ctx.runtime()).run_id();
    assert_eq!(journals.fork(&fork, unknown, 1).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(journals.fork(&fork, ctx.run_id(), 5).await.unwrap(), 6);
    assert_eq!(journals.fork(&fork, ctx.run_id(), 5).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let (old, new) = (ctx.run_id(), fork.run_id());
    assert_eq!(journals.read(ctx, old, 0, 5).await.unwrap(), journals.read(ctx, new, 0, 5).await.unwrap());
    let state = journals.state(ctx, new, None).await.unwrap();
    assert_eq!((state.forked_from, state.summary.status), (Some((old, 5)), RunStatus::Running));

    let Opened::Running { journal, .. } = journals.open(&fork).await.unwrap() else { panic!("it ended") };
    assert_eq!(journal.recorded("a").len(), 2);
    assert_ne!(journal.child(&fork.child("b"), "other").await.unwrap(), first_child);
}

#[tokio::test]
async fn a_timer_waits_for_what_is_left_over_a_restart_and_fires_once() {
    let world = World::new();
    let journal = world.created().await;
    let (at, hour) = (world.ctx.child("wait"), Duration::from_secs(3600));
    let due = world.ctx.now().plus(hour);
    let mut timer = Box::pin(journal.timer(&at, due));
    assert!((&mut timer).now_or_never().is_none());
    drop(timer);
    drop(journal);
    world.clock.advance(hour / 2);
    let (journal, _) = world.opened().await;
    let state = world.journals.state(&world.ctx, world.ctx.run_id(), None).await.unwrap();
    assert_eq!((state.timers[0].due, state.steps[0].status), (due, StepStatus::Waiting));
    let mut timer = Box::pin(journal.timer(&at, due.plus(hour)));
    assert!((&mut timer).now_or_never().is_none());
    world.clock.advance(hour / 2);
    timer.await.unwrap();
    journal.timer(&at, due).await.unwrap();
    drop(journal);
    let (journal, entries) = world.opened().await;
    journal.timer(&at, due).await.unwrap();
    let facts = entries.iter().filter(|entry| &*entry.path == "wait").map(|entry| entry.fact.clone());
    assert_eq!(facts.collect::<Vec<_>>(), [Fact::TimerSet { due }, Fact::TimerFired]);
}

#[tokio::test]
async fn what_another_process_says_is_heard_within_a_poll_and_costs_an_idle_owner_nothing_else() {
    let world = World::shared();
    let (journal, other) = (world.created().await, world.other());
    let watched = journal.clone();
    let watch = world.ctx.runtime().tasks().spawn("watch", async move { watched.watch().await });
    world.poll().await;
    other.signal(&world.ctx, world.run(), "yes", json!(1), None).await.unwrap();
    other.pause(&world.ctx, world.run()).await.unwrap();
    assert!(journal.signal("yes").is_none());
    world.poll().await;
    assert_eq!((journal.signal("yes"), journal.is_paused()), (Some(json!(1)), true));
    other.unpause(&world.ctx, world.run()).await.unwrap();
    world.poll().await;
    assert!(!journal.is_paused());
    other.request_cancel(&world.ctx, world.run()).await.unwrap();
    world.poll().await;
    assert!(journal.cancel().is_cancelled() && !watch.is_finished());
    watch.abort();
}

#[tokio::test]
async fn an_owner_that_appends_learns_at_once_that_others_did_too() {
    let world = World::new();
    let (journal, other) = (world.created().await, world.other());
    let watched = journal.clone();
    let watch = world.ctx.runtime().tasks().spawn("watch", async move { watched.watch().await });
    settle().await;
    other.signal(&world.ctx, world.run(), "yes", json!(1), None).await.unwrap();
    settle().await;
    assert!(journal.signal("yes").is_none());
    journal.append(&world.ctx, &[step(1)]).await.unwrap();
    settle().await;
    assert_eq!(journal.signal("yes"), Some(json!(1)));
    watch.abort();
}

#[tokio::test]
async fn a_signal_whose_giver_did_not_learn_that_it_was_written_is_heard_all_the_same() {
    let (storage, _) = FaultyLog::storage(&MemoryStore::new(), [(1, Fault::After)]);
    let world = World::over(storage);
    let journal = world.created().await;
    let watched = journal.clone();
    let watch = world.ctx.runtime().tasks().spawn("watch", async move { watched.watch().await });
    assert_eq!(world.signal("yes").await.unwrap_err().kind(), ErrorKind::Unavailable);
    settle().await;
    assert_eq!(journal.signal("yes"), Some(json!("yes")));
    watch.abort();
}

#[tokio::test]
async fn an_owner_that_cannot_read_what_was_said_learns_so() {
    let world = World::shared();
    let journal = world.created().await;
    let watched = journal.clone();
    let watch = world.ctx.runtime().tasks().spawn("watch", async move { watched.watch().await });
    let stream = format!("run/{}", world.run());
    let append = Append { records: vec!["{}".into()], ..Append::to(&stream) };
    world.storage.append(&world.ctx, append).await.unwrap();
    world.poll().await;
    assert_eq!(watch.await.unwrap().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn drift_names_the_first_step_that_differs_and_how() {
    let world = World::new();
    let journal = world.created().await;
    let steps = |text: &str| -> IndexMap<Arc<str>, Arc<str>> {
        text.split_whitespace()
            .map(|step| step.split_once('=').unwrap())
            .map(|(k, v)| (k.into(), v.into()))
            .collect()
    };
    let recorded = steps("a=1 b=2 c=3");
    assert!(!journal.check_definition("flow", &recorded).unwrap());
    journal.append_at("flow", &[Fact::DefinitionRecorded { steps: recorded.into() }]).await.unwrap();
    drop(journal);
    let (journal, _) = world.opened().await;
    assert!(journal.check_definition("flow", &steps("c=3 a=1 b=2")).unwrap());
    assert!(!journal.check_definition("flow/other", &steps("a=2")).unwrap());
    for (now, step, change) in
        [("a=1 b=3 c=4", "b", "changed"), ("a=1 c=3", "b", "removed"), ("z=0 a=1 b=2 c=3", "z", "added")]
    {
        let err = journal.check_definition("flow", &steps(now)).unwrap_err();
        assert_eq!((err.kind(), err.operation()), (ErrorKind::Conflict, "journal.definition"));
        assert_eq!((err.get("step"), err.get("change")), (Some(step), Some(change)));
        assert_eq!(err.get("run"), Some(world.run().to_string().as_str()));
    }
}

#[tokio::test]
async fn a_child_has_one_id_however_often_and_from_wherever_it_is_asked_for() {
    let world = World::new();
    let journal = world.created().await;
    let (a, b) = (world.ctx.child("a"), world.ctx.child("b"));
    let child = journal.child(&a, "other").await.unwrap();
    assert_eq!(journal.child(&a, "other").await.unwrap(), child);
    assert_ne!(journal.child(&b, "other").await.unwrap(), child);
    assert_eq!(child.as_uuid().get_version_num(), 7);
    assert_eq!(child.as_uuid().as_u128() >> 80, world.run().as_uuid().as_u128() >> 80);
    drop(journal);
    let (journal, entries) = world.opened().await;
    assert_eq!(journal.child(&a, "other").await.unwrap(), child);
    assert_eq!(entries.len(), 3);
}

#[tokio::test]
async fn a_jump_of_the_time_of_day_moves_no_timer_of_this_process() {
    const HOUR: i64 = 3_600_000_000;
    let due = 60;
    for jump in [HOUR, -HOUR] {
        let world = World::new();
        let journal = world.created().await;
        let ctx = world.ctx.child("wait");
        let mut timer = Box::pin(journal.timer(&ctx, world.ctx.now().plus(Duration::from_secs(due))));
        assert!((&mut timer).now_or_never().is_none());
        world.clock.jump_to(Timestamp::from_micros(world.ctx.now().as_micros() + jump));
        world.clock.advance(Duration::from_secs(due - 1));
        assert!((&mut timer).now_or_never().is_none());
        world.clock.advance(Duration::from_secs(1));
        timer.await.unwrap();
    }
}
