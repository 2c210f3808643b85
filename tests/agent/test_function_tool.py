"""``@tool``: the schema of a typed function, against jsonschema; arguments as the function gets them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from msgspec import Meta, Struct

from evalkit import UsageError, tool
from evalkit.agent.function_tool import BrokenArguments


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Dose:
    amount: float
    unit: Literal["mg", "g"] = "mg"


class Patient(Struct):
    id: str
    born: datetime.date


@tool
def everything(
    text: str,
    count: Annotated[int, Meta(ge=1, le=9), "how many"],
    share: float = 0.5,
    flag: bool = False,
    names: list[str] | None = None,
    kind: Literal["a", "b"] = "a",
    colour: Colour | None = None,
    dose: Dose | None = None,
    patients: list[Patient] = [],  # noqa: B006
    more: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Take everything.

    It has a second paragraph.

    Args:
        text: what to read,
            on two lines
        count: not this one
        kind (str): which one

    Returns:
        What came.
    """
    return {name: value for name, value in locals().items() if value is not None}


VALID: list[dict[str, Any]] = [
    {"text": "x", "count": 3},
    {"text": "x", "count": 3.0, "share": 1, "flag": True, "names": ["a"], "kind": "b"},
    {"text": "x", "count": 9, "colour": "red", "dose": {"amount": 2, "unit": "g"}},
    {"text": "x", "count": 1, "patients": [{"id": "p", "born": "1990-02-03"}], "more": {"a": 1}},
    {"text": "", "count": 1, "names": None, "dose": None},
]
BROKEN: list[dict[str, Any]] = [
    {},
    {"text": "x"},
    {"text": "x", "count": "3"},
    {"text": "x", "count": 2.5},
    {"text": "x", "count": 0},
    {"text": "x", "count": 3, "unknown": 1},
    {"text": "x", "count": 3, "kind": "c"},
    {"text": "x", "count": 3, "flag": 1},
    {"text": "x", "count": 3, "names": "a"},
    {"text": "x", "count": 3, "colour": "green"},
    {"text": "x", "count": 3, "dose": {"unit": "g"}},
    {"text": "x", "count": 3, "patients": [{"id": 1, "born": "1990-02-03"}]},
    {"text": 3, "count": 3},
]


def test_the_schema_says_of_arguments_what_the_function_accepts() -> None:
    """jsonschema, which knows nothing of evalkit, accepts and refuses the same arguments."""
    check = jsonschema.Draft202012Validator(everything.parameters)
    check.check_schema(everything.parameters)
    for arguments in VALID:
        check.validate(arguments)
        everything.read(arguments)
    for arguments in BROKEN:
        assert not check.is_valid(arguments), arguments
        with pytest.raises(BrokenArguments):
            everything.read(arguments)


async def test_arguments_reach_the_function_in_its_own_types() -> None:
    arguments = {
        "text": "x",
        "count": 3.0,
        "dose": {"amount": 2},
        "colour": "blue",
        "patients": [{"id": "p", "born": "1990-02-03"}],
    }
    got = await everything.call(everything.read(arguments))
    assert type(got["count"]) is int
    assert got["dose"] == Dose(2.0, "mg")
    assert got["colour"] is Colour.BLUE
    assert got["patients"] == [Patient("p", datetime.date(1990, 2, 3))]
    assert (got["share"], got["kind"]) == (0.5, "a")  # the function's own defaults


def test_descriptions_come_from_the_docstring_and_from_annotated() -> None:
    fields = everything.parameters["properties"]
    assert everything.description == "Take everything.\n\nIt has a second paragraph."
    assert fields["text"]["description"] == "what to read, on two lines"
    assert fields["count"]["description"] == "how many"
    assert fields["kind"]["description"] == "which one"
    assert fields["share"]["default"] == 0.5

    @tool
    def sphinx(query: str, k: int = 3) -> str:
        """Search.

        :param query: the words
            to look for
        :param int k: how many
        :returns: the passages
        """
        return query

    assert sphinx.description == "Search."
    assert sphinx.parameters["properties"]["query"]["description"] == "the words to look for"
    assert sphinx.parameters["properties"]["k"]["description"] == "how many"


async def test_a_tool_can_still_be_called_and_a_method_is_a_tool_of_its_object() -> None:
    class Record:
        def __init__(self, value: int) -> None:
            self.value = value

        @tool
        async def add(self, n: int) -> int:
            """Add."""
            self.value += n
            return self.value

    one, other = Record(1), Record(10)
    assert await one.add(2) == 3
    assert await other.add.call({"n": 5}) == 15
    assert (one.value, other.value) == (3, 15)
    assert list(one.add.parameters["properties"]) == ["n"]


def test_names_and_schemas_may_be_given() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "multipleOf": 5}}}

    @tool(name="get-five", description="Get.", parameters=schema)
    def five(**values: Any) -> Any:
        return values

    assert (five.name, five.description, five.parameters) == ("get-five", "Get.", schema)
    assert five.read({"n": 10}) == {"n": 10}
    with pytest.raises(BrokenArguments, match=r"7 is not a multiple of 5 - at `\$.n`"):
        five.read({"n": 7})


class Opaque:
    pass


def untyped(query, k: int):
    pass


def several(*queries: str):
    pass


def unnamed(x: int, /):
    pass


async def lines(n: int):
    yield n


def of_class(cls, n: int):
    pass


def opaque(thing: Opaque):
    pass


def nowhere(thing: Missing):  # noqa: F821
    pass


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (untyped, "argument 'query' has no type: write query: str"),
        (several, r"\*queries.* cannot be given by name: write each argument out"),
        (unnamed, "x: .* cannot be given by name"),
        (lines, "the tool lines yields: a tool returns its result"),
        (staticmethod(opaque), "write @tool below @staticmethod"),
        (classmethod(opaque), "a classmethod cannot be a tool: write a function, or a method with self"),
        (of_class, "a classmethod cannot be a tool"),
        (len, "takes a function that is written with def, not <built-in function len>"),
        (opaque, "no JSON schema can describe its arguments: .*Opaque"),
        (nowhere, "its types cannot be read: .*Missing"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_with_the_reason(fn, message) -> None:
    with pytest.raises(UsageError, match=message):
        tool(fn)


def test_parameters_that_are_no_schema_are_refused() -> None:
    with pytest.raises(UsageError, match="parameters= is no JSON schema: 'objekt' is not valid"):
        tool(parameters={"type": "objekt"})(lambda **values: None)
