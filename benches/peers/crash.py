"""Kills a program with SIGKILL again and again, lets it finish, and counts what it lost and what it did twice."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import table
from environments import PROGRAMS, python, rust
from postgres import Postgres

KILLS_IN_A_TRIAL = 6
# A kill comes at a random time after the program said that it is ready; 60 steps take at least twice as long.
LATEST_KILL = 0.12
PROCESS_LIMIT = 120.0
TRIAL_LIMIT = 200.0
# A program that keeps failing by itself is stuck.
FAILURES = 5

HEADINGS = ("system", "kills", "lost", "acknowledged again", "in flight again", "keys differ", "wrong end", "stuck", "load")


@dataclass(frozen=True)
class System:
    """A program to kill: what to call, and whether it stores in a file or a server."""

    name: str
    command: list[str | Path]
    mode: str
    server: bool = False


LANGGRAPH: list[str | Path] = [python("langgraph"), PROGRAMS / "run_langgraph.py"]
DBOS: list[str | Path] = [python("dbos"), PROGRAMS / "run_dbos.py"]
RUST: list[str | Path] = [rust(), "crash"]
PYTHON: list[str | Path] = [python("raptorflow"), PROGRAMS / "run_raptorflow.py"]

SYSTEMS = {
    "langgraph-sync": System("LangGraph sync, SQLite", LANGGRAPH, "sync"),
    "langgraph-async": System("LangGraph async, SQLite", LANGGRAPH, "async"),
    "dbos-sqlite": System("DBOS, SQLite", DBOS, "sqlite"),
    "dbos-postgres": System("DBOS, PostgreSQL", DBOS, "postgres", server=True),
    "rust-sqlite": System("raptorflow in Rust, SQLite", RUST, "sqlite"),
    "rust-buffered": System("raptorflow in Rust, SQLite buffered", RUST, "buffered"),
    "rust-postgres": System("raptorflow in Rust, PostgreSQL", RUST, "postgres", server=True),
    "python-sqlite": System("raptorflow in Python, SQLite", PYTHON, "sqlite"),
    "python-postgres": System("raptorflow in Python, PostgreSQL", PYTHON, "postgres", server=True),
}


@dataclass
class Counts:
    """What the trials of a system came to."""

    kills: int = 0
    lost: int = 0
    acknowledged: int = 0
    in_flight: int = 0
    # None while no program has written keys.
    keys: int | None = None
    wrong: int = 0
    stuck: int = 0
    load: float = 0.0
    errors: list[str] = field(default_factory=list)

    def row(self, name: str) -> tuple[object, ...]:
        keys = "-" if self.keys is None else self.keys
        again = (self.acknowledged, self.in_flight, keys)
        return (name, self.kills, self.lost, *again, self.wrong, self.stuck, f"{self.load:.1f}")


class Trial:
    """One run of a workflow through some kills to its end, in a folder of its own."""

    def __init__(self, system: System, database: str | None, steps: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="peers-crash-"))
        self.log, self.ready, self.done, self.keys = (self.folder / f"log{end}" for end in ("", ".ready", ".done", ".keys"))
        self.errors = self.folder / "errors"
        database = database or str(self.folder / "crash.db")
        self.command = [*system.command, self.log, database, system.mode, str(steps)]
        self.kills = 0

    def run(self, kills: int, delays: random.Random) -> bool:
        """Whether the program came to its end."""
        start, failures = time.monotonic(), 0
        while time.monotonic() - start < TRIAL_LIMIT and failures < FAILURES:
            process = self._start()
            try:
                self._wait_until_ready(process)
                if self.kills < kills and self._kill(process, delays.uniform(0, LATEST_KILL)):
                    continue
                process.wait(timeout=PROCESS_LIMIT)
            except subprocess.TimeoutExpired:
                return False
            finally:
                process.kill()
                process.wait()
            if self.done.exists():
                return True
            failures += 1
        return False

    def _start(self) -> "subprocess.Popen[bytes]":
        self.ready.unlink(missing_ok=True)
        # A process that was killed while it wrote its result left half of it.
        self.done.unlink(missing_ok=True)
        with self.errors.open("ab") as errors:
            return subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        end = time.monotonic() + PROCESS_LIMIT
        while not self.ready.exists() and process.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(process.args, PROCESS_LIMIT)
            time.sleep(0.005)

    def _kill(self, process: "subprocess.Popen[bytes]", delay: float) -> bool:
        """Whether the process still ran and is dead now."""
        time.sleep(delay)
        if process.poll() is not None:
            return False
        process.send_signal(signal.SIGKILL)
        self.kills += 1
        return process.wait() == -signal.SIGKILL

    def count(self, counts: Counts, steps: int, finished: bool) -> None:
        """Adds what the files of the trial say."""
        executed = [int(line) for line in _lines(self.log)]
        counts.kills += self.kills
        counts.lost += steps - len(set(executed) & set(range(steps)))
        latest = -1
        for number in executed:
            # A step that ran again after a later one had begun was acknowledged before; the latest one was in flight.
            counts.acknowledged += number < latest
            counts.in_flight += number == latest
            latest = max(latest, number)
        if self.keys.exists():
            keys: dict[str, set[str]] = {}
            for number, key in map(str.split, _lines(self.keys)):
                keys.setdefault(number, set()).add(key)
            counts.keys = (counts.keys or 0) + sum(len(found) > 1 for found in keys.values())
        counts.stuck += not finished
        counts.wrong += finished and self.done.read_text() != str(list(range(steps)))
        if not finished:
            counts.errors.append(self.errors.read_text(errors="replace")[-2000:])


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def measure(system: System, kills: int, steps: int, server: Postgres | None) -> Counts:
    """Runs trials until so many kills came through; three stuck ones are enough."""
    counts = Counts()
    # The same delays for every system.
    delays = random.Random(9)
    # A trial without a kill is possible, so that their number has a bound of its own.
    for _ in range(kills):
        if counts.kills == kills or counts.stuck == 3:
            break
        database = server.database() if server and system.server else None
        trial = Trial(system, database, steps)
        finished = trial.run(min(KILLS_IN_A_TRIAL, kills - counts.kills), delays)
        trial.count(counts, steps, finished)
        shutil.rmtree(trial.folder, ignore_errors=True)
        counts.load = max(counts.load, os.getloadavg()[0])
    return counts


def run(names: list[str], kills: int, steps: int) -> list[dict[str, object]]:
    """Prints the table of the systems with these names, and returns what is in it."""
    chosen = {name: SYSTEMS[name] for name in names}
    rows, records = [], []
    with Postgres() if any(system.server for system in chosen.values()) else nullcontext() as server:
        for name, system in chosen.items():
            print(f"{system.name} ...", file=sys.stderr)
            counts = measure(system, kills, steps, server)
            rows.append(counts.row(system.name))
            records.append({"system": name, "steps": steps, **vars(counts)})
            for error in counts.errors:
                print(error, file=sys.stderr)
    table.show(HEADINGS, rows)
    return records
