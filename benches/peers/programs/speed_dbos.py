"""DBOS: recorded steps with so many workflows at once, on SQLite or PostgreSQL; prints a JSON line for each way to run them."""

import asyncio
import json
import logging
import sys
import tempfile
import time
import uuid
from pathlib import Path

from dbos import DBOS, SetWorkflowID

work, rounds = sys.argv[1], int(sys.argv[2])
store, at_once = work.rsplit("-", 1)[0], int(work.rsplit("-", 1)[1])
STEPS = 100
logging.disable(logging.WARNING)


@DBOS.step()
def step(number: int) -> int:
    return number


@DBOS.workflow()
def linear() -> int:
    return sum(step(number) for number in range(STEPS))


@DBOS.step()
async def step_async(number: int) -> int:
    return number


@DBOS.workflow()
async def linear_async() -> int:
    return sum([await step_async(number) for number in range(STEPS)])


def launch(address: str) -> None:
    """Room for every workflow, so that none waits for a connection or a thread."""
    room = at_once + 8
    DBOS(
        config={
            "name": "peers",
            "system_database_url": address,
            "sys_db_pool_size": room,
            "max_executor_threads": room,
            "log_level": "ERROR",
            "run_admin_server": False,
        }
    )
    DBOS.launch()


def threads() -> None:
    """Each workflow on a thread of its own."""
    handles = []
    for _ in range(at_once):
        with SetWorkflowID(uuid.uuid4().hex):
            handles.append(DBOS.start_workflow(linear))
    for handle in handles:
        assert handle.get_result(polling_interval_sec=0.01) == sum(range(STEPS))


async def one() -> None:
    with SetWorkflowID(uuid.uuid4().hex):
        assert await linear_async() == sum(range(STEPS))


async def coroutines() -> None:
    """Each workflow a coroutine on one loop."""
    await asyncio.gather(*(one() for _ in range(at_once)))


def report(way: str, rates: list[float]) -> None:
    # The first round warms up.
    print(json.dumps({"system": f"DBOS, {way}", "work": work, "unit": "steps/s", "samples": rates[1:]}), flush=True)


def rate(start: float) -> float:
    return at_once * STEPS / (time.perf_counter() - start)


def on_threads() -> list[float]:
    rates = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        threads()
        rates.append(rate(start))
    return rates


async def on_one_loop() -> list[float]:
    rates = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        await coroutines()
        rates.append(rate(start))
    return rates


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="peers-speed-") as folder:
        launch(sys.argv[3] if store == "postgres" else f"sqlite:///{Path(folder) / 'speed.db'}")
        report("threads", on_threads())
        report("coroutines", asyncio.run(on_one_loop()))
        DBOS.destroy()


main()
