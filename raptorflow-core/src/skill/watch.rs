//! `SkillWatch`: reads a folder of skills again whenever it changes.

use std::time::Duration;

use crate::{
    error::Result,
    runtime::{Cancel, Runtime},
    skill::{Reload, SkillRegistry},
};

/// The shortest time between two looks at the disk.
const SHORTEST: Duration = Duration::from_millis(10);

impl SkillRegistry {
    /// Reads the folder again every `interval`, and tells what changed; until the watch is dropped.
    ///
    /// The disk is read on a thread that may block.
    /// `tell` gets a report when a skill came, changed, went or was kept in spite of its file, or when the problems are
    /// others than before; and an error when the folder cannot be read, once until it can be again.
    /// A file that is being written may be read when half of it is there; it keeps the good version, and the next look
    /// has the whole.
    /// An interval below 10 ms is taken for 10 ms.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use raptorflow_core::{runtime::Runtime, skill::SkillRegistry};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let folder = tempfile::tempdir()?;
    /// let skills = SkillRegistry::open(folder.path())?;
    /// let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    /// let watch = skills.watch(&Runtime::current()?, Duration::from_millis(10), move |report| {
    ///     // Nobody may listen any more.
    ///     let _ = tell.send(report.map(|report| report.added.len()));
    /// });
    /// let front = "skill_id: talk.greet.v1\nname: Greet\ndescription: Greets.\nversion: 1.0.0";
    /// std::fs::write(folder.path().join("greet.md"), format!("---\n{front}\n---\n## MISSION\nGreet.\n"))?;
    /// assert_eq!(told.recv().await.transpose()?, Some(1));
    /// drop(watch);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "the folder is watched until this is dropped"]
    pub fn watch(
        &self,
        runtime: &Runtime,
        interval: Duration,
        tell: impl Fn(Result<Reload>) + Send + Sync + 'static,
    ) -> SkillWatch {
        let stop = runtime.tasks().cancel().child();
        let interval = interval.max(SHORTEST);
        let watching = watch(self.clone(), runtime.clone(), interval, tell);
        let stopped = stop.clone();
        runtime.tasks().spawn("skill.watch", async move {
            // An error says that it was stopped, which is what a dropped watch is for.
            let _ = stopped.run("skill.watch", watching).await;
        });
        SkillWatch { stop }
    }
}

async fn watch(skills: SkillRegistry, runtime: Runtime, interval: Duration, tell: impl Fn(Result<Reload>)) {
    let mut problems = skills.diagnostics();
    let mut readable = true;
    loop {
        runtime.clock().sleep(interval).await;
        let reading = skills.clone();
        let read = runtime.tasks().spawn_blocking(move || reading.reload()).await;
        match read.and_then(|read| read) {
            Ok(report) => {
                let others = report.problems != problems;
                if others {
                    problems.clone_from(&report.problems);
                }
                readable = true;
                let same = [&report.added, &report.changed, &report.removed].iter().all(|ids| ids.is_empty());
                if others || !same {
                    tell(Ok(report));
                }
            }
            Err(err) => {
                if std::mem::replace(&mut readable, false) {
                    tell(Err(err));
                }
            }
        }
    }
}

/// A folder of skills that is watched until this is dropped.
#[derive(Debug)]
pub struct SkillWatch {
    stop: Cancel,
}

impl Drop for SkillWatch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
