"""`tool`: a typed function that a model may call."""

from __future__ import annotations

from typing import Any, Callable, Generic, Literal, Mapping, ParamSpec, Sequence, TypeVar, overload

from . import _raptorflow
from ._time import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

    from ._data import Money

    _Effects = Literal["read", "write", "external"]

P = ParamSpec("P")
R = TypeVar("R")


class Tool(Generic[P, R]):
    """A function that a model may call; calling the tool calls the function."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        effects: _Effects = "read",
        timeout: float | timedelta | None = None,
        approval: bool = False,
        rate: tuple[int, float | timedelta] | None = None,
        cost: str | Money | None = None,
        needs: Sequence[str] | None = None,
        _scope: dict[str, Any] | None = None,
    ) -> None:
        from ._function import Signature

        self.function: Callable[P, R] = function
        self.name: str = name or str(getattr(function, "__name__", "tool"))
        signature = Signature(function, f"tool {self.name}", _scope)
        schema, call = signature.arguments()
        self.description: str = signature.docs.summary if description is None else description
        self.parameters: dict[str, Any] = schema if parameters is None else dict(parameters)
        self.effects: _Effects = effects
        self.timeout: float | None = seconds(timeout)
        self._native = _raptorflow.Tool(
            self.name,
            self.description,
            self.parameters,
            call,
            is_async=signature.is_async,
            effects=effects,
            timeout=self.timeout,
            approval=approval,
            rate=rate and (rate[0], round(seconds(rate[1]) or 0)),
            cost=None if cost is None else str(cost),
            needs=None if needs is None else list(needs),
        )
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Tool(name={self.name!r}, effects={self.effects!r})"


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    function: None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    effects: _Effects = "read",
    timeout: float | timedelta | None = None,
    approval: bool = False,
    rate: tuple[int, float | timedelta] | None = None,
    cost: str | Money | None = None,
    needs: Sequence[str] | None = None,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a tool of a function, plain or async.

    The name, the description and the JSON Schema of the parameters come from the function's name, docstring and type
    hints, unless given; with `parameters` given, the function gets them by name as they are.
    A first parameter named `ctx` gets the `Context` of the run and is not part of the schema.
    A plain function runs on a thread, an async one on the loop of who started the run.

    Args:
        name: What the model calls it; the function's name by default.
        description: What it does and when to use it; the docstring's first paragraph by default.
        parameters: A JSON Schema of the parameters.
        effects: What a call changes. Tools that only `read` run side by side, others one after another.
        timeout: Seconds that one call may take; 30 by default.
        approval: Whether each call waits until a person approves it; see `Engine.pending_approvals`.
        rate: How often it may be called in a process: so many calls in so many seconds, whole ones.
        cost: What one call costs, such as `"0.01 USD"`, in the run and in budgets; nothing by default.
        needs: What an agent with a list of grants must have in it; the tool's name by default.
    """
    from ._function import scope_of_caller

    scope = scope_of_caller(1)
    if function is not None:
        return Tool(function, _scope=scope)
    return lambda function: Tool(function, **options, _scope=scope)


def native(given: Tool[..., Any] | Callable[..., Any]) -> _raptorflow.Tool:
    """The handle of a tool, or of a function that becomes one."""
    return (given if isinstance(given, Tool) else Tool(given))._native
