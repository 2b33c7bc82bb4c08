//! This binary started again as another process, which appends to a file until it is done or killed.

use std::{
    env,
    ffi::OsString,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::Arc,
};

use raptorflow_core::{
    error::Result,
    runtime::{Context, Runtime},
    storage::{Append, SqliteConfig, SqliteStore, Storage},
};

use crate::backends::block_on;

const FILE: &str = "RAPTORFLOW_TEST_CHILD_FILE";
const APPENDS: &str = "RAPTORFLOW_TEST_CHILD_APPENDS";
/// How many tasks of the child append at once, each to its own stream.
pub(crate) const WRITERS: usize = 4;

/// What the child does.
pub(crate) struct Job {
    file: OsString,
    appends: usize,
}

impl Job {
    /// The job, if this process is a child.
    pub(crate) fn of_this_process() -> Option<Self> {
        let appends = env::var(APPENDS).ok()?.parse().ok()?;
        Some(Self { file: env::var_os(FILE)?, appends })
    }

    pub(crate) fn run(self) -> ExitCode {
        match block_on(self.append()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(err) => {
                eprintln!("{err:#}");
                ExitCode::FAILURE
            }
        }
    }

    /// Appends and prints `writer length` for every append that was acknowledged.
    async fn append(self) -> Result<()> {
        let runtime = Runtime::current()?;
        let store = SqliteStore::open(&runtime, SqliteConfig::new(self.file)).await?;
        let storage = Storage::from_store(Arc::new(store));
        let writers = (0..WRITERS).map(|writer| {
            let (ctx, storage) = (Context::new(&runtime), storage.clone());
            tokio::spawn(async move {
                for _ in 0..self.appends {
                    let length = storage.append(&ctx, batch(&stream(writer))).await?;
                    let mut out = std::io::stdout().lock();
                    // The parent may be gone.
                    let _ = writeln!(out, "{writer} {length}").and_then(|()| out.flush());
                }
                Result::Ok(())
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap()?;
        }
        Ok(())
    }
}

/// The stream of one writer.
pub(crate) fn stream(writer: usize) -> String {
    format!("writer/{writer}")
}

/// Two records that must stay together.
pub(crate) fn batch(stream: &str) -> Append<'_> {
    let mut append = Append::to(stream);
    append.records = vec!["first".into(), "second".into()];
    append
}

/// A started child and what it acknowledges, line by line.
pub(crate) struct Started {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Started {
    /// Appends to a file.
    pub(crate) fn on(file: &Path, appends: usize) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        Self::running(command.env(FILE, file).env(APPENDS, appends.to_string()))
    }

    pub(crate) fn running(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for the next acknowledgement: the writer and the length of its stream.
    pub(crate) fn next(&mut self) -> Option<(usize, u64)> {
        let line = self.lines.next()?.unwrap();
        // A line that the kill cut off was not read by anybody in full.
        let (writer, length) = line.split_once(' ')?;
        Some((writer.parse().ok()?, length.parse().ok()?))
    }

    /// Kills it with SIGKILL, in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end and says whether it went well.
    pub(crate) fn ended_well(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}
