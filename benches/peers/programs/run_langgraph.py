"""LangGraph's side of the crash: a line of steps with a SQLite checkpointer; MODE is its durability, `sync` or `async`."""

import operator
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

log, database, mode, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


class State(TypedDict):
    done: Annotated[list[int], operator.add]


def step(number: int):
    def run(_: State) -> dict[str, list[int]]:
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{number}\n".encode())
        os.close(file)
        time.sleep(0.002)
        return {"done": [number]}

    return run


graph = StateGraph(State)
names = [f"s{number}" for number in range(count)]
for number, name in enumerate(names):
    graph.add_node(name, step(number))
for before, after in zip([START, *names], [*names, END]):
    graph.add_edge(before, after)

app = graph.compile(checkpointer=SqliteSaver(sqlite3.connect(database, check_same_thread=False)))
config = {"configurable": {"thread_id": "crash"}, "recursion_limit": 10**6}
state = app.get_state(config)
begun = bool(state.values or state.next)

Path(log + ".ready").touch()
result = app.invoke(None if begun else {"done": []}, config, durability=mode)
Path(log + ".done").write_text(str(result["done"]))
