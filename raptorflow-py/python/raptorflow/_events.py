"""The bus on which every agent's work shows."""

from __future__ import annotations

from typing import Any, Literal, Sequence

from . import _raptorflow
from ._time import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from types import TracebackType

    from typing_extensions import Self

    _Lag = Literal["drop_oldest", "block", "fail"]

_BATCH = 256


def _bridge() -> _raptorflow.Bridge:
    # Not at the top: asyncio takes longer to import than everything here.
    from ._bridge import current

    return current()


class Subscription:
    """Events as they come; an async iterator that ends when it is closed or its run has ended."""

    def __init__(self, native: _raptorflow.Subscription) -> None:
        self._native = native
        self._waiting: list[_raptorflow.Event] = []
        self._missed = 0

    @property
    def missed(self) -> int:
        """How many events were dropped so far because they were not taken in time."""
        return self._missed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _raptorflow.Event:
        while not self._waiting:
            events, missed = await self._native.next_batch(_bridge(), _BATCH)
            self._missed += missed
            if not events and not missed:
                raise StopAsyncIteration
            events.reverse()
            self._waiting = events
        return self._waiting.pop()

    def close(self) -> None:
        """Unsubscribes; who waits for an event sees the end."""
        self._waiting.clear()
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EventBus:
    """What happens in an engine, as it happens."""

    def __init__(self, native: _raptorflow.EventBus) -> None:
        self._native = native

    def subscribe(
        self,
        *,
        channels: Sequence[str] = (),
        kinds: Sequence[str] = (),
        agents: Sequence[str] = (),
        domains: Sequence[str] = (),
        run: str | None = None,
        lag: _Lag = "drop_oldest",
        capacity: int = 1024,
        at_most: float | timedelta = 1.0,
    ) -> Subscription:
        """Events from now on; every argument narrows them, and one left out allows all.

        Args:
            channels: Only events told on one of these.
            kinds: Only these kinds.
            agents: Only events about agents whose name matches one of these; `*` stands for any text.
            domains: Only domains that match one of these; `*` stands for any text.
            run: Only this run.
            lag: What happens when `capacity` events wait: the oldest makes room, publishing blocks for `at_most`
                seconds, or the subscription ends with a `LimitExceededError`.
            capacity: How many events may wait.
            at_most: Seconds that publishing waits with `lag="block"`.
        """
        filter = _filter(channels, kinds, agents, domains, run)
        wait = seconds(at_most) or 0.0
        return Subscription(self._native.subscribe(filter, lag=lag, capacity=capacity, at_most=wait))

    def history(
        self,
        *,
        channels: Sequence[str] = (),
        kinds: Sequence[str] = (),
        agents: Sequence[str] = (),
        domains: Sequence[str] = (),
        run: str | None = None,
        start: int = 0,
        limit: int = 0,
    ) -> list[_raptorflow.Event]:
        """Events that the bus still has, from a stream sequence on, the newest `limit`; 0 means all."""
        return self._native.history(_filter(channels, kinds, agents, domains, run), start, limit)

    def stats(self) -> dict[str, int]:
        """Counts since the bus was made: `published`, `delivered`, `dropped`, `subscriptions`, `retained`."""
        return self._native.stats()


def _filter(
    channels: Sequence[str], kinds: Sequence[str], agents: Sequence[str], domains: Sequence[str], run: str | None
) -> dict[str, Any]:
    return {
        "channels": list(channels),
        "kinds": list(kinds),
        "agents": list(agents),
        "domains": list(domains),
        "run": run,
    }
