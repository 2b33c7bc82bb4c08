"""What happens to a whole process: Ctrl-C, fork, and ending while work goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SETUP = """
import asyncio, os, signal, sys, threading, time
import raptorflow as rf

# Whoever runs the tests in the background of a shell has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

@rf.agent("slow")
async def slow(input):
    print("begun", flush=True)
    await asyncio.sleep(60)

@rf.agent("blocks")
def blocks(input):
    print("begun", flush=True)
    time.sleep(60)

@rf.agent("quick")
async def quick(input):
    return "quick"
"""


def start(body: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SETUP + body, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def run(body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(body, *arguments)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
@pytest.mark.parametrize("inside", ["script", "loop"])
def test_an_interrupt_stops_run_sync_at_once_and_the_run_can_be_resumed(inside: str, tmp_path: Path) -> None:
    call = "engine.run_sync('slow')" if inside == "script" else "asyncio.run(cell())"
    body = f"""
engine = rf.Engine("sqlite:" + sys.argv[1])
engine.register(slow)
async def cell():
    engine.run_sync("slow")
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    print([summary.status for summary in asyncio.run(engine.runs())])
"""
    process = start(body, str(tmp_path / "team.db"))
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == "interrupted\n['running']\n", err
    assert time.monotonic() - before < 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_use_after_a_fork_is_a_clear_error() -> None:
    done = run("""
engine = rf.Engine()
engine.register(quick)
engine.run_sync("quick")
child = os.fork()
if child == 0:
    for work in (lambda: engine.run_sync("quick"), lambda: rf.Engine()):
        try:
            work()
        except rf.UnsupportedError as error:
            print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(engine.run_sync("quick").output)
""")
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and lines[2] == "quick", done.stdout + done.stderr
    assert all("fork" in line and "spawn" in line for line in lines[:2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_was_forked_before_the_first_use_works() -> None:
    done = run("""
child = os.fork()
engine = rf.Engine()
engine.register(quick)
print(engine.run_sync("quick").output, flush=True)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
""")
    assert done.stdout.count("quick") == 2, done.stderr


@pytest.mark.parametrize(
    "body",
    [
        "async def main():\n await engine.start('blocks')\n while not began(): await asyncio.sleep(0.01)\nasyncio.run(main())",
        "async def main():\n await engine.start('slow')\n while not began(): await asyncio.sleep(0.01)\nasyncio.run(main())",
        "try: engine.run_sync('blocks', timeout=0.3)\nexcept rf.TimeoutError: pass",
        "async def main():\n s = engine.stream('slow')\n async for event in s: break\nasyncio.run(main())",
        "subscription = engine.bus.subscribe()\nengine.run_sync('quick')",
    ],
)
def test_a_process_ends_at_once_and_cleanly_whatever_still_runs(body: str) -> None:
    before = time.monotonic()
    done = run(f"""
engine = rf.Engine()
engine.register(slow, blocks, quick)
def began():
    return engine.bus.history(kinds=["agent_started"])
{body}
print("end", flush=True)
""")
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert "end" in done.stdout
    assert time.monotonic() - before < 30


def test_ending_right_after_an_answer_is_clean() -> None:
    """Before the loop was told without the interpreter, one in five of these crashed."""
    for _ in range(8):
        done = run("engine = rf.Engine()\nengine.register(quick)\nengine.run_sync('quick')\n")
        assert (done.returncode, done.stderr) == (0, "")
