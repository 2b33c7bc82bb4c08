"""Hooks of Python steer agents: plain and async, of a class or of any object, and their failures end the run."""

import asyncio
from typing import Any

import pytest

import raptorflow as rf


def office(called: list[str], *hooks: object) -> rf.Engine:
    """An engine whose model calls a tool once and then says what the tool said."""

    def model(request: rf.ChatRequest) -> Any:
        last = request.messages[-1]
        if last.role == "tool":
            return f"Heard: {last.parts[0].content if hasattr(last.parts[0], 'content') else last.parts[0]}"
        return {"tool_calls": [{"id": "1", "name": "send", "arguments": {"text": "LOUD"}}]}

    def send(text: str) -> str:
        """Sends a text."""
        called.append(text)
        return f"sent {text}"

    engine = rf.Engine(default_model="host:office")
    engine.register_model("host:office", model)
    limits: rf.Limits = {"hook_seconds": 1}
    engine.register(rf.Agent("clerk", tools=[send], hooks=hooks, limits=limits))
    return engine


class Softer(rf.Hook):
    """Changes arguments, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def before_tool(self, ctx: rf.Context, asked: dict[str, Any], /) -> rf.Verdict:
        await asyncio.sleep(0)
        self.asked.append(asked)
        return rf.Verdict.change({"text": asked["arguments"]["text"].lower()})

    def after_tool(self, ctx: rf.Context, asked: dict[str, Any], /) -> None:
        self.asked.append(asked)


def test_a_hook_changes_arguments_and_sees_the_result() -> None:
    hook, called = Softer(), list[str]()
    outcome = office(called, hook).run_sync("clerk", "go")
    assert called == ["loud"]
    assert "sent loud" in outcome.text
    before, after = hook.asked
    assert (before["moment"], before["tool"], before["agent"], before["step"]) == ("before_tool", "send", "clerk", 1)
    assert (after["call"]["arguments"], after["result"]["content"]) == ({"text": "loud"}, "sent loud")


def test_any_object_with_a_method_is_a_hook_of_the_engine() -> None:
    class Watch:
        def __init__(self) -> None:
            self.steps = 0

        def after_step(self, ctx: rf.Context, asked: dict[str, Any]) -> None:
            self.steps = asked["step"]

    watch, called = Watch(), list[str]()
    engine = office(called)
    engine.add_hook(watch)
    engine.run_sync("clerk", "go")
    assert watch.steps == 2
    with pytest.raises(rf.InvalidInputError, match="before_tool"):
        engine.add_hook(object())


def test_a_hook_answers_refuses_and_ends_runs() -> None:
    class Says(rf.Hook):
        def __init__(self, verdict: rf.Verdict) -> None:
            self.verdict = verdict

        def before_tool(self, ctx: rf.Context, asked: dict[str, Any], /) -> rf.Verdict:
            return self.verdict

    called: list[str] = []
    assert "from memory" in office(called, Says(rf.Verdict.answer("from memory"))).run_sync("clerk", "go").text
    assert "not today" in office(called, Says(rf.Verdict.refuse("not today"))).run_sync("clerk", "go").text
    outcome = office(called, Says(rf.Verdict.stop("enough"))).run_sync("clerk", "go")
    assert (outcome.text, outcome.finish, called) == ("enough", "hook", [])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_hook_that_raises_ends_the_run_and_is_named(asynchronous: bool) -> None:
    class Fails(rf.Hook):
        name = "night watch"

        def before_model(self, ctx: rf.Context, asked: dict[str, Any], /) -> None:
            raise ValueError("out of paper")

    class FailsLater(rf.Hook):
        name = "night watch"

        async def before_model(self, ctx: rf.Context, asked: dict[str, Any], /) -> None:
            raise ValueError("out of paper")

    with pytest.raises(rf.CallbackError) as caught:
        office([], FailsLater() if asynchronous else Fails()).run_sync("clerk", "go")
    assert caught.value.operation == "agent.hook"
    assert (caught.value.context["hook"], caught.value.context["moment"]) == ("night watch", "before_model")


@pytest.mark.parametrize("said", [7, "yes", {"change": 1}])
def test_what_is_no_verdict_ends_the_run(said: Any) -> None:
    class Odd:
        def before_step(self, ctx: rf.Context, asked: dict[str, Any]) -> Any:
            return said

    with pytest.raises(rf.InvalidOutputError) as caught:
        office([], Odd()).run_sync("clerk", "go")
    assert (caught.value.operation, caught.value.context["hook"]) == ("agent.hook", "Odd")


def test_a_verdict_that_does_not_fit_the_moment_ends_the_run() -> None:
    class Odd:
        def before_step(self, ctx: rf.Context, asked: dict[str, Any]) -> rf.Verdict:
            return rf.Verdict.change([])

    with pytest.raises(rf.InvalidInputError) as caught:
        office([], Odd()).run_sync("clerk", "go")
    assert caught.value.operation == "agent.hook"


def test_a_hook_that_hangs_is_ended_by_its_time() -> None:
    class Hangs(rf.Hook):
        async def after_model(self, ctx: rf.Context, asked: dict[str, Any], /) -> None:
            await asyncio.Event().wait()

    with pytest.raises(rf.TimeoutError) as caught:
        office([], Hangs()).run_sync("clerk", "go")
    assert (caught.value.operation, caught.value.context["seconds"]) == ("agent.hook", "1")


def test_a_long_conversation_is_made_shorter() -> None:
    seen: list[rf.ChatRequest] = []

    def model(request: rf.ChatRequest) -> Any:
        seen.append(request)
        if len(seen) > 4:
            return "done"
        return {"tool_calls": [{"id": str(len(seen)), "name": "send", "arguments": {"text": f"{len(seen)} " * 200}}]}

    def send(text: str) -> str:
        """Sends a text."""
        return text

    engine = rf.Engine(default_model="host:long")
    engine.register_model("host:long", model)
    compaction: rf.Compaction = {"window": 800, "keep_turns": 1, "method": "trim"}
    engine.register(rf.Agent("clerk", tools=[send], compaction=compaction))
    assert engine.run_sync("clerk", "Send it.").text == "done"
    assert [message.text for message in seen[-1].messages][0] == "Send it."
    assert "left out" in seen[-1].messages[1].text
