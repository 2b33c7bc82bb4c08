"""Runs: the handle to one in the background, one that is watched, and how one ended."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Callable, Generic, Mapping, TypeVar

from . import _raptorflow
from ._data import Money, Outcome, Passage, Usage
from ._events import Subscription

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Context
    from types import TracebackType

    from typing_extensions import Self

T = TypeVar("T")


class Run(Generic[T]):
    """A run in the background; it goes on when this is dropped."""

    def __init__(self, native: _raptorflow.Run, load: Callable[[Any], Any] | None) -> None:
        self._native = native
        self._load = load

    @property
    def id(self) -> str:
        """Its id; `resume`, `history` and `cancel` take it."""
        return self._native.id

    def cancel(self) -> None:
        """Cancels it for good; await the outcome to see it end."""
        self._native.cancel()

    def events(self) -> Subscription:
        """Everything that the bus tells of it, from its start to its end; each call gives all of them anew."""
        return Subscription(self._native.events())

    async def outcome(self) -> Outcome[T]:
        """Waits for its end; a task that is cancelled while it waits does not stop the run."""
        return outcome_of(await self._native.outcome(current_bridge()), self._load)


class Stream(Generic[T]):
    """The events of a run that lives as long as somebody listens to it."""

    def __init__(
        self, engine: _raptorflow.Engine, ask: Mapping[str, Any], load: Callable[[Any], Any] | None
    ) -> None:
        self._engine = engine
        self._ask = ask
        self._load = load
        self._native: _raptorflow.Stream | None = None
        self._events: Subscription | None = None

    def _started(self) -> tuple[_raptorflow.Stream, Subscription]:
        if self._native is None or self._events is None:
            self._native = self._engine.stream(current_caller(), self._ask)
            self._events = Subscription(self._native.events)
        return self._native, self._events

    @property
    def run_id(self) -> str | None:
        """The run; `None` before it began."""
        return None if self._native is None else self._native.id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _raptorflow.Event:
        stream, events = self._started()
        from asyncio import CancelledError

        try:
            return await events.__anext__()
        except CancelledError:
            self.close()
            raise
        except StopAsyncIteration:
            await stream.outcome(current_bridge())
            raise

    async def outcome(self) -> Outcome[T]:
        """Waits for the end of the run, with or without its events taken."""
        stream, _ = self._started()
        return outcome_of(await stream.outcome(current_bridge()), self._load)

    def close(self) -> None:
        """Stops the run, if it has not ended; it can be resumed."""
        if self._events is not None:
            self._events.close()

    async def aclose(self) -> None:
        """The same as `close`, for `contextlib.aclosing`."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def current_bridge() -> _raptorflow.Bridge:
    from ._bridge import current

    return current()


def current_caller() -> tuple[_raptorflow.Bridge, Context]:
    from ._bridge import caller

    return caller()


def totals(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields with their usage and cost as objects."""
    fields["usage"] = Usage(**fields["usage"])
    if fields["cost"] is not None:
        fields["cost"] = Money(**fields["cost"])
    return fields


def outcome_of(ended: dict[str, Any], load: Callable[[Any], Any] | None) -> Outcome[Any]:
    ended["passages"] = [Passage(**each) for each in ended["passages"]]
    # A run that a bound ended has the last text, which need not fit the type.
    if load is not None and ended["finish"] == "complete":
        ended["output"] = load(ended["output"])
    return Outcome(**totals(ended))


def attachment_of(attachment: Mapping[str, Any]) -> dict[str, Any]:
    """An attachment as core takes it, with bytes as base64."""
    part = dict(attachment)
    data = part.get("data")
    if isinstance(data, (bytes, bytearray)):
        part["data"] = b64encode(data).decode()
    return part
