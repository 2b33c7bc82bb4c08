"""Type hints and docstrings become the schema that a model sees, and JSON becomes what the hints say."""

from __future__ import annotations

import asyncio
import enum
import sys
import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, Callable, Literal, Optional, TypedDict, Union

import pytest

import raptorflow as rf


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Item:
    """An item.

    Attributes:
        count: How many.
    """

    name: str
    count: int = 1


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


class Options(TypedDict, total=False):
    fast: bool


class Named(Options):
    name: str


class Pydantic:
    """Stands in for a pydantic model, which is known by these three methods."""

    def __init__(self, net: float) -> None:
        self.net = net

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"net": {"$ref": "#/$defs/Net"}},
            "required": ["net"],
            "$defs": {"Net": {"type": "number"}},
        }

    @classmethod
    def model_validate(cls, value: dict[str, Any]) -> Pydantic:
        return cls(value["net"])

    def model_dump(self, mode: str) -> dict[str, Any]:
        return {"net": self.net}


@pytest.mark.parametrize(
    ("hint", "schema", "given", "loaded"),
    [
        (str, {"type": "string"}, "x", "x"),
        (int, {"type": "integer"}, 2.0, 2),
        (float, {"type": "number"}, 2, 2.0),
        (bool, {"type": "boolean"}, True, True),
        (None, {"type": "null"}, None, None),
        (Any, {}, [1], [1]),
        (list, {"type": "array"}, [1], [1]),
        (list[int], {"type": "array", "items": {"type": "integer"}}, [1, 2.0], [1, 2]),
        (set[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}, ["a"], {"a"}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}, [1], (1,)),
        (
            tuple[int, str],
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
            [1, "a"],
            (1, "a"),
        ),
        (dict, {"type": "object"}, {"a": 1}, {"a": 1}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}, {"a": 1}, {"a": 1.0}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}, None, None),
        (Union[int, str], {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "5", "5"),
        (Literal["a", 2], {"enum": ["a", 2]}, 2, 2),
        (Color, {"enum": ["red", "blue"]}, "red", Color.RED),
        (Annotated[int, "How many."], {"type": "integer", "description": "How many."}, 3, 3),
        (typing.NewType("Net", float), {"type": "number"}, 1, 1.0),
        (
            Item,
            {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "count": {"type": "integer", "description": "How many."},
                },
                "additionalProperties": False,
                "required": ["name"],
            },
            {"name": "pen"},
            Item("pen"),
        ),
        (
            Named,
            {
                "type": "object",
                "properties": {"name": {"type": "string"}, "fast": {"type": "boolean"}},
                "additionalProperties": False,
                "required": ["name"],
            },
            {"name": "a", "fast": True},
            {"name": "a", "fast": True},
        ),
        (
            Tree,
            {"$ref": "#/$defs/Tree"},
            {"value": 1, "children": [{"value": 2, "children": [{"value": 3}]}]},
            Tree(1, [Tree(2, [Tree(3)])]),
        ),
        (
            Optional[Item],
            None,
            {"name": "pen", "count": 2},
            Item("pen", 2),
        ),
        (list[Union[Item, Tree]], None, [{"name": "a"}, {"value": 1}], [Item("a"), Tree(1)]),
    ],
)
def test_a_hint_is_a_schema_and_a_way_back(hint: Any, schema: Any, given: Any, loaded: Any) -> None:
    seen: list[Any] = []

    def function(value: Any) -> None:
        seen.append(value)

    function.__annotations__["value"] = hint
    made = rf.tool(function)
    if schema is not None:
        assert made.parameters["properties"]["value"] == schema
    assert made.parameters["required"] == ["value"]
    call(made, {"value": given})
    assert seen == [loaded] and type(seen[0]) is type(loaded)


def call(tool: rf.Tool[..., Any], arguments: dict[str, Any]) -> Any:
    """Has a model call the tool; what it answers to the model."""

    def model(request: rf.ChatRequest) -> Any:
        if request.messages[-1].role == "user":
            return {"tool_calls": [{"id": "1", "name": tool.name, "arguments": arguments}]}
        results.extend(request.messages[-1].of_type("tool_result"))
        return "done"

    results: list[dict[str, Any]] = []
    engine = rf.Engine()
    engine.register_model("host:m", model)
    engine.register(rf.Agent("a", model="host:m", tools=[tool]))
    engine.run_sync("a", "x")
    assert not results[0].get("is_error"), results
    return results[0]["content"]


def test_a_type_that_holds_itself_is_defined_once() -> None:
    def function(tree: Tree) -> None: ...

    parameters = rf.tool(function).parameters
    assert set(parameters["$defs"]) == {"Tree"}
    assert parameters["$defs"]["Tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}


def test_definitions_of_a_pydantic_model_move_to_the_root() -> None:
    def function(price: Pydantic, more: list[Pydantic]) -> float:
        return price.net + more[0].net

    made = rf.tool(function)
    assert made.parameters["$defs"] == {"Net": {"type": "number"}}
    assert "$defs" not in made.parameters["properties"]["price"]
    assert call(made, {"price": {"net": 1}, "more": [{"net": 2}]}) == 3


def test_defaults_positions_and_extra_names() -> None:
    def function(first: int, /, second: str = "b", *, third: float = 0.5, **rest: Any) -> Any:
        return [first, second, third, rest]

    made = rf.tool(function)
    assert made.parameters == {
        "type": "object",
        "properties": {
            "first": {"type": "integer"},
            "second": {"type": "string", "default": "b"},
            "third": {"type": "number", "default": 0.5},
        },
        "additionalProperties": True,
        "required": ["first"],
    }
    assert call(made, {"first": 1, "third": 2, "more": True}) == [1, "b", 2.0, {"more": True}]
    assert made(1, "x") == [1, "x", 0.5, {}]


GOOGLE = """Adds tax
to an amount.

More that no model needs.

Args:
    net (float): The amount
        before tax.
    rate: The rate: a share of 1.

Returns:
    The gross amount.
"""
NUMPY = """Adds tax
to an amount.

Parameters
----------
net : float
    The amount
    before tax.
rate
    The rate: a share of 1.

Returns
-------
float
    The gross amount.
"""
SPHINX = """Adds tax
to an amount.

:param float net: The amount
    before tax.
:param rate: The rate: a share of 1.
:returns: The gross amount.
"""


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_docstrings_describe_the_tool_and_its_parameters(text: str) -> None:
    def function(net: float, rate: float) -> float:
        return net * (1 + rate)

    function.__doc__ = text
    made = rf.tool(function)
    assert made.description == "Adds tax to an amount."
    described = {name: shape["description"] for name, shape in made.parameters["properties"].items()}
    assert described == {"net": "The amount before tax.", "rate": "The rate: a share of 1."}


def test_a_function_without_a_docstring_or_hints_is_a_tool_too() -> None:
    made = rf.tool(lambda: 1, name="one") if False else rf.tool(name="one")(lambda: 1)
    assert (made.description, made.parameters["properties"]) == ("", {})

    def loose(a, b=None):  # type: ignore[no-untyped-def]
        return a

    assert rf.tool(loose).parameters["properties"] == {"a": {}, "b": {"default": None}}


class Odd:
    pass


@pytest.mark.parametrize("hint", [Odd, complex, bytes, dict[int, str], list[Odd], Callable[[], int]])
def test_a_type_without_a_schema_is_refused_by_its_place(hint: Any) -> None:
    def function(first: int, odd: Any) -> None: ...

    function.__annotations__["odd"] = hint
    with pytest.raises(rf.InvalidInputError) as refused:
        rf.tool(function)
    assert refused.value.context["at"] == "odd" and refused.value.context["of"] == "tool function"


def test_a_hint_that_cannot_be_resolved_is_refused() -> None:
    def function(what: Any) -> None: ...

    function.__annotations__["what"] = "NoSuchThing"
    with pytest.raises(rf.InvalidInputError, match="NoSuchThing"):
        rf.tool(function)

    def many(*numbers: int) -> None: ...

    with pytest.raises(rf.InvalidInputError, match="args"):
        rf.tool(many)
    with pytest.raises(rf.InvalidInputError, match="one positional argument"):
        rf.agent("none")(lambda: 1)


def test_a_hint_may_name_a_local_class() -> None:
    @dataclass
    class Local:
        x: int

    @rf.tool
    def function(local: Local) -> int:
        return local.x

    assert call(function, {"local": {"x": 4}}) == 4

    @rf.agent("local")
    async def agent(input: Local) -> Local:
        return Local(input.x + 1)

    engine = rf.Engine()
    engine.register(agent)
    assert engine.run_sync(agent, Local(1)).output == Local(2)


def test_an_answer_is_an_instance_of_the_output_type() -> None:
    engine = rf.Engine()
    engine.register_model("host:m", lambda request: '{"name": "pen", "count": 3}')
    items = rf.Agent("items", model="host:m", output_type=Item)
    engine.register(items)
    outcome = engine.run_sync(items, "x")
    assert outcome.output == Item("pen", 3) and outcome.text == "Item(name='pen', count=3)"

    async def again() -> Any:
        started = await engine.start(items, "x")
        both = (await started.outcome(), await engine.resume(outcome.run_id), await engine.stream(items).outcome())
        return [each.output for each in both]

    assert asyncio.run(again()) == [Item("pen", 3)] * 3


def test_capabilities_take_types() -> None:
    engine = rf.Engine()
    engine.register_model("host:m", lambda request: '{"name": "pen"}')
    capability = rf.Capability("find", "Finds an item.", input=Named, output=Item, timeout=5)
    engine.register(rf.Agent("clerk", model="host:m", capabilities=[capability], output_type=Tree))
    assert engine.run_sync("clerk", {"name": "x"}, capability="find").output == {"name": "pen"}
    with pytest.raises(rf.InvalidInputError, match="find"):
        engine.run_sync("clerk", {"fast": True}, capability="find")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="an alias of this kind came with 3.12")
def test_a_type_alias_stands_for_its_type() -> None:
    names: dict[str, Any] = {}
    exec("type Net = float", names)

    def function(net: Any) -> None: ...

    function.__annotations__["net"] = names["Net"]
    assert rf.tool(function).parameters["properties"]["net"] == {"type": "number"}
