"""A function of the user as core calls it: with a context and one value of JSON."""

from __future__ import annotations

import inspect
import sys
import typing
from typing import Any, Callable

from . import _raptorflow
from ._docs import Documented, documented
from ._schema import Builder, Load, Shape
from .errors import InvalidInputError

_KINDS = inspect.Parameter


class Signature:
    """What a function takes and gives, from its hints and its docstring."""

    def __init__(self, function: Callable[..., Any], owner: str, scope: dict[str, Any] | None) -> None:
        self.function = function
        self.owner = owner
        self.docs: Documented = documented(function)
        self.is_async = is_async(function)
        self._hints = _hints(function, owner, scope)
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError) as error:
            raise _refused("the function does not say what it takes", owner) from error
        self.takes_context = bool(parameters) and self._is_context(parameters[0])
        self.parameters = parameters[1:] if self.takes_context else parameters

    def _is_context(self, parameter: inspect.Parameter) -> bool:
        return parameter.name == "ctx" or self._hints.get(parameter.name) is _raptorflow.Context

    def hint(self, name: str) -> Any:
        """The hint of a parameter or of `return`; `Any` without one."""
        return self._hints.get(name, Any)

    def arguments(self) -> tuple[dict[str, Any], Callable[[Any, dict[str, Any]], Any]]:
        """The JSON Schema of the parameters, and the function as called with a context and a dict of them."""
        builder = Builder(self.owner)
        properties: dict[str, Any] = {}
        required: list[str] = []
        loaders: dict[str, Load] = {}
        positional: list[str] = []
        extra = False
        for parameter in self.parameters:
            if parameter.kind is _KINDS.VAR_KEYWORD:
                extra = True
                continue
            if parameter.kind is _KINDS.VAR_POSITIONAL:
                raise _refused("`*args` has no JSON Schema; name the parameters", self.owner)
            shape = self._shape(builder, parameter)
            properties[parameter.name] = shape.schema
            if parameter.default is _KINDS.empty:
                required.append(parameter.name)
            if shape.load:
                loaders[parameter.name] = shape.load
            if parameter.kind is _KINDS.POSITIONAL_ONLY:
                positional.append(parameter.name)
        schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": extra}
        if required:
            schema["required"] = required
        return builder.root(schema), self._call(loaders, positional)

    def _shape(self, builder: Builder, parameter: inspect.Parameter) -> Shape:
        shape = builder.shape(self.hint(parameter.name), parameter.name)
        text = self.docs.parameters.get(parameter.name)
        if text and "description" not in shape.schema:
            shape = shape.described(text)
        if parameter.default is not _KINDS.empty and _is_json(parameter.default):
            shape = Shape({**shape.schema, "default": parameter.default}, shape.load, shape.fits)
        return shape

    def _call(self, loaders: dict[str, Load], positional: list[str]) -> Callable[[Any, dict[str, Any]], Any]:
        function, takes_context = self.function, self.takes_context

        def call(ctx: Any, arguments: dict[str, Any]) -> Any:
            for name, load in loaders.items():
                if name in arguments:
                    arguments[name] = load(arguments[name])
            first = [arguments.pop(name) for name in positional if name in arguments]
            return function(ctx, *first, **arguments) if takes_context else function(*first, **arguments)

        return call

    def one(self, load: Load | None) -> Callable[[Any, Any], Any]:
        """The function as called with a context and one value, which `load` makes."""
        if not self.parameters or self.parameters[0].kind in (_KINDS.KEYWORD_ONLY, _KINDS.VAR_KEYWORD):
            raise _refused("the function must take one positional argument, after `ctx` if it has that", self.owner)
        function, takes_context = self.function, self.takes_context

        def call(ctx: Any, value: Any) -> Any:
            if load is not None:
                value = load(value)
            return function(ctx, value) if takes_context else function(value)

        return call

    def step(self, load_of: Callable[[Any], Load | None]) -> Callable[[Any, Any], Any]:
        """The same for a function that may also take the context after the value."""
        load = load_of(self.hint(self.parameters[0].name)) if self.parameters else None
        if self.takes_context or len(self.parameters) < 2 or not self._is_wanted(self.parameters[1]):
            return self.one(load)
        function = self.function
        return lambda ctx, value: function(value if load is None else load(value), ctx)

    def _is_wanted(self, parameter: inspect.Parameter) -> bool:
        positional = parameter.kind in (_KINDS.POSITIONAL_ONLY, _KINDS.POSITIONAL_OR_KEYWORD)
        return positional and (parameter.default is _KINDS.empty or self._is_context(parameter))


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine; callable objects and partials are looked into."""
    inner = inspect.unwrap(function)
    while hasattr(inner, "func") and callable(inner.func):
        inner = inner.func
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(getattr(inner, "__call__", None))


def scope_of_caller(depth: int) -> dict[str, Any]:
    """The local names where a decorator stands, so that hints may name local classes."""
    try:
        return dict(sys._getframe(depth + 1).f_locals)
    except ValueError:
        return {}


def _hints(function: Callable[..., Any], owner: str, scope: dict[str, Any] | None) -> dict[str, Any]:
    target = function if hasattr(function, "__annotations__") else getattr(function, "__call__", function)
    if not hasattr(target, "__annotations__"):
        return {}
    try:
        return typing.get_type_hints(target, localns=scope, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        message = "a type hint cannot be resolved"
        raise InvalidInputError(message, operation="python.schema", context={"of": owner, "reason": error}) from error


def _is_json(value: Any) -> bool:
    if isinstance(value, float):
        return value == value and value not in (float("inf"), float("-inf"))
    return value is None or type(value) in (str, bool, int)


def _refused(message: str, owner: str) -> InvalidInputError:
    return InvalidInputError(message, operation="python.function", context={"of": owner})
