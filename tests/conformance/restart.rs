//! A PostgreSQL server that goes away: ended with `kill -9` or stopped, started again or silent.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all};
use libtest_mimic::Trial;
use raptorflow_core::{
    Engine, Workflow,
    error::{ErrorKind, Retry},
    journal::{Entry, JournalConfig, Journals},
    runtime::{Context, Runtime, Tasks},
    storage::{Append, PostgresConfig, PostgresStore, Storage},
    testing::ManualClock,
    types::RunId,
    workflow::{Step, function},
};
use raptorflow_tests::{postgres::Server, proxy::Proxy};
use serde_json::json;
use tokio::{sync::Notify, task};

use crate::postgres::{PATIENCE, records, run, trial};

/// How the server ends.
type End = fn(&Server) -> Result<(), String>;

pub(crate) fn trials(required: &str) -> Vec<Trial> {
    let must = required.split(',').any(|name| name.trim() == "postgres");
    let mine = |name: &str, test: fn(&Arc<Server>)| {
        // A crash of the server loses nothing that the system below it has.
        let test = move || Server::start(&["fsync=off"]).map(|server| test(&Arc::new(server)));
        trial(&format!("restart::{name}"), must, test)
    };
    let shared = |name: &str, test: fn(&'static Server)| {
        trial(&format!("restart::{name}"), must, move || Server::shared().map(test))
    };
    vec![
        mine("a_kill_of_the_server_in_the_middle_of_appends_loses_and_repeats_nothing", |server| {
            appends_survive(server, Server::kill);
        }),
        mine("a_stop_of_the_server_in_the_middle_of_appends_loses_and_repeats_nothing", |server| {
            appends_survive(server, Server::stop);
        }),
        mine("runs_and_their_tails_go_on_over_restarts_of_the_server", runs_go_on),
        mine("a_run_that_waited_in_vain_for_the_server_can_be_resumed", a_run_can_be_resumed),
        shared("a_server_that_falls_silent_is_an_error_in_time", silence_is_an_error),
        shared("an_opening_that_falls_silent_is_an_error_in_time", silence_of_an_opening_is_an_error),
    ]
}

/// Opens a store of a process of its own.
async fn open(runtime: &Runtime, config: &PostgresConfig) -> Storage {
    Storage::from_store(Arc::new(PostgresStore::open(runtime, config.clone()).await.unwrap()))
}

/// A runtime with tasks of its own.
fn process() -> Runtime {
    Runtime::current().unwrap()
}

/// The settings of a store whose calls wait so long for a server.
fn waiting(server: &Server, reconnect: Duration) -> PostgresConfig {
    let mut config = PostgresConfig::new(server.address());
    config.reconnect = reconnect;
    config
}

/// Ends the server and starts it again.
async fn restart(server: &Arc<Server>, end: End) {
    let server = Arc::clone(server);
    task::spawn_blocking(move || end(&server).and_then(|()| server.start_again())).await.unwrap().unwrap();
}

/// Waits until so much was done.
async fn reached(done: &AtomicUsize, count: usize) {
    while done.load(Ordering::SeqCst) < count {
        task::yield_now().await;
    }
}

fn appends_survive(server: &Arc<Server>, end: End) {
    const WRITERS: usize = 16;
    const EACH: usize = 60;
    run(async {
        let (runtime, config) = (process(), waiting(server, PATIENCE));
        let (ctx, storage) = (Context::new(&runtime), open(&runtime, &config).await);
        let acknowledged: Arc<Vec<AtomicUsize>> = Arc::new((0..WRITERS).map(|_| 0.into()).collect());
        let all = Arc::new(AtomicUsize::new(0));
        let writers = (0..WRITERS).map(|writer| {
            let (ctx, storage) = (ctx.clone(), storage.clone());
            let (acknowledged, all) = (Arc::clone(&acknowledged), Arc::clone(&all));
            task::spawn(async move {
                let stream = format!("run/{writer}");
                let grant = storage.acquire(&ctx, &stream, "me", PATIENCE).await.unwrap().unwrap();
                for number in 0..EACH {
                    let data = vec![format!("{writer}: {number}").into()];
                    // Nothing but the store itself sees to it that it is there once.
                    let append = Append { fence: Some(&grant.fence), records: data, ..Append::to(&stream) };
                    assert_eq!(storage.append(&ctx, append).await.unwrap(), number as u64 + 1);
                    acknowledged[writer].store(number + 1, Ordering::SeqCst);
                    all.fetch_add(1, Ordering::SeqCst);
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        for quarter in 1..=3 {
            reached(&all, WRITERS * EACH * quarter / 4).await;
            let before: Vec<usize> = acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).collect();
            restart(server, end).await;
            let other = open(&process(), &config).await;
            for (writer, count) in before.into_iter().enumerate() {
                let length = other.length(&ctx, &format!("run/{writer}")).await.unwrap();
                assert!(length >= count as u64, "{length} of {count} acknowledged records are there");
            }
        }
        for writer in writers {
            writer.await.unwrap();
        }
        for writer in 0..WRITERS {
            let found = storage.read(&ctx, &format!("run/{writer}"), 0, 2 * EACH).await.unwrap();
            let found: Vec<_> = found.into_iter().map(|record| record.data).collect();
            let expected: Vec<_> = (0..EACH).map(|number| format!("{writer}: {number}")).collect();
            assert_eq!(found, expected);
        }
        storage.close().await.unwrap();
    });
}

/// The paths and keys of the calls of steps.
#[derive(Clone, Default)]
struct Calls {
    all: Arc<Mutex<Vec<(String, String)>>>,
    count: Arc<AtomicUsize>,
}

impl Calls {
    fn note(&self, ctx: &Context) {
        let key = ctx.idempotency_key().unwrap().to_owned();
        self.all.lock().unwrap().push((ctx.path().to_string(), key));
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// The keys of the calls at a path.
    fn keys(&self, path: &str) -> Vec<String> {
        let all = self.all.lock().unwrap();
        all.iter().filter(|(at, _)| at == path).map(|(_, key)| key.clone()).collect()
    }

    /// A step that notes its call and gives its path.
    fn step(&self) -> Step {
        let calls = self.clone();
        function(move |ctx: Context, _| {
            calls.note(&ctx);
            std::future::ready(Ok(json!(&**ctx.path())))
        })
    }
}

/// An engine whose runs stay its own while the server is away.
async fn engine(runtime: &Runtime, storage: &Storage, flow: &Workflow) -> Engine {
    let mut journal = JournalConfig::default();
    (journal.lease_ttl, journal.heartbeat) = (PATIENCE, PATIENCE / 3);
    let builder = Engine::builder().storage_handle(storage.clone()).runtime(runtime.clone());
    let engine = builder.journal(journal).build().await.unwrap();
    engine.register(flow.clone()).unwrap();
    engine
}

fn runs_go_on(server: &Arc<Server>) {
    const RUNS: usize = 4;
    const STEPS: usize = 40;
    run(async {
        let (runtime, config, calls) = (process(), waiting(server, PATIENCE), Calls::default());
        let storage = open(&runtime, &config).await;
        let mut line = Workflow::builder("line").step("s0", calls.step());
        for number in 1..STEPS {
            line = line.step(format!("s{number}"), calls.step().after(format!("s{}", number - 1)));
        }
        let engine = engine(&runtime, &storage, &line.build().unwrap()).await;
        let mut runs = Vec::new();
        for number in 0..RUNS {
            runs.push(engine.start("line", json!(number)).await.unwrap());
        }
        let ids: Vec<RunId> = runs.iter().map(raptorflow_core::engine::Run::id).collect();
        // Another process looks on.
        let other = process();
        let mut journal = JournalConfig::default();
        journal.poll = PATIENCE;
        let journals = Journals::new(open(&other, &config).await, other.clone(), journal);
        let tails = ids.iter().map(|id| journals.tail(&Context::new(&other), *id, 0).collect::<Vec<_>>());
        let tails = task::spawn(join_all(tails.collect::<Vec<_>>()));

        for (third, end) in [(1, Server::kill as End), (2, Server::stop)] {
            reached(&calls.count, RUNS * STEPS * third / 3).await;
            restart(server, end).await;
        }
        for run in runs {
            assert_eq!(run.outcome().await.unwrap().output, json!(format!("s{}", STEPS - 1)));
        }
        let keys: HashSet<String> = calls.all.lock().unwrap().iter().map(|(_, key)| key.clone()).collect();
        assert_eq!((calls.count.load(Ordering::SeqCst), keys.len()), (RUNS * STEPS, RUNS * STEPS));
        for (id, told) in ids.into_iter().zip(tails.await.unwrap()) {
            let told: Vec<Entry> = told.into_iter().map(Result::unwrap).collect();
            // One for each step and one more for the start, the definition and the end.
            assert_eq!(told.len(), STEPS + 3);
            assert_eq!(told, engine.history(id, 0, usize::MAX).await.unwrap());
        }
    });
}

fn a_run_can_be_resumed(server: &Arc<Server>) {
    run(async {
        let (runtime, calls) = (process(), Calls::default());
        let storage = open(&runtime, &waiting(server, Duration::from_millis(100))).await;
        let (at_work, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let second = {
            let (calls, at_work, go_on) = (calls.clone(), Arc::clone(&at_work), Arc::clone(&go_on));
            function(move |ctx: Context, _| {
                calls.note(&ctx);
                let (at_work, go_on) = (Arc::clone(&at_work), Arc::clone(&go_on));
                async move {
                    at_work.notify_one();
                    go_on.notified().await;
                    Ok(json!("second"))
                }
            })
        };
        let flow =
            Workflow::builder("flow").step("first", calls.step()).step("second", second.after("first"));
        let flow = flow.step("third", calls.step().after("second")).build().unwrap();
        let engine = engine(&runtime, &storage, &flow).await;
        let run = engine.start("flow", json!(1)).await.unwrap();
        let id = run.id();
        at_work.notified().await;
        let ending = Arc::clone(server);
        task::spawn_blocking(move || ending.kill()).await.unwrap().unwrap();
        go_on.notify_one();
        let err = run.outcome().await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon), "{err:#}");
        assert_eq!(err.get("run"), Some(id.to_string().as_str()));
        let err = engine.resume(id).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon), "{err:#}");

        let starting = Arc::clone(server);
        task::spawn_blocking(move || starting.start_again()).await.unwrap().unwrap();
        go_on.notify_one();
        assert_eq!(engine.resume(id).await.unwrap().output, "third");
        let keys = calls.keys("second");
        assert_eq!((calls.keys("first").len(), keys.len(), calls.keys("third").len()), (1, 2, 1));
        assert_eq!(keys[0], keys[1], "the key of what was under way has changed");
    });
}

/// A server that keeps its answers back, and a store behind it for which time passes only when it does.
struct Silent {
    proxy: Proxy,
    clock: ManualClock,
    runtime: Runtime,
    config: PostgresConfig,
}

impl Silent {
    async fn before(server: &Server) -> Self {
        let (proxy, clock) = (Proxy::before(server.port()).await, ManualClock::new());
        let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
        let address = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", proxy.port());
        let config = PostgresConfig::new(address).with_schema(server.schema());
        Self { proxy, clock, runtime, config }
    }

    /// Waits while time passes as soon as the server has fallen silent.
    async fn outlast<T>(&self, work: impl Future<Output = T>) -> T {
        let passes = async {
            self.proxy.hangs().await;
            loop {
                self.clock.advance(Duration::from_millis(500));
                task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            () = passes => unreachable!(),
        }
    }
}

fn silence_is_an_error(server: &'static Server) {
    run(async {
        let silent = Silent::before(server).await;
        let (ctx, storage) = (Context::new(&silent.runtime), open(&silent.runtime, &silent.config).await);
        storage.append(&ctx, records("stream", &["first"])).await.unwrap();

        silent.proxy.hang_after(0);
        let err = silent.outlast(storage.append(&ctx, records("stream", &["second"]))).await.unwrap_err();
        assert_eq!((err.kind(), err.get("outcome")), (ErrorKind::Unavailable, Some("unknown")));
        let err = silent.outlast(storage.read(&ctx, "stream", 0, 9)).await.unwrap_err();
        assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon), "{err:#}");
        // Whoever waits for news looks by itself when its patience is over.
        silent.outlast(storage.grown(&ctx, "stream", 1, Duration::from_secs(1))).await.unwrap();

        silent.proxy.go_on();
        // The request had arrived.
        assert_eq!(storage.append(&ctx, records("stream", &["third"])).await.unwrap(), 3);
        assert_eq!(storage.read(&ctx, "stream", 0, 9).await.unwrap().len(), 3);
    });
}

fn silence_of_an_opening_is_an_error(server: &'static Server) {
    run(async {
        let silent = Silent::before(server).await;
        let mut answers = 0;
        // At each answer of an opening in turn.
        loop {
            silent.proxy.hang_after(answers);
            let opening = PostgresStore::open(&silent.runtime, silent.config.clone());
            let Err(err) = silent.outlast(opening).await else { break };
            assert_eq!((err.kind(), err.retry()), (ErrorKind::Unavailable, Retry::Soon), "{err:#}");
            silent.proxy.go_on();
            answers += 1;
        }
        assert!(answers > 4, "only {answers} answers");
    });
}
