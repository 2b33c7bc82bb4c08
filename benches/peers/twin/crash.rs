//! The workflow that the crash harness kills: a line of steps that say when they run and with which key.

use std::{fs::OpenOptions, io::Write as _, time::Duration};

use raptorflow_core::{
    Engine, ErrorKind, Result, Workflow,
    journal::JournalConfig,
    runtime::Context,
    types::RunId,
    workflow::{Step, function},
};
use serde_json::{Value, json};

/// How long a step takes beside its notes.
const WORK: Duration = Duration::from_millis(2);

/// Begins the run or carries it on, and writes its result to the log's `.done`.
pub(crate) async fn run(log: &str, database: &str, mode: &str, steps: u32) -> Result<()> {
    let run: RunId = id_of(database).parse()?;
    let mut config = JournalConfig::default();
    // A process that was killed left its lease behind; its successor has its name and need not wait.
    config.owner = Some("crash".into());
    let engine = Engine::builder().storage(address(database, mode)).journal(config).build().await?;
    engine.register(flow(log, steps)?)?;
    std::fs::write(format!("{log}.ready"), "").expect("a note that it is ready");
    let outcome = match engine.resume(run).await {
        Err(err) if err.kind() == ErrorKind::NotFound => engine.run("crash", json!([])).id(run).await,
        resumed => resumed,
    }?;
    let numbers: Vec<u32> = serde_json::from_value(outcome.output).expect("a list of numbers");
    std::fs::write(format!("{log}.done"), format!("{numbers:?}")).expect("the result");
    engine.shutdown().await
}

/// Each step gives the list of those before it and its own number.
fn flow(log: &str, steps: u32) -> Result<Workflow> {
    let mut flow = Workflow::builder("crash");
    for number in 0..steps {
        let step = step(log, number);
        let step = if number == 0 { step } else { step.after(format!("s{}", number - 1)) };
        flow = flow.step(format!("s{number}"), step);
    }
    flow.build()
}

fn step(log: &str, number: u32) -> Step {
    let log = log.to_owned();
    function(move |ctx: Context, mut done: Value| {
        note(&log, &number.to_string());
        note(&format!("{log}.keys"), &format!("{number} {}", ctx.idempotency_key().unwrap_or("none")));
        async move {
            tokio::time::sleep(WORK).await;
            done.as_array_mut().expect("the steps before").push(number.into());
            Ok(done)
        }
    })
}

fn note(file: &str, line: &str) {
    let file = OpenOptions::new().append(true).create(true).open(file);
    file.expect("a log").write_all(format!("{line}\n").as_bytes()).expect("a note");
}

/// A mode that is an address is a server that the workflows of many databases share.
fn address(database: &str, mode: &str) -> String {
    match mode {
        "postgres" => database.to_owned(),
        "buffered" => format!("sqlite:{database}?durability=buffered"),
        server if server.contains("://") => server.to_owned(),
        _ => format!("sqlite:{database}"),
    }
}

/// The id of the run: the same for the same database each time, and another one for another.
fn id_of(database: &str) -> String {
    // FNV-1a, which stays the same over compilers.
    let hash = |seed: u64| {
        database.bytes().fold(seed, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    format!("{:016x}{:016x}", hash(0xcbf2_9ce4_8422_2325), hash(1))
}
