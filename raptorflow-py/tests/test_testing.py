"""Test doubles from Python: scripts, recorded runs and cassettes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import raptorflow as rf
from raptorflow.testing import Cassette, ReplayModel, ScriptedModel

CASSETTES = Path(__file__).parents[2] / "tests" / "providers" / "cassettes"


def engine(model: ScriptedModel | ReplayModel, **settings: Any) -> rf.Engine:
    made = rf.Engine(default_model="test:model", **settings)
    made.register_model("test:model", model)

    @rf.tool
    def price(plan: str) -> int:
        """Finds a price."""
        return {"basic": 499}[plan]

    made.register(rf.Agent("clerk", tools=[price]))
    return made


def test_a_script_answers_in_order_and_remembers_what_it_was_asked() -> None:
    call = {"id": "1", "name": "price", "arguments": {"plan": "basic"}}
    script = ScriptedModel([{"tool_calls": [call], "usage": {"input_tokens": 3}}, "It costs ₹499."])
    outcome = engine(script).run_sync("clerk", "What does it cost?")
    assert (outcome.text, outcome.usage.input_tokens) == ("It costs ₹499.", 3)
    assert [each.messages[-1].role for each in script.requests] == ["user", "tool"]
    assert script.requests[0].messages[-1].text == "What does it cost?"
    assert script.remaining == 0 and len(set(script.keys)) == 2
    with pytest.raises(rf.NotFoundError):
        engine(script).run_sync("clerk", "And now?")
    script.push("Still ₹499.")
    assert engine(script).run_sync("clerk", "And now?").text == "Still ₹499."


def test_rules_go_before_the_list_and_what_is_always_said_behind_it() -> None:
    script = ScriptedModel(["listed"], when={"plan": {"json": {"net": 499}}}, always="else")
    made = engine(script)
    said = [made.run_sync("clerk", asked).text for asked in ("a plan", "x", "y", "that plan")]
    assert said == ['{"net":499}', "listed", "else", '{"net":499}']


def test_errors_are_scripted_and_tried_again_where_that_can_help() -> None:
    script = ScriptedModel([rf.RateLimitedError("slow down", retry_after=0.001), "There."])
    assert engine(script).run_sync("clerk", "Anyone?").text == "There."
    script = ScriptedModel([{"error": {"kind": "unauthenticated", "message": "wrong key"}}])
    with pytest.raises(rf.UnauthenticatedError, match="wrong key"):
        engine(script).run_sync("clerk", "Anyone?")
    hanging = engine(ScriptedModel(always={"hangs": True}))
    with pytest.raises(rf.TimeoutError):
        hanging.run_sync("clerk", "Anyone?", timeout=0.01)


def test_what_is_no_reply_is_refused_with_the_reason() -> None:
    with pytest.raises(rf.InvalidInputError) as refused:
        ScriptedModel([{"txt": "a"}])  # type: ignore[list-item]
    assert "txt" in refused.value.context["reason"]


def test_a_recorded_run_is_given_again_also_from_a_file(tmp_path: Path) -> None:
    async def work() -> None:
        first = engine(ScriptedModel(["Hello."]))
        outcome = await first.run("clerk", "Hi")
        recorded = await ReplayModel.of_run(first, outcome.run_id)
        recorded.save(tmp_path / "answers.jsonl")
        for replay in (recorded, ReplayModel.load(tmp_path / "answers.jsonl")):
            assert replay.left == 1
            assert (await engine(replay).run("clerk", "Hi")).text == "Hello."
            assert replay.left == 0

    asyncio.run(work())


def test_a_cassette_answers_without_key_and_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    cassette = Cassette(CASSETTES / "greeting.jsonl")
    made = rf.Engine(default_model="openai:gpt-test", cassette=cassette)
    made.register(rf.Agent("greeter"))
    assert cassette.left == 1
    assert made.run_sync("greeter", "Hi").text == "Hello."
    assert cassette.left == 0
    cassette.check()
    with pytest.raises(rf.NotFoundError) as missing:
        made.run_sync("greeter", "Something else")
    assert missing.value.context["recorded"] == "1"


def test_a_cassette_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(rf.NotFoundError, match="record it first"):
        Cassette(tmp_path / "none.jsonl")
    with pytest.raises(rf.InvalidInputError):
        Cassette(tmp_path / "none.jsonl", "rewind")  # type: ignore[arg-type]


def test_the_cassette_of_these_tests_holds_no_key() -> None:
    lines = (CASSETTES / "greeting.jsonl").read_text("utf-8").splitlines()
    assert all("Bearer" not in line and json.loads(line) for line in lines)
