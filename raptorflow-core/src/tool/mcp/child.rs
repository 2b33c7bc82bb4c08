//! `Child`: a server that runs as our process, with little of our environment and with its whole group killed at the end.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use process_wrap::tokio::{ChildWrapper, CommandWrap};
use tokio::{
    io::{AsyncReadExt as _, BufReader},
    process::{ChildStderr, ChildStdin, ChildStdout},
};

use crate::{
    error::{Error, ErrorKind, Result},
    runtime::{Clock, Runtime},
    security::{EnvSecrets, Secret, SecretStore as _},
};

/// The variables of ours that a server sees; anything else is given to it by name.
#[cfg(not(windows))]
const INHERITED: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LC_ALL", "TMPDIR"];
#[cfg(windows)]
const INHERITED: &[&str] = &[
    "PATH",
    "PATHEXT",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "TEMP",
    "TMP",
    "APPDATA",
    "LOCALAPPDATA",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "HOMEDRIVE",
    "HOMEPATH",
    "USERNAME",
    "USERPROFILE",
    "COMSPEC",
];
/// How much of one line of a server's log is kept, in bytes.
const MAX_LINE: usize = 4096;
/// How much of a server's log is kept, in bytes; the rest is read and dropped, so that the server does not block.
const MAX_LOG: usize = 1024 * 1024;
/// How long a process whose output ended has to tell its status.
const STATUS: Duration = Duration::from_millis(500);

/// The process of a server.
pub(super) struct Child {
    process: Option<Box<dyn ChildWrapper>>,
}

impl Child {
    /// Starts a process; its log goes to `tracing` at debug level without the values of `env`.
    pub(super) async fn start(
        runtime: &Runtime,
        command: &str,
        arguments: &[String],
        env: &BTreeMap<String, Secret>,
    ) -> Result<(Self, ChildStdout, ChildStdin)> {
        let mut inherited = Vec::new();
        for name in INHERITED {
            // One of them that is not UTF-8 is as good as none.
            if let Ok(Some(value)) = EnvSecrets::new().get(name).await {
                inherited.push((*name, value));
            }
        }
        let mut wrapped = CommandWrap::with_new(command, |process| {
            process
                .args(arguments)
                .env_clear()
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            for (name, value) in &inherited {
                process.env(name, value.expose());
            }
            for (name, value) in env {
                process.env(name, value.expose());
            }
        });
        #[cfg(unix)]
        wrapped.wrap(process_wrap::tokio::ProcessGroup::leader());
        #[cfg(windows)]
        wrapped.wrap(process_wrap::tokio::JobObject);
        let mut process = wrapped.spawn().map_err(|err| {
            Error::new(ErrorKind::Unavailable, "mcp.connect", "cannot start the server")
                .with("command", command)
                .with("reason", err.kind())
                .caused_by(err)
        })?;
        let pipes = (process.stdout().take(), process.stdin().take(), process.stderr().take());
        let child = Self { process: Some(process) };
        let (Some(stdout), Some(stdin), Some(stderr)) = pipes else {
            return Err(Error::new(ErrorKind::Internal, "mcp.connect", "the process has no pipes"));
        };
        let secrets: Vec<Secret> = env.values().cloned().collect();
        drop(runtime.tasks().spawn("mcp.log", log(command.to_owned(), stderr, secrets)));
        Ok((child, stdout, stdin))
    }

    /// The status of a process whose output ended, where it tells one soon.
    pub(super) async fn status(&mut self, clock: &dyn Clock) -> Option<String> {
        let process = self.process.as_mut()?;
        tokio::select! {
            ended = process.wait() => ended.ok().map(|status| status.to_string()),
            () = clock.sleep(STATUS) => None,
        }
    }

    /// Waits for the process to end by itself, whose input is closed, and then kills what is left of its group.
    pub(super) async fn close(mut self, clock: &dyn Clock, limit: Duration) {
        let Some(process) = self.process.as_mut() else { return };
        tokio::select! {
            _ = process.wait() => {}
            () = clock.sleep(limit) => {}
        }
        // Also after the process itself has ended: what it started may still run.
        if process.start_kill().is_ok() {
            let _ = process.wait().await;
        }
        self.process = None;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(process) = self.process.as_mut() {
            let _ = process.start_kill();
        }
    }
}

/// Reads a server's log to its end.
async fn log(command: String, stderr: ChildStderr, secrets: Vec<Secret>) {
    let mut reader = BufReader::new(stderr);
    let (mut line, mut kept) = (Vec::new(), 0_usize);
    let mut buffer = [0_u8; 1024];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        for &byte in buffer.iter().take(count) {
            if byte != b'\n' {
                if line.len() < MAX_LINE {
                    line.push(byte);
                }
                continue;
            }
            kept = kept.saturating_add(line.len());
            if kept <= MAX_LOG {
                tracing::debug!(server = %command, line = %shown(&line, &secrets), "mcp.log");
            }
            line.clear();
        }
    }
}

fn shown(line: &[u8], secrets: &[Secret]) -> String {
    let mut text = String::from_utf8_lossy(line).trim_end().to_owned();
    for secret in secrets.iter().filter(|secret| secret.expose().len() >= 4) {
        text = text.replace(secret.expose(), "***");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_log_shows_no_value_that_it_was_given() {
        let secrets = [Secret::new("sk-12345"), Secret::new("1")];
        assert_eq!(shown(b"using key sk-12345 for 1 call\r", &secrets), "using key *** for 1 call");
    }
}
