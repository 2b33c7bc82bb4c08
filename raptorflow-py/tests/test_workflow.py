"""Workflows: steps of every kind, gates and signals, resume after an end, forks, and every problem at once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import raptorflow as rf


def run(flow: rf.Workflow, input: Any = None, **options: Any) -> Any:
    return rf.Engine(**options).run_sync(flow, input).output


def noted(into: list[Any], answer: Any) -> Any:
    """A function that notes what it is given."""

    def function(given: Any) -> Any:
        into.append(given)
        return answer

    return function


def launch(published: list[Any]) -> rf.Workflow:
    """A step, a gate and a step that notes what it is given."""
    return (
        rf.Workflow("launch", description="Asks before it publishes.")
        .step("draft", fn=lambda topic: {"text": f"About {topic}."})
        .gate("approve", after=["draft"], prompt="Publish this?", choices=[True, False], approvers=["anna"])
        .step("publish", fn=noted(published, "done"), input="$draft/text", after=["approve"])
    )


async def until_asked(engine: rf.Engine, run_id: str) -> None:
    """Waits until the run waits."""
    while not (await engine.state(run_id))["questions"]:
        await asyncio.sleep(0)


def test_a_signal_lets_a_run_pass_its_gate() -> None:
    async def main() -> None:
        published: list[Any] = []
        async with rf.Engine() as engine:
            started = await engine.start(launch(published), "lamps")
            await until_asked(engine, started.id)
            [asked] = (await engine.state(started.id))["questions"]
            assert (asked["path"], asked["prompt"], asked["choices"]) == ("approve", "Publish this?", [True, False])
            assert (asked["approvers"], asked["due"], asked["since"].tzinfo is None) == (["anna"], None, False)
            with pytest.raises(rf.PermissionDeniedError):
                await engine.signal(started.id, "approve", True, by="bert")
            with pytest.raises(rf.InvalidInputError):
                await engine.signal(started.id, "approve", "maybe", by="anna")
            with pytest.raises(rf.NotFoundError):
                await engine.signal(started.id, "aprove", True, by="anna")
            await engine.signal(started.id, "approve", True, by="anna")
            assert (await started.outcome()).output == "done"
            assert published == ["About lamps."]
            with pytest.raises(rf.ConflictError):
                await engine.signal(started.id, "approve", True, by="anna")
            state = await engine.state(started.id)
            assert (state["status"], state["target"], state["usage"].total_tokens) == ("completed", "launch", 0)
            assert state["questions"] == []
            assert [(each["name"], each["value"], each["by"]) for each in state["signals"]] == [("approve", True, "anna")]
            ended = {step["path"]: (step["status"], step["output"]) for step in state["steps"]}
            assert (state["input"], ended["publish"]) == ("lamps", ("completed", "done"))
            assert (await engine.state(started.id, at=1))["status"] == "running"

    asyncio.run(main())


def test_an_answer_of_false_skips_what_comes_after() -> None:
    async def main() -> None:
        published: list[Any] = []
        async with rf.Engine() as engine:
            started = await engine.start(launch(published), "lamps")
            await engine.signal(started.id, "approve", False, by="anna")
            assert (await started.outcome()).output is None
            assert published == []

    asyncio.run(main())


def test_a_run_goes_on_in_another_engine_under_the_same_owner(tmp_path: Path) -> None:
    async def main() -> None:
        published: list[Any] = []
        drafts: list[Any] = []
        flow = launch(published).step("count", fn=noted(drafts, 1))
        address = f"sqlite:{tmp_path}/team.db"
        id = "0199c7f0-0000-7000-8000-000000000001"
        first = rf.Engine(address, owner="worker-1")
        started = await first.start(flow, "lamps", id=id)
        assert started.id == id
        await until_asked(first, id)
        await first.close()
        async with rf.Engine(address, owner="worker-1") as second:
            second.register(flow)
            await second.signal(id, "approve", True, by="anna")
            assert (await second.resume(id)).output == {"publish": "done", "count": 1}
        assert (drafts, published) == (["lamps"], ["About lamps."])

    asyncio.run(main())


def test_a_function_takes_the_input_alone_or_with_the_context_before_or_after_it() -> None:
    seen: dict[str, rf.Context] = {}

    async def before(ctx: Any, value: int) -> int:
        seen["before"] = ctx
        return value + 1

    async def after(value: int, context: Any) -> int:
        seen["after"] = context
        return value + 10

    def plain(value: int, extra: int = 100) -> int:
        return value + extra

    flow = (
        rf.Workflow("sum")
        .step("before", fn=before)
        .step("after", fn=after, after="before")
        .step("plain", fn=plain, after="after")
    )
    outcome = rf.Engine().run_sync(flow, 1)
    assert outcome.output == 112
    assert {name: (ctx.path, ctx.run_id) for name, ctx in seen.items()} == {
        "before": ("before", outcome.run_id),
        "after": ("after", outcome.run_id),
    }
    keys = {ctx.idempotency_key for ctx in seen.values()}
    assert len(keys) == 2 and None not in keys


def test_every_attempt_of_a_step_has_the_same_idempotency_key() -> None:
    keys: list[str | None] = []

    def flaky(value: str, ctx: rf.Context) -> str:
        keys.append(ctx.idempotency_key)
        if len(keys) < 3:
            raise rf.UnavailableError("down", retry="soon")
        return value

    assert run(rf.Workflow("w").step("flaky", fn=flaky, retries=3, retry_delay=timedelta(0)), "x") == "x"
    assert len(keys) == 3 and len(set(keys)) == 1


def test_an_input_that_is_annotated_with_a_class_arrives_as_one() -> None:
    @dataclass
    class Topic:
        title: str

    def title(topic: Topic) -> str:
        return topic.title

    scope = {"Topic": Topic}
    title.__annotations__ = {"topic": scope["Topic"], "return": str}
    assert run(rf.Workflow("w").step("title", fn=title), {"title": "lamps"}) == "lamps"


def test_steps_of_every_kind_run() -> None:
    @rf.tool(effects="write")
    def store(text: str) -> str:
        """Stores a text."""
        return f"stored {text}"

    @rf.agent("shout")
    def shout(input: str) -> str:
        return input.upper()

    @rf.agent("whisper")
    def whisper(input: str) -> str:
        return input.lower()

    again = rf.Workflow("again").step("add", fn=lambda n: n + 1)
    inner = rf.Workflow("inner").step("twice", fn=lambda text: text * 2)
    flow = (
        rf.Workflow("kinds", output={"all": "$voices", "stored": "$store", "n": "$grow", "each": "$each"})
        .step("shout", agent=shout)
        .step("voices", agents=[shout, "whisper"], aggregate="all", input="$input")
        .step("twice", workflow=inner, after=["shout"])
        .step("store", tool=store, input={"text": "$twice"}, after=["twice"])
        .step("wait", timer=0.0, after=["store"])
        .step("grow", repeat={"workflow": again, "at_most": 9, "until": {"at_least": 3}}, input=0, after=["wait"])
        .step("each", map=[1, 2, 3], fn=lambda n: n * n, after=["grow"])
    )
    engine = rf.Engine(tools=[store])
    engine.register(shout, whisper, flow)
    output = engine.run_sync("kinds", "Hi").output
    assert output == {"all": {"shout": "HI", "whisper": "hi"}, "stored": "stored HIHI", "n": 3, "each": [1, 4, 9]}


@pytest.mark.parametrize(("score", "way"), [(0.9, "good"), (0.2, "bad")])
def test_a_condition_decides_the_way(score: float, way: str) -> None:
    flow = (
        rf.Workflow("ways", output="$end")
        .step("score", fn=lambda value: {"value": value})
        .step("good", fn=lambda _: "good", after=[("score", {"at": "/value", "at_least": 0.7})])
        .step("bad", fn=lambda _: "bad", after=[{"step": "score", "when": {"at": "/value", "below": 0.7}}])
        .step("end", fn=lambda way: way, after=["good", "bad"], join="any")
    )
    assert way in json.dumps(run(flow, score))


def test_a_failure_takes_the_steps_before_back_and_an_optional_step_may_fail() -> None:
    undone: list[Any] = []

    def fail(_: Any) -> Any:
        raise rf.ConflictError("sold out")

    flow = (
        rf.Workflow("order")
        .step("book", fn=lambda _: "seat 7", compensate=undone.append)
        .step("gift", fn=fail, optional=True, retries=0, after=["book"])
        .step("pay", fn=fail, retries=0, after=["gift"])
    )
    with pytest.raises(rf.ConflictError, match="sold out"):
        run(flow)
    assert undone == ["seat 7"]


def test_all_problems_are_told_at_once_and_before_anything_runs() -> None:
    flow = (
        rf.Workflow("broken")
        .step("a", fn=lambda _: 1, agent="writer")
        .step("b", fn=lambda _: 1, after=["nowhere"])
        .step("b", tool="t")
        .gate("ask", choices=[], after=["b"])
    )
    engine = rf.Engine()
    for attempt in (lambda: engine.register(flow), lambda: engine.run_sync(flow)):
        with pytest.raises(rf.InvalidInputError) as raised:
            attempt()
        problems = "\n".join(raised.value.diagnostics)
        assert len(raised.value.diagnostics) >= 4
        for part in ("exactly one of", "nowhere", "`b`", "ask"):
            assert part in problems, problems
    assert engine.agents == []


def test_a_workflow_is_read_from_toml_and_written_as_json() -> None:
    text = """
    name = "greet"
    timeout = 60
    [[steps]]
    name = "say"
    function = "hello"
    compensate = { function = "unsay" }
    """
    functions = {"hello": lambda name: f"hello {name}", "unsay": lambda said: None}
    flow = rf.Workflow.from_toml(text, functions)
    assert (flow.name, run(flow, "Ada")) == ("greet", "hello Ada")
    again = rf.Workflow.from_json(json.dumps(flow.to_dict()), functions)
    assert again.to_dict() == flow.to_dict()
    assert run(rf.Workflow("outer").step("inner", workflow=again), "Bo") == "hello Bo"
    with pytest.raises(rf.InvalidInputError) as raised:
        run(rf.Workflow.from_toml(text))
    assert len(raised.value.diagnostics) == 2
    with pytest.raises(rf.InvalidInputError) as raised:
        rf.Workflow.from_toml("name = 3")
    assert "1:8" in raised.value.diagnostics[0]


def test_a_fork_repeats_only_what_comes_after_its_place() -> None:
    async def main() -> None:
        calls: list[str] = []

        def a(n: int) -> int:
            calls.append("a")
            return n + 1

        def b(n: int) -> int:
            calls.append("b")
            return n + 1

        flow = rf.Workflow("count").step("a", fn=a).step("b", fn=b, after=["a"])
        async with rf.Engine() as engine:
            first = await engine.run(flow, 1)
            at = next(e.sequence for e in await engine.history(first.run_id) if e.path == "a") + 1
            forked = await engine.fork(first.run_id, at)
            assert (await engine.resume(forked)).output == 3
            assert calls == ["a", "b", "b"]
            assert (await engine.state(forked))["forked_from"] == {"run_id": first.run_id, "at": at}
            with pytest.raises(rf.InvalidInputError):
                await engine.fork(first.run_id, 99)

    asyncio.run(main())


def test_a_paused_run_begins_nothing_new_until_it_is_resumed() -> None:
    async def main() -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def first(_: Any) -> int:
            begun.set()
            await go.wait()
            return 1

        flow = rf.Workflow("two").step("a", fn=first).step("b", fn=lambda n: n + 1, after=["a"])
        async with rf.Engine() as engine:
            started = await engine.start(flow)
            await begun.wait()
            await engine.pause(started.id)
            with pytest.raises(rf.ConflictError):
                await engine.pause(started.id)
            assert (await engine.runs()).runs[0].status == "paused"
            go.set()
            assert (await engine.resume(started.id)).output == 2

    asyncio.run(main())


def test_a_run_that_waits_at_a_gate_is_cancelled_by_its_id() -> None:
    async def main() -> None:
        async with rf.Engine() as engine:
            started = await engine.start(launch([]), "lamps")
            await engine.cancel(started.id)
            with pytest.raises(rf.CancelledError):
                await started.outcome()
            with pytest.raises(rf.ConflictError):
                await engine.signal(started.id, "approve", True, by="anna")

    asyncio.run(main())
