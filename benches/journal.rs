//! The journal of a run: a whole small one, the resume of a long one, and what readers of a long one pay.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use raptorflow_benches::Bench;
use raptorflow_core::{
    error::{Error, ErrorKind},
    journal::{Fact, JournalConfig, Journals, Opened},
    runtime::Context,
    storage::Storage,
    types::{Finish, RunId},
};
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const BACKENDS: [&str; 2] = ["memory", "sqlite"];
/// How many entries a long run has.
const LONG: usize = 10_000;

fn main() {
    divan::main();
}

struct World {
    bench: Bench,
    journals: Journals,
    _folder: TempDir,
}

impl World {
    fn new(backend: &str) -> Self {
        let bench = Bench::new();
        let folder = tempfile::tempdir().expect("a folder");
        let uri = match backend {
            "memory" => "memory:".to_owned(),
            _ => format!("sqlite:{}", folder.path().join("bench.db").display()),
        };
        let storage = bench.wait(Storage::open(&uri)).expect("a usable store");
        let journals = Journals::new(storage, bench.ctx.runtime().clone(), JournalConfig::default());
        Self { bench, journals, _folder: folder }
    }

    fn ctx(&self, run: RunId) -> Context {
        Context::for_run(self.bench.ctx.runtime(), run)
    }

    /// A run that failed after many steps.
    fn long(&self) -> RunId {
        let ctx = Context::new(self.bench.ctx.runtime());
        self.bench.wait(async {
            let journal = self.journals.create(&ctx, &[started()]).await.expect("a new run");
            for step in 0..LONG {
                let path = format!("flow/step-{step}");
                journal.append_at(&path, &[completed_step()]).await.expect("an append");
            }
            let error = Error::new(ErrorKind::Unavailable, "bench", "gone");
            journal.finish(&ctx, &[Fact::ExecutionFailed { error }]).await.expect("an end");
        });
        ctx.run_id()
    }
}

fn started() -> Fact {
    Fact::ExecutionStarted {
        target: "flow".into(),
        input: 1.into(),
        capability: None,
        background: None,
        user: None,
    }
}

fn completed_step() -> Fact {
    Fact::StepCompleted { value: "a value of a step, as long as a short sentence".into(), took: Some(1234) }
}

#[divan::bench]
fn small_run(bencher: Bencher<'_, '_>) {
    let world = World::new("memory");
    bencher.bench_local(|| {
        let ctx = Context::new(world.bench.ctx.runtime());
        world.bench.now(async {
            let journal = world.journals.create(&ctx, &[started()]).await.expect("a new run");
            journal.append(&ctx, &[completed_step()]).await.expect("an append");
            journal.append(&ctx, &[completed_step()]).await.expect("an append");
            let end = Fact::ExecutionCompleted { output: 1.into(), finish: Finish::Complete };
            journal.finish(&ctx, &[end]).await.expect("an end")
        })
    });
}

#[divan::bench(args = BACKENDS, sample_count = 20, sample_size = 1)]
fn resume_of_10_000_entries(bencher: Bencher<'_, '_>, backend: &str) {
    let world = World::new(backend);
    let run = world.long();
    bencher.counter(ItemsCount::new(LONG)).bench_local(|| {
        let ctx = world.ctx(run);
        let opened = world.bench.wait(world.journals.open(black_box(&ctx))).expect("a run");
        let Opened::Running { journal, .. } = opened else { return };
        let error = Error::new(ErrorKind::Unavailable, "bench", "gone");
        world.bench.wait(journal.finish(&ctx, &[Fact::ExecutionFailed { error }])).expect("an end");
    });
}

#[divan::bench(args = BACKENDS)]
fn summary_of_10_000_entries(bencher: Bencher<'_, '_>, backend: &str) {
    let world = World::new(backend);
    let run = world.long();
    bencher.bench_local(|| {
        world.bench.wait(world.journals.summary(&world.bench.ctx, black_box(run))).expect("a summary")
    });
}

#[divan::bench(args = BACKENDS, sample_count = 20, sample_size = 1)]
fn state_of_10_000_entries(bencher: Bencher<'_, '_>, backend: &str) {
    let world = World::new(backend);
    let run = world.long();
    bencher.counter(ItemsCount::new(LONG)).bench_local(|| {
        world.bench.wait(world.journals.state(&world.bench.ctx, black_box(run), None)).expect("a state")
    });
}
