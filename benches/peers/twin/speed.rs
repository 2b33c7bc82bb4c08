//! The works by name.

use std::{path::Path, time::Instant};

use raptorflow_benches::flows;
use raptorflow_core::{Engine, Result, Workflow, journal::Fact};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{agents, group_commit, report::report};

/// Steps of a workflow.
const STEPS: u32 = 100;
/// Items of a fan-out.
const TASKS: u32 = 1000;
/// Messages of a chat.
const MESSAGES: u32 = 400;
/// What is over in less than a millisecond is done so often between two looks at the clock.
const REPEATS: u32 = 20;

const OURS: &str = "raptorflow, Rust";

/// Measures a work.
///
/// # Errors
/// When there is none of that name, or it goes wrong.
pub(crate) fn run(tokio: &Runtime, work: &str, rounds: usize, address: Option<&str>) -> Result<(), String> {
    // On this thread alone, as the programs of the others.
    let alone = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a Tokio runtime");
    if alone.block_on(agents::run(work, rounds)).map_err(|err| format!("{err:?}"))? {
        return Ok(());
    }
    let measure = Measure { tokio, work, rounds };
    let done = match (work.rsplit_once('-').map(|(store, at_once)| (store, at_once.parse())), work) {
        (Some(("sqlite", Ok(at_once))), _) => measure.on_disk(at_once),
        (Some(("postgres", Ok(at_once))), _) => measure.on_a_server(address, at_once),
        (_, "linear") => {
            measure.each(&flows::linear(STEPS as usize), &json!(0), &json!(STEPS), (STEPS, "us/node"))
        }
        (_, "fan-out") => {
            let items: Value = (0..TASKS).collect();
            measure.each(&flows::fan_out(TASKS as usize), &items, &items, (TASKS, "us/task"))
        }
        (_, "ask") => measure.ask(),
        (_, "chat") => measure.chat(),
        _ => return Err(format!("there is no work `{work}`")),
    };
    done.map_err(|err| format!("{err:?}"))
}

struct Measure<'a> {
    tokio: &'a Runtime,
    work: &'a str,
    rounds: usize,
}

impl Measure<'_> {
    /// The time of a unit of a workflow, in memory.
    fn each(&self, flow: &Workflow, input: &Value, output: &Value, (units, unit): (u32, &str)) -> Result<()> {
        self.tokio.block_on(async {
            let engine = Engine::builder().build().await?;
            engine.register(flow.clone())?;
            let name = flow.name().as_str();
            let mut samples = Vec::new();
            for _ in 0..=self.rounds {
                let start = Instant::now();
                for _ in 0..REPEATS {
                    assert_eq!(engine.run(name, input.clone()).await?.output, *output);
                }
                samples.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(REPEATS * units));
            }
            self.report(OURS, unit, &samples);
            Ok(())
        })
    }

    fn ask(&self) -> Result<()> {
        self.tokio.block_on(async {
            let engine = Engine::builder().build().await?;
            engine.register(flows::ask())?;
            let mut samples = Vec::new();
            for _ in 0..=self.rounds {
                let start = Instant::now();
                for _ in 0..REPEATS {
                    let run = engine.start("ask", json!(0)).await?;
                    engine.signal(run.id(), "ask", 1).await?;
                    assert_eq!(run.outcome().await?.output, 2);
                }
                samples.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(REPEATS));
            }
            self.report(OURS, "us", &samples);
            Ok(())
        })
    }

    fn on_disk(&self, at_once: u32) -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bare.db");
        // Both in turns, because a disk is not the same from one second to the next.
        let (sync, buffered) = (Disk::new(self.tokio, "")?, Disk::new(self.tokio, "?durability=buffered")?);
        let (mut rates, mut buffered_rates, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=self.rounds {
            rates.push(self.tokio.block_on(rate(&sync.engine, at_once))?);
            buffered_rates.push(self.tokio.block_on(rate(&buffered.engine, at_once))?);
            bare.push(group_commit::rate(self.tokio, &file, at_once, STEPS));
        }
        self.report(OURS, "steps/s", &rates);
        self.report("raptorflow, Rust, buffered", "steps/s", &buffered_rates);
        self.report("SQLite alone, group commit", "steps/s", &bare);
        let steps = f64::from(at_once * STEPS) * (self.rounds + 1) as f64;
        let empty = sync.empty;
        let bytes = sync.close(self.tokio)?.saturating_sub(empty) as f64 / steps;
        report(self.work, OURS, "B/step", &[bytes]);
        Ok(())
    }

    fn on_a_server(&self, address: Option<&str>, at_once: u32) -> Result<()> {
        self.tokio.block_on(async {
            let engine = Engine::builder().storage(address.unwrap_or_default()).build().await?;
            engine.register(flows::linear(STEPS as usize))?;
            let mut rates = Vec::new();
            for _ in 0..=self.rounds {
                rates.push(rate(&engine, at_once).await?);
            }
            self.report(OURS, "steps/s", &rates);
            engine.shutdown().await
        })
    }

    fn chat(&self) -> Result<()> {
        self.chat_as(OURS, flows::chat(MESSAGES as usize))?;
        self.chat_as(
            "raptorflow, Rust, the whole chat as its result too",
            flows::whole_chat(MESSAGES as usize),
        )
    }

    fn chat_as(&self, system: &str, flow: Workflow) -> Result<()> {
        let disk = Disk::new(self.tokio, "")?;
        let start = Instant::now();
        let run = self.tokio.block_on(disk.engine.run(flow, json!(null)).into_future())?.run_id;
        let micros = start.elapsed().as_secs_f64() * 1e6;
        let history = self.tokio.block_on(disk.engine.history(run, 0, 2 * MESSAGES as usize))?;
        let said = history.iter().filter(|entry| matches!(entry.fact, Fact::StepCompleted { .. }));
        assert_eq!(said.count(), MESSAGES as usize, "the journal has every message");
        report(self.work, system, "us/message", &[micros / f64::from(MESSAGES)]);
        report(self.work, system, "KB", &[disk.close(self.tokio)? as f64 / 1e3]);
        Ok(())
    }

    /// Prints all samples but the first, which warmed up.
    fn report(&self, system: &str, unit: &str, samples: &[f64]) {
        report(self.work, system, unit, samples.get(1..).unwrap_or_default());
    }
}

/// Steps a second of so many runs at once.
async fn rate(engine: &Engine, at_once: u32) -> Result<f64> {
    let start = Instant::now();
    let mut runs = Vec::new();
    for _ in 0..at_once {
        runs.push(engine.start("line", json!(0)).await?);
    }
    for run in runs {
        assert_eq!(run.outcome().await?.output, STEPS);
    }
    Ok(f64::from(at_once * STEPS) / start.elapsed().as_secs_f64())
}

/// An engine on a file of its own.
struct Disk {
    engine: Engine,
    folder: TempDir,
    /// Bytes of an empty store.
    empty: u64,
}

impl Disk {
    fn new(tokio: &Runtime, settings: &str) -> Result<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("sqlite:{}{settings}", folder.path().join("speed.db").display());
        let open = || async { Engine::builder().storage(&address).build().await };
        let empty = tokio.block_on(async {
            open().await?.shutdown().await?;
            Ok::<_, raptorflow_core::Error>(bytes(folder.path()))
        })?;
        let engine = tokio.block_on(open())?;
        engine.register(flows::linear(STEPS as usize))?;
        Ok(Self { engine, folder, empty })
    }

    /// Ends it; bytes of the store.
    fn close(self, tokio: &Runtime) -> Result<u64> {
        tokio.block_on(self.engine.shutdown())?;
        drop(self.engine);
        Ok(bytes(self.folder.path()))
    }
}

fn bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("a folder");
    files.map(|file| file.and_then(|file| file.metadata()).expect("a file").len()).sum()
}
