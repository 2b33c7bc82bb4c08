"""Agents: around a model, or a function of yours."""

from __future__ import annotations

from typing import Any, Callable, Generic, Literal, Mapping, ParamSpec, Sequence, TypedDict, TypeVar, overload

from . import _raptorflow
from ._time import seconds
from ._tool import Tool, native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

    from ._data import Money

    _Kind = Literal[
        "router",
        "specialist",
        "coordinator",
        "orchestrator",
        "analyzer",
        "generator",
        "utility",
        "automator",
        "security",
    ]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Limits(TypedDict, total=False):
    """Bounds of one run; at a bound the run ends with what it has, and the outcome says which bound it was."""

    steps: int
    """Calls of the model; 16 by default."""
    tool_calls: int
    """Calls of tools; 64 by default."""
    repeated_calls: int
    """How often one tool may be called with the same arguments in a row; 3 by default."""
    tokens: int
    """Input and output tokens together; no bound by default."""
    cost: Money
    """What all calls of models may cost together; no bound by default. A cost that is not known, for want of a price,
    counts as one that has reached the bound."""
    repairs: int
    """How often an answer that does not fit its schema is sent back; 1 by default."""
    seconds: int
    """Seconds for the whole run, which fails then; no bound by default."""
    depth: int
    """How deep calls of agents by agents may be nested; 5 by default."""
    hook_seconds: int
    """Seconds that a hook may take at one moment; 30 by default."""


class ModelSettings(TypedDict, total=False):
    """How the model is to answer; what is left out is the provider's default."""

    temperature: float
    """Randomness, 0 to 2."""
    top_p: float
    """Of how much of the probable the next token is drawn, above 0 to 1."""
    max_output_tokens: int
    """The longest answer."""
    seed: int
    """With the same seed the provider tries to give the same answer."""
    stop: Sequence[str]
    """Texts before which the answer ends."""
    reasoning: Mapping[str, Any]
    """How much it thinks: `{"effort": "low"}` (or minimal, medium, high), or `{"budget": 2000}` in tokens."""
    parallel_tool_calls: bool
    """Whether it may ask for several tools at a time."""
    keep_prompt: Literal["minutes", "hours"]
    """For how long the provider may keep what it read."""


class _HandoffTo(TypedDict):
    agent: str
    """The agent, by a name that the engine knows when the run begins."""


class Handoff(_HandoffTo, total=False):
    """An agent that the conversation may be handed to; its answer is the answer then."""

    history: Literal["all", "summary", "none"] | Mapping[Literal["last"], int]
    """How much of the conversation goes along; all by default."""
    description: str
    """When to hand over, for the model; the agent's own description by default."""


class Retrieval(TypedDict, total=False):
    """Passages that an agent is given before it is asked."""

    max_tokens: int
    """About how many tokens of passages; 2,000 by default."""
    required: bool
    """Whether the agent fails when there are none."""


class Compaction(TypedDict, total=False):
    """Makes the conversation of a run shorter before it fills the model's context window."""

    at_percent: int
    """Which part of the context window the conversation may fill, in percent; 80 by default."""
    window: int
    """The context window in tokens; that of the model's information by default."""
    keep_turns: int
    """How many of the last turns stay word by word; 4 by default."""
    method: Literal["summarize", "trim"]
    """How older turns are made shorter: by a summary, or by leaving them out; by a summary by default."""
    model: str
    """The model that sums up, as `provider:model`; the agent's own by default."""
    summary_tokens: int
    """The longest summary in tokens; 1,000 by default."""
    on_failure: Literal["fail", "trim"]
    """What happens when a model cannot sum up; the run fails by default."""


class Capability:
    """One thing that an agent can do, with the types of what goes in and comes out."""

    __slots__ = ("name", "description", "input", "output", "timeout")

    def __init__(
        self,
        name: str,
        description: str,
        *,
        input: Any,
        output: Any,
        timeout: float | timedelta = 30.0,
    ) -> None:
        self.name = name
        self.description = description
        self.input: dict[str, Any] = _shape(input, f"capability {name}")[0]
        self.output: dict[str, Any] = _shape(output, f"capability {name}")[0]
        self.timeout = seconds(timeout) or 0.0

    def _plain(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "description": self.description,
            "timeout_seconds": max(1, round(self.timeout)),
            "input": self.input,
            "output": self.output,
        }


class Agent(Generic[T]):
    """An agent that asks a model and lets it use tools."""

    @overload
    def __init__(
        self: Agent[str],
        name: str,
        *,
        model: str | None = None,
        instructions: str = "",
        tools: Sequence[Tool[..., Any] | Callable[..., Any] | str] = (),
        output_type: None = None,
        description: str = "",
        title: str = "",
        kind: _Kind = "specialist",
        tags: Sequence[str] = (),
        capabilities: Sequence[Capability | Mapping[str, Any]] = (),
        retrieval: Retrieval | bool | None = None,
        limits: Limits | None = None,
        agents: Sequence[str] = (),
        handoffs: Sequence[Handoff | str] = (),
        model_settings: ModelSettings | None = None,
        hooks: Sequence[object] = (),
        compaction: Compaction | bool | None = None,
        grants: Sequence[str] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        name: str,
        *,
        model: str | None = None,
        instructions: str = "",
        tools: Sequence[Tool[..., Any] | Callable[..., Any] | str] = (),
        output_type: type[T],
        description: str = "",
        title: str = "",
        kind: _Kind = "specialist",
        tags: Sequence[str] = (),
        capabilities: Sequence[Capability | Mapping[str, Any]] = (),
        retrieval: Retrieval | bool | None = None,
        limits: Limits | None = None,
        agents: Sequence[str] = (),
        handoffs: Sequence[Handoff | str] = (),
        model_settings: ModelSettings | None = None,
        hooks: Sequence[object] = (),
        compaction: Compaction | bool | None = None,
        grants: Sequence[str] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: Agent[Any],
        name: str,
        *,
        model: str | None = None,
        instructions: str = "",
        tools: Sequence[Tool[..., Any] | Callable[..., Any] | str] = (),
        output_type: Mapping[str, Any],
        description: str = "",
        title: str = "",
        kind: _Kind = "specialist",
        tags: Sequence[str] = (),
        capabilities: Sequence[Capability | Mapping[str, Any]] = (),
        retrieval: Retrieval | bool | None = None,
        limits: Limits | None = None,
        agents: Sequence[str] = (),
        handoffs: Sequence[Handoff | str] = (),
        model_settings: ModelSettings | None = None,
        hooks: Sequence[object] = (),
        compaction: Compaction | bool | None = None,
        grants: Sequence[str] | None = None,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        *,
        model: str | None = None,
        instructions: str = "",
        tools: Sequence[Tool[..., Any] | Callable[..., Any] | str] = (),
        output_type: Any = None,
        description: str = "",
        title: str = "",
        kind: _Kind = "specialist",
        tags: Sequence[str] = (),
        capabilities: Sequence[Capability | Mapping[str, Any]] = (),
        retrieval: Retrieval | bool | None = None,
        limits: Limits | None = None,
        agents: Sequence[str] = (),
        handoffs: Sequence[Handoff | str] = (),
        model_settings: ModelSettings | None = None,
        hooks: Sequence[object] = (),
        compaction: Compaction | bool | None = None,
        grants: Sequence[str] | None = None,
    ) -> None:
        """Describes an agent; `engine.register` makes it known.

        Args:
            name: Its name, unique in an engine.
            model: `provider:model`; the engine's default when left out.
            instructions: What its author tells the model: the system message.
            tools: Tools, functions that become tools, and names of tools that the engine has.
            output_type: A dataclass, a pydantic model, any other type with a JSON Schema, or a JSON Schema itself.
                The answer must fit it, and `outcome.output` is an instance of it; text when left out.
            description: What it does and when to choose it.
            title: Its name for people.
            kind: What it is for.
            tags: Words to find it by.
            capabilities: What it can do, each with its own input and output.
            retrieval: Passages of the engine's knowledge base that it is given before it is asked.
            limits: Bounds of one run.
            agents: Names of agents that it may ask, each as a tool of that name.
            handoffs: Agents that it may hand the conversation to.
            model_settings: How the model is to answer.
            hooks: What watches and steers its runs, after the hooks of the engine: a `Hook`, or any object with its
                methods.
            compaction: Makes its conversations shorter before they fill the model's context window; `True` for the
                defaults. They are left alone when left out.
            grants: What it may do: it calls only tools whose `needs` are here, and asks only agents that have no
                more. What its caller may when left out.
        """
        spec: dict[str, Any] = {
            "name": name,
            "title": title,
            "kind": kind,
            "description": description,
            "tags": list(tags),
            "instructions": instructions,
            "model": model,
            "tools": [each for each in tools if isinstance(each, str)],
            "limits": _bounds(limits or {}),
            "agents": list(agents),
            "handoffs": [{"agent": each} if isinstance(each, str) else each for each in handoffs],
            "model_settings": dict(model_settings or {}),
            "capabilities": [each._plain() if isinstance(each, Capability) else each for each in capabilities],
        }
        load: Callable[[Any], Any] | None = None
        if output_type is not None:
            spec["output"], load = _shape(output_type, f"agent {name}")
        if grants is not None:
            spec["grants"] = list(grants)
        if retrieval:
            spec["retrieval"] = {} if retrieval is True else dict(retrieval)
        if compaction:
            spec["compaction"] = {} if compaction is True else dict(compaction)
        self._make(spec, [each for each in tools if not isinstance(each, str)], load, hooks)

    def _make(
        self,
        spec: Mapping[str, Any],
        tools: Sequence[Tool[..., Any] | Callable[..., Any]],
        load: Callable[[Any], Any] | None,
        hooks: Sequence[object],
    ) -> None:
        from ._hook import native as native_hook

        self._native = _raptorflow.Agent(
            spec, [native(each) for each in tools], [native_hook(each) for each in hooks]
        )
        self._load = load

    @staticmethod
    def from_spec(
        spec: Mapping[str, Any],
        *,
        tools: Sequence[Tool[..., Any] | Callable[..., Any]] = (),
        hooks: Sequence[object] = (),
    ) -> Agent[Any]:
        """An agent from data, with the fields of an agent's file in a pack."""
        made: Agent[Any] = Agent.__new__(Agent)
        made._make(spec, tools, None, hooks)
        return made

    @property
    def name(self) -> str:
        """Its name."""
        return self._native.name

    @property
    def spec(self) -> dict[str, Any]:
        """What it is, as data."""
        return self._native.spec

    def __repr__(self) -> str:
        return f"Agent(name={self.name!r})"


class FunctionAgent(Generic[P, R]):
    """An agent that is a function; calling it calls the function."""

    def __init__(
        self,
        name: str,
        function: Callable[P, R],
        *,
        description: str | None = None,
        _scope: dict[str, Any] | None = None,
    ) -> None:
        from ._function import Signature

        owner = f"agent {name}"
        signature = Signature(function, owner, _scope)
        hint = signature.hint(signature.parameters[0].name) if signature.parameters else Any
        self.function: Callable[P, R] = function
        spec = {"name": name, "description": signature.docs.summary if description is None else description}
        call = signature.one(_shape(hint, owner)[1])
        self._native = _raptorflow.Agent.function(spec, call, signature.is_async)
        self._load = _load_of(signature.hint("return"), owner)
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    @property
    def name(self) -> str:
        """Its name."""
        return self._native.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"FunctionAgent(name={self.name!r})"


def agent(
    name: str, *, description: str | None = None
) -> Callable[[Callable[P, R]], FunctionAgent[P, R]]:
    """Makes an agent of a function, plain or async, that takes the input, after `ctx` if it wants that.

    An input that is annotated with a dataclass or pydantic model arrives as an instance of it, and an answer that is
    annotated so comes back as one.
    """
    from ._function import scope_of_caller

    scope = scope_of_caller(1)
    return lambda function: FunctionAgent(name, function, description=description, _scope=scope)


def _bounds(limits: Limits) -> dict[str, Any]:
    plain: dict[str, Any] = dict(limits)
    if "cost" in limits:
        plain["cost"] = {"micros": limits["cost"].micros, "currency": limits["cost"].currency}
    return plain


def _shape(given: Any, owner: str) -> tuple[dict[str, Any], Callable[[Any], Any] | None]:
    """The schema of a type and what makes it of JSON; a schema stands for itself."""
    if isinstance(given, Mapping):
        return dict(given), None
    from ._schema import Builder

    builder = Builder(owner)
    shape = builder.shape(given, "type")
    return builder.root(shape.schema), shape.load


def _load_of(hint: Any, owner: str) -> Callable[[Any], Any] | None:
    """What makes a function's answer of JSON; an answer of another kind stays as it is."""
    from .errors import InvalidInputError

    try:
        return _shape(hint, owner)[1]
    except InvalidInputError:
        return None
