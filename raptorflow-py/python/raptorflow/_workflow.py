"""`Workflow`: steps that follow each other and survive a crash, collected here and checked by core."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Literal, Mapping, Sequence, Union

from . import _raptorflow
from ._time import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from typing_extensions import Self

    from ._agent import Agent, FunctionAgent
    from ._tool import Tool

    _Named = Union[str, Agent[Any], FunctionAgent[..., Any], "Workflow"]
    _After = Union[str, tuple[str, Mapping[str, Any]], Mapping[str, Any]]
    _Aggregate = Literal[
        "all", "first", "combine", "consensus", "majority", "merge", "priority", "average", "vote", "best"
    ]
    _Function = Callable[..., Any]


class Workflow:
    """A graph of steps that an engine runs durably: what is recorded is not done again.

        flow = (
            rf.Workflow("launch")
            .step("research", agent="researcher")
            .gate("approve", after=["research"], prompt="Publish this?")
            .step("publish", fn=publish, input={"text": "$research"}, after=["approve"])
        )
        run = await engine.start(flow, {"topic": "lamps"})
        await engine.signal(run.id, "approve", True)

    Inputs and outputs are JSON with references: `$input` is what the workflow was given, `$research` what a step gave,
    `$research/title` a part of it.
    All problems of it are told at once by what registers or runs it, as `diagnostics` of an `InvalidInputError`.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        timeout: float | timedelta | None = None,
        parallel: int | None = None,
        output: Any = None,
    ) -> None:
        """Begins a workflow without steps.

        Args:
            name: Its name, unique among the agents and workflows of an engine.
            description: What it does and when to choose it.
            timeout: Seconds for the work of the whole, without the time in which it only waits for people or timers;
                3,600 by default.
            parallel: How many steps run at the same time; 64 by default.
            output: What it gives, with references; by default the output of its last step, or an object of the outputs
                by name where several steps are last.
        """
        self._spec: dict[str, Any] = {"name": name, "steps": []}
        _put(self._spec, description=description or None, timeout=seconds(timeout), parallel=parallel, output=output)
        self._functions: dict[str, tuple[_Function, bool]] = {}
        self._built: _raptorflow.Agent | None = None

    @classmethod
    def from_toml(cls, text: str, functions: Mapping[str, _Function] | None = None) -> Self:
        """A workflow in TOML, with the functions that its steps name."""
        return cls._read(_raptorflow.read_workflow(text, "toml"), functions)

    @classmethod
    def from_json(cls, text: str, functions: Mapping[str, _Function] | None = None) -> Self:
        """A workflow in JSON, with the functions that its steps name."""
        return cls._read(_raptorflow.read_workflow(text, "json"), functions)

    @classmethod
    def _read(cls, spec: dict[str, Any], functions: Mapping[str, _Function] | None) -> Self:
        made = cls(spec["name"])
        made._spec = spec
        for name, function in (functions or {}).items():
            made._give(name, function)
        return made

    @property
    def name(self) -> str:
        """Its name."""
        name: str = self._spec["name"]
        return name

    def to_dict(self) -> dict[str, Any]:
        """It as data, for `from_json`; functions stand in it by name."""
        spec: dict[str, Any] = _copy(self._spec)
        return spec

    def step(
        self,
        name: str,
        *,
        agent: _Named | None = None,
        agents: Sequence[_Named] | None = None,
        tool: str | Tool[..., Any] | None = None,
        fn: _Function | None = None,
        workflow: Workflow | None = None,
        repeat: Mapping[str, Any] | None = None,
        timer: float | timedelta | datetime | str | Mapping[str, Any] | None = None,
        after: str | Iterable[_After] = (),
        input: Any = None,
        map: Any = None,
        parallel: int | None = None,
        timeout: float | timedelta | None = None,
        retries: int | None = None,
        retry_delay: float | timedelta | None = None,
        optional: bool = False,
        compensate: _Function | Mapping[str, Any] | None = None,
        aggregate: _Aggregate | None = None,
        capability: str | None = None,
        join: Literal["all", "any"] | None = None,
        version: str | None = None,
        description: str = "",
    ) -> Self:
        """Adds a step, which is exactly one of `agent`, `agents`, `tool`, `fn`, `workflow`, `repeat` and `timer`.

        Args:
            name: Its name, unique in the workflow.
            agent: An agent or a workflow that the engine knows.
            agents: Several agents that work at the same time; see `aggregate`.
            tool: A tool that the engine knows; its input must be an object.
            fn: A function, plain or async, that takes the step's input, and the `Context` of the run as a first
                parameter named `ctx` or as a second one. `ctx.idempotency_key` is the same for every attempt, also
                after a crash.
            workflow: The steps of another workflow as one step.
            repeat: `{"workflow": flow, "at_most": 5, "until": condition}`: another workflow again and again, first
                with the step's input, then with its own output before.
            timer: A wait, also over restarts: seconds, a point in time, or a reference to one.
            after: The steps that must be settled before: names, or pairs of a name and a condition of its output like
                `("score", {"at": "/value", "at_least": 0.7})`.
            input: What it is given, with references; by default what the step before it gave.
            map: A reference to a list, each item of which is worked on by itself, as `$item`.
            parallel: How many items of `map` are worked on at the same time; 16 by default.
            timeout: Seconds for one attempt; 30 by default.
            retries: How often it is tried again when it fails; 3 by default.
            retry_delay: Seconds before it is tried again, doubled for each further try; 0.5 by default.
            optional: Whether the workflow goes on, with `None` as the output, when the step fails.
            compensate: What takes the step back when the workflow fails after it: a function, `{"tool": name}` or
                `{"agent": name}`; it is given the step's output.
            aggregate: How the answers of several agents become one value; `all` by default.
            capability: The capability that is wanted of the agents.
            join: Whether `all` of `after` must have been taken, the default, or `any` of them.
            version: Which version of its function this is; a run that is resumed with another one is refused.
            description: What it is for.
        """
        spec: dict[str, Any] = {"name": name}
        _put(
            spec,
            description=description or None,
            agent=None if agent is None else _name(agent),
            agents=None if agents is None else [_name(each) for each in agents],
            capability=capability,
            aggregate=aggregate,
            tool=None if tool is None else _name(tool),
            workflow=None if workflow is None else self._nested(name, workflow),
            repeat=None if repeat is None else self._repeat(name, repeat),
            timer=None if timer is None else _timer(timer),
            after=_after(after) or None,
            join=join,
            input=input,
            map=map,
            parallel=parallel,
            timeout=seconds(timeout),
            retries=retries,
            retry_delay=seconds(retry_delay),
            optional=optional or None,
            version=version,
        )
        if fn is not None:
            spec["function"] = name
            self._give(name, fn)
        if callable(compensate):
            spec["compensate"] = {"function": f"{name}.undo"}
            self._give(f"{name}.undo", compensate)
        elif compensate is not None:
            spec["compensate"] = dict(compensate)
        return self._add(spec)

    def gate(
        self,
        name: str,
        *,
        after: str | Iterable[_After] = (),
        prompt: str = "",
        choices: Sequence[Any] | None = None,
        schema: Mapping[str, Any] | None = None,
        approvers: Sequence[str] | None = None,
        timeout: float | timedelta | None = None,
        default: Any = None,
        join: Literal["all", "any"] | None = None,
        description: str = "",
    ) -> Self:
        """Adds a question to people, which `engine.signal` answers; an answer of `False` skips what comes after.

        Args:
            name: Its name, which a signal gives.
            after: The steps that must be settled before; see `step`.
            prompt: What is asked.
            choices: The answers that are possible; any by default.
            schema: The form of the answer, as a JSON Schema.
            approvers: Who may answer; anybody by default.
            timeout: Seconds to wait for an answer; as long as it takes by default.
            default: The answer when nobody gave one in time; without it the step fails then.
            join: Whether `all` of `after` must have been taken, the default, or `any` of them.
            description: What it is for.
        """
        gate: dict[str, Any] = {}
        _put(
            gate,
            prompt=prompt or None,
            choices=None if choices is None else list(choices),
            schema=schema,
            approvers=None if approvers is None else list(approvers),
            timeout=seconds(timeout),
            default=default,
        )
        spec: dict[str, Any] = {"name": name, "gate": gate}
        _put(spec, description=description or None, after=_after(after) or None, join=join)
        return self._add(spec)

    def _add(self, spec: dict[str, Any]) -> Self:
        self._spec["steps"].append(spec)
        self._built = None
        return self

    def _give(self, name: str, function: _Function) -> None:
        from ._agent import _load_of
        from ._function import Signature

        owner = f"step {name}"
        signature = Signature(function, owner, None)
        self._functions[name] = (signature.step(lambda hint: _load_of(hint, owner)), signature.is_async)

    def _nested(self, step: str, flow: Workflow) -> dict[str, Any]:
        """Another workflow's data, whose functions have the step's name in front of theirs here."""
        spec = flow.to_dict()
        _rename(spec, step)
        for name, function in flow._functions.items():
            self._functions[f"{step}.{name}"] = function
        return spec

    def _repeat(self, step: str, repeat: Mapping[str, Any]) -> dict[str, Any]:
        flow = repeat.get("workflow")
        return {**repeat, "workflow": self._nested(step, flow)} if isinstance(flow, Workflow) else {**repeat}

    @property
    def _native(self) -> _raptorflow.Agent:
        if self._built is None:
            functions = [(name, function, is_async) for name, (function, is_async) in self._functions.items()]
            self._built = _raptorflow.Agent.workflow(self._spec, functions)
        return self._built

    _load = None

    def __repr__(self) -> str:
        return f"Workflow(name={self.name!r}, steps={len(self._spec['steps'])})"


def _put(spec: dict[str, Any], **fields: Any) -> None:
    """The fields that were given."""
    spec.update((name, value) for name, value in fields.items() if value is not None)


def _name(given: Any) -> Any:
    """The name of an agent or a tool; a name stands for itself."""
    return given if isinstance(given, str) else getattr(given, "name", given)


def _after(after: str | Iterable[_After]) -> list[Any]:
    steps: Iterable[_After] = (after,) if isinstance(after, str) else after
    return [{"step": each[0], "when": each[1]} if isinstance(each, tuple) else each for each in steps]


def _timer(timer: Any) -> Any:
    if isinstance(timer, Mapping):
        fields: dict[str, Any] = {**timer}
        _put(fields, seconds=seconds(fields.get("seconds")))
        return fields
    if isinstance(timer, str):
        return {"until": timer}
    if hasattr(timer, "isoformat"):
        return {"until": timer.isoformat()}
    return {"seconds": seconds(timer)}


def _rename(spec: dict[str, Any], step: str) -> None:
    for each in spec.get("steps", ()):
        for holder in (each, each.get("compensate")):
            if holder and "function" in holder:
                holder["function"] = f"{step}.{holder['function']}"
        for inner in (each.get("workflow"), (each.get("repeat") or {}).get("workflow")):
            if inner:
                _rename(inner, step)


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(each) for key, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, (list, tuple)) else value
