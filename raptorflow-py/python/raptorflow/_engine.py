"""`Engine`: agents, models, journals and a bus in one object."""

from __future__ import annotations

from typing import Any, Callable, Generic, Mapping, Sequence, TypeVar, overload

from . import _raptorflow
from ._agent import Agent, FunctionAgent
from ._data import ChatRequest, Entry, Money, Outcome, Passage, RunSummary, Usage
from ._events import EventBus, Subscription
from ._rag import KnowledgeBase
from ._time import seconds
from ._tool import Tool, native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Context
    from datetime import timedelta
    from os import PathLike
    from types import TracebackType

    from typing_extensions import Self

T = TypeVar("T")
Loaders = dict[str, Callable[[Any], Any]]


class Pack:
    """Teams and agents as data, read from a folder and checked."""

    def __init__(self, native: _raptorflow.Pack) -> None:
        self._native = native

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Reads the pack in a folder; the error's `diagnostics` are every problem found."""
        return cls(_raptorflow.Pack.load(path))

    @property
    def name(self) -> str:
        """Its name; `engine.run` takes it once the pack is installed."""
        return self._native.name

    @property
    def version(self) -> str:
        return self._native.version

    @property
    def description(self) -> str:
        return self._native.description

    @property
    def teams(self) -> list[str]:
        """The names of its teams."""
        return self._native.teams

    @property
    def agents(self) -> list[str]:
        """The names of its agents, without the leads of the teams."""
        return self._native.agents


class Engine:
    """Runs agents, records every step, and tells a bus.

    An engine holds threads that it shares with all engines of the process, and may be used from any loop and thread.
    """

    def __init__(
        self,
        storage: str | None = None,
        *,
        default_model: str | None = None,
        tools: Sequence[Tool[..., Any] | Callable[..., Any]] = (),
        tenant: str | None = None,
    ) -> None:
        """Opens an engine.

        Args:
            storage: Where journals live, for example `sqlite:team.db` or `postgres://user@host/database`; memory when
                left out.
            default_model: The model of agents that name none, for example `offline:extractive`.
            tools: Tools that agents may name.
            tenant: Whose runs these are; storage keeps tenants apart.
        """
        self._native = _raptorflow.Engine(
            storage, default_model=default_model, tools=[native(each) for each in tools], tenant=tenant
        )
        self._loaders: Loaders = {}

    def register(self, *agents: Agent[Any] | FunctionAgent[..., Any]) -> None:
        """Makes agents known; one whose name is taken is an `AlreadyExistsError`."""
        for each in agents:
            self._native.register(each._native)
            if each._load is not None:
                self._loaders[each.name] = each._load

    def register_model(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        tools: bool = True,
        structured: bool = True,
        context_window: int | None = None,
    ) -> None:
        """Makes a function, plain or async, known as a model under a name like `host:echo`.

        It gets a `ChatRequest`, after `ctx` if it wants that, and gives a string, or a dict with any of `text`,
        `reasoning`, `tool_calls` (dicts with `id`, `name` and `arguments`), `usage` and `finish`.

        Args:
            tools: Whether it can ask for tools.
            structured: Whether it can answer in a JSON Schema.
            context_window: How many tokens fit, where that is known.
        """
        from ._function import Signature

        signature = Signature(function, f"model {name}", None)
        call = signature.one(lambda request: ChatRequest(**request))
        self._native.register_model(
            name,
            call,
            is_async=signature.is_async,
            tools=tools,
            structured=structured,
            context_window=context_window,
        )

    def install(self, pack: str | PathLike[str] | Pack) -> Pack:
        """Makes the agents of a pack known, and its teams under the pack's name; all or nothing."""
        loaded = pack if isinstance(pack, Pack) else Pack.load(pack)
        self._native.install(loaded._native)
        return loaded

    def use_knowledge(self, knowledge: KnowledgeBase) -> None:
        """Says where agents with retrieval find passages from now on."""
        self._native.use_knowledge(knowledge._native)

    @overload
    async def run(
        self,
        agent: Agent[T],
        input: Any = None,
        *,
        capability: None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
    ) -> Outcome[T]: ...

    @overload
    async def run(
        self,
        agent: str | Agent[Any] | FunctionAgent[..., Any],
        input: Any = None,
        *,
        capability: str | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
    ) -> Outcome[Any]: ...

    async def run(
        self,
        agent: str | Agent[Any] | FunctionAgent[..., Any],
        input: Any = None,
        *,
        capability: str | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
    ) -> Outcome[Any]:
        """Asks an agent and waits for its answer.

        Cancelling the task stops the work, down to functions of yours that it awaits; the run can be resumed.

        Args:
            agent: A registered agent, or its name.
            input: The question, or arguments; anything that has a form in JSON.
            capability: One capability of the agent, whose schemas then apply.
            timeout: Seconds that the run may take.
            tenant: Whose run this is; the engine's by default.

        Raises:
            RaptorflowError: One of its classes; `error.run_id` can be resumed.
        """
        ask = _ask(agent, input, capability, timeout, tenant)
        ended = await self._native.run(_caller(), ask)
        return _outcome(ended, None if capability else self._loaders.get(ask["agent"]))

    def run_sync(
        self,
        agent: str | Agent[Any] | FunctionAgent[..., Any],
        input: Any = None,
        *,
        capability: str | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
    ) -> Outcome[Any]:
        """The same for code that is not async; also in a notebook. An interrupt (Ctrl-C) stops the work."""
        from ._bridge import run_sync

        return run_sync(
            lambda: self.run(agent, input, capability=capability, timeout=timeout, tenant=tenant)
        )

    def stream(
        self,
        agent: str | Agent[Any] | FunctionAgent[..., Any],
        input: Any = None,
        *,
        capability: str | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
    ) -> Stream[Any]:
        """Asks an agent and gives everything that the bus tells of the run, as it happens.

        Pieces of the answer come as `message_sent` events, with the text in `event.data["text"]`.
        The run begins with the first event that is asked for; a run that fails raises its error after the last.
        """
        ask = _ask(agent, input, capability, timeout, tenant)
        return Stream(self._native, ask, None if capability else self._loaders.get(ask["agent"]))

    async def start(
        self,
        agent: str | Agent[Any] | FunctionAgent[..., Any],
        input: Any = None,
        *,
        capability: str | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
    ) -> Run[Any]:
        """Asks an agent in the background; the run goes on when the handle is dropped."""
        ask = _ask(agent, input, capability, timeout, tenant)
        started = await self._native.start(_caller(), ask)
        return Run(started, None if capability else self._loaders.get(ask["agent"]))

    async def resume(self, run_id: str) -> Outcome[Any]:
        """Takes up a run whose process ended, or that failed, and waits for its answer.

        Nothing that is recorded is done again; a run that is complete gives its recorded answer.
        """
        load: Callable[[Any], Any] | None = None
        if self._loaders:
            for entry in await self.history(run_id, limit=1):
                if entry.fact == "execution_started" and entry.data.get("capability") is None:
                    load = self._loaders.get(entry.data["target"])
        return _outcome(await self._native.resume(_caller(), run_id), load)

    async def cancel(self, run_id: str) -> None:
        """Cancels a run for good."""
        await self._native.cancel(_bridge(), run_id)

    async def runs(self, *, after: str | None = None, limit: int = 100) -> list[RunSummary]:
        """The runs of the engine's tenant, oldest first, after a given one."""
        return [RunSummary(**_totals(each)) for each in await self._native.runs(_bridge(), after, limit)]

    async def history(self, run_id: str, *, start: int = 0, limit: int = 1000) -> list[Entry]:
        """What is recorded of a run, oldest first, from a sequence number on."""
        return [Entry(**each) for each in await self._native.history(_bridge(), run_id, start, limit)]

    @property
    def agents(self) -> list[str]:
        """The names of the agents that are known."""
        return self._native.agents()

    @property
    def bus(self) -> EventBus:
        """The bus on which every agent's work shows."""
        return EventBus(self._native.bus())

    async def close(self) -> None:
        """Stops what works in the background and closes the storage; runs that are stopped can be resumed."""
        await self._native.close(_bridge())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._native.close_sync()


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
        return _outcome(await self._native.outcome(_bridge()), self._load)


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
            self._native = self._engine.stream(_caller(), self._ask)
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
            await stream.outcome(_bridge())
            raise

    async def outcome(self) -> Outcome[T]:
        """Waits for the end of the run, with or without its events taken."""
        stream, _ = self._started()
        return _outcome(await stream.outcome(_bridge()), self._load)

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


def _bridge() -> _raptorflow.Bridge:
    from ._bridge import current

    return current()


def _caller() -> tuple[_raptorflow.Bridge, Context]:
    from ._bridge import caller

    return caller()


def _ask(
    agent: str | Agent[Any] | FunctionAgent[..., Any],
    input: Any,
    capability: str | None,
    timeout: float | timedelta | None,
    tenant: str | None,
) -> dict[str, Any]:
    return {
        "agent": agent if isinstance(agent, str) else agent.name,
        "input": input,
        "capability": capability,
        "timeout": seconds(timeout),
        "tenant": tenant,
    }


def _totals(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields with their usage and cost as objects."""
    fields["usage"] = Usage(**fields["usage"])
    if fields["cost"] is not None:
        fields["cost"] = Money(**fields["cost"])
    return fields


def _outcome(ended: dict[str, Any], load: Callable[[Any], Any] | None) -> Outcome[Any]:
    ended["passages"] = [Passage(**each) for each in ended["passages"]]
    # A run that a bound ended has the last text, which need not fit the type.
    if load is not None and ended["finish"] == "complete":
        ended["output"] = load(ended["output"])
    return Outcome(**_totals(ended))
