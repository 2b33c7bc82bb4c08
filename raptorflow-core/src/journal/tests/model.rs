//! A run under any order of events is what a few lines of a model say, and tails tell it whole.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt as _, future::join_all};
use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::{Value, json};

use crate::{
    error::{ErrorKind, Result},
    journal::{
        Entry, Fact, Journal, Opened, RunStatus, Summary,
        tests::support::{World, completed, failed, settle, step},
    },
    runtime::{Context, Tasks},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    /// Said by the owner's process, or by another one.
    Signal(u8, From),
    Pause(From),
    Unpause(From),
    Cancel(From),
    Append,
    Fail,
    Complete,
    /// The owner is gone without a word.
    Vanish,
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Owner,
    Other,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let from = || prop_oneof![Just(From::Owner), Just(From::Other)];
    let event = prop_oneof![
        4 => (0..4_u8, from()).prop_map(|(name, from)| Event::Signal(name, from)),
        3 => from().prop_map(Event::Pause),
        3 => from().prop_map(Event::Unpause),
        1 => from().prop_map(Event::Cancel),
        4 => Just(Event::Append),
        1 => Just(Event::Fail),
        1 => Just(Event::Complete),
        2 => Just(Event::Vanish),
        4 => Just(Event::Open),
    ];
    proptest::collection::vec(event, 1..40)
}

/// What the run must be like.
#[derive(Debug, Default)]
struct Model {
    signals: BTreeMap<u8, Value>,
    status: RunStatus,
    cancelled: bool,
    owned: bool,
    entries: u64,
}

impl Model {
    fn ended(&self) -> bool {
        matches!(self.status, RunStatus::Completed | RunStatus::Failed)
    }

    /// Whether something said from outside is taken.
    fn takes(&self, event: Event) -> bool {
        !self.ended()
            && match event {
                Event::Signal(name, _) => !self.signals.contains_key(&name),
                Event::Pause(_) => self.status != RunStatus::Paused,
                Event::Unpause(_) => self.status == RunStatus::Paused,
                _ => true,
            }
    }

    fn apply(&mut self, event: Event, said: Value) {
        self.entries += 1;
        match event {
            Event::Signal(name, _) => drop(self.signals.insert(name, said)),
            Event::Pause(_) => self.status = RunStatus::Paused,
            Event::Unpause(_) | Event::Open => self.status = RunStatus::Running,
            Event::Cancel(_) => self.cancelled = true,
            Event::Fail => (self.status, self.cancelled) = (RunStatus::Failed, false),
            Event::Complete => self.status = RunStatus::Completed,
            Event::Append | Event::Vanish => {}
        }
        if matches!(event, Event::Open) {
            self.owned = true;
        }
        if matches!(event, Event::Fail | Event::Complete) {
            self.owned = false;
        }
    }
}

/// The run, whose owner listens.
struct Subject {
    world: World,
    owner: Option<(Journal, crate::runtime::Task<Result<()>>)>,
}

impl Subject {
    fn own(&mut self, journal: Journal) {
        let watched = journal.clone();
        let watch = self.world.ctx.runtime().tasks().spawn("watch", async move { watched.watch().await });
        self.owner = Some((journal, watch));
    }

    async fn disown(&mut self) {
        if let Some((journal, watch)) = self.owner.take() {
            watch.abort();
            drop(watch.await);
            drop(journal);
        }
    }

    async fn say(&self, event: Event, said: Value) -> Result<u64> {
        let (world, run) = (&self.world, self.world.run());
        let other = world.other();
        let by = |from| if from == From::Owner { &world.journals } else { &other };
        let ctx = Context::new(world.ctx.runtime());
        match event {
            Event::Signal(name, from) => by(from).signal(&ctx, run, &name.to_string(), said, None).await,
            Event::Pause(from) => by(from).pause(&ctx, run).await,
            Event::Unpause(from) => by(from).unpause(&ctx, run).await,
            Event::Cancel(from) => by(from).request_cancel(&ctx, run).await,
            other => panic!("{other:?} is not said from outside"),
        }
    }

    async fn play(&mut self, model: &mut Model, event: Event, number: usize) {
        let said = json!(number);
        let owner = self.owner.as_ref().map(|(journal, _)| journal.clone());
        match (event, owner) {
            (Event::Append, Some(journal)) => {
                assert_eq!(
                    journal.append(&self.world.ctx, &[step(number)]).await.unwrap(),
                    model.entries + 1
                );
                model.apply(event, said);
            }
            (Event::Fail | Event::Complete, Some(journal)) => {
                let end = if event == Event::Fail { failed() } else { completed() };
                journal.finish(&self.world.ctx, &[end]).await.unwrap();
                drop(journal);
                self.disown().await;
                model.apply(event, said);
            }
            (Event::Vanish, Some(journal)) => {
                drop(journal);
                self.disown().await;
                model.owned = false;
            }
            (Event::Open, None) => {
                let ctx = Context::for_run(self.world.ctx.runtime(), self.world.run());
                match self.world.journals.open(&ctx).await.unwrap() {
                    Opened::Running { journal, .. } => {
                        self.own(journal);
                        model.apply(event, said);
                    }
                    Opened::Ended { .. } => assert_eq!(model.status, RunStatus::Completed),
                }
            }
            (Event::Append | Event::Fail | Event::Complete | Event::Vanish | Event::Open, _) => {}
            (event, _) => {
                let takes = model.takes(event);
                match self.say(event, said.clone()).await {
                    Ok(length) => {
                        assert!(takes, "{event:?} was taken by {model:?}");
                        model.apply(event, said);
                        assert_eq!(length, model.entries);
                    }
                    Err(err) => {
                        assert!(!takes, "{event:?} was refused by {model:?}: {err}");
                        assert_eq!(err.kind(), ErrorKind::Conflict);
                    }
                }
            }
        }
    }

    async fn check(&self, model: &Model) {
        let summary = self.world.journals.summary(&self.world.ctx, self.world.run()).await.unwrap();
        assert_eq!((summary.status, summary.entries), (model.status, model.entries));
        let Some((journal, watch)) = &self.owner else { return };
        assert!(!watch.is_finished());
        assert_eq!(journal.is_paused(), model.status == RunStatus::Paused);
        assert_eq!(journal.cancel().is_cancelled(), model.cancelled);
        for name in 0..4 {
            assert_eq!(journal.signal(&name.to_string()).as_ref(), model.signals.get(&name));
        }
    }
}

proptest! {
    #[test]
    fn what_is_said_to_a_run_and_what_its_owner_hears_is_what_the_model_says(events in events()) {
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio.block_on(async {
            let world = World::shared();
            let journal = world.created().await;
            let mut subject = Subject { world, owner: None };
            subject.own(journal);
            let mut model = Model { owned: true, entries: 1, ..Model::default() };
            for (number, event) in events.into_iter().enumerate() {
                subject.play(&mut model, event, number).await;
                subject.world.poll().await;
                subject.check(&model).await;
                assert_eq!(model.owned, subject.owner.is_some());
            }
        });
    }

    #[test]
    fn a_fork_at_any_entry_keeps_what_was_done_before_it_and_does_the_rest(
        steps in 1..8_usize,
        extra in proptest::collection::vec(0..3_u8, 0..4),
        at in 1..16_u64,
    ) {
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio.block_on(async {
            let world = World::new();
            let journal = world.created().await;
            let done = AtomicUsize::new(0);
            work(&journal, &world.ctx, steps, &done).await;
            for kind in extra {
                let _conflict_or_not = match kind {
                    0 => world.signal("yes").await,
                    1 => world.journals.pause(&world.ctx, world.run()).await,
                    _ => world.journals.request_cancel(&world.ctx, world.run()).await,
                };
            }
            let entries = world.journals.read(&world.ctx, world.run(), 0, usize::MAX).await.unwrap();
            let fork = Context::new(world.ctx.runtime());
            let forked = world.journals.fork(&fork, world.run(), at).await;
            if at > entries.len() as u64 {
                prop_assert_eq!(forked.unwrap_err().kind(), ErrorKind::InvalidInput);
                return Ok(());
            }
            prop_assert_eq!(forked.unwrap(), at + 1);
            let Opened::Running { journal: forked, entries: taken } = world.journals.open(&fork).await.unwrap() else {
                panic!("a fork has not ended");
            };
            prop_assert_eq!(&taken[..taken.len() - 1], &entries[..taken.len() - 1]);
            prop_assert!(!forked.cancel().is_cancelled() && !forked.is_paused());
            let given = taken.iter().any(|entry| matches!(entry.fact, Fact::SignalReceived { .. }));
            prop_assert_eq!(forked.signal("yes").is_some(), given);
            let before = usize::try_from(at).unwrap().min(steps + 1) - 1;
            done.store(0, Ordering::SeqCst);
            work(&forked, &fork, steps, &done).await;
            prop_assert_eq!(done.load(Ordering::SeqCst), steps - before);
            // The other run has only what it had.
            let now = world.journals.read(&world.ctx, world.run(), 0, usize::MAX).await.unwrap();
            prop_assert_eq!(now, entries);
            Ok(())
        })?;
    }
}

async fn work(journal: &Journal, ctx: &Context, steps: usize, done: &AtomicUsize) {
    for number in 0..steps {
        let call = |_| async {
            done.fetch_add(1, Ordering::SeqCst);
            Ok(number)
        };
        assert_eq!(journal.step(ctx, &format!("step-{number}"), call).await.unwrap(), number);
    }
}

/// The owner, others who all want to give the same signals, and tails that begin anywhere, on real threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_all_who_give_a_signal_one_does_and_every_tail_tells_every_entry_once() {
    const WRITERS: usize = 4;
    const APPENDS: usize = 100;
    const SIGNALS: usize = 20;
    const GIVERS: usize = 4;
    let world = Arc::new(World::shared());
    let journal = world.created().await;
    let run = world.run();
    let tasks = Tasks::current().unwrap();
    let watched = journal.clone();
    let watch = tasks.spawn("watch", async move { watched.watch().await });
    let tails: Vec<_> = (0..8)
        .map(|number| {
            let journals = if number % 2 == 0 { world.journals.clone() } else { world.other() };
            let tail = journals.tail(&world.ctx, run, number % 3);
            tasks.spawn("tail", async move { (number % 3, tail.collect::<Vec<Result<Entry>>>().await) })
        })
        .collect();
    let writers = (0..WRITERS).map(|writer| {
        let (journal, ctx) = (journal.clone(), world.ctx.child(&writer.to_string()));
        tasks.spawn("writer", async move {
            for number in 0..APPENDS {
                journal.append(&ctx, &[step(number)]).await.unwrap();
                tokio::task::yield_now().await;
            }
            0
        })
    });
    let givers = (0..GIVERS).map(|giver| {
        let world = Arc::clone(&world);
        let journals = if giver % 2 == 0 { world.journals.clone() } else { world.other() };
        tasks.spawn("giver", async move {
            let mut given = 0;
            for name in 0..SIGNALS {
                match journals.signal(&world.ctx, run, &name.to_string(), json!(giver), None).await {
                    Ok(_) => given += 1,
                    Err(err) => assert_eq!(err.kind(), ErrorKind::Conflict, "{err}"),
                }
            }
            given
        })
    });
    let given: usize =
        join_all(writers.chain(givers).collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(given, SIGNALS);
    // Whatever was said, the owner hears it with its next append at the latest.
    journal.append(&world.ctx, &[step(0)]).await.unwrap();
    for name in 0..SIGNALS {
        journal.signalled(&name.to_string()).await;
    }
    journal.finish(&world.ctx, &[completed()]).await.unwrap();
    watch.abort();
    let length = 1 + WRITERS * APPENDS + SIGNALS + 2;
    for tail in tails {
        while !tail.is_finished() {
            world.poll().await;
        }
        let (from, told) = tail.await.unwrap();
        let sequences: Vec<u64> = told.into_iter().map(|entry| entry.unwrap().sequence).collect();
        assert_eq!(sequences, (from..length as u64).collect::<Vec<u64>>());
    }
    settle().await;
    let summary = world.journals.summary(&world.ctx, run).await.unwrap();
    assert_eq!(summary.entries, length as u64);
    assert_eq!(summary, Summary::of(&world.journals.read(&world.ctx, run, 0, usize::MAX).await.unwrap()));
}

#[tokio::test]
async fn of_two_who_answer_at_once_one_hears_that_it_was_answered() {
    for delay in 0..32 {
        let world = World::late();
        let _journal = world.created().await;
        let second = async {
            pass(delay).await;
            world.signal("yes").await
        };
        let (first, second) = tokio::join!(world.signal("yes"), second);
        match (first, second) {
            (Ok(_), Err(err)) | (Err(err), Ok(_)) => assert_eq!(err.kind(), ErrorKind::Conflict, "{delay}"),
            both => panic!("{delay}: {both:?}"),
        }
        assert_eq!(world.journals.summary(&world.ctx, world.run()).await.unwrap().entries, 2, "{delay}");
    }
}

#[tokio::test]
async fn what_is_said_while_a_run_is_created_or_opened_is_heard() {
    for delay in 0..64 {
        let world = World::late();
        let said = async {
            pass(delay).await;
            world.signal("created").await
        };
        let (journal, said) = tokio::join!(world.created(), said);
        check_heard(&world, journal, "created", said).await;
        let said = async {
            pass(delay).await;
            world.signal("opened").await
        };
        let ((journal, _), said) = tokio::join!(world.opened(), said);
        check_heard(&world, journal, "opened", said).await;
    }
}

/// Whether the owner has heard a signal that was taken.
async fn check_heard(world: &World, journal: Journal, name: &str, said: Result<u64>) {
    let (watched, tasks) = (journal.clone(), world.ctx.runtime().tasks());
    let watch = tasks.spawn("watch", async move { watched.watch().await });
    settle().await;
    match said {
        Ok(_) => assert_eq!(journal.signal(name), Some(json!(name))),
        Err(err) => assert_eq!((err.kind(), journal.signal(name)), (ErrorKind::NotFound, None)),
    }
    watch.abort();
    drop(watch.await);
}

async fn pass(turns: usize) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}
