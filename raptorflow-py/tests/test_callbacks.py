"""Functions across the border: values, context variables, threads, cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import functools
import gc
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Callable

import pytest

import raptorflow as rf

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


def engine_of(*functions: Callable[..., Any]) -> rf.Engine:
    """An engine whose agents are these functions, by their names."""
    engine = rf.Engine()
    engine.register(*(rf.agent(getattr(function, "__name__", "it"))(function) for function in functions))
    return engine


async def ended(engine: rf.Engine, run: str, status: str) -> None:
    """Waits until a run has ended so, at most some seconds."""
    for _ in range(200):
        if [summary.status for summary in await engine.runs() if summary.run_id == run] == [status]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError([repr(summary) for summary in await engine.runs()])


class Color(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: float = 0.5


class Model:
    def model_dump(self, mode: str) -> dict[str, Any]:
        return {"mode": mode}


@pytest.mark.parametrize(
    ("given", "back"),
    [
        (None, None),
        (True, True),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
        (0.1, 0.1),
        (1e300, 1e300),
        ("₹ \U0001f600 \0", "₹ \U0001f600 \0"),
        ((1, [2, ()]), [1, [2, []]]),
        ({"b": 1, "a": {}}, {"b": 1, "a": {}}),
        (Point(1), {"x": 1, "y": 0.5}),
        ([Color.RED, Model()], ["red", {"mode": "json"}]),
    ],
)
def test_values_survive_both_ways(given: Any, back: Any) -> None:
    def mirror(input: Any) -> Any:
        return input

    output = engine_of(mirror).run_sync("mirror", given).output
    assert output == back and type(output) is type(back)
    if isinstance(back, dict):
        assert list(output) == list(back)


def circle() -> list[Any]:
    it: list[Any] = []
    it.append(it)
    return it


@pytest.mark.parametrize(
    ("bad", "at"),
    [
        ({1, 2}, "$"),
        ({"a": [1, {"b": float("nan")}]}, "$.a[1].b"),
        ([float("-inf")], "$[0]"),
        ([2**64], "$[0]"),
        ({1: 2}, "$"),
        ("\ud800", "$"),
        (Point(1, 2j), "$.y"),  # type: ignore[arg-type]
        (Point, "$"),
        (circle(), "$[0][0]"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(bad: Any, at: str) -> None:
    def gives(input: Any) -> Any:
        return bad

    engine = engine_of(gives)
    with pytest.raises(rf.InvalidInputError) as refused:
        engine.run_sync("gives", bad)
    assert refused.value.context["at"].startswith(at)
    with pytest.raises(rf.InvalidOutputError) as wrong:
        engine.run_sync("gives", None)
    assert wrong.value.context["at"].startswith(at)


def test_both_kinds_of_functions_see_the_callers_context_variables_and_change_none() -> None:
    async def there(input: Any) -> str:
        seen = WHO.get()
        WHO.set("there")
        return seen

    def here(input: Any) -> str:
        seen = WHO.get()
        WHO.set("here")
        return seen

    async def main() -> None:
        engine = engine_of(there, here)
        WHO.set("caller")
        for name in ("there", "here", "there"):
            assert (await engine.run(name)).output == "caller"
        assert WHO.get() == "caller"
        with_others = [contextvars.copy_context() for _ in range(8)]
        for number, other in enumerate(with_others):
            other.run(WHO.set, f"task {number}")
        tasks = [
            other.run(asyncio.ensure_future, engine.run("here" if number % 2 else "there"))
            for number, other in enumerate(with_others)
        ]
        assert [(await task).output for task in tasks] == [f"task {number}" for number in range(8)]

    asyncio.run(main())


def test_a_plain_function_runs_on_another_thread_and_an_async_one_on_the_loops() -> None:
    def plain(input: Any) -> int:
        return threading.get_ident()

    async def on_loop(input: Any) -> int:
        return threading.get_ident()

    engine = engine_of(plain, on_loop)
    assert engine.run_sync("plain").output != threading.get_ident()
    assert engine.run_sync("on_loop").output == threading.get_ident()


def test_plain_functions_run_at_the_same_time() -> None:
    meet = threading.Barrier(8, timeout=20)

    def waits(input: Any) -> None:
        meet.wait()

    async def main() -> None:
        engine = engine_of(waits)
        await asyncio.gather(*(engine.run("waits") for _ in range(8)))

    asyncio.run(main())


def test_whatever_can_be_called_can_be_an_agent() -> None:
    class Callable_:
        async def __call__(self, input: str) -> str:
            return input + "!"

    async def two(prefix: str, input: str) -> str:
        return prefix + input

    engine = rf.Engine()
    functions: dict[str, Callable[..., Any]] = {
        "object": Callable_(),
        "partial": functools.partial(two, "> "),
        "method": Callable_().__call__,
        "lambda": lambda input: two("= ", input),
        "builtin": len,
    }
    for name, function in functions.items():
        engine.register(rf.agent(name)(function))
    said = [engine.run_sync(name, "hi").output for name in functions]
    assert said == ["hi!", "> hi", "hi!", "= hi", 2]


def test_a_function_learns_its_run() -> None:
    seen: list[rf.Context] = []

    @rf.tool(effects="write")
    def note(ctx: rf.Context, text: str) -> str:
        seen.append(ctx)
        return text

    def model(ctx: rf.Context, request: rf.ChatRequest) -> Any:
        seen.append(ctx)
        if request.messages[-1].role == "tool":
            return "noted"
        return {"tool_calls": [{"id": "c1", "name": "note", "arguments": {"text": "x"}}]}

    engine = rf.Engine(tenant="acme")
    engine.register_model("host:m", model)
    engine.register(rf.Agent("clerk", model="host:m", tools=[note]))
    outcome = engine.run_sync("clerk", "x", timeout=60)
    assert outcome.text == "noted"
    assert {ctx.run_id for ctx in seen} == {outcome.run_id} and {ctx.tenant for ctx in seen} == {"acme"}
    key = seen[1].idempotency_key
    assert key is not None and key.startswith(outcome.run_id) and "c1" in key
    assert seen[1].deadline is not None and seen[1].deadline.tzinfo is not None
    assert not seen[1].is_cancelled and outcome.run_id in repr(seen[1])


def test_cancelling_the_task_cancels_the_coroutine_and_the_run_can_be_resumed() -> None:
    async def main() -> None:
        begun, cancelled = asyncio.Event(), asyncio.Event()
        calls = 0

        async def slow(input: Any) -> str:
            nonlocal calls
            calls += 1
            if calls > 1:
                return "now"
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return "never"

        engine = engine_of(slow)
        task = asyncio.create_task(engine.run("slow"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(cancelled.wait(), 5)
        (summary,) = await engine.runs()
        assert summary.status == "running"
        assert (await engine.resume(summary.run_id)).output == "now"

    asyncio.run(main())


def test_a_timeout_cancels_the_coroutine() -> None:
    async def main() -> None:
        cancelled = asyncio.Event()

        async def slow(input: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        engine = engine_of(slow)
        with pytest.raises(rf.TimeoutError) as caught:
            await engine.run("slow", timeout=0.02)
        assert caught.value.run_id
        await asyncio.wait_for(cancelled.wait(), 5)

    asyncio.run(main())


def test_a_coroutine_that_cancels_itself_does_not_cancel_the_caller() -> None:
    async def gives_up(input: Any) -> None:
        raise asyncio.CancelledError

    with pytest.raises(rf.CancelledError):
        engine_of(gives_up).run_sync("gives_up")


def test_a_closed_loop_is_an_error_for_the_run_and_not_a_hang() -> None:
    engine = rf.Engine()
    asked, turn = threading.Event(), threading.Event()

    def model(request: rf.ChatRequest) -> str:
        asked.set()
        turn.wait(20)
        return "{}"

    async def after(input: Any) -> None:
        pass

    engine.register_model("host:m", model)
    engine.register(rf.Agent("a", model="host:m", output_type=dict[str, int], limits={"repairs": 5}))

    async def begin() -> str:
        run = await engine.start("a", "x")
        # Until the model works: before that the loop is needed to call it.
        while not asked.is_set():
            await asyncio.sleep(0)
        return run.id

    run = asyncio.run(begin())
    turn.set()
    # The first answer arrives; a second call of the model would need the loop that is gone.
    asyncio.run(ended(engine, run, "completed"))

    turn.clear()
    engine.register_model("host:twice", lambda request: (turn.wait(20), "no JSON")[1])
    engine.register(rf.Agent("b", model="host:twice", output_type=dict[str, int]))

    async def begin_again() -> str:
        return (await engine.start("b", "x")).id

    run = asyncio.run(begin_again())
    turn.set()
    asyncio.run(ended(engine, run, "failed"))


def test_loops_in_several_threads_share_an_engine() -> None:
    async def where(input: Any) -> int:
        await asyncio.sleep(0)
        return threading.get_ident()

    engine = engine_of(where)
    wrong: list[Any] = []

    def work() -> None:
        async def main() -> None:
            outcomes = await asyncio.gather(*(engine.run("where") for _ in range(20)))
            wrong.extend(outcome for outcome in outcomes if outcome.output != threading.get_ident())

        for _ in range(3):
            asyncio.run(main())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_run_sync_works_inside_a_running_loop_and_inside_a_tool() -> None:
    async def inner(input: Any) -> str:
        await asyncio.sleep(0)
        return f"inner {WHO.get()}"

    engine = engine_of(inner)

    def outer(input: Any) -> str:
        return str(engine.run_sync("inner").output)

    engine.register(rf.agent("outer")(outer))

    async def cell() -> None:
        WHO.set("notebook")
        assert engine.run_sync("inner").output == "inner notebook"
        assert engine.run_sync("outer").output == "inner notebook"
        with pytest.raises(rf.NotFoundError):
            engine.run_sync("nobody")

    asyncio.run(cell())


def test_an_agent_may_run_another_one() -> None:
    engine = rf.Engine()

    @rf.agent("leaf")
    async def leaf(input: int) -> int:
        return input + 1

    @rf.agent("root")
    async def root(input: int) -> int:
        return sum([(await engine.run(leaf, each)).output for each in range(input)])

    engine.register(leaf, root)
    assert engine.run_sync(root, 3).output == 6


def test_many_runs_at_once() -> None:
    async def twice(input: int) -> int:
        await asyncio.sleep(0)
        return input * 2

    def thrice(input: int) -> int:
        return input * 3

    async def main() -> None:
        engine = engine_of(twice, thrice)
        runs = [engine.run("twice" if n % 2 else "thrice", n) for n in range(500)]
        outputs = [outcome.output for outcome in await asyncio.gather(*runs)]
        assert outputs == [n * 2 if n % 2 else n * 3 for n in range(500)]

    asyncio.run(main())


def test_what_a_run_held_is_let_go() -> None:
    class Big:
        pass

    async def main() -> list[weakref.ref[Big]]:
        seen: list[weakref.ref[Big]] = []

        async def holds(input: Any) -> None:
            big = Big()
            seen.append(weakref.ref(big))
            raise ValueError(big)

        engine = engine_of(holds)
        for _ in range(3):
            try:
                await engine.run("holds")
            except rf.CallbackError:
                pass
        await engine.close()
        return seen

    seen = asyncio.run(main())
    gc.collect()
    assert [ref() for ref in seen] == [None, None, None]


def test_loops_are_not_kept_alive() -> None:
    async def noop(input: Any) -> None:
        pass

    engine = engine_of(noop)
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await engine.run("noop")

    for _ in range(3):
        asyncio.run(main())
    gc.collect()
    assert [loop() for loop in loops] == [None, None, None]


def test_pictures_and_files_reach_a_model_that_sees_them() -> None:
    seen: list[rf.ChatRequest] = []

    def model(request: rf.ChatRequest) -> str:
        seen.append(request)
        return "a dot"

    engine = rf.Engine()
    engine.register_model("host:sees", model, images=True, documents=True)
    engine.register_model("host:blind", model)
    engine.register(rf.Agent("seer", model="host:sees"), rf.Agent("blind", model="host:blind"))
    image = {"type": "image", "media_type": "image/png", "data": b"PNG"}
    file = {"type": "document", "url": "https://host/a.pdf", "name": "a.pdf"}
    assert engine.run_sync("seer", "What is it?", attachments=[image, file]).text == "a dot"
    (message,) = (each for each in seen[0].messages if each.role == "user")
    assert message.text == "What is it?"
    assert message.of_type("image") == [{"type": "image", "media_type": "image/png", "data": "UE5H"}]
    assert message.of_type("document") == [file]
    assert (seen[0].stop, seen[0].top_p, seen[0].reasoning) == ([], None, None)
    with pytest.raises(rf.UnsupportedError):
        engine.run_sync("blind", "What is it?", attachments=[image])
    with pytest.raises(rf.InvalidInputError):
        engine.run_sync("seer", "What is it?", attachments=[{"type": "image", "data": b"PNG"}])
    assert len(seen) == 1
