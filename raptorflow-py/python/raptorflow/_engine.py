"""`Engine`: agents, models, journals and a bus in one object."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence, TypeVar, overload

from . import _raptorflow
from ._agent import Agent, FunctionAgent
from ._approval import Approvals
from ._ask import Asking
from ._data import Archive, ChatRequest, Entry, Erased, Outcome, Pruned, RunPage, RunSummary
from ._economics import Spending
from ._events import EventBus
from ._hook import Hooked
from ._pack import Pack
from ._pattern import Pattern
from ._rag import KnowledgeBase
from ._run import Run, Stream, attachment_of, current_bridge, current_caller, outcome_of, totals
from ._settings import settings
from ._time import rfc3339, seconds
from ._tool import Tool, native
from ._workflow import Workflow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from os import PathLike
    from types import TracebackType

    from typing_extensions import Self

    from ._data import _Status
    from ._settings import Budgets, Layers, _Prices
    from ._skill import SkillRegistry
    from .embedders import Embedder
    from .testing import Cassette, ReplayModel, ScriptedModel

T = TypeVar("T")
Loaders = dict[str, Callable[[Any], Any]]


class Engine(Approvals, Asking, Hooked, Spending):
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
        owner: str | None = None,
        layers: Layers | None = None,
        budgets: Budgets | bool | None = None,
        prices: _Prices | None = None,
        cache_embedder: Embedder | None = None,
        cassette: Cassette | None = None,
        hooks: Sequence[object] = (),
    ) -> None:
        """Opens an engine.

        Args:
            storage: Where journals live, for example `sqlite:team.db` or `postgres://user@host/database`; memory when
                left out.
            default_model: The model of agents that name none, for example `offline:extractive`.
            tools: Tools that agents may name.
            tenant: Whose runs these are; storage keeps tenants apart.
            owner: The name of this process as the owner of runs, by default one that no other process has. A name that
                outlives a restart lets the new process take its runs up at once; never give it to two at a time.
            layers: What stands before every model, by part: `True` for its defaults, `False` for none, or a dict with
                its settings. A part that is left out is on where it is a `trace`, `retry`, `breaker` or `timeout`, and
                off where it is `redact`, `cache`, `cascade`, `fallback` or `rate_limit`.
            budgets: What runs may spend; `True` records what is spent, with the usual caps of a call. Without budgets
                nothing is counted and nothing refused.
            cache_embedder: What makes the cache of `layers` answer questions of the same meaning too.
            cassette: What sends requests to providers, or answers them as they were answered before; for tests.
            hooks: What watches and steers all agents; see `Engine.add_hook`.
            prices: What models cost: a list of prices, or the path of a TOML file with `[[price]]` entries.
        """
        self._native = _raptorflow.Engine(
            storage,
            default_model=default_model,
            tools=[native(each) for each in tools],
            tenant=tenant,
            owner=owner,
            config=settings(layers, budgets, prices),
            cache_embedder=None if cache_embedder is None else cache_embedder._native,
            cassette=None if cassette is None else cassette._native,
        )
        self._loaders: Loaders = {}
        self.add_hook(*hooks)

    def for_tenant(self, tenant: str) -> Engine:
        """The same engine for another tenant: its runs, and the questions about them, are that tenant's."""
        other = Engine.__new__(type(self))
        other._native = self._native.for_tenant(tenant)
        other._loaders = self._loaders
        return other

    def register(self, *agents: Agent[Any] | FunctionAgent[..., Any] | Workflow | Pattern) -> None:
        """Makes agents and workflows known; one whose name is taken is an `AlreadyExistsError`."""
        for each in agents:
            self._native.register(each._native)
            if each._load is not None:
                self._loaders[each.name] = each._load

    def register_model(
        self,
        name: str,
        function: Callable[..., Any] | ScriptedModel | ReplayModel,
        *,
        tools: bool = True,
        structured: bool = True,
        images: bool = False,
        documents: bool = False,
        reasoning: bool = False,
        context_window: int | None = None,
    ) -> None:
        """Makes a function, plain or async, known as a model under a name like `host:echo`.

        It gets a `ChatRequest`, after `ctx` if it wants that, and gives a string, or a dict with any of `text` (a
        string, or a list of the strings that it arrives in), `reasoning`, `tool_calls` (dicts with `id`, `name` and
        `arguments`), `usage` and `finish`. A test double of `raptorflow.testing` is known in its place.

        Args:
            tools: Whether it can ask for tools.
            structured: Whether it can answer in a JSON Schema.
            images: Whether it sees pictures.
            documents: Whether it reads files other than text.
            reasoning: Whether it can be told how hard to think.
            context_window: How many tokens fit, where that is known.
        """
        from ._function import Signature

        if not callable(function):
            self._native.register_double(name, function._native)
            return
        signature = Signature(function, f"model {name}", None)
        call = signature.one(lambda request: ChatRequest(**request))
        self._native.register_model(
            name,
            call,
            is_async=signature.is_async,
            tools=tools,
            structured=structured,
            images=images,
            documents=documents,
            reasoning=reasoning,
            context_window=context_window,
        )

    def install(self, pack: str | PathLike[str] | Pack) -> Pack:
        """Makes the agents of a pack known, and its teams under the pack's name; all or nothing."""
        loaded = pack if isinstance(pack, Pack) else Pack.load(pack)
        self._native.install(loaded._native)
        return loaded

    def install_skills(self, skills: SkillRegistry) -> None:
        """Makes an agent of each skill known, under the skill's id; its input is a dict with the skill's inputs."""
        self._native.install_skills(skills._native)

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
        user: str | None = None,
        id: str | None = None,
        attachments: Sequence[Mapping[str, Any]] = (),
    ) -> Outcome[T]: ...

    @overload
    async def run(
        self,
        agent: str | Agent[Any] | FunctionAgent[..., Any] | Workflow | Pattern,
        input: Any = None,
        *,
        capability: str | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
        user: str | None = None,
        id: str | None = None,
        attachments: Sequence[Mapping[str, Any]] = (),
    ) -> Outcome[Any]: ...

    async def run(
        self,
        agent: str | Agent[Any] | FunctionAgent[..., Any] | Workflow | Pattern,
        input: Any = None,
        *,
        capability: str | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
        user: str | None = None,
        id: str | None = None,
        attachments: Sequence[Mapping[str, Any]] = (),
    ) -> Outcome[Any]:
        """Asks an agent, or runs a workflow, and waits for the answer.

        Cancelling the task stops the work, down to functions of yours that it awaits; the run can be resumed.

        Args:
            agent: The name of an agent or workflow that is registered, or an agent or workflow itself, which becomes
                known under its name unless that is taken.
            input: The question, or arguments; anything that has a form in JSON.
            capability: One capability of the agent, whose schemas then apply.
            timeout: Seconds that the run may take.
            tenant: Whose run this is; the engine's by default.
            user: Who asks: whose budgets and limits apply. It is recorded with the run.
            id: The id of the run, a UUID, for a host that must know it before the run begins; a new one by default.
            attachments: Pictures and files that come with the question: dicts with the `type` `image` or `document`,
                with `media_type` and `data` (bytes, or base64), or with `url`; a `document` may have a `name`.

        Raises:
            RaptorflowError: One of its classes; `error.run_id` can be resumed.
        """
        load = self._load_of(agent, capability)
        ask = _ask(agent, input, capability, timeout, tenant, user, id, attachments)
        return outcome_of(await self._native.run(current_caller(), ask), load)

    def run_sync(
        self,
        agent: str | Agent[Any] | FunctionAgent[..., Any] | Workflow | Pattern,
        input: Any = None,
        *,
        capability: str | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
        user: str | None = None,
        id: str | None = None,
        attachments: Sequence[Mapping[str, Any]] = (),
    ) -> Outcome[Any]:
        """The same for code that is not async; also in a notebook. An interrupt (Ctrl-C) stops the work."""
        from ._bridge import run_sync

        return run_sync(
            lambda: self.run(
                agent,
                input,
                capability=capability,
                timeout=timeout,
                tenant=tenant,
                user=user,
                id=id,
                attachments=attachments,
            )
        )

    def stream(
        self,
        agent: str | Agent[Any] | FunctionAgent[..., Any] | Workflow | Pattern,
        input: Any = None,
        *,
        capability: str | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
        user: str | None = None,
        id: str | None = None,
        attachments: Sequence[Mapping[str, Any]] = (),
    ) -> Stream[Any]:
        """Asks an agent and gives everything that the bus tells of the run, as it happens.

        Pieces of the answer come as `message_sent` events, with the text in `event.data["text"]`.
        The run begins with the first event that is asked for; a run that fails raises its error after the last.
        """
        load = self._load_of(agent, capability)
        return Stream(self._native, _ask(agent, input, capability, timeout, tenant, user, id, attachments), load)

    async def start(
        self,
        agent: str | Agent[Any] | FunctionAgent[..., Any] | Workflow | Pattern,
        input: Any = None,
        *,
        capability: str | None = None,
        timeout: float | timedelta | None = None,
        tenant: str | None = None,
        user: str | None = None,
        id: str | None = None,
        attachments: Sequence[Mapping[str, Any]] = (),
    ) -> Run[Any]:
        """Asks an agent, or runs a workflow, in the background; the run goes on when the handle is dropped."""
        load = self._load_of(agent, capability)
        ask = _ask(agent, input, capability, timeout, tenant, user, id, attachments)
        return Run(await self._native.start(current_caller(), ask), load)

    def _load_of(
        self, agent: str | Agent[Any] | FunctionAgent[..., Any] | Workflow | Pattern, capability: str | None
    ) -> Callable[[Any], Any] | None:
        """What makes an answer of JSON."""
        if capability:
            return None
        if isinstance(agent, str):
            return self._loaders.get(agent)
        if agent._load is not None and agent.name not in self.agents:
            self._loaders[agent.name] = agent._load
        return agent._load

    async def resume(self, run_id: str) -> Outcome[Any]:
        """Takes up a run whose process ended, or that failed, and waits for its answer.

        Nothing that is recorded is done again; a run that is complete gives its recorded answer.
        """
        load: Callable[[Any], Any] | None = None
        if self._loaders:
            for entry in await self.history(run_id, limit=2):
                if entry.fact == "execution_started" and entry.data.get("capability") is None:
                    load = self._loaders.get(entry.data["target"])
                elif entry.fact == "form_recorded":
                    # The answer has the form that was asked for, and not the agent's own.
                    load = None
        return outcome_of(await self._native.resume(current_caller(), run_id), load)

    async def cancel(self, run_id: str) -> None:
        """Cancels a run for good."""
        await self._native.cancel(current_bridge(), run_id)

    async def signal(self, run_id: str, name: str, value: Any = None, by: str | None = None) -> None:
        """Answers a gate of a run, or says something to it; a run that is not at work finds it when it is resumed.

        Args:
            name: The path of the gate: its name, behind the names of the steps that it is inside of, joined with `/`.
            value: The answer.
            by: Who gives it.

        Raises:
            NotFoundError: No such run, or no such gate in it.
            ConflictError: The run has ended, or the gate was answered.
            InvalidInputError: The gate does not take this answer.
            PermissionDeniedError: The gate takes no answer from `by`.
        """
        await self._native.signal(current_bridge(), run_id, name, value, by)

    async def pause(self, run_id: str) -> None:
        """Asks a workflow to begin nothing new; what is under way goes on, and `resume` lets it go on."""
        await self._native.pause(current_bridge(), run_id)

    async def fork(self, run_id: str, at: int) -> str:
        """The id of a new run with the first `at` entries of another; `resume` continues it."""
        return await self._native.fork(current_bridge(), run_id, at)

    async def state(self, run_id: str, at: int | None = None) -> dict[str, Any]:
        """What a run looks like after its first `at` entries, or now.

        A dict with the fields of a `RunSummary`, and with `input`, `steps` (each with `path`, `status`, `started`,
        `ended`, `took` in seconds, `attempts`, `usage`, `cost`, `model_calls`, `tool_calls`, `output` and `error`),
        `questions` that wait for an answer (`path`, `prompt`, `choices`, `schema`, `approvers`, `due`, `since`),
        `timers` (`path`, `due`), `signals` (`name`, `value`, `by`, `time`), `children` (`path`, `run_id`, `target`)
        and `forked_from` (`run_id`, `at`, or `None`).
        """
        state = totals(await self._native.state(current_bridge(), run_id, at))
        state["steps"] = [totals(each) for each in state["steps"]]
        return state

    async def runs(
        self,
        *,
        status: _Status | None = None,
        target: str | None = None,
        started_after: datetime | str | None = None,
        started_before: datetime | str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> RunPage:
        """The runs of the engine's tenant, oldest first, a page at a time.

        Args:
            status: How far they are; any by default.
            target: What they run: the name of an agent, a pack or a workflow.
            started_after: They began at this time or later: a `datetime` with a time zone, or RFC 3339.
            started_before: They began before this time.
            after: Their ids come after this one; the `next` of the page before.
            limit: How many are given at most.
        """
        wanted = {
            "status": status,
            "target": target,
            "started_after": rfc3339(started_after),
            "started_before": rfc3339(started_before),
            "after": after,
            "limit": limit,
        }
        page = await self._native.runs(current_bridge(), wanted)
        return RunPage([RunSummary(**totals(each)) for each in page["runs"]], page["next"])

    async def history(self, run_id: str, *, start: int = 0, limit: int = 1000) -> list[Entry]:
        """What is recorded of a run, oldest first, from a sequence number on."""
        return [Entry(**each) for each in await self._native.history(current_bridge(), run_id, start, limit)]

    async def prune(
        self,
        *,
        max_age: float | timedelta | None = None,
        keep_last: int | None = None,
        failed: bool = False,
    ) -> Pruned:
        """Removes ended runs of the engine's tenant that fulfill every condition; there must be one.

        Args:
            max_age: They ended this many seconds ago or longer.
            keep_last: At least this many runs that ended come after them.
            failed: Whether failed runs count as ended, though they can be resumed.
        """
        policy = {"max_age": seconds(max_age), "keep_last": keep_last, "failed": failed}
        return Pruned(**await self._native.prune(current_bridge(), policy))

    async def remove(self, run_id: str) -> None:
        """Removes a run of the engine's tenant, however far it is.

        Raises:
            NotFoundError: No such run.
            ConflictError: A process works on it.
        """
        await self._native.remove(current_bridge(), run_id)

    async def erase_tenant(self, tenant: str) -> Erased:
        """Forgets everything of a tenant.

        Runs of it that are at work stop at their next entry; knowledge bases that are open keep what they have in
        memory.
        """
        return Erased(**await self._native.erase_tenant(current_bridge(), tenant))

    async def export_tenant(self, tenant: str, path: str | PathLike[str]) -> Archive:
        """Writes everything of a tenant to a file."""
        return Archive(**await self._native.export_tenant(current_bridge(), tenant, path))

    async def import_tenant(self, tenant: str, path: str | PathLike[str]) -> Archive:
        """Reads what `export_tenant` wrote into a tenant that is empty; one that has data is a `ConflictError`."""
        return Archive(**await self._native.import_tenant(current_bridge(), tenant, path))

    async def snapshot(self, path: str | PathLike[str]) -> Archive:
        """Writes every tenant of the store to a file, while the engine works."""
        return Archive(**await self._native.snapshot(current_bridge(), path))

    async def restore(self, path: str | PathLike[str]) -> Archive:
        """Reads what `snapshot` wrote into a store without tenants."""
        return Archive(**await self._native.restore(current_bridge(), path))

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
        await self._native.close(current_bridge())

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


def _ask(
    agent: str | Agent[Any] | FunctionAgent[..., Any] | Workflow | Pattern,
    input: Any,
    capability: str | None,
    timeout: float | timedelta | None,
    tenant: str | None,
    user: str | None,
    id: str | None,
    attachments: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    return {
        "agent": agent if isinstance(agent, str) else agent._native,
        "input": input,
        "capability": capability,
        "timeout": seconds(timeout),
        "tenant": tenant,
        "user": user,
        "id": id,
        "attachments": [attachment_of(each) for each in attachments],
    }
