"""Raptorflow in Python: the works of `speed.py` with async functions as steps; prints a JSON line for each figure."""

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import raptorflow as rf

work, rounds = sys.argv[1], int(sys.argv[2])
STEPS, TASKS, MESSAGES = 100, 1000, 400


async def add_one(number: int) -> int:
    return number + 1


async def same(item: Any) -> Any:
    return item


async def say(_: Any) -> dict[str, str]:
    return {"role": "user", "content": "x" * 1024}


def line(fn: Callable[[Any], Awaitable[Any]], steps: int) -> rf.Workflow:
    """So many steps, one after the other."""
    flow = rf.Workflow("line")
    for number in range(steps):
        flow.step(f"s{number}", fn=fn, after=[f"s{number - 1}"] if number else [])
    return flow


def report(unit: str, samples: list[float]) -> None:
    print(json.dumps({"system": "raptorflow, Python", "work": work, "unit": unit, "samples": samples}), flush=True)


async def microseconds(units: int, call: Callable[[], Awaitable[None]], repeats: int = 1) -> list[float]:
    """The time of a unit in each round, after one round to warm up."""
    samples = []
    for _ in range(rounds + 1):
        gc.collect()
        start = time.perf_counter()
        for _ in range(repeats):
            await call()
        samples.append((time.perf_counter() - start) / units / repeats * 1e6)
    return samples[1:]


async def linear() -> None:
    async with rf.Engine() as engine:
        engine.register(line(add_one, STEPS))

        async def call() -> None:
            assert (await engine.run("line", 0)).output == STEPS

        report("us/node", await microseconds(STEPS, call))


async def fan_out() -> None:
    items = list(range(TASKS))
    async with rf.Engine() as engine:
        engine.register(rf.Workflow("fan-out").step("work", fn=same, map="$input", parallel=TASKS))

        async def call() -> None:
            assert (await engine.run("fan-out", items)).output == items

        report("us/task", await microseconds(TASKS, call))


async def ask() -> None:
    flow = (
        rf.Workflow("ask")
        .step("before", fn=add_one)
        .gate("ask", after=["before"])
        .step("after", fn=add_one, after=["ask"])
    )
    async with rf.Engine() as engine:
        engine.register(flow)

        async def call() -> None:
            run = await engine.start("ask", 0)
            await engine.signal(run.id, "ask", 1)
            assert (await run.outcome()).output == 2

        report("us", await microseconds(1, call, repeats=20))


async def recorded(address: str, at_once: int) -> None:
    async with rf.Engine(address) as engine:
        engine.register(line(add_one, STEPS))

        async def call() -> None:
            ended = await asyncio.gather(*(engine.run("line", 0) for _ in range(at_once)))
            assert all(outcome.output == STEPS for outcome in ended)

        times = await microseconds(at_once * STEPS, call)
        report("steps/s", [1e6 / time for time in times])


async def chat(folder: Path) -> None:
    async with rf.Engine(f"sqlite:{folder / 'chat.db'}") as engine:
        start = time.perf_counter()
        outcome = await engine.run(line(say, MESSAGES))
        report("us/message", [(time.perf_counter() - start) / MESSAGES * 1e6])
        # The journal has every message; the steps of a state are those that have ended.
        assert len((await engine.state(outcome.run_id))["steps"]) == MESSAGES
    report("KB", [sum(path.stat().st_size for path in folder.iterdir()) / 1e3])


async def main() -> None:
    store, _, at_once = work.rpartition("-")
    with tempfile.TemporaryDirectory(prefix="peers-speed-") as folder:
        if store == "sqlite":
            await recorded(f"sqlite:{Path(folder) / 'speed.db'}", int(at_once))
        elif store == "postgres":
            await recorded(sys.argv[3], int(at_once))
        elif work == "chat":
            await chat(Path(folder))
        else:
            await {"linear": linear, "fan-out": fan_out, "ask": ask}[work]()


asyncio.run(main())
