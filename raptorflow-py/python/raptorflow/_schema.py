"""Type hints to JSON Schema, and JSON back to what the hints say; loaded when a tool or agent is made."""

from __future__ import annotations

import collections.abc
import enum
import types
import typing
from typing import Any, Callable, Union

from ._docs import documented
from .errors import InvalidInputError

Load = Callable[[Any], Any]


class Shape:
    """What a hint means: its schema, how JSON becomes its value, and whether JSON looks like it."""

    __slots__ = ("schema", "load", "fits")

    def __init__(self, schema: dict[str, Any], load: Load | None, fits: Callable[[Any], bool]) -> None:
        self.schema = schema
        self.load = load
        """`None` where JSON is the value already."""
        self.fits = fits
        """A look at the surface, to choose among the members of a union."""

    def described(self, text: str) -> Shape:
        """The same with a description for the model."""
        return Shape({**self.schema, "description": text}, self.load, self.fits)


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)


def _anything(_: Any) -> bool:
    return True


_PLAIN: dict[Any, Shape] = {
    str: Shape({"type": "string"}, None, _is(str)),
    bool: Shape({"type": "boolean"}, None, _is(bool)),
    int: Shape({"type": "integer"}, int, lambda value: _is(int, float)(value) and value == int(value)),
    float: Shape({"type": "number"}, float, _is(int, float)),
    type(None): Shape({"type": "null"}, None, lambda value: value is None),
    Any: Shape({}, None, _anything),
    object: Shape({}, None, _anything),
}
_ARRAYS: dict[Any, Callable[[Any], Any]] = {
    list: list,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    set: set,
    collections.abc.Set: set,
    frozenset: frozenset,
}
_MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


class Builder:
    """Builds shapes that share one list of definitions."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self.definitions: dict[str, Any] = {}
        self._open: dict[type, bool] = {}
        self._closed: dict[type, Shape] = {}

    def root(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema with the definitions that it refers to."""
        return {**schema, "$defs": self.definitions} if self.definitions else schema

    def shape(self, hint: Any, place: str) -> Shape:
        """The shape of a hint; `place` is named when there is none."""
        try:
            plain = _PLAIN.get(hint)
        except TypeError:
            # `Annotated` with a note that has no hash.
            plain = None
        if plain is not None:
            return plain
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            return self._annotated(hint, place)
        if origin is typing.Literal:
            return self._literal(typing.get_args(hint))
        if origin is Union or isinstance(hint, types.UnionType):
            return self._union(typing.get_args(hint), place)
        if origin is not None or hint in _ARRAYS or hint in _MAPS or hint is tuple:
            return self._container(origin or hint, typing.get_args(hint), place)
        if isinstance(hint, typing.TypeVar) or hint is typing.Any:
            return _PLAIN[Any]
        for inner in ("__supertype__", "__value__"):
            if hasattr(hint, inner):
                return self.shape(getattr(hint, inner), place)
        if isinstance(hint, type):
            return self._class(hint, place)
        raise self._refused(hint, place)

    def _refused(self, hint: Any, place: str) -> InvalidInputError:
        name = getattr(hint, "__qualname__", None) or str(hint)
        return InvalidInputError(
            "the type has no JSON Schema; use str, int, float, bool, list, dict, Optional, Union, Literal, an Enum, "
            "a dataclass, a TypedDict or a pydantic model",
            operation="python.schema",
            context={"of": self._owner, "at": place, "type": name},
        )

    def _annotated(self, hint: Any, place: str) -> Shape:
        inner, *notes = typing.get_args(hint)
        shape = self.shape(inner, place)
        for note in notes:
            text = note if isinstance(note, str) else getattr(note, "description", None)
            if isinstance(text, str):
                shape = shape.described(text)
        return shape

    def _literal(self, values: tuple[Any, ...]) -> Shape:
        return Shape({"enum": list(values)}, None, lambda value: value in values)

    def _union(self, members: tuple[Any, ...], place: str) -> Shape:
        shapes = [self.shape(member, place) for member in members]

        def load(value: Any) -> Any:
            for shape in shapes:
                if shape.fits(value):
                    return shape.load(value) if shape.load else value
            return value

        needed = any(shape.load for shape in shapes)
        return Shape(
            {"anyOf": [shape.schema for shape in shapes]},
            load if needed else None,
            lambda value: any(shape.fits(value) for shape in shapes),
        )

    def _container(self, origin: Any, arguments: tuple[Any, ...], place: str) -> Shape:
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            return self._tuple(arguments, place)
        if origin is tuple or origin in _ARRAYS:
            make = tuple if origin is tuple else _ARRAYS[origin]
            item = self.shape(arguments[0], place) if arguments else _PLAIN[Any]
            schema: dict[str, Any] = {"type": "array", "items": item.schema} if arguments else {"type": "array"}
            if make in (set, frozenset):
                schema["uniqueItems"] = True
            if make is list and item.load is None:
                return Shape(schema, None, _is(list))
            inner = item.load or (lambda value: value)
            return Shape(schema, lambda value: make(inner(each) for each in value), _is(list))
        if origin in _MAPS:
            if arguments and arguments[0] is not str:
                raise self._refused(f"dict with keys of {arguments[0]}", place)
            item = self.shape(arguments[1], place) if arguments else _PLAIN[Any]
            schema = {"type": "object"}
            if item.schema:
                schema["additionalProperties"] = item.schema
            each_load = item.load
            if each_load is None:
                return Shape(schema, None, _is(dict))
            return Shape(schema, lambda value: {key: each_load(each) for key, each in value.items()}, _is(dict))
        raise self._refused(origin, place)

    def _tuple(self, members: tuple[Any, ...], place: str) -> Shape:
        shapes = [self.shape(member, place) for member in members]
        count = len(shapes)
        schema = {
            "type": "array",
            "prefixItems": [shape.schema for shape in shapes],
            "minItems": count,
            "maxItems": count,
        }

        def load(value: Any) -> Any:
            return tuple(shape.load(each) if shape.load else each for shape, each in zip(shapes, value))

        return Shape(schema, load, lambda value: isinstance(value, list) and len(value) == count)

    def _class(self, hint: type, place: str) -> Shape:
        if issubclass(hint, enum.Enum):
            values = [member.value for member in hint]
            return Shape({"enum": values}, hint, lambda value: value in values)
        if hasattr(hint, "model_json_schema"):
            return self._pydantic(hint)
        if hint in self._closed:
            return self._closed[hint]
        if hint in self._open:
            # A type that holds itself: a reference, and a look-up of the shape that is ready by then.
            self._open[hint] = True
            closed = self._closed
            return Shape(
                {"$ref": f"#/$defs/{hint.__name__}"}, lambda value: _loaded(closed[hint], value), _is(dict)
            )
        fields = _dataclass_fields(hint) or _typed_dict_fields(hint)
        if fields is None:
            raise self._refused(hint, place)
        return self._object(hint, fields, place)

    def _pydantic(self, hint: Any) -> Shape:
        schema = dict(hint.model_json_schema())
        self.definitions.update(schema.pop("$defs", {}))
        required = set(schema.get("required", ()))
        return Shape(
            schema, hint.model_validate, lambda value: isinstance(value, dict) and required <= value.keys()
        )

    def _object(self, hint: type, fields: _Fields, place: str) -> Shape:
        self._open[hint] = False
        hints = typing.get_type_hints(hint, include_extras=True)
        shapes = {name: self.shape(_unwrapped(hints[name]), f"{place}.{name}") for name in fields.names}
        properties = {name: shape.schema for name, shape in shapes.items()}
        for name, text in documented(hint).parameters.items():
            if name in properties and "description" not in properties[name]:
                properties[name] = {**properties[name], "description": text}
        schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        if fields.required:
            schema["required"] = fields.required
        loaders = {name: shape.load for name, shape in shapes.items() if shape.load}

        def load(value: Any) -> Any:
            return fields.make(
                **{name: loaders[name](each) if name in loaders else each for name, each in value.items()}
            )

        required = set(fields.required)
        shape = Shape(schema, load, lambda value: isinstance(value, dict) and required <= value.keys())
        if self._open.pop(hint):
            self.definitions[hint.__name__] = schema
            shape = Shape({"$ref": f"#/$defs/{hint.__name__}"}, shape.load, shape.fits)
        self._closed[hint] = shape
        return shape


def _loaded(shape: Shape, value: Any) -> Any:
    return shape.load(value) if shape.load else value


class _Fields:
    def __init__(self, names: list[str], required: list[str], make: Callable[..., Any]) -> None:
        self.names = names
        self.required = required
        self.make = make


def _dataclass_fields(hint: Any) -> _Fields | None:
    found = getattr(hint, "__dataclass_fields__", None)
    if found is None:
        return None
    from dataclasses import MISSING, fields

    given = [field for field in fields(hint) if field.init]
    required = [
        field.name for field in given if field.default is MISSING and field.default_factory is MISSING
    ]
    return _Fields([field.name for field in given], required, hint)


def _typed_dict_fields(hint: Any) -> _Fields | None:
    required = getattr(hint, "__required_keys__", None)
    if required is None or not issubclass(hint, dict):
        return None
    names = list(hint.__annotations__)
    for base in hint.__mro__ if hasattr(hint, "__mro__") else ():
        names += [name for name in getattr(base, "__annotations__", {}) if name not in names]
    return _Fields(names, [name for name in names if name in required], dict)


def _unwrapped(hint: Any) -> Any:
    """A hint without `Required`, `NotRequired` and `ReadOnly`, which say nothing about the value."""
    name = getattr(typing.get_origin(hint), "_name", None)
    return typing.get_args(hint)[0] if name in ("Required", "NotRequired", "ReadOnly") else hint
