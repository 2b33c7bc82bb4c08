"""Nearest neighbors of given vectors by hnswlib, by faiss and by our graph, one after the other, one thread each."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import table
from environments import PROGRAMS, python, rust

PEERS = ("hnswlib", "faiss")
# The shares of the true nearest that are asked for.
RECALLS = (0.96, 0.98, 0.99)
STEPS = (1, 2, 10, 100)
OURS = "raptorflow"

# Keys that are multiples of each step, by numpy: exact, and nobody's own code.
TRUTH = """
import sys, numpy as np
vectors, queries, folder, *steps = sys.argv[1:]
vectors, queries = np.load(vectors), np.load(queries)
for step in map(int, steps):
    part, rows = vectors[::step], []
    for some in np.array_split(queries, max(1, len(queries) // 100)):
        scores = some @ part.T
        best = np.argpartition(-scores, 10, axis=1)[:, :10]
        rows.append(best.astype(np.int64) * step)
    np.save(f"{folder}/truth-{step}.npy", np.concatenate(rows))
"""

Line = dict[str, float | str]


def run(vectors: Path, queries: Path) -> list[dict[str, object]]:
    """Prints the tables, and returns what is in them."""
    with tempfile.TemporaryDirectory() as folder:
        steps = map(str, STEPS)
        subprocess.run([python("ann"), "-c", TRUTH, vectors, queries, folder, *steps], check=True)
        truth = Path(folder) / "truth-1.npy"
        program = PROGRAMS / "ann_peer.py"
        lines = {
            OURS: _lines([rust(), "ann", vectors, queries, folder]),
            **{peer: _lines([python("ann"), program, peer, vectors, queries, truth]) for peer in PEERS},
        }
    _show(lines)
    return [{"system": system, **line} for system, measured in lines.items() for line in measured]


def _lines(command: list[str | Path]) -> list[Line]:
    print("$", *command, file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def _show(lines: dict[str, list[Line]]) -> None:
    rates = {system: [_rate(measured, "search", recall) for recall in RECALLS] for system, measured in lines.items()}
    builds = {system: measured[0] for system, measured in lines.items()}
    headings = ("system", "build, CPU s", "MB", *(f"{recall:.0%}, queries/s" for recall in RECALLS))
    rows = [
        (system, f"{float(built['cpu']):.1f}", f"{float(built['bytes']) / 1e6:.0f}", *map(_short, rates[system]))
        for system, built in builds.items()
    ]
    for peer in PEERS:
        ratios = [f"{ours / theirs:.2f} x" if theirs else "" for ours, theirs in zip(rates[OURS], rates[peer])]
        parts = [f"{float(builds[OURS][what]) / float(builds[peer][what]):.2f} x" for what in ("cpu", "bytes")]
        rows.append((f"ours to {peer}", *parts, *ratios))
    table.show(headings, rows)
    print()
    others = [line for line in lines[OURS] if str(line["part"]) not in ("build", "search", "open")]
    rows = [(line["part"], line["effort"], f"{float(line['recall']):.3f}", _short(float(line["rate"]))) for line in others]
    table.show((f"{OURS}: part", "effort", "recall@10", "queries/s"), rows)
    for line in lines[OURS]:
        if line["part"] == "open":
            print(f"\nopen: {float(line['seconds']) * 1e3:.0f} ms, {float(line['bytes']) / 1e6:.0f} MB on disk")


def _rate(lines: Iterable[Line], part: str, recall: float) -> float:
    """The rate at a share of the true nearest, between the two efforts around it."""
    points = [(float(line["recall"]), float(line["rate"])) for line in lines if line["part"] == part]
    for (low, fast), (high, slow) in zip(points, points[1:]):
        if low <= recall <= high:
            return fast + (slow - fast) * (recall - low) / (high - low or 1)
    return max((rate for found, rate in points if found >= recall), default=0.0)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number else "not reached"
