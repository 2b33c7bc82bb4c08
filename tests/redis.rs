//! A Redis server of a test binary's own: on a free loopback port, in memory only, gone with the process.
//!
//! It is the program that `RAPTORFLOW_REDIS_SERVER` names, which `cargo xtask test` installs where there is none, or
//! `redis-server` on the path; without both [`Server::shared`] says what is missing, for
//! [`libtest_mimic::Completion::ignored_with`].
//!
//! ```no_run
//! use raptorflow_tests::redis::Server;
//! // One server for the whole binary, and a prefix that nobody else uses for each test.
//! let address = Server::shared()?.fresh();
//! assert!(address.starts_with("redis://127.0.0.1:"));
//! // A server that a test may kill and start again is its own.
//! let mine = Server::start(&["--requirepass", "secret"])?;
//! mine.kill()?;
//! mine.start_again()?;
//! # Ok::<(), String>(())
//! ```
//!
//! A shell guards each server: it ends the server once the pipe from this process is closed, which a `kill -9` of this
//! process does too.

use std::{
    env,
    ffi::OsString,
    io::{BufRead as _, BufReader, Lines, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The variable that names the program.
pub const PROGRAM: &str = "RAPTORFLOW_REDIS_SERVER";
/// Another port is tried when somebody was faster.
const ATTEMPTS: usize = 3;

/// What the guard does. Each line on its input is a command; the server and it answer with lines.
const GUARD: &str = r#"
trap '' INT TERM HUP
"$@" </dev/null 2>&1 & pid=$!
end() { kill -KILL "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; }
while read -r word; do
    case $word in
        kill) end; echo killed ;;
        start) "$@" </dev/null 2>&1 & pid=$! ;;
    esac
done
end
"#;

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    port: u16,
    prefixes: AtomicUsize,
    guard: Mutex<Guard>,
}

#[derive(Debug)]
struct Guard {
    child: Child,
    input: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// The server that all tests of this binary share.
    ///
    /// # Errors
    /// Why there is none on this machine.
    pub fn shared() -> Result<&'static Self, String> {
        static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[])).as_ref().map_err(Clone::clone)
    }

    /// A server of its own, with settings such as `--requirepass secret`.
    ///
    /// # Errors
    /// Why there is none on this machine.
    pub fn start(settings: &[&str]) -> Result<Self, String> {
        let program = program()?;
        let version = Command::new(&program).arg("--version").stdout(Stdio::null()).status();
        if !version.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return Err(format!("{} does not run: {version:?}", program.display()));
        }
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match Self::try_start(&program, settings) {
                Ok(server) => return Ok(server),
                Err(problem) => last = problem,
            }
        }
        Err(last)
    }

    /// The address of the server.
    #[must_use]
    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The address with a prefix that no other call gets.
    #[must_use]
    pub fn fresh(&self) -> String {
        format!("{}?prefix=place-{}", self.address(), self.prefixes.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends one command and gives the lines of its answer, which is a number, a text or a list of them.
    ///
    /// # Errors
    /// What the connection says.
    pub fn ask(&self, command: &str) -> Result<Vec<String>, String> {
        let problem = |err: std::io::Error| err.to_string();
        let mut line = TcpStream::connect(("127.0.0.1", self.port)).map_err(problem)?;
        // `QUIT` makes the server close the connection after the answer.
        line.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).map_err(problem)?;
        let mut lines = BufReader::new(line).lines().collect::<Result<Vec<_>, _>>().map_err(problem)?;
        lines.pop();
        lines.retain(|line| !line.starts_with(['*', '$']));
        Ok(lines)
    }

    /// Ends the server with `kill -9`; it forgets everything.
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn kill(&self) -> Result<(), String> {
        self.command("kill", "killed")
    }

    /// Starts the server on the same port, and waits until it takes connections.
    ///
    /// # Errors
    /// When it does not start, or the guard is gone.
    pub fn start_again(&self) -> Result<(), String> {
        self.command("start", "Ready to accept connections")
    }

    fn command(&self, word: &str, answer: &str) -> Result<(), String> {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = guard.input.as_mut().map(|input| writeln!(input, "{word}").and_then(|()| input.flush()));
        match sent {
            Some(Ok(())) => guard.until(answer),
            _ => Err("the guard of the server is gone".to_owned()),
        }
    }

    fn try_start(program: &OsString, settings: &[&str]) -> Result<Self, String> {
        let problem = |err: std::io::Error| format!("cannot start Redis: {err}");
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(problem)?;
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard"]).arg(program);
        command.args(["--port", &free.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]).args(settings);
        command.current_dir(env::temp_dir());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(problem)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the guard has no pipes".to_owned());
        };
        let mut guard = Guard { child, input: Some(input), answers: BufReader::new(output).lines() };
        guard.until("Ready to accept connections")?;
        Ok(Self { port: free.port(), prefixes: AtomicUsize::new(0), guard: Mutex::new(guard) })
    }
}

impl Guard {
    /// Reads what the server and the guard say until a line ends so.
    fn until(&mut self, end: &str) -> Result<(), String> {
        let mut last = String::new();
        for line in self.answers.by_ref() {
            last = line.map_err(|err| err.to_string())?;
            if last.contains(end) {
                return Ok(());
            }
            if ["Failed listening", "FATAL"].iter().any(|fault| last.contains(fault)) {
                break;
            }
        }
        Err(format!("Redis did not start: {last}"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.input.take());
        // It ends once the server has ended.
        let _ = self.child.wait();
    }
}

fn program() -> Result<OsString, String> {
    if let Some(program) = env::var_os(PROGRAM).filter(|program| !program.is_empty()) {
        return Ok(program);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join("redis-server"))
        .find(|program| program.is_file())
        .map(Into::into)
        .ok_or_else(|| {
            format!("{PROGRAM} is not set and there is no redis-server; `cargo xtask test` sets it")
        })
}
