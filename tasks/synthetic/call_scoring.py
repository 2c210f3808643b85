"""Exact scores of function calls: names, arguments by value and type, schemas; order does not matter.

Values are compared as the Berkeley Function Calling Leaderboard compares them (Patil et al. 2025), by
meaning and not by text: 5 and 5.0 are the same number, "5" is no number; texts are equal without regard to
case and white space, values of an ``enum`` only as they stand; arrays of unique items in any order. An
optional argument may be left out, or given with its default. Any other argument that the request does not
state is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

from msgspec import Struct

from evalkit import Answer, Metric, Sample, metric
from evalkit.reading.fold import fold
from evalkit.types import ToolCall

from .calling import NO_CALL
from .functions import FUNCTIONS, Schema

MOST_CALLS = 6  # that are matched with the right ones; no sample needs more than four
_ABSENT = object()


class Matched(Struct, frozen=True):
    """The calls of a reply beside the right ones: each pair in the order of the right calls."""

    pairs: tuple[tuple[ToolCall | None, Mapping[str, Any]], ...]
    made: int

    @property
    def calls(self) -> int:
        """The number of right calls, or of those made if that is more."""
        return max(len(self.pairs), self.made)


def same(expected: Any, given: Any, schema: Schema) -> bool:
    """Return whether an argument has the expected value, and its type."""
    if isinstance(expected, bool) or isinstance(given, bool):
        return expected is given
    if isinstance(expected, int | float):
        return isinstance(given, int | float) and given == expected
    if isinstance(expected, str):
        if not isinstance(given, str):
            return False
        return given == expected if "enum" in schema else _folded(given) == _folded(expected)
    if isinstance(expected, list):
        return isinstance(given, list) and _same_items(expected, given, schema.get("items", {}))
    return type(given) is type(expected) and given == expected


def _same_items(expected: Sequence[Any], given: Sequence[Any], schema: Schema) -> bool:
    """Compare arrays of unique items, which have no order."""
    return len(expected) == len(given) and all(
        any(same(value, item, schema) for item in given) for value in expected
    )


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def arguments_right(call: ToolCall | None, expected: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of right arguments of a call, and the number that counts.

    All expected arguments count, and those given that are neither expected nor the default.
    """
    wanted: Mapping[str, Any] = expected["arguments"]
    if call is None or call.name != expected["name"] or call.arguments is None:
        return 0, max(len(wanted), 1)
    properties = FUNCTIONS[call.name].tool.parameters["properties"]
    given = {
        name: value
        for name, value in call.arguments.items()
        if name in wanted or not _is_default(value, properties.get(name))
    }
    right = sum(
        name in given and same(value, given[name], properties[name]) for name, value in wanted.items()
    )
    return right, len(wanted.keys() | given.keys())


def _is_default(value: Any, schema: Schema | None) -> bool:
    """Return whether an optional argument says no more than its absence does."""
    if schema is None:
        return False
    default = schema.get("default", _ABSENT)
    return value is None or (default is not _ABSENT and same(default, value, schema))


def is_right(call: ToolCall | None, expected: Mapping[str, Any]) -> bool:
    """Return whether a call has the right name and all the right arguments, and no others."""
    right, counted = arguments_right(call, expected)
    return call is not None and call.name == expected["name"] and right == counted


def fits(call: ToolCall, offered: Sequence[str]) -> bool:
    """Return whether a call names an offered function, and its arguments fit the function's schema."""
    if call.name not in offered or call.arguments is None:
        return False
    schema = FUNCTIONS[call.name].tool.parameters
    properties = schema["properties"]
    return set(schema["required"]) <= call.arguments.keys() and all(
        name in properties and _fits(value, properties[name], name not in schema["required"])
        for name, value in call.arguments.items()
    )


def _fits(value: Any, schema: Schema, optional: bool = False) -> bool:
    """Return whether a value fits a schema of this file's kind; an optional argument may be null."""
    if value is None:
        return optional
    if "enum" in schema and not any(type(value) is type(one) and value == one for one in schema["enum"]):
        return False
    match schema["type"]:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return whole and not isinstance(value, bool)
        case "number":
            return not isinstance(value, bool) and isinstance(value, int | float)
        case "array":
            return isinstance(value, list) and bool(value) and all(_fits(v, schema["items"]) for v in value)
        case _:
            return isinstance(value, str)


def matched(sample: Sample, answer: Answer) -> Matched:
    """Pair the calls of a reply with the right ones, so that most arguments are right."""
    expected: list[Mapping[str, Any]] = sample.metadata["calls"]
    made = calls_of(answer)
    considered = [*made[:MOST_CALLS], *[None] * max(0, len(expected) - len(made))]

    def worth(order: Sequence[ToolCall | None]) -> tuple[int, int]:
        pairs = list(zip(order, expected, strict=True))
        names = sum(call is not None and call.name == right["name"] for call, right in pairs)
        return names, sum(arguments_right(call, right)[0] for call, right in pairs)

    best = max(permutations(considered, len(expected)), key=worth)
    return Matched(tuple(zip(best, expected, strict=True)), len(made))


def calls_of(answer: Answer) -> tuple[ToolCall, ...]:
    """Return the calls of a reply."""
    return answer.response.tool_calls if answer.response else ()


def _where_due(sample: Sample) -> bool:
    return bool(sample.metadata["calls"])


@metric
def call_accuracy(sample: Sample, answer: Answer) -> float | None:
    """1 if the reply makes exactly the right calls; only where calls are right."""
    if not _where_due(sample):
        return None
    found = matched(sample, answer)
    return float(found.made == len(found.pairs) and all(is_right(*pair) for pair in found.pairs))


@metric
def name_accuracy(sample: Sample, answer: Answer) -> float | None:
    """Share of right function names, of the right calls or of those made if that is more."""
    if not _where_due(sample):
        return None
    found = matched(sample, answer)
    return sum(call is not None and call.name == right["name"] for call, right in found.pairs) / found.calls


@metric
def argument_accuracy(sample: Sample, answer: Answer) -> float | None:
    """Share of right arguments, of the expected ones and those given besides, of the right calls."""
    if not _where_due(sample):
        return None
    counted = [arguments_right(*pair) for pair in matched(sample, answer).pairs]
    return sum(right for right, _ in counted) / sum(total for _, total in counted)


@metric
def schema_validity(sample: Sample, answer: Answer) -> float | None:
    """Share of calls that name an offered function and fit its schema; only where calls are right."""
    if not _where_due(sample):
        return None
    made = calls_of(answer)
    return sum(fits(call, sample.metadata["functions"]) for call in made) / len(made) if made else 0.0


@metric
def no_call_accuracy(sample: Sample, answer: Answer) -> float | None:
    """1 if the reply makes no call and says NO CALL; only where no call is right."""
    if _where_due(sample):
        return None
    said = fold(answer.reply).strip(" \n.*`\"'").casefold().startswith(NO_CALL.casefold())
    return float(said and not calls_of(answer))


def _makes_a_call(sample: Sample, answer: Answer) -> float:
    """1 if the reply makes a call."""
    return float(bool(calls_of(answer)))


MADE = Metric("makes_a_call", _makes_a_call, kind="fact", higher_is_better=None, help="replies with a call")
EXACT = (call_accuracy, no_call_accuracy, name_accuracy, argument_accuracy, schema_validity, MADE)
