"""Typed questions: what types an answer can be, what shows as it arrives, and how it ends."""

from __future__ import annotations

import asyncio
import enum
import sys
from dataclasses import dataclass
from typing import Any, Literal, Sequence, TypedDict

import pytest
import raptorflow as rf


class Unit(enum.Enum):
    RUPEE = "INR"
    EURO = "EUR"


@dataclass
class Price:
    net: float
    unit: Unit


class Named(TypedDict):
    name: str
    price: Price


def engine_of(*replies: Any) -> tuple[rf.Engine, list[rf.ChatRequest]]:
    """An engine whose model gives the replies in order, and what it was asked."""
    engine, asked, left = rf.Engine(default_model="host:script"), list[rf.ChatRequest](), list(replies)

    def script(request: rf.ChatRequest) -> Any:
        asked.append(request)
        return left.pop(0)

    engine.register_model("host:script", script)
    return engine, asked


def run(work: Any) -> Any:
    return asyncio.run(work)


def test_an_answer_is_an_instance_of_the_type_that_was_asked_for() -> None:
    cases: Sequence[tuple[Any, str, Any]] = [
        (Price, '{"net": 7, "unit": "INR"}', Price(7.0, Unit.RUPEE)),
        (Named, '{"name": "a", "price": {"net": 7, "unit": "EUR"}}', {"name": "a", "price": Price(7.0, Unit.EURO)}),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (list[Price], '[{"net": 7, "unit": "INR"}]', [Price(7.0, Unit.RUPEE)]),
        (Literal["yes", "no"], '{"value": "yes"}', "yes"),
        (Unit, '{"value": "EUR"}', Unit.EURO),
        (int | None, '{"value": null}', None),
        (str, '{"value": "x"}', "x"),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
    ]
    for kind, reply, value in cases:
        engine, asked = engine_of(reply)
        outcome = run(engine.ask(kind, "which?"))
        assert outcome.output == value and type(outcome.output) is type(value), kind
        assert asked[0].output["type"] == "json"


def test_a_pydantic_model_is_validated_and_its_own_checks_hold() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Plan(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        name: str
        seats: int

        @pydantic.field_validator("seats")  # type: ignore[untyped-decorator]
        @classmethod
        def some(cls, seats: int) -> int:
            if seats < 1:
                raise ValueError("no seats")
            return seats

    engine, _ = engine_of('{"name": "team", "seats": 3}', '{"name": "team", "seats": 0}')
    assert run(engine.ask(Plan, "which?")).output == Plan(name="team", seats=3)
    with pytest.raises(rf.InvalidOutputError) as raised:
        run(engine.ask(Plan, "which?"))
    assert raised.value.run_id and isinstance(raised.value.__cause__, pydantic.ValidationError)


def test_neither_pydantic_nor_asyncio_is_imported_by_the_library() -> None:
    import subprocess

    program = "import raptorflow, sys; print([each for each in ('pydantic', 'asyncio') if each in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_what_an_answer_took_and_the_run_that_gave_it_are_told() -> None:
    usage = {"input_tokens": 5, "output_tokens": 3}
    engine, asked = engine_of({"text": '{"net": 7}', "usage": usage}, {"text": '{"net": 7, "unit": "INR"}', "usage": usage})
    outcome = engine.ask_sync(Price, "net?", instructions="Be exact.", limits={"steps": 3}, timeout=5)
    assert (outcome.output, outcome.usage.total_tokens) == (Price(7.0, Unit.RUPEE), 16)
    assert [message.role for message in asked[1].messages] == ["system", "user", "assistant", "user"]
    assert run(engine.resume(outcome.run_id)).output == {"net": 7, "unit": "INR"}


def test_an_answer_that_never_fits_is_an_error_with_its_problems_and_without_its_words() -> None:
    engine, asked = engine_of(*['{"net": "secret", "unit": "INR"}'] * 3)
    with pytest.raises(rf.InvalidOutputError) as raised:
        run(engine.ask(Price, "net?", repairs=2))
    assert len(asked) == 3 and raised.value.run_id
    assert "number" in raised.value.diagnostics[0] and "secret" not in f"{raised.value} {raised.value.diagnostics}"


def test_an_agent_with_a_type_of_its_own_answers_in_the_one_that_is_asked_for() -> None:
    engine, _ = engine_of('{"value": [1]}', '{"net": 7}')
    engine.register(rf.Agent("pricing", output_type=Price))
    outcome = run(engine.ask(list[int], "which?", agent="pricing"))
    assert outcome.output == [1]
    assert run(engine.resume(outcome.run_id)).output == [1]
    with pytest.raises(rf.InvalidInputError) as raised:
        run(engine.ask(list[int], "which?", agent="pricing", instructions="no"))
    assert raised.value.context["field"] == "instructions"


def test_an_answer_shows_as_it_arrives() -> None:
    engine, _ = engine_of(
        {"text": ['{"net": 1', '7, "unit"', ': "X"}']}, {"text": ['{"net": 7, "unit": "I', 'NR"}']}
    )

    async def read() -> list[Any]:
        stream = engine.ask_stream(Price, "net?")
        assert stream.run_id is None
        parts = [part async for part in stream]
        assert stream.run_id and (await stream.outcome()).output == Price(7.0, Unit.RUPEE)
        return [(part.kind, part.value, part.open, part.attempt) for part in parts]

    assert run(read()) == [
        ("partial", {}, "", 1),
        ("partial", {"net": 17}, "", 1),
        ("partial", {"net": 17, "unit": "X"}, None, 1),
        ("again", None, None, 2),
        ("partial", {"net": 7, "unit": "I"}, "/unit", 2),
        ("partial", {"net": 7, "unit": "INR"}, None, 2),
        ("done", Price(7.0, Unit.RUPEE), None, 2),
    ]


def test_a_stream_that_is_left_stops_the_run_which_can_be_resumed() -> None:
    fits = '{"net": 7, "unit": "INR"}'
    engine, _ = engine_of({"text": [fits[:9], fits[9:]]}, fits)

    async def leave() -> str:
        async with engine.ask_stream(Price, "net?") as stream:
            async for _ in stream:
                break
        with pytest.raises(rf.CancelledError):
            await stream.outcome()
        return stream.run_id or ""

    assert run(engine.resume(run(leave()))).output == {"net": 7, "unit": "INR"}


def test_a_stream_that_fails_raises_its_error() -> None:
    engine, _ = engine_of("no", "no")

    async def fail() -> None:
        async for part in engine.ask_stream(Price, "net?"):
            assert part.kind == "again"

    with pytest.raises(rf.InvalidOutputError):
        run(fail())


def test_a_task_that_is_cancelled_stops_the_question() -> None:
    began = asyncio.Event()

    async def hang(_: rf.ChatRequest) -> str:
        began.set()
        await asyncio.Event().wait()
        return ""

    async def ask() -> None:
        engine = rf.Engine(default_model="host:hang")
        engine.register_model("host:hang", hang)
        task = asyncio.create_task(engine.ask(Price, "net?"))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(ask())
