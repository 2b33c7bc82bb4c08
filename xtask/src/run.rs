//! Runs one command with its output in a log, its input closed and its time bounded.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::plan::Step;

/// How a step ended.
pub(crate) struct Ended {
    /// `Ok`, or one line that says what went wrong.
    pub(crate) result: Result<(), String>,
    /// Everything it printed, standard error included, in order.
    pub(crate) output: String,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Runs a step to its end or its limit; the log is kept at `log`.
pub(crate) fn run(step: &Step, log: &Path) -> Ended {
    let start = Instant::now();
    let result = try_run(step, log, start);
    let output = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    Ended { result, output, took: start.elapsed() }
}

fn try_run(step: &Step, log: &Path, start: Instant) -> Result<(), String> {
    let mut command = command(step);
    let mut file = create(log).map_err(|err| format!("cannot write {}: {err}", log.display()))?;
    let shared = file.try_clone().and_then(|out| Ok((out, file.try_clone()?)));
    let (stdout, stderr) = shared.map_err(|err| format!("cannot share the log: {err}"))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .map_err(|err| format!("cannot start {}: {err}", step.program.to_string_lossy()))?;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("ended with {status}")),
            Ok(None) if start.elapsed() < step.limit => thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                end(&mut child);
                // The note is for the reader of the log; the result says the same.
                let _ = writeln!(file, "\nxtask: stopped after {} s", step.limit.as_secs());
                return Err(format!("was stopped after {} s", step.limit.as_secs()));
            }
            Err(err) => return Err(format!("cannot be waited for: {err}")),
        }
    }
}

/// The command of a step, ready to start.
pub(crate) fn command(step: &Step) -> Command {
    let mut command = Command::new(&step.program);
    command.args(&step.arguments).current_dir(&step.folder);
    for (name, value) in &step.environment {
        command.env(name, value);
    }
    command
}

fn create(log: &Path) -> io::Result<File> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    // Append mode: both streams share the file, and neither overwrites the other.
    let _ = fs::remove_file(log);
    File::options().create(true).append(true).open(log)
}

/// Ends a child and everything it started: a test that hangs is a grandchild of ours.
fn end(child: &mut Child) {
    for id in descendants(child.id()) {
        let _ = Command::new("kill").arg("-9").arg(id.to_string()).stdin(Stdio::null()).status();
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// The processes below one, as `ps` tells; empty where there is no `ps`.
fn descendants(root: u32) -> Vec<u32> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).stdin(Stdio::null()).output();
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let pairs: Vec<(u32, u32)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(pairs.iter().filter(|(_, above)| *above == parent).map(|(id, _)| *id));
        next += 1;
    }
    found.remove(0);
    found
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::plan::Group;

    fn shell(script: &str, limit: Duration) -> Ended {
        let log = std::env::temp_dir().join(format!("xtask-{}-{}.log", std::process::id(), script.len()));
        let step = Step::new(Group::Fmt, "test", Path::new("."), "sh", ["-c", script]).within(limit);
        let ended = run(&step, &log);
        let _ = fs::remove_file(&log);
        ended
    }

    #[test]
    fn both_streams_are_kept_in_order() {
        let ended = shell("echo one; echo two >&2; echo three", Duration::from_secs(20));
        assert_eq!(ended.result, Ok(()));
        assert_eq!(ended.output, "one\ntwo\nthree\n");
    }

    #[test]
    fn a_failure_says_how_it_ended() {
        assert!(shell("exit 3", Duration::from_secs(20)).result.unwrap_err().contains('3'));
    }

    #[test]
    fn input_is_closed() {
        assert_eq!(shell("cat; echo end", Duration::from_secs(20)).output, "end\n");
    }

    #[test]
    fn a_step_over_its_limit_is_stopped_with_what_it_started() {
        let ended = shell("sleep 600 & wait", Duration::from_millis(200));
        assert!(ended.result.unwrap_err().contains("was stopped"));
        assert!(ended.took < Duration::from_secs(30));
    }
}
