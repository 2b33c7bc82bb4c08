"""The same work by raptorflow and by other projects, in turns, with the state of the machine beside each figure."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import table
from environments import PROGRAMS, peer, python, rust
from postgres import Postgres

LIMIT = 900.0
# How much work is going on beside the measurement, in runnable processes; figures above it are marked.
BUSY = 3.0
HEADINGS = ("system", "unit", "median", "lowest", "highest", "to Rust", "to Python", "fsync/s", "load")


@dataclass(frozen=True)
class Work:
    """What is done, and the programs that know how."""

    about: str
    programs: tuple[str, ...]
    server: bool = False


WORKS = {
    "linear": Work("100 steps in a line, in memory", ("langgraph", "rust", "python")),
    "fan-out": Work("1,000 tasks at once, in memory", ("langgraph", "rust", "python")),
    "ask": Work("a question in the middle, and the answer, in memory", ("langgraph", "rust", "python")),
    "sqlite-1": Work("100 steps in a line, each on disk before the next, one workflow", ("langgraph", "dbos", "rust", "python")),
    "sqlite-32": Work("the same, 32 workflows at once", ("dbos", "rust", "python")),
    "postgres-16": Work("the same on PostgreSQL, 16 workflows at once", ("dbos", "rust", "python"), server=True),
    "postgres-32": Work("the same on PostgreSQL, 32 workflows at once", ("dbos", "rust", "python"), server=True),
    "wire": Work("a call over the wire of OpenAI, the answer already there", ("rig", "rust")),
    "turn": Work("a turn of an agent whose model does nothing", ("rig", "adk", "rust")),
    "tool": Work("the same with a call of a tool in between", ("rig", "adk", "rust")),
    "agents": Work("10,000 agents, and one prompt each on one thread", ("rig", "adk", "rust")),
    "chat": Work("a chat of 400 messages of 1 KiB, on disk", ("langgraph", "rust", "python")),
}

COMMANDS: dict[str, list[str | Path]] = {
    "langgraph": [python("langgraph"), PROGRAMS / "speed_langgraph.py"],
    "dbos": [python("dbos"), PROGRAMS / "speed_dbos.py"],
    "rig": [peer("rig")],
    "adk": [peer("adk")],
    "rust": [rust(), "speed"],
    "python": [python("raptorflow"), PROGRAMS / "speed_raptorflow.py"],
}


@dataclass
class Figure:
    """What the rounds of one system came to, in one unit."""

    samples: list[float] = field(default_factory=list)
    syncs: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)


Key = tuple[str, str]  # The system and the unit.


def measure(name: str, work: Work, turns: int, rounds: int, server: Postgres | None) -> dict[Key, Figure]:
    """Runs each program so many times, in turns, so that what disturbs the machine disturbs all."""
    figures: dict[Key, Figure] = {}
    for _ in range(turns):
        for program in work.programs:
            address = [server.database()] if server and work.server else []
            syncs, load = _syncs(), os.getloadavg()[0]
            command = [*COMMANDS[program], name, str(rounds), *address]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LIMIT, check=True)
            for line in map(json.loads, done.stdout.splitlines()):
                figure = figures.setdefault((line["system"], line["unit"]), Figure())
                figure.samples += line["samples"]
                figure.syncs.append(syncs)
                figure.loads.append(load)
    return figures


def _syncs() -> float:
    """How often a second this disk syncs now; it changes with what else the machine does."""
    with tempfile.TemporaryFile() as file:
        start = time.perf_counter()
        for _ in range(50):
            os.write(file.fileno(), b"x" * 4096)
            os.fsync(file.fileno())
        return 50 / (time.perf_counter() - start)


def _rows(figures: dict[Key, Figure]) -> list[tuple[str, ...]]:
    rows = []
    for (system, unit), figure in sorted(figures.items(), key=lambda item: item[0][1]):
        median, load = statistics.median(figure.samples), max(figure.loads)
        ratios = (_ratio(figures, language, system, unit, median) for language in ("Rust", "Python"))
        rows.append(
            (
                system,
                unit,
                *map(_short, (median, min(figure.samples), max(figure.samples))),
                *ratios,
                _short(statistics.median(figure.syncs)),
                f"{load:.1f}{'!' if load > BUSY else ''}",
            )
        )
    return rows


def _ratio(figures: dict[Key, Figure], language: str, system: str, unit: str, median: float) -> str:
    """How many times better raptorflow is than the system."""
    own = figures.get((f"raptorflow, {language}", unit))
    if own is None or system.startswith("raptorflow"):
        return ""
    ours = statistics.median(own.samples)
    return f"{ours / median if unit.endswith('/s') else median / ours:.2f} x"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2f}"


def run(names: Sequence[str], turns: int, rounds: int) -> list[dict[str, object]]:
    """Prints a table for each work, and returns what is in them."""
    records: list[dict[str, object]] = []
    with Postgres() if any(WORKS[name].server for name in names) else nullcontext() as server:
        for name in names:
            work = WORKS[name]
            print(f"{name} ...", file=sys.stderr)
            figures = measure(name, work, turns, rounds, server)
            print(f"\n{name}: {work.about}\n")
            table.show(HEADINGS, _rows(figures))
            records += ({"work": name, "system": key[0], "unit": key[1], **vars(figures[key])} for key in figures)
    return records
