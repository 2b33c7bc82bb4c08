"""LangGraph: the works of `speed.py` with plain functions as nodes; prints a JSON line for each way to do one."""

import gc
import json
import operator
import os
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

os.environ["LANGSMITH_TRACING"] = "false"

from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt

work, rounds = sys.argv[1], int(sys.argv[2])
NODES, TASKS, MESSAGES = 100, 1000, 400


class Count(TypedDict):
    n: int


class Found(TypedDict):
    found: Annotated[list[int], operator.add]


class Chat(TypedDict):
    messages: Annotated[list[Any], add_messages]


def extended(state: list[Any], writes: list[list[Any]]) -> list[Any]:
    return [*(state or []), *(message for write in writes for message in write)]


class DeltaChat(TypedDict):
    messages: Annotated[list[Any], DeltaChannel(extended)]


def config() -> dict[str, Any]:
    return {"recursion_limit": 100_000, "configurable": {"thread_id": uuid.uuid4().hex}}


def line(state: type, node: Callable[[Any], Any], count: int, checkpointer: Any = None) -> Any:
    """A graph of so many nodes, one after the other."""
    graph = StateGraph(state)
    names = [f"n{number}" for number in range(count)]
    for name in names:
        graph.add_node(name, node)
    for before, after in zip([START, *names], [*names, END]):
        graph.add_edge(before, after)
    return graph.compile(checkpointer=checkpointer)


def add_one(state: Count) -> Count:
    return {"n": state["n"] + 1}


def say(_) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "x" * 1024}]}


def report(system: str, unit: str, samples: list[float]) -> None:
    print(json.dumps({"system": system, "work": work, "unit": unit, "samples": samples}), flush=True)


def microseconds(units: int, call: Callable[[], None], repeats: int = 1) -> list[float]:
    """The time of a unit in each round, after one round to warm up."""
    samples = []
    for _ in range(rounds + 1):
        gc.collect()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        samples.append((time.perf_counter() - start) / units / repeats * 1e6)
    return samples[1:]


class OnDisk:
    """A checkpointer on a new file; it syncs each commit, as SQLite does by default."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="peers-speed-")
        self.saver = SqliteSaver(sqlite3.connect(Path(self.folder.name) / "speed.db", check_same_thread=False))
        self.saver.setup()

    def bytes(self) -> int:
        """What lies on disk, the write-ahead log moved into the file."""
        self.saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return sum(path.stat().st_size for path in Path(self.folder.name).iterdir())


def count_through(app: Any, **options: Any) -> Callable[[], None]:
    def call() -> None:
        assert app.invoke({"n": 0}, config(), **options)["n"] == NODES

    return call


def linear() -> None:
    report("LangGraph, no checkpoints", "us/node", microseconds(NODES, count_through(line(Count, add_one, NODES))))
    app = line(Count, add_one, NODES, InMemorySaver())
    report("LangGraph, checkpoints in memory", "us/node", microseconds(NODES, count_through(app)))


def one_on_disk() -> None:
    disk = OnDisk()
    app = line(Count, add_one, NODES, disk.saver)
    before = disk.bytes()
    times = microseconds(NODES, count_through(app, durability="sync"))
    report("LangGraph, durability sync", "steps/s", [1e6 / time for time in times])
    report("LangGraph, durability sync", "B/step", [(disk.bytes() - before) / NODES / (rounds + 1)])


def fan_out() -> None:
    graph = StateGraph(Found)
    graph.add_node("work", lambda state: {"found": [state["number"]]})
    graph.add_node("join", lambda state: {})
    graph.add_conditional_edges(START, lambda _: [Send("work", {"number": number}) for number in range(TASKS)], ["work"])
    graph.add_edge("work", "join")
    graph.add_edge("join", END)
    for name, saver in (("no checkpoints", None), ("checkpoints in memory", InMemorySaver())):
        app = graph.compile(checkpointer=saver)

        def call() -> None:
            assert len(app.invoke({"found": []}, config())["found"]) == TASKS

        report(f"LangGraph, {name}", "us/task", microseconds(TASKS, call))


def ask_and_resume() -> None:
    def ask(state: Count) -> Count:
        return {"n": state["n"] + int(interrupt("go on?"))}

    graph = StateGraph(Count)
    graph.add_node("before", add_one)
    graph.add_node("ask", ask)
    graph.add_node("after", add_one)
    for before, after in ((START, "before"), ("before", "ask"), ("ask", "after"), ("after", END)):
        graph.add_edge(before, after)
    app = graph.compile(checkpointer=InMemorySaver())

    def call() -> None:
        thread = config()
        app.invoke({"n": 0}, thread)
        assert app.invoke(Command(resume=1), thread)["n"] == 3

    report("LangGraph, checkpoints in memory", "us", microseconds(1, call, repeats=20))


def chat() -> None:
    for name, state in (("messages", Chat), ("delta channel (beta)", DeltaChat)):
        disk = OnDisk()
        app = line(state, say, MESSAGES, disk.saver)
        start = time.perf_counter()
        assert len(app.invoke({"messages": []}, config())["messages"]) == MESSAGES
        seconds = time.perf_counter() - start
        report(f"LangGraph, {name}", "KB", [disk.bytes() / 1e3])
        report(f"LangGraph, {name}", "us/message", [seconds / MESSAGES * 1e6])


WORKS = {"linear": linear, "sqlite-1": one_on_disk, "fan-out": fan_out, "ask": ask_and_resume, "chat": chat}
WORKS[work]()
