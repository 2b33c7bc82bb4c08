"""The native module: handles to the engine, which the classes of `raptorflow` wrap."""

from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context as Variables
from datetime import datetime
from os import PathLike
from typing import Any, Literal, final

__all__ = [
    "Agent",
    "Answer",
    "Bridge",
    "Cassette",
    "Context",
    "Embedder",
    "Engine",
    "Event",
    "EventBus",
    "Hook",
    "KnowledgeBase",
    "Pack",
    "ReplayModel",
    "Rerank",
    "Run",
    "ScriptedModel",
    "SkillRegistry",
    "Stream",
    "Subscription",
    "Tool",
    "load_folder",
    "read_workflow",
    "report_markdown",
    "text_tokens",
    "vector_dimension",
]

_Caller = tuple[Bridge, Variables]

@final
class Bridge:
    """Carries jobs from the engine's threads to one asyncio loop, which it does not keep alive."""

    def __new__(cls, event_loop: AbstractEventLoop) -> Bridge: ...

@final
class Context:
    """The run that a function is called in; the first parameter named `ctx` gets it."""

    @property
    def run_id(self) -> str:
        """The run."""

    @property
    def tenant(self) -> str:
        """The tenant; storage keeps tenants apart."""

    @property
    def user(self) -> str | None:
        """Who asked, where the host said so."""

    @property
    def path(self) -> str:
        """The place inside the run, steps joined with `/`; empty at its top."""

    @property
    def lineage(self) -> list[str]:
        """The agents above this call, outermost first."""

    @property
    def deadline(self) -> datetime | None:
        """When the work must be over."""

    @property
    def idempotency_key(self) -> str | None:
        """A key that stays the same when this step is tried again, also after a crash."""

    @property
    def is_cancelled(self) -> bool:
        """Whether the run was cancelled; a plain function that takes long looks at it from time to time."""

@final
class Tool:
    """A tool that is a function; it gets a context and the arguments as a dict."""

    def __new__(
        cls,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        function: Callable[[Context, dict[str, Any]], Any],
        *,
        is_async: bool,
        effects: str,
        timeout: float | None,
        approval: bool,
        rate: tuple[int, int] | None,
        cost: str | None,
        needs: list[str] | None,
    ) -> Tool: ...

@final
class Hook:
    """A hook of functions, each with its moment and whether it is async."""

    def __new__(
        cls, name: str, functions: Sequence[tuple[str, Callable[[Context, dict[str, Any]], Any], bool]]
    ) -> Hook: ...

@final
class Agent:
    """Anything that an engine runs by its name."""

    def __new__(cls, spec: Mapping[str, Any], tools: Sequence[Tool], hooks: Sequence[Hook]) -> Agent: ...
    @staticmethod
    def function(
        spec: Mapping[str, Any], function: Callable[[Context, Any], Any], is_async: bool
    ) -> Agent: ...
    @staticmethod
    def workflow(
        spec: Mapping[str, Any], functions: Sequence[tuple[str, Callable[[Context, Any], Any], bool]]
    ) -> Agent: ...
    @staticmethod
    def pattern(spec: Mapping[str, Any]) -> Agent: ...
    @property
    def name(self) -> str: ...
    @property
    def spec(self) -> dict[str, Any]: ...

@final
class Engine:
    """Agents, models, journals and a bus."""

    def __new__(
        cls,
        storage: str | None,
        *,
        default_model: str | None,
        tools: Sequence[Tool],
        tenant: str | None,
        owner: str | None,
        config: Mapping[str, Any],
        cache_embedder: Embedder | None,
        cassette: Cassette | None,
    ) -> Engine: ...
    def for_tenant(self, tenant: str) -> Engine: ...
    def register(self, agent: Agent) -> None: ...
    def add_hook(self, hook: Hook) -> None: ...
    def register_model(
        self,
        name: str,
        function: Callable[[Context, dict[str, Any]], Any],
        *,
        is_async: bool,
        tools: bool,
        structured: bool,
        images: bool,
        documents: bool,
        reasoning: bool,
        context_window: int | None,
    ) -> None: ...
    def register_double(self, name: str, model: ScriptedModel | ReplayModel) -> None: ...
    def install(self, pack: Pack) -> None: ...
    def install_skills(self, skills: SkillRegistry) -> None: ...
    def use_knowledge(self, knowledge: KnowledgeBase) -> None: ...
    def run(self, caller: _Caller, ask: Mapping[str, Any]) -> Awaitable[dict[str, Any]]: ...
    def start(self, caller: _Caller, ask: Mapping[str, Any]) -> Awaitable[Run]: ...
    def stream(self, caller: _Caller, ask: Mapping[str, Any]) -> Stream: ...
    def ask(self, caller: _Caller, question: Mapping[str, Any]) -> Awaitable[dict[str, Any]]: ...
    def ask_stream(self, caller: _Caller, question: Mapping[str, Any]) -> Answer: ...
    def resume(self, caller: _Caller, run: str) -> Awaitable[dict[str, Any]]: ...
    def cancel(self, bridge: Bridge, run: str) -> Awaitable[None]: ...
    def signal(self, bridge: Bridge, run: str, name: str, value: Any, by: str | None) -> Awaitable[None]: ...
    def approvals(self, bridge: Bridge, run: str | None) -> Awaitable[list[dict[str, Any]]]: ...
    def answer_approval(
        self, bridge: Bridge, run: str, id: str, digest: str, approved: bool, by: str | None, reason: str | None
    ) -> Awaitable[None]: ...
    def pause(self, bridge: Bridge, run: str) -> Awaitable[None]: ...
    def fork(self, bridge: Bridge, run: str, at: int) -> Awaitable[str]: ...
    def state(self, bridge: Bridge, run: str, at: int | None) -> Awaitable[dict[str, Any]]: ...
    def runs(self, bridge: Bridge, wanted: Mapping[str, Any]) -> Awaitable[dict[str, Any]]: ...
    def history(
        self, bridge: Bridge, run: str, start: int, limit: int
    ) -> Awaitable[list[dict[str, Any]]]: ...
    def prune(self, bridge: Bridge, policy: Mapping[str, Any]) -> Awaitable[dict[str, int]]: ...
    def remove(self, bridge: Bridge, run: str) -> Awaitable[None]: ...
    def erase_tenant(self, bridge: Bridge, tenant: str) -> Awaitable[dict[str, int]]: ...
    def export_tenant(
        self, bridge: Bridge, tenant: str, path: str | PathLike[str]
    ) -> Awaitable[dict[str, Any]]: ...
    def import_tenant(
        self, bridge: Bridge, tenant: str, path: str | PathLike[str]
    ) -> Awaitable[dict[str, Any]]: ...
    def snapshot(self, bridge: Bridge, path: str | PathLike[str]) -> Awaitable[dict[str, Any]]: ...
    def restore(self, bridge: Bridge, path: str | PathLike[str]) -> Awaitable[dict[str, Any]]: ...
    def set_cap(
        self, bridge: Bridge, whose: Mapping[str, str | None], window: str, cap: Mapping[str, Any]
    ) -> Awaitable[None]: ...
    def approve_spending(self, bridge: Bridge, run: str, up_to: Any) -> Awaitable[None]: ...
    def balance(self, bridge: Bridge, whose: Mapping[str, str | None]) -> Awaitable[dict[str, Any]]: ...
    def usage(self, bridge: Bridge, filter: Mapping[str, Any]) -> Awaitable[dict[str, Any]]: ...
    def predict(self, model: str, work: Mapping[str, Any]) -> dict[str, Any]: ...
    def breakers(self) -> list[dict[str, Any]]: ...
    def rate_limits(self) -> list[dict[str, Any]]: ...
    def cache_stats(self) -> dict[str, Any] | None: ...
    def forget_answers(self, skill: str | None) -> int: ...
    def agents(self) -> list[str]: ...
    def bus(self) -> EventBus: ...
    def close(self, bridge: Bridge) -> Awaitable[None]: ...
    def close_sync(self) -> None: ...

@final
class Run:
    """A run in the background."""

    @property
    def id(self) -> str: ...
    def cancel(self) -> None: ...
    def outcome(self, bridge: Bridge) -> Awaitable[dict[str, Any]]: ...
    def events(self) -> Subscription: ...

@final
class Stream:
    """A run that lives as long as somebody listens to it."""

    @property
    def id(self) -> str: ...
    @property
    def events(self) -> Subscription: ...
    def outcome(self, bridge: Bridge) -> Awaitable[dict[str, Any]]: ...

@final
class Answer:
    """An answer that is read as it arrives."""

    @property
    def id(self) -> str: ...
    def next(self, bridge: Bridge) -> Awaitable[tuple[str, Any, str | None] | None]: ...
    def close(self) -> None: ...

@final
class Event:
    """What happened, to whom, when, and what it belongs to."""

    @property
    def id(self) -> str:
        """Its id; ids of one process sort by birth."""

    @property
    def sequence(self) -> int:
        """Its place in the bus's stream."""

    @property
    def time(self) -> datetime:
        """When it happened, in UTC."""

    @property
    def tenant(self) -> str: ...
    @property
    def run_id(self) -> str | None:
        """The run, where it belongs to one."""

    @property
    def path(self) -> str:
        """The place inside the run, steps joined with `/`."""

    @property
    def kind(self) -> str:
        """What happened, for example `agent_started`."""

    @property
    def channel(self) -> str:
        """Where it was told, for example `agent_execution`."""

    @property
    def agent(self) -> str | None:
        """The agent that it is about."""

    @property
    def domain(self) -> str | None:
        """The agent's domain."""

    @property
    def status(self) -> Literal["success", "error", "warning"]:
        """How it went."""

    @property
    def priority(self) -> Literal["low", "normal", "high", "critical"]:
        """How urgent it is."""

    @property
    def duration(self) -> float | None:
        """How many seconds it took."""

    @property
    def data(self) -> dict[str, Any]:
        """Ids, counts and kinds; content only where it was asked for."""

    @property
    def metadata(self) -> dict[str, Any]:
        """The host's own fields."""

    def to_dict(self) -> dict[str, Any]:
        """Everything in it, as JSON types."""

@final
class EventBus:
    """The bus of an engine."""

    def subscribe(
        self, filter: Mapping[str, Any], *, lag: str, capacity: int, at_most: float
    ) -> Subscription: ...
    def history(self, filter: Mapping[str, Any], start: int, limit: int) -> list[Event]: ...
    def stats(self) -> dict[str, int]: ...

@final
class Subscription:
    """Events that are taken in batches."""

    def next_batch(self, bridge: Bridge, max: int) -> Awaitable[tuple[list[Event], int]]: ...
    def close(self) -> None: ...

@final
class Pack:
    """A pack that was read and checked."""

    @staticmethod
    def load(path: str | PathLike[str]) -> Pack: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def teams(self) -> list[str]: ...
    @property
    def agents(self) -> list[str]: ...

@final
class SkillRegistry:
    """A folder of skills."""

    @staticmethod
    def load(path: str | PathLike[str]) -> SkillRegistry: ...
    @staticmethod
    def open(path: str | PathLike[str]) -> SkillRegistry: ...
    def reload(self) -> dict[str, Any]: ...
    def spec(self, id: str) -> dict[str, Any]: ...
    def schemas(self, id: str) -> tuple[dict[str, Any], dict[str, Any]]: ...
    def render(self, id: str, inputs: Any) -> list[dict[str, Any]]: ...
    def types(self, language: str) -> str: ...
    @property
    def diagnostics(self) -> list[str]: ...
    def list(self) -> list[dict[str, Any]]: ...

@final
class ScriptedModel:
    """A model that plays given replies."""

    def __new__(cls) -> ScriptedModel: ...
    def push(self, reply: Any) -> None: ...
    def when_asked(self, text: str, reply: Any) -> None: ...
    def always(self, reply: Any) -> None: ...
    def requests(self) -> list[dict[str, Any]]: ...
    def keys(self) -> list[str | None]: ...
    def remaining(self) -> int: ...

@final
class ReplayModel:
    """A model that gives the answers of a recorded run again."""

    @staticmethod
    def load(path: str | PathLike[str]) -> ReplayModel: ...
    @staticmethod
    def of_run(bridge: Bridge, engine: Engine, run: str) -> Awaitable[ReplayModel]: ...
    def save(self, path: str | PathLike[str]) -> None: ...
    def left(self) -> int: ...

@final
class Cassette:
    """What providers answered, in a file."""

    def __new__(cls, path: str | PathLike[str], mode: str, ignoring: Sequence[str]) -> Cassette: ...
    def left(self) -> int: ...
    def check(self) -> None: ...

@final
class Embedder:
    """Turns text into vectors."""

    @staticmethod
    def hashing(dimension: int) -> Embedder: ...
    @staticmethod
    def function(
        function: Callable[[Context, Any], Any],
        is_async: bool,
        identity: str,
        dimension: int,
        semantic: bool,
    ) -> Embedder: ...
    @staticmethod
    def named(
        provider: str, model: str, base_url: str | None, dimension: int | None, shorten: bool
    ) -> Embedder: ...
    @staticmethod
    def open(bridge: Bridge, name: str) -> Awaitable[Embedder]: ...
    @property
    def identity(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def semantic(self) -> bool: ...
    @property
    def usage(self) -> dict[str, int]: ...

@final
class Rerank:
    """The best candidates of a search are read again."""

    @staticmethod
    def named(settings: Mapping[str, Any], base_url: str | None) -> Rerank: ...
    @staticmethod
    def function(
        settings: Mapping[str, Any], function: Callable[[Context, Any], Any], is_async: bool
    ) -> Rerank: ...

@final
class KnowledgeBase:
    """Documents with their indexes."""

    @staticmethod
    def open(
        caller: _Caller,
        uri: str,
        embedder: Embedder,
        name: str | None,
        tenant: str | None,
        rerank: Rerank | None,
    ) -> Awaitable[KnowledgeBase]: ...
    def add(
        self, caller: _Caller, documents: Sequence[Mapping[str, Any]], strict: bool
    ) -> Awaitable[dict[str, Any]]: ...
    def search(
        self, caller: _Caller, query: str, k: int, mode: str | None, filter: Mapping[str, Any], rerank: bool
    ) -> Awaitable[list[dict[str, Any]]]: ...
    def context(self, caller: _Caller, query: str, max_tokens: int) -> Awaitable[dict[str, Any]]: ...
    def delete(self, caller: _Caller, id: str) -> Awaitable[bool]: ...
    def get(self, id: str) -> dict[str, Any] | None: ...
    def ids(self) -> list[str]: ...

def read_workflow(text: str, format: str) -> dict[str, Any]: ...
def text_tokens(text: str) -> int:
    """About how many tokens a text has: four ASCII characters to a token, and one for any other character."""

def report_markdown(output: Mapping[str, Any]) -> str: ...
def vector_dimension(answer: Any) -> int: ...
def load_folder(
    bridge: Bridge, path: str | PathLike[str]
) -> Awaitable[tuple[list[dict[str, Any]], list[str]]]: ...
