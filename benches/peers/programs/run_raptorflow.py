"""Raptorflow's side of the crash in Python: a workflow of functions; MODE is `sqlite`, `buffered`, `postgres` or the address of a server."""

import asyncio
import os
import sys
import uuid
from pathlib import Path

import raptorflow as rf

log, database, mode, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def note(file: str, line: str) -> None:
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(opened, f"{line}\n".encode())
    os.close(opened)


def step(number: int):
    async def run(done: list[int], ctx: rf.Context) -> list[int]:
        note(log, str(number))
        note(log + ".keys", f"{number} {ctx.idempotency_key}")
        await asyncio.sleep(0.002)
        return [*done, number]

    return run


def address() -> str:
    """A mode that is an address is a server that the workflows of many databases share."""
    if mode == "postgres":
        return database
    if mode == "buffered":
        return f"sqlite:{database}?durability=buffered"
    return mode if "://" in mode else f"sqlite:{database}"


async def main() -> None:
    flow = rf.Workflow("crash")
    for number in range(count):
        flow.step(f"s{number}", fn=step(number), after=[f"s{number - 1}"] if number else [])
    # The same id for the same database each time, and another one for another.
    run_id = str(uuid.uuid5(uuid.NAMESPACE_URL, database))
    # A process that was killed left its lease behind; its successor has its name and need not wait.
    async with rf.Engine(address(), owner="crash") as engine:
        engine.register(flow)
        Path(log + ".ready").touch()
        try:
            outcome = await engine.resume(run_id)
        except rf.NotFoundError:
            outcome = await engine.run("crash", [], id=run_id)
        Path(log + ".done").write_text(str(outcome.output))


asyncio.run(main())
