//! Runs over a store that several processes share; each process is an engine over a store of its own.

use std::{
    future,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use libtest_mimic::Trial;
use raptorflow_core::{
    Engine, Workflow,
    error::{Error, ErrorKind},
    journal::{Entry, Fact, JournalConfig, Journals, Retention, RunFilter, RunStatus},
    runtime::{Context, Runtime, Tasks},
    storage::{Durability, Expect, PostgresConfig, PostgresStore, SqliteConfig, SqliteStore, Storage},
    testing::ManualClock,
    types::RunId,
    workflow::{Step, after, function},
};
use raptorflow_tests::postgres::Server;
use serde_json::json;
use tempfile::TempDir;

use crate::postgres::{PATIENCE, trial};

type Case = fn(Place);

const CASES: [(&str, Case); 8] = [
    ("a_run_of_one_engine_is_known_to_another", |place| run(known_to_another(place))),
    ("a_run_of_a_dead_process_goes_on_in_another", |place| run(goes_on_in_another(place))),
    ("an_answer_through_one_engine_reaches_a_run_in_another", |place| run(answer_reaches(place))),
    ("a_wish_to_cancel_through_one_engine_reaches_a_run_in_another", |place| run(cancel_reaches(place))),
    ("a_fork_by_another_engine_leaves_the_run_as_it_is", |place| run(fork_leaves_the_run(place))),
    ("pruning_by_one_engine_leaves_the_run_of_another", |place| run(pruning_leaves_the_run(place))),
    ("of_engines_that_take_up_one_run_only_one_does_its_steps", |place| run(only_one_does_its_steps(place))),
    ("a_tail_in_another_process_tells_each_entry_once", |place| run(tail_tells_each_entry_once(place))),
];

pub(crate) fn trials(required: &str) -> Vec<Trial> {
    let must = required.split(',').any(|name| name.trim() == "postgres");
    let of = |(name, case): (&str, Case)| {
        let postgres = move || Server::shared().map(|server| case(Place::Postgres(server, server.schema())));
        let sqlite = move || {
            case(Place::Sqlite(tempfile::tempdir().unwrap()));
            Ok(())
        };
        [
            trial(&format!("runs::sqlite::{name}"), true, sqlite),
            trial(&format!("runs::postgres::{name}"), must, postgres),
        ]
    };
    CASES.into_iter().flat_map(of).collect()
}

/// Runs a case that must end, on one thread, so that all who can go on do so in turn.
fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, case).await.expect("the case takes too long") });
}

/// Where the processes of one case keep their runs.
enum Place {
    Sqlite(TempDir),
    Postgres(&'static Server, String),
}

/// What the processes of one case share.
struct World {
    place: Place,
    clock: ManualClock,
    notes: Arc<Mutex<Vec<Note>>>,
}

/// One call of a step: the process, the path, and the key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    process: &'static str,
    path: String,
    key: String,
}

/// What a step does with a call.
#[derive(Clone, Copy)]
enum Mood {
    Works,
    HangsAt(&'static str),
    FailsAt(&'static str),
}

struct Process {
    engine: Engine,
    journals: Journals,
}

impl World {
    fn new(place: Place) -> Self {
        Self { place, clock: ManualClock::new(), notes: Arc::default() }
    }

    /// A process that knows the workflows, under a name of its own.
    async fn process(&self, name: &'static str, mood: Mood) -> Process {
        let runtime = Runtime::new(Arc::new(self.clock.clone()), Tasks::current().unwrap());
        let storage = match &self.place {
            Place::Sqlite(folder) => {
                let config =
                    SqliteConfig::new(folder.path().join("runs.db")).with_durability(Durability::Buffered);
                Storage::from_store(Arc::new(SqliteStore::open(&runtime, config).await.unwrap()))
            }
            Place::Postgres(server, schema) => {
                let config = PostgresConfig::new(server.address()).with_schema(schema);
                Storage::from_store(Arc::new(PostgresStore::open(&runtime, config).await.unwrap()))
            }
        };
        let mut journal = JournalConfig::default();
        journal.owner = Some(name.into());
        let journals = Journals::new(storage.clone(), runtime.clone(), journal.clone());
        let builder = Engine::builder().storage_handle(storage).runtime(runtime).journal(journal);
        let engine = builder.build().await.unwrap();
        let step = || self.step(name, mood);
        let flow = Workflow::builder("flow")
            .step("first", step())
            .step("second", step().after("first"))
            .step("third", step().after("second"));
        engine.register(flow.build().unwrap()).unwrap();
        let asks = Workflow::builder("asks").step("first", step()).gate("ask", after("first"));
        engine.register(asks.step("third", step().after("ask")).build().unwrap()).unwrap();
        let mut line = Workflow::builder("line").step("s0", step());
        for number in 1..30 {
            line = line.step(format!("s{number}"), step().after(format!("s{}", number - 1)));
        }
        engine.register(line.build().unwrap()).unwrap();
        Process { engine, journals }
    }

    /// A step that notes its call and gives its path.
    fn step(&self, process: &'static str, mood: Mood) -> Step {
        let notes = Arc::clone(&self.notes);
        let work = function(move |ctx: Context, _| {
            let (path, key) = (ctx.path().to_string(), ctx.idempotency_key().unwrap().to_owned());
            notes.lock().unwrap().push(Note { process, path: path.clone(), key });
            async move {
                match mood {
                    Mood::HangsAt(here) if here == path => future::pending().await,
                    Mood::FailsAt(here) if here == path => {
                        Err(Error::new(ErrorKind::InvalidInput, "host.call", "the host does not want to"))
                    }
                    _ => Ok(json!(path)),
                }
            }
        });
        work.retries(0)
    }

    /// The calls of a step so far.
    fn calls(&self, path: &str) -> Vec<Note> {
        self.notes.lock().unwrap().iter().filter(|note| note.path == path).cloned().collect()
    }

    /// Waits for what one process has from another, without that time passes where the store tells of appends.
    async fn told<T>(&self, processes: &[&Process], work: impl Future<Output = T>) -> T {
        match self.place {
            Place::Sqlite(_) => self.passes(processes, work).await,
            Place::Postgres(..) => work.await,
        }
    }

    /// Waits while time passes, no faster than the stores can follow.
    async fn passes<T>(&self, processes: &[&Process], work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.tick(processes) => {}
            }
        }
    }

    async fn tick(&self, processes: &[&Process]) {
        self.clock.advance(Duration::from_millis(200));
        for process in processes {
            tokio::task::yield_now().await;
            // A renewal is a write; behind this one it is done.
            let ctx = process.context();
            process.engine.storage().put(&ctx, "tick", Bytes::new(), Expect::Any).await.unwrap();
        }
    }
}

impl Process {
    fn context(&self) -> Context {
        Context::new(self.engine.runtime())
    }

    async fn entries(&self, run: RunId) -> Vec<Entry> {
        self.engine.history(run, 0, usize::MAX).await.unwrap()
    }

    /// Waits until the run has an entry of which something holds.
    async fn hears(&self, run: RunId, mut holds: impl FnMut(&Entry) -> bool) {
        let mut tail = self.journals.tail(&self.context(), run, 0);
        while !holds(&tail.next().await.expect("the run has ended").unwrap()) {}
    }

    /// Ends without a word to its runs.
    async fn die(self) {
        self.engine.shutdown().await.unwrap();
    }
}

async fn known_to_another(place: Place) {
    let world = World::new(place);
    let (one, two) = (world.process("one", Mood::Works).await, world.process("two", Mood::Works).await);
    let outcome = one.engine.run("flow", json!(1)).await.unwrap();
    assert_eq!(outcome.output, "third");
    let page = two.engine.runs(RunFilter::default()).await.unwrap();
    assert_eq!((page.runs.len(), page.runs[0].1.status), (1, RunStatus::Completed));
    assert_eq!(two.entries(outcome.run_id).await, one.entries(outcome.run_id).await);
    assert_eq!(two.engine.resume(outcome.run_id).await.unwrap(), outcome);
    assert_eq!(world.notes.lock().unwrap().len(), 3);
}

async fn goes_on_in_another(place: Place) {
    let world = World::new(place);
    let one = world.process("one", Mood::HangsAt("second")).await;
    let run = one.engine.start("flow", json!(1)).await.unwrap();
    let id = run.id();
    while world.calls("second").is_empty() {
        tokio::task::yield_now().await;
    }
    drop(run);
    one.die().await;
    let two = world.process("two", Mood::Works).await;
    // The lease of the dead lapses.
    assert_eq!(world.passes(&[&two], two.engine.resume(id).into_future()).await.unwrap().output, "third");
    assert_eq!((world.calls("first").len(), world.calls("third").len()), (1, 1));
    let calls = world.calls("second");
    assert_eq!(calls.iter().map(|call| call.process).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(calls[0].key, calls[1].key, "the key of what was under way has changed");
}

async fn answer_reaches(place: Place) {
    let world = World::new(place);
    let (one, two) = (world.process("one", Mood::Works).await, world.process("two", Mood::Works).await);
    let run = one.engine.start("asks", json!(1)).await.unwrap();
    let id = run.id();
    world.told(&[&one, &two], two.hears(id, |entry| &*entry.path == "first" && !entry.fact.is_end())).await;
    two.engine.signal(id, "ask", "yes").by("anna").await.unwrap();
    let outcome = world.told(&[&one, &two], run.outcome()).await.unwrap();
    assert_eq!((outcome.output, world.calls("third")[0].process), (json!("third"), "one"));
    // The other one answers too late.
    assert_eq!(one.engine.signal(id, "ask", "no").await.unwrap_err().kind(), ErrorKind::Conflict);
}

async fn cancel_reaches(place: Place) {
    let world = World::new(place);
    let one = world.process("one", Mood::HangsAt("second")).await;
    let two = world.process("two", Mood::Works).await;
    let run = one.engine.start("flow", json!(1)).await.unwrap();
    let id = run.id();
    world.told(&[&one, &two], two.hears(id, |entry| &*entry.path == "first")).await;
    let both = async { tokio::join!(two.engine.cancel(id), run.outcome()) };
    let (asked, outcome) = world.passes(&[&one, &two], both).await;
    asked.unwrap();
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(matches!(two.entries(id).await.last().unwrap().fact, Fact::ExecutionCancelled));
}

async fn fork_leaves_the_run(place: Place) {
    let world = World::new(place);
    let (one, two) = (world.process("one", Mood::Works).await, world.process("two", Mood::Works).await);
    let first = one.engine.run("flow", json!(1)).await.unwrap();
    let before = one.entries(first.run_id).await;
    // The start, the definition, and the first step.
    let fork = two.engine.fork(first.run_id, 3).await.unwrap();
    assert_eq!(two.engine.resume(fork).await.unwrap().output, "third");
    assert_eq!(one.entries(first.run_id).await, before);
    assert_eq!(world.calls("first").len(), 1);
    let calls = world.calls("second");
    assert_eq!((calls[0].process, calls[1].process), ("one", "two"));
    assert_ne!(calls[0].key, calls[1].key);
}

async fn pruning_leaves_the_run(place: Place) {
    let world = World::new(place);
    let one = world.process("one", Mood::HangsAt("second")).await;
    let two = world.process("two", Mood::Works).await;
    for number in 0..3 {
        two.engine.run("flow", json!(number)).await.unwrap();
    }
    let run = one.engine.start("flow", json!(3)).await.unwrap();
    let policy = Retention { keep_last: Some(0), ..Retention::default() };
    let pruned = two.engine.prune(&policy).await.unwrap();
    assert_eq!((pruned.removed, pruned.kept), (3, 1));
    let refused = world.passes(&[&one, &two], two.engine.remove(run.id())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let left = one.engine.runs(RunFilter::default()).await.unwrap();
    assert_eq!((left.runs.len(), left.runs[0].0), (1, run.id()));
    run.cancel();
    assert_eq!(run.outcome().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(two.engine.prune(&policy).await.unwrap().removed, 1);
}

async fn only_one_does_its_steps(place: Place) {
    const RUNS: usize = 8;
    let world = World::new(place);
    let one = world.process("one", Mood::FailsAt("second")).await;
    let mut failed = Vec::new();
    for number in 0..RUNS {
        let err = one.engine.run("flow", json!(number)).await.unwrap_err();
        failed.push(err.get("run").unwrap().parse::<RunId>().unwrap());
    }
    let (two, three) = (world.process("two", Mood::Works).await, world.process("three", Mood::Works).await);
    let resumed = [&two, &three].map(|process| {
        future_of(failed.iter().map(|run| process.engine.resume(*run).into_future()).collect())
    });
    let outcomes = world.passes(&[&two, &three], futures_util::future::join_all(resumed)).await;
    for outcome in outcomes.into_iter().flatten() {
        // Whoever comes second finds the end that the other one wrote.
        assert_eq!(outcome.unwrap().output, "third");
    }
    assert_eq!((world.calls("first").len(), world.calls("second").len()), (RUNS, 2 * RUNS));
    assert_eq!(world.calls("third").len(), RUNS, "a run was worked on twice");
}

async fn future_of<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    futures_util::future::join_all(all).await
}

async fn tail_tells_each_entry_once(place: Place) {
    let world = World::new(place);
    let (one, two) = (world.process("one", Mood::Works).await, world.process("two", Mood::Works).await);
    let run = one.engine.start("line", json!(1)).await.unwrap();
    let id = run.id();
    let tail = two.journals.tail(&two.context(), id, 0).collect::<Vec<_>>();
    let both = async { tokio::join!(tail, run.outcome()) };
    let (told, outcome) = world.told(&[&one, &two], both).await;
    assert_eq!(outcome.unwrap().output, "s29");
    let told: Vec<Entry> = told.into_iter().map(Result::unwrap).collect();
    assert_eq!(told, one.entries(id).await);
    assert!((0..).zip(&told).all(|(sequence, entry)| entry.sequence == sequence));
}
