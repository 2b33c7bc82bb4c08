"""Engines: streams, runs in the background, what is recorded, packs, closing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import raptorflow as rf

PACK = Path(__file__).parents[2] / "packs" / "council"
DONE = ["agent_started", "capability_executed", "result_generated", "agent_completed"]


def engine_with(answer: Any = "hello") -> rf.Engine:
    """An engine with an agent `a` whose model gives one answer."""
    engine = rf.Engine()
    engine.register_model("host:m", lambda request: answer)
    engine.register(rf.Agent("a", model="host:m"))
    return engine


class Gate:
    """An agent that says when it was called and waits until it may answer."""

    def __init__(self) -> None:
        self.begun, self.open, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.calls = 0

    async def __call__(self, input: Any) -> str:
        self.calls += 1
        self.begun.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "through"

    def engine(self) -> rf.Engine:
        engine = rf.Engine()
        engine.register(rf.agent("gate")(self))
        return engine


def test_a_stream_gives_the_events_with_the_text_and_then_the_outcome() -> None:
    async def main() -> None:
        stream = engine_with({"text": "hello", "usage": {"input_tokens": 2, "output_tokens": 3}}).stream("a", "x")
        assert stream.run_id is None
        events = [event async for event in stream]
        assert [event.kind for event in events] == ["agent_started", "message_sent", *DONE[1:]]
        assert [event.data["text"] for event in events if event.kind == "message_sent"] == ["hello"]
        assert {event.run_id for event in events} == {stream.run_id}
        outcome = await stream.outcome()
        assert (outcome.text, outcome.usage.total_tokens, outcome.is_complete) == ("hello", 5, True)
        assert [event async for event in stream] == []

    asyncio.run(main())


def test_a_stream_of_a_run_that_fails_gives_its_events_and_raises() -> None:
    async def main() -> None:
        kinds = []
        engine = rf.Engine()
        engine.register(rf.Agent("lost", model="nobody:x"))
        with pytest.raises(rf.NotFoundError):
            async for event in engine.stream("lost", "x"):
                kinds.append(event.kind)
        assert kinds == ["agent_started", "agent_failed"]
        with pytest.raises(rf.NotFoundError, match="nowhere"):
            async for event in engine.stream("nowhere", "x"):
                raise AssertionError(event)

    asyncio.run(main())


@pytest.mark.parametrize("how", ["close", "with", "aclosing", "drop", "cancel"])
def test_leaving_a_stream_stops_its_run_which_can_be_resumed(how: str) -> None:
    async def main() -> None:
        gate = Gate()
        engine = gate.engine()
        stream = engine.stream("gate")
        first = await stream.__anext__()
        assert first.kind == "agent_started"
        await gate.begun.wait()
        if how == "close":
            stream.close()
        elif how == "with":
            async with stream:
                pass
        elif how == "aclosing":
            async with contextlib.aclosing(stream):
                pass
        elif how == "cancel":
            task = asyncio.ensure_future(stream.__anext__())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            del stream
            gc.collect()
        await asyncio.wait_for(gate.cancelled.wait(), 5)
        gate.open.set()
        assert first.run_id is not None
        assert (await engine.resume(first.run_id)).output == "through"

    asyncio.run(main())


def test_the_outcome_of_a_closed_stream_is_an_error() -> None:
    async def main() -> None:
        gate = Gate()
        stream = gate.engine().stream("gate")
        await stream.__anext__()
        stream.close()
        with pytest.raises(rf.CancelledError, match="closed"):
            await asyncio.wait_for(stream.outcome(), 5)
        assert [event async for event in stream._started()[1]] == []

    asyncio.run(main())


def test_a_run_in_the_background_goes_on_and_several_may_wait_for_it() -> None:
    async def main() -> None:
        gate = Gate()
        engine = gate.engine()
        run = await engine.start("gate")
        waiting = [asyncio.ensure_future(run.outcome()) for _ in range(3)]
        listening = asyncio.ensure_future(collect(run.events()))
        await gate.begun.wait()
        waiting[0].cancel()
        await asyncio.sleep(0)
        gate.open.set()
        outcomes = [await each for each in waiting[1:]]
        assert [outcome.output for outcome in outcomes] == ["through", "through"]
        kinds = DONE
        assert await listening == kinds
        assert await collect(run.events()) == kinds
        run_id = run.id
        del run
        assert (await engine.resume(run_id)).output == "through" and gate.calls == 1

    asyncio.run(main())


async def collect(events: rf.Subscription) -> list[str]:
    return [event.kind async for event in events]


@pytest.mark.parametrize("through", ["run", "engine"])
def test_a_cancelled_run_is_over_for_good(through: str) -> None:
    async def main() -> None:
        gate = Gate()
        engine = gate.engine()
        run = await engine.start("gate")
        await gate.begun.wait()
        if through == "run":
            run.cancel()
        else:
            await engine.cancel(run.id)
        with pytest.raises(rf.CancelledError) as caught:
            await asyncio.wait_for(run.outcome(), 5)
        assert caught.value.run_id == run.id and gate.cancelled.is_set()
        with pytest.raises(rf.CancelledError):
            await engine.resume(run.id)
        (summary,) = await engine.runs()
        assert summary.status == "cancelled" and isinstance(summary.error, (type(None), rf.RaptorflowError))

    asyncio.run(main())


def test_what_is_recorded_can_be_read() -> None:
    async def main() -> None:
        engine = engine_with({"text": "hello", "usage": {"input_tokens": 2, "output_tokens": 3}})
        first, second = await engine.run("a", "1"), await engine.run("a", {"n": 2})
        with pytest.raises(rf.NotFoundError):
            await engine.run("b")
        summaries = (await engine.runs()).runs
        assert [each.run_id for each in summaries] == [first.run_id, second.run_id]
        assert await engine.runs(after=first.run_id, limit=5) == rf.RunPage(summaries[1:], None)
        summary = summaries[0]
        assert (summary.target, summary.status, summary.model_calls) == ("a", "completed", 1)
        assert summary.usage == rf.Usage(2, 3)
        assert summary.ended is not None and timedelta() <= summary.ended - summary.started < timedelta(minutes=1)
        assert abs(datetime.now(timezone.utc) - summary.started) < timedelta(minutes=1)
        entries = await engine.history(second.run_id)
        assert [entry.fact for entry in entries][0] == "execution_started"
        assert entries[0].data["input"] == {"n": 2} and entries[-1].fact == "execution_completed"
        assert await engine.history(second.run_id, start=1, limit=1) == entries[1:2]
        with pytest.raises(rf.NotFoundError):
            await engine.history("00000000-0000-7000-8000-000000000000")

    asyncio.run(main())


def test_runs_are_listed_by_what_is_wanted_a_page_at_a_time() -> None:
    async def main() -> None:
        engine = engine_with()
        first, second = await engine.run("a", "1"), await engine.run("a", "2")
        page = await engine.runs(limit=1)
        assert ([each.run_id for each in page], len(page)) == ([first.run_id], 1)
        page = await engine.runs(limit=1, after=page.next)
        assert [each.run_id for each in page] == [second.run_id]
        begun = page.runs[0].started
        assert len(await engine.runs(status="completed", target="a", started_before=begun)) == 1
        assert [each.run_id for each in await engine.runs(started_after=begun)] == [second.run_id]
        assert len(await engine.runs(status="failed")) == len(await engine.runs(target="b")) == 0
        for wrong in ({"status": "done"}, {"started_after": datetime(2026, 1, 1)}, {"after": "no id"}):
            with pytest.raises(rf.InvalidInputError):
                await engine.runs(**wrong)

    asyncio.run(main())


def test_runs_of_a_file_outlive_the_engine(tmp_path: Path) -> None:
    address = f"sqlite:{tmp_path}/team.db"
    with rf.Engine(address) as engine:
        engine.register_model("host:m", lambda request: "hello")
        engine.register(rf.Agent("a", model="host:m"))
        run = engine.run_sync("a", "x").run_id

    async def main() -> None:
        async with rf.Engine(address) as again:
            assert [summary.run_id for summary in await again.runs()] == [run]
            assert (await again.resume(run)).output == "hello"

    asyncio.run(main())


def test_tenants_are_kept_apart() -> None:
    async def main() -> None:
        engine = engine_with()
        await engine.run("a", "x")
        await engine.run("a", "x", tenant="acme")
        assert len(await engine.runs()) == 1

    asyncio.run(main())


def test_a_closed_engine_refuses_work() -> None:
    engine = engine_with()
    engine.run_sync("a", "x")
    with engine:
        pass
    with pytest.raises(rf.RaptorflowError) as refused:
        engine.run_sync("a", "x")
    assert len(str(refused.value).splitlines()) == 1


def test_closing_one_engine_leaves_others_alone() -> None:
    one, other = engine_with(), engine_with()
    with one:
        one.run_sync("a", "x")
    assert other.run_sync("a", "x").text == "hello"


def test_the_bus_tells_what_happens_to_who_asked_for_it() -> None:
    async def main() -> None:
        engine = engine_with()
        engine.register(rf.Agent("lost", model="nobody:x"))
        everything = engine.bus.subscribe()
        failures = engine.bus.subscribe(channels=["error_handling"])
        ends = engine.bus.subscribe(kinds=["agent_completed", "agent_failed"], agents=["a*"])
        await engine.run("a", "x")
        with pytest.raises(rf.NotFoundError):
            await engine.run("lost", "x")
        assert [(await everything.__anext__()).kind for _ in DONE] == DONE
        failed = await failures.__anext__()
        assert (failed.kind, failed.agent, failed.status, failed.channel) == (
            "agent_failed",
            "lost",
            "error",
            "error_handling",
        )
        assert failed.data["error"] == "not_found" and failed.duration is not None and failed.duration >= 0
        assert failed.time.tzinfo is timezone.utc and failed.priority == "normal"
        assert failed.to_dict()["kind"] == "agent_failed"
        with ends:
            assert (await ends.__anext__()).agent == "a"
        assert [event async for event in ends] == []
        stats = engine.bus.stats()
        assert stats["published"] == 6 and stats["dropped"] == 0
        assert [event.sequence for event in engine.bus.history(limit=2)] == [4, 5]

    asyncio.run(main())


def test_a_full_subscription_says_how_much_it_missed_or_ends() -> None:
    async def main() -> None:
        engine = engine_with()
        small = engine.bus.subscribe(capacity=3)
        fails = engine.bus.subscribe(capacity=3, lag="fail")
        blocks = engine.bus.subscribe(capacity=1, lag="block", at_most=0.01)
        await engine.run("a", "x")
        await engine.run("a", "x")
        assert [(await small.__anext__()).sequence for _ in range(3)] == [5, 6, 7]
        assert small.missed == 5
        for full in (fails, blocks):
            with pytest.raises(rf.LimitExceededError):
                async for _ in full:
                    pass

    asyncio.run(main())


def test_events_cross_in_order_while_they_are_made() -> None:
    async def main() -> None:
        engine = engine_with()
        subscription = engine.bus.subscribe(kinds=["agent_completed"], capacity=10_000)
        runs = asyncio.gather(*(engine.run("a", str(n)) for n in range(300)))
        sequences = [(await subscription.__anext__()).sequence for _ in range(300)]
        await runs
        assert sequences == sorted(sequences) and subscription.missed == 0

    asyncio.run(main())


def test_a_waiting_subscriber_can_be_cancelled_and_goes_on() -> None:
    async def main() -> None:
        engine = engine_with()
        subscription = engine.bus.subscribe()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(subscription.__anext__(), 0.01)
        await engine.run("a", "x")
        assert [(await subscription.__anext__()).kind for _ in DONE] == DONE

    asyncio.run(main())


def test_closing_a_subscription_ends_the_wait_for_its_events() -> None:
    async def main() -> None:
        subscription = engine_with().bus.subscribe()
        waiting = asyncio.ensure_future(collect(subscription))
        await asyncio.sleep(0)
        subscription.close()
        assert await asyncio.wait_for(waiting, 5) == []

    asyncio.run(main())


def test_a_pack_is_an_agent_whose_report_is_markdown() -> None:
    async def main() -> None:
        kb = await rf.KnowledgeBase.open(embedder=rf.embedders.hashing())
        await kb.add([rf.Document("plan.md", "# Plan\n\nThe launch is planned for May. The schedule has five weeks.\n")])
        engine = rf.Engine(default_model="offline:extractive")
        engine.use_knowledge(kb)
        pack = engine.install(rf.Pack.load(PACK))
        assert (pack.name, len(pack.teams)) == ("council", 7) and pack.version and pack.description
        assert set(pack.agents) < set(engine.agents) and "council" in engine.agents
        outcome = await engine.run("council", {"goal": "Plan the launch and its schedule"})
        text = rf.Report(outcome).to_markdown()
        assert text.startswith("# Plan the launch") and "`plan.md`, line 3" in text
        assert rf.Report(outcome.output).to_markdown() == text
        with pytest.raises(rf.AlreadyExistsError):
            engine.install(PACK)
        with pytest.raises(rf.InvalidInputError, match="report"):
            rf.Report({"goal": 1}).to_markdown()

    asyncio.run(main())
