//! Crashes after every operation of a workflow of 25 steps, and power losses at every sync.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use libtest_mimic::Trial;
use raptorflow_core::{
    Engine, ErrorKind, Workflow,
    engine::Outcome,
    error::Result,
    journal::{JournalConfig, RunStatus},
    runtime::{Runtime, Tasks},
    storage::{Durability, SqliteConfig, SqliteStore, Storage},
    testing::ManualClock,
    types::RunId,
    workflow::{Condition, Step, StepFunction, after, repeat, timer},
};
use raptorflow_tests::disk::{Crash, CrashPoint, Disk};
use serde_json::{Value, json};

use crate::place::{FILE, block_on, folder};

const HOUR: Duration = Duration::from_secs(3600);
/// Steps that the workflow does: one plan, five opinions, one summary, three turns of a debate of three, a timer, a
/// gate and seven more.
const STEPS: usize = 25;

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("a_crash_at_any_point_of_a_workflow_repeats_no_acknowledged_step", || {
        crashes();
        Ok(())
    })]
}

/// One call of a step's function: its path, its key, and how many operations the disk had done when it began.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Call {
    path: String,
    key: String,
    position: usize,
}

/// The calls of the functions of one process.
#[derive(Clone, Default)]
struct Calls {
    calls: Arc<Mutex<Vec<Call>>>,
    disk: Option<Disk>,
}

impl Calls {
    fn on(disk: &Disk) -> Self {
        Self { disk: Some(disk.clone()), ..Self::default() }
    }

    fn all(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// A step that notes its call and gives its name and how many values it was given.
    fn step(&self) -> Step {
        let this = self.clone();
        Step::calling(StepFunction::new(move |ctx, input: Value| {
            let position = this.disk.as_ref().map_or(0, Disk::position);
            let (path, key) = (ctx.path().to_string(), ctx.idempotency_key().unwrap().to_owned());
            this.calls.lock().unwrap().push(Call { path: path.clone(), key, position });
            async move {
                // Steps that are under way at the same time mix.
                tokio::task::yield_now().await;
                let turn = input.get("turn").and_then(Value::as_u64).unwrap_or(0) + 1;
                Ok(json!({ "by": path, "turn": turn, "given": input.as_object().map_or(0, serde_json::Map::len) }))
            }
        }))
        .retries(0)
    }

    fn workflow(&self) -> Workflow {
        let debate = Workflow::builder("debate")
            .step("pro", self.step())
            .step("con", self.step().after("pro"))
            .step("judge", self.step().after("con").input(json!({ "turn": "$input/turn", "said": "$con" })))
            .build()
            .unwrap();
        let mut flow = Workflow::builder("launch").step("plan", self.step());
        let opinions = ["a", "b", "c", "d", "e"];
        for name in opinions {
            flow = flow.step(name, self.step().after("plan"));
        }
        let summary = opinions
            .into_iter()
            .fold(self.step(), Step::after)
            .input(json!({ "turn": 0, "of": ["$a", "$e"] }));
        flow = flow
            .step("summary", summary)
            .step("debate", repeat(&debate, 3, Condition::at("/turn").at_least(9.0)).after("summary"))
            .step("soak", timer(HOUR).after("debate"))
            .gate("approve", after("soak").choices([true, false]));
        let mut last = "approve".to_owned();
        for number in 0..7 {
            let name = format!("publish{number}");
            flow = flow.step(&name, self.step().after(&last));
            last = name;
        }
        flow.build().unwrap()
    }
}

/// One process: an engine over the store of a folder.
struct Process {
    engine: Engine,
    clock: ManualClock,
}

impl Process {
    async fn start(folder: &Path, durability: Durability, calls: &Calls) -> Self {
        let clock = ManualClock::new();
        let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
        let config = SqliteConfig::new(folder.join(FILE)).with_durability(durability);
        let store = SqliteStore::open(&runtime, config).await.unwrap();
        let mut journal = JournalConfig::default();
        // A restarted process takes its runs up at once.
        journal.owner = Some("worker".into());
        let storage = Storage::from_store(Arc::new(store));
        let engine = Engine::builder()
            .storage_handle(storage)
            .runtime(runtime)
            .journal(journal)
            .build()
            .await
            .unwrap();
        engine.register(calls.workflow()).unwrap();
        Self { engine, clock }
    }

    /// Runs or resumes, lets the time pass when the run waits for it, and answers when it asks.
    async fn finish(&self, run: RunId) -> Result<Outcome> {
        let known =
            !matches!(self.engine.history(run, 0, 1).await, Err(err) if err.kind() == ErrorKind::NotFound);
        let work = async {
            if known {
                self.engine.resume(run).await
            } else {
                self.engine.run("launch", "Diwali").id(run).await
            }
        };
        tokio::select! {
            outcome = work => outcome,
            never = self.look_after(run) => never,
        }
    }

    async fn look_after(&self, run: RunId) -> Result<Outcome> {
        let (mut passed, mut answered) = (false, false);
        loop {
            tokio::task::yield_now().await;
            let Ok(state) = self.engine.state(run, None).await else { continue };
            if state.summary.status != RunStatus::Running {
                std::future::pending::<()>().await;
            }
            if !passed && !state.timers.is_empty() {
                // It may not sleep yet; then it finds that its time has come.
                self.clock.advance(HOUR);
                passed = true;
            }
            let soaked = state.steps.iter().any(|step| &*step.path == "soak" && step.ended.is_some());
            if soaked && !answered {
                match self.engine.signal(run, "approve", true).await {
                    Err(err) if err.kind() != ErrorKind::Conflict => return Err(err),
                    _ => answered = true,
                }
            }
        }
    }
}

fn crashes() {
    let (mut counts, mut repeated) = (BTreeMap::new(), 0);
    // How many operations a recording has depends on which commits fall together.
    for durability in [Durability::Sync, Durability::Buffered, Durability::Sync] {
        let place = folder();
        let disk = Disk::watch(place.path());
        block_on(async {
            let calls = Calls::on(&disk);
            let first = Process::start(place.path(), durability, &calls).await;
            let run = first.engine.runtime().ids().run();
            let output = first.finish(run).await.unwrap().output;
            first.engine.shutdown().await.unwrap();
            let calls = calls.all();
            assert_eq!(calls.len() + 2, STEPS, "a timer and a gate are no functions");

            let after = folder();
            for point in disk.recording().points() {
                *counts.entry(kind(point.crash)).or_default() += 1;
                let place = tempfile::tempdir_in(after.path()).unwrap();
                point.write_to(place.path()).unwrap();
                let promised = durability == Durability::Sync || point.crash == Crash::Kill;
                repeated += check(place.path(), &point, promised, run, &output, &calls).await;
            }
        });
    }
    let points: usize = counts.values().sum();
    println!(
        "workflow: {points} points, {counts:?}, {repeated} steps under way done again, 0 acknowledged ones"
    );
    assert!(points >= 500, "only {points} points");
}

fn kind(crash: Crash) -> &'static str {
    match crash {
        Crash::Kill => "kills",
        Crash::Unsynced => "unsynced bytes lost",
        Crash::Torn(_) => "last write torn",
        Crash::Odd | Crash::Even => "every second write lost",
    }
}

/// Resumes after a crash and gives how many steps were done again.
///
/// `promised` says whether what was acknowledged must be there.
async fn check(
    folder: &Path,
    point: &CrashPoint,
    promised: bool,
    run: RunId,
    output: &Value,
    before: &[Call],
) -> usize {
    let again = Calls::default();
    let process = Process::start(folder, Durability::None, &again).await;
    let outcome = process.finish(run).await.unwrap_or_else(|err| panic!("{point}: {err:#}"));
    assert_eq!(&outcome.output, output, "{point}");
    process.engine.shutdown().await.unwrap();

    let again = again.all();
    let paths: HashSet<&str> = again.iter().map(|call| call.path.as_str()).collect();
    assert_eq!(paths.len(), again.len(), "{point}: a step ran twice in one process");
    let mut repeated = 0;
    for call in &again {
        let Some(first) = before.iter().find(|first| first.path == call.path) else {
            panic!("{point}: {call:?} is new")
        };
        assert_eq!(first.key, call.key, "{point}");
        // A step is acknowledged at the latest when the one that needs it begins.
        let needed = before.iter().find(|later| needs(&later.path, &call.path));
        let acknowledged = promised && needed.is_some_and(|later| point.keeps(later.position));
        assert!(!acknowledged, "{point}: {} ran again although {needed:?} had begun", call.path);
        repeated += usize::from(promised && point.keeps(first.position));
    }
    repeated
}

/// Whether a step begins only after another was acknowledged.
fn needs(later: &str, earlier: &str) -> bool {
    let rank = |path: &str| match path.split('/').collect::<Vec<_>>()[..] {
        ["plan"] => 0,
        ["summary"] => 2,
        ["debate", turn, part] => {
            let part = ["pro", "con", "judge"].iter().position(|name| *name == part).unwrap();
            3 + 3 * turn.parse::<usize>().unwrap() + part
        }
        [name] => name.strip_prefix("publish").map_or(1, |number| 12 + number.parse::<usize>().unwrap()),
        _ => panic!("{path}"),
    };
    rank(later) > rank(earlier)
}
