"""Hooks: what watches and steers the runs of agents."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping

from . import _raptorflow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    _Said: TypeAlias = "Verdict | None | Awaitable[Verdict | None]"

MOMENTS = ("before_step", "before_model", "after_model", "before_tool", "after_tool", "handoff", "after_step")


class Verdict:
    """What a hook says at a moment; `None` lets the run go on as it is."""

    __slots__ = ("_plain",)

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self._plain: dict[str, Any] = dict(plain)

    @staticmethod
    def change(value: Any) -> Verdict:
        """Goes on with this in its place: a request, a message, arguments, a result or a handoff, as it was asked."""
        return Verdict({"change": value})

    @staticmethod
    def answer(value: Any) -> Verdict:
        """Takes this as the answer, without the call: before a model a message, before a tool its value."""
        return Verdict({"answer": value})

    @staticmethod
    def refuse(reason: str) -> Verdict:
        """Does not let it happen: the model is told for a tool and a handoff, and the run fails otherwise."""
        return Verdict({"refuse": reason})

    @staticmethod
    def stop(output: Any = None) -> Verdict:
        """Ends the run with this as its answer, or with what the model said last."""
        return Verdict({"stop": output})

    def __repr__(self) -> str:
        return f"Verdict({self._plain!r})"


class Hook:
    """Watches and steers agents; give it to `Agent(hooks=…)`, `Engine(hooks=…)` or `Engine.add_hook`.

    A hook has those of these methods that it wants, plain or async; it may also be any other object that has them.
    Each gets the context and what it is asked as a dict with `moment`, `agent`, `input`, `step`, `usage` and `cost`,
    and gives a `Verdict`, or `None` to go on.
    """

    name: str = ""
    """Its name in errors, events and the journal; that of its class when empty."""

    def before_step(self, ctx: _raptorflow.Context, asked: dict[str, Any], /) -> _Said:
        """A step begins; `asked["messages"]` is the conversation. It cannot be changed or answered."""

    def before_model(self, ctx: _raptorflow.Context, asked: dict[str, Any], /) -> _Said:
        """The model is about to be asked `asked["request"]`."""

    def after_model(self, ctx: _raptorflow.Context, asked: dict[str, Any], /) -> _Said:
        """The model answered with the message `asked["answer"]`."""

    def before_tool(self, ctx: _raptorflow.Context, asked: dict[str, Any], /) -> _Said:
        """The tool `asked["tool"]` is about to be called with `asked["arguments"]`."""

    def after_tool(self, ctx: _raptorflow.Context, asked: dict[str, Any], /) -> _Said:
        """A tool answered `asked["call"]` with `asked["result"]`."""

    def handoff(self, ctx: _raptorflow.Context, asked: dict[str, Any], /) -> _Said:
        """The conversation is about to be handed over, as `asked["handoff"]` says."""

    def after_step(self, ctx: _raptorflow.Context, asked: dict[str, Any], /) -> _Said:
        """A step is over, with `asked["messages"]` and, at the end, `asked["answer"]`."""


class Hooked:
    """What an engine has to do with hooks."""

    _native: _raptorflow.Engine

    def add_hook(self, *hooks: object) -> None:
        """Lets hooks watch and steer all agents that begin to work from now on: a `Hook` each, or any object with its
        methods."""
        for hook in hooks:
            self._native.add_hook(native(hook))


def native(hook: object) -> _raptorflow.Hook:
    """A hook as core takes it: its name, and a function for each moment that it has a method for."""
    from ._function import is_async

    functions: list[tuple[str, Callable[[Any, Any], Any], bool]] = []
    for moment in MOMENTS:
        method = getattr(hook, moment, None)
        if method is None or getattr(type(hook), moment, None) is getattr(Hook, moment):
            continue
        functions.append((moment, _plain(method, is_async(method)), is_async(method)))
    if not functions and not isinstance(hook, Hook):
        from .errors import InvalidInputError

        message = "expected an object with at least one method of a hook, such as `before_tool`"
        raise InvalidInputError(message, operation="python.hook", context={"value": type(hook).__name__})
    return _raptorflow.Hook(str(getattr(hook, "name", "") or type(hook).__name__), functions)


def _plain(method: Callable[[Any, Any], Any], asynchronous: bool) -> Callable[[Any, Any], Any]:
    if not asynchronous:
        return lambda ctx, asked: _said(method(ctx, asked))

    async def call(ctx: Any, asked: Any) -> Any:
        return _said(await method(ctx, asked))

    return call


def _said(verdict: object) -> object:
    if isinstance(verdict, Verdict):
        return verdict._plain
    if verdict is None:
        return None
    if hasattr(verdict, "__await__"):
        return _awaited(verdict)
    from .errors import InvalidOutputError

    message = "the hook gave no verdict; expected a `Verdict` or None"
    raise InvalidOutputError(message, operation="python.hook", context={"value": type(verdict).__name__})


async def _awaited(verdict: Any) -> object:
    return _said(await verdict)
