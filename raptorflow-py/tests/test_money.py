"""Layers, budgets and prices from Python, beyond what the scenarios show."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import raptorflow as rf

PRICES: Any = [
    {"model": "host:it", "currency": "USD", "input": 1_000_000, "output": 1_000_000, "valid_from": "2026-01-01"}
]
FILE = """
[[price]]
model = "host:it"
currency = "USD"
input = 1_000_000
output = 1_000_000
valid_from = 2026-01-01
"""


def answer(_: rf.ChatRequest) -> dict[str, Any]:
    return {"text": "yes", "usage": {"input_tokens": 1_000, "output_tokens": 0}}


def engine(**settings: Any) -> rf.Engine:
    made = rf.Engine(default_model="host:it", **{"prices": PRICES, "budgets": True, **settings})
    made.register_model("host:it", answer)
    made.register(rf.Agent("it"))
    return made


def test_a_run_that_grows_dear_waits_for_its_approval() -> None:
    made = engine(budgets={"approval_above": "0.001 USD"})
    with pytest.raises(rf.BudgetExceededError) as stopped:
        made.run_sync("it", "well?")
    assert stopped.value.context["approval"].endswith("USD")
    run = stopped.value.run_id or ""

    async def approve() -> tuple[rf.Outcome[Any], rf.Balance]:
        await made.approve_spending(run, rf.Money(900_000, "USD"))
        return await made.resume(run), await made.balance(run_id=run)

    import asyncio

    outcome, balance = asyncio.run(approve())
    assert (outcome.text, str(outcome.cost)) == ("yes", "0.001000 USD")
    assert balance.approved == rf.Money(900_000, "USD")
    assert balance.spent["total"].tokens == 1_000
    assert balance.reserved.tokens == 0
    assert balance.at.tzinfo is not None


async def alerts(made: rf.Engine) -> list[dict[str, Any]]:
    for _ in range(4):
        await made.run("it", "well?", user="asha")
    return [event.data for event in made.bus.history() if event.kind == "notification_triggered"]


def test_caps_alerts_reports_and_users() -> None:
    made = engine(budgets={"user": {"day": {"tokens": 8_000}}})
    made.register(rf.agent("who")(who))

    async def work() -> None:
        told = await alerts(made)
        assert [(each["budget"], each["percent"]) for each in told] == [("user", 50)]
        await made.set_cap(user="asha", window="day", tokens=10)
        with pytest.raises(rf.BudgetExceededError):
            await made.run("it", "well?", user="asha")
        assert (await made.balance(user="asha")).caps["day"] == rf.Cap(tokens=10)
        report = await made.usage(user="asha", start=datetime.now(timezone.utc) - timedelta(hours=1))
        assert (report.total.calls, report.users["asha"].usage.input_tokens) == (4, 4_000)
        assert report.agents["it"] == report.total and report.anomalies == []
        assert (await made.usage(user="ravi")).total == rf.UsageSum(0, {}, None, 0, 0)
        assert (await made.run("who", None, user="ravi")).output == "ravi"
        assert (await made.ask({"type": "string"}, "who?", agent="who", user="ravi")).output == "ravi"
        with pytest.raises(rf.InvalidInputError, match="run of the agent"):
            await made.balance(agent="it")

    import asyncio

    asyncio.run(work())


def who(ctx: rf.Context, _: Any) -> str | None:
    return ctx.user


def test_predictions_use_the_prices_of_the_engine(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(FILE, "utf-8")
    assert rf.text_tokens("four words in here") == 5
    for made in (engine(), engine(prices=path), engine(prices=str(path))):
        predicted = made.predict("host:it", input_tokens=100, output_tokens=50, max_output_tokens=80)
        assert (str(predicted.expected.money), predicted.confidence) == ("0.000150 USD", "high")
        assert predicted.high.usage.output_tokens == 80
    assert engine().predict("host:other", input_tokens=1, output_tokens=1).high.money is None


def test_what_layers_did_is_seen() -> None:
    made = engine(layers={"cache": {"ttl_seconds": timedelta(minutes=5)}, "rate_limit": True})
    assert (made.breakers(), made.forget_answers()) == ([], 0)
    for _ in range(2):
        made.run_sync("it", "well?", user="asha")
    (breaker,) = made.breakers()
    assert (breaker["model"], breaker["state"], breaker["counts"]["succeeded"]) == ("host:it", "closed", 1)
    stats = made.cache_stats()
    assert stats is not None and (stats["exact_hits"], stats["hit_rate"]) == (1, 0.5)
    assert [(rule["scope"], rule["refused"]) for rule in made.rate_limits()] == [("user", 0), ("global", 0)]
    assert (made.forget_answers("other"), made.forget_answers("it")) == (0, 1)
    assert engine().cache_stats() is None
    near = engine(layers={"cache": {"cosine": 0.8}}, cache_embedder=rf.embedders.hashing())
    for question in ("well?", "Well."):
        near.run_sync("it", question)
    assert (near.cache_stats() or {})["semantic_hits"] == 1


def test_a_shared_count_that_cannot_be_reached_fails_the_call_and_names_its_host() -> None:
    limit: Any = {"store": "redis://:hidden@127.0.0.1:1/0"}
    made = engine(layers={"retry": False, "rate_limit": limit})
    with pytest.raises(rf.UnavailableError) as away:
        made.run_sync("it", "well?")
    assert away.value.context["host"] == "127.0.0.1:1"
    assert "hidden" not in str(away.value)
    with pytest.raises(rf.InvalidInputError, match="nobody counts"):
        engine(layers={"rate_limit": {"store": "tape:"}})


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        ({"layers": {"retry": {"attempts": "5"}}}, "layers.retry.attempts", '"5"'),
        ({"layers": {"breakers": True}}, "layers.breakers", "true"),
        ({"budgets": {"run": {"total": {"money": 0.5}}}}, "budgets.run.total.money", "0.5"),
        ({"prices": [{"model": "a:b"}]}, "prices[0]", '{"model":"a:b"}'),
    ],
)
def test_a_setting_that_is_wrong_is_named(settings: Any, field: str, value: str) -> None:
    with pytest.raises(rf.InvalidInputError) as refused:
        engine(**settings)
    assert (refused.value.context["field"], refused.value.context["value"]) == (field, value)
    assert refused.value.context["expected"]


def test_a_file_of_prices_that_is_wrong_is_told_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(FILE.replace("input", "inputs"), "utf-8")
    with pytest.raises(rf.InvalidInputError) as refused:
        engine(prices=path)
    assert any("did you mean `input`" in line for line in refused.value.diagnostics), refused.value.diagnostics
    with pytest.raises(rf.NotFoundError):
        engine(prices=tmp_path / "none.toml")


def test_an_engine_without_budgets_says_so() -> None:
    import asyncio

    with pytest.raises(rf.InvalidInputError, match="without budgets"):
        asyncio.run(rf.Engine().usage())
