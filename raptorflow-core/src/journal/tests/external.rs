//! What is said to a run from outside is appended once, refused in time, and heard by the owner.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use serde_json::{Value, json};

use crate::{
    error::{Error, ErrorKind},
    journal::{Entry, Fact, Journal, JournalConfig, Journals, Opened, RunStatus, StepStatus},
    runtime::{Context, Runtime, Tasks},
    storage::Storage,
    testing::ManualClock,
    types::Finish,
};

fn started() -> Fact {
    Fact::ExecutionStarted { target: "test".into(), input: Value::Null, capability: None, background: None }
}

fn completed() -> Fact {
    Fact::ExecutionCompleted { output: json!("done"), finish: Finish::Complete }
}

fn failed() -> Fact {
    Fact::ExecutionFailed { error: Error::new(ErrorKind::Unavailable, "test", "gone") }
}

fn step() -> Fact {
    Fact::StepCompleted { value: 1.into(), took: None }
}

struct World {
    clock: ManualClock,
    ctx: Context,
    journals: Journals,
}

fn world() -> World {
    let clock = ManualClock::new();
    let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
    let journals = Journals::new(Storage::memory(), runtime.clone(), JournalConfig::default());
    World { clock, ctx: Context::new(&runtime), journals }
}

impl World {
    async fn created(&self) -> Journal {
        self.journals.create(&self.ctx, &[started()]).await.unwrap()
    }

    async fn opened(&self) -> (Journal, Arc<[Entry]>) {
        let ctx = Context::for_run(self.ctx.runtime(), self.ctx.run_id());
        match self.journals.open(&ctx).await.unwrap() {
            Opened::Running { journal, entries } => (journal, entries),
            Opened::Ended { summary, .. } => panic!("ended: {summary:?}"),
        }
    }

    async fn signal(&self, name: &str) -> crate::Result<u64> {
        let other = Context::new(self.ctx.runtime());
        self.journals.signal(&other, self.ctx.run_id(), name, json!(name), Some("ann".into())).await
    }
}

#[tokio::test]
async fn a_signal_is_given_once_and_wakes_who_waits_and_a_resumed_run_still_has_it() {
    let world = world();
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
    let world = world();
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
    let world = world();
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
    let world = world();
    let (journals, ctx) = (&world.journals, &world.ctx);
    let journal = world.created().await;
    journal.append_at("a", &[step(), step()]).await.unwrap();
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
    let world = world();
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
