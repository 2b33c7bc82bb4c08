"""What runs may spend and what they spent, and what stands before the models of an engine."""

from __future__ import annotations

from typing import Any, Literal, Mapping

from . import _raptorflow
from ._data import Money, Usage, _Data
from ._run import current_bridge
from ._settings import plain
from ._time import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    _Window = Literal["total", "day", "month"]
    _Confidence = Literal["low", "medium", "high"]


def _money(fields: Mapping[str, Any] | None) -> Money | None:
    return None if fields is None else Money(**fields)


class Amount(_Data):
    """Money and tokens."""

    __slots__ = ("money", "tokens")

    def __init__(self, money: Mapping[str, Any], tokens: int) -> None:
        self.money = Money(**money)
        self.tokens = tokens


class Cap(_Data):
    """How far spending may go; what is `None` is not bounded."""

    __slots__ = ("money", "tokens")

    def __init__(self, money: Mapping[str, Any] | None = None, tokens: int | None = None) -> None:
        self.money = _money(money)
        self.tokens = tokens


class Balance(_Data):
    """How a scope stands."""

    __slots__ = ("at", "spent", "reserved", "caps", "approved")

    at: datetime
    """When, by the clock of the ledger."""
    spent: dict[_Window, Amount]
    """What was spent from the beginning, today and this month, in UTC."""
    reserved: Amount
    """What is set aside for calls under way."""
    caps: dict[_Window, Cap]
    """How far it may go."""
    approved: Money | None
    """Up to what a run was approved."""

    def __init__(self, **fields: Any) -> None:
        self.at = fields["at"]
        self.spent = {window: Amount(**spent) for window, spent in fields["spent"].items()}
        self.reserved = Amount(**fields["reserved"])
        self.caps = {window: Cap(**cap) for window, cap in fields["caps"].items()}
        self.approved = _money(fields["approved"])


class UsageSum(_Data):
    """Calls of models, and what they came to."""

    __slots__ = ("calls", "usage", "cost", "unpriced", "estimated")

    def __init__(
        self, calls: int, usage: Mapping[str, Any], cost: Mapping[str, Any] | None, unpriced: int, estimated: int
    ) -> None:
        self.calls = calls
        self.usage = Usage(**usage)
        self.cost = _money(cost)
        self.unpriced = unpriced
        self.estimated = estimated


class Anomaly(_Data):
    """A day or a run that cost more than three times as much as usual."""

    __slots__ = ("of", "name", "cost", "mean")

    of: Literal["day", "run"]
    name: str
    """The day as `yyyy-mm-dd`, or the id of the run."""
    cost: Money
    mean: Money

    def __init__(self, **fields: Any) -> None:
        self.of = fields["of"]
        self.name = fields[fields["of"]]
        self.cost = Money(**fields["cost"])
        self.mean = Money(**fields["mean"])


class UsageReport(_Data):
    """What calls of models cost: all of it, and by run, agent, user, model, day and month."""

    __slots__ = (
        "tenant", "total", "runs", "agents", "users", "models", "days", "months", "projected_month", "anomalies",
    )  # fmt: skip

    tenant: str
    total: UsageSum
    runs: dict[str, UsageSum]
    agents: dict[str, UsageSum]
    users: dict[str, UsageSum]
    models: dict[str, UsageSum]
    days: dict[str, UsageSum]
    months: dict[str, UsageSum]
    projected_month: Money | None
    """What the month comes to if it goes on like this; `None` in its first hour, and without costs."""
    anomalies: list[Anomaly]
    """What cost more than three times as much as usual, days first."""

    def __init__(self, **fields: Any) -> None:
        self.tenant = fields["tenant"]
        self.total = UsageSum(**fields["total"])
        for name in ("runs", "agents", "users", "models", "days", "months"):
            setattr(self, name, {key: UsageSum(**each) for key, each in fields[name].items()})
        self.projected_month = _money(fields["projected_month"])
        self.anomalies = [Anomaly(**each) for each in fields["anomalies"]]


class Expected(_Data):
    """Tokens, and what they cost; `None` when the price is unknown, which is not zero."""

    __slots__ = ("usage", "money")

    def __init__(self, usage: Mapping[str, Any], money: Mapping[str, Any] | None) -> None:
        self.usage = Usage(**usage)
        self.money = _money(money)


class Prediction(_Data):
    """What a piece of work may take: at least, as expected, and at most."""

    __slots__ = ("low", "expected", "high", "confidence")

    low: Expected
    expected: Expected
    high: Expected
    confidence: _Confidence

    def __init__(self, **fields: Any) -> None:
        self.low = Expected(**fields["low"])
        self.expected = Expected(**fields["expected"])
        self.high = Expected(**fields["high"])
        self.confidence = fields["confidence"]


class Spending:
    """What an engine may spend, what it spent, and what its layers did."""

    _native: _raptorflow.Engine

    async def set_cap(
        self,
        *,
        user: str | None = None,
        run_id: str | None = None,
        agent: str | None = None,
        window: _Window = "total",
        money: str | Money | None = None,
        tokens: int | None = None,
    ) -> None:
        """Sets what a user, a run or an agent of a run may spend, or the tenant when none is named.

        It goes before the engine's settings, and lasts; a run that stopped at its cap goes on with `resume`.

        Args:
            window: From the beginning, or in a day or month of UTC.
            money: The most money, for example `"0.50 USD"`; no bound when left out.
            tokens: The most tokens, input and output together; no bound when left out.
        """
        cap = {"money": plain(money), "tokens": tokens}
        await self._native.set_cap(current_bridge(), _whose(user, run_id, agent), window, cap)

    async def approve_spending(self, run_id: str, up_to: str | Money) -> None:
        """Approves what a run may spend in all, where it needs to be asked; see `approval_above` of the budgets."""
        await self._native.approve_spending(current_bridge(), run_id, plain(up_to))

    async def balance(
        self, *, user: str | None = None, run_id: str | None = None, agent: str | None = None
    ) -> Balance:
        """How a user, a run, an agent of a run, or the tenant stands."""
        return Balance(**await self._native.balance(current_bridge(), _whose(user, run_id, agent)))

    async def usage(
        self,
        *,
        run_id: str | None = None,
        agent: str | None = None,
        user: str | None = None,
        model: str | None = None,
        start: datetime | str | None = None,
        before: datetime | str | None = None,
    ) -> UsageReport:
        """What the calls of models cost, all of them or those that are named; the engine must have budgets."""
        filter = {
            "run": run_id,
            "agent": agent,
            "user": user,
            "model": model,
            "from": rfc3339(start),
            "before": rfc3339(before),
        }
        return UsageReport(**await self._native.usage(current_bridge(), filter))

    def predict(
        self,
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        max_output_tokens: int | None = None,
        tool_calls: int = 0,
        retry_rate: float = 0.0,
    ) -> Prediction:
        """What a piece of work with a model may take and cost; `text_tokens` counts the tokens of a text.

        Args:
            input_tokens: Those of the first request.
            output_tokens: Those that one answer is expected to have.
            max_output_tokens: The longest answer, where the request bounds it.
            tool_calls: How many rounds of tool calls are expected.
            retry_rate: Which part of the calls is made again, from 0 to 1.
        """
        work = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "max_output_tokens": max_output_tokens,
            "tool_calls": tool_calls,
            "retry_rate": retry_rate,
        }
        return Prediction(**self._native.predict(model, work))

    def breakers(self) -> list[dict[str, Any]]:
        """The circuit breakers of the models that were used: `model`, `state` and `counts` of each."""
        return self._native.breakers()

    def rate_limits(self) -> list[dict[str, Any]]:
        """The rules of the rate limit: `scope`, `unit`, `rate`, the `keys` it remembers, and how many it `refused`."""
        return self._native.rate_limits()

    def cache_stats(self) -> dict[str, Any] | None:
        """How often the cache had an answer: `exact_hits`, `semantic_hits`, `misses`, `hit_rate`; `None` without one."""
        return self._native.cache_stats()

    def forget_answers(self, skill: str | None = None) -> int:
        """Forgets cached answers of the tenant, for one agent or for all, and says how many there were."""
        return self._native.forget_answers(skill)


def _whose(user: str | None, run_id: str | None, agent: str | None) -> dict[str, str | None]:
    return {"user": user, "run": run_id, "agent": agent}
