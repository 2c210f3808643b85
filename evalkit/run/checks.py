"""The types of the fields of samples and answers, which plug-in code may fill with anything."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from msgspec import UNSET

from evalkit.types import Answer, Image, Passage, Response, Sample, Status

_SEQUENCES = (tuple, list)
_CONTAINERS = (*_SEQUENCES, dict)


class Fields:
    """The fields of a type: the test of each, and what is said where a value fails it.

    Most samples of a task are alike: their fields have the same types, and their tuples and dictionaries are
    empty. A value like one that was right is right, without the test of each field.
    """

    def __init__(self, tests: dict[str, tuple[Callable[[Any], bool], str]]) -> None:
        self._tests = tests
        self._values = attrgetter(*tests)
        self._right: dict[tuple[type, ...], list[int]] = {}  # by types of fields: the places of containers

    def wrong(self, value: Sample | Answer) -> tuple[str, str] | None:
        """Return the first wrong field: its name, and "is VALUE (TYPE), and must be …"; None without one."""
        values = self._values(value)
        kinds = tuple(map(type, values))
        containers = self._right.get(kinds)
        if containers is not None and not any(map(values.__getitem__, containers)):
            return None
        for (name, (is_right, expected)), given in zip(self._tests.items(), values, strict=True):
            if not is_right(given):
                return name, _said(name, given, expected)
        self._right[kinds] = [place for place, given in enumerate(values) if isinstance(given, _CONTAINERS)]
        return None


def _said(name: str, given: Any, expected: str) -> str:
    shown = repr(given)
    shown = shown if len(shown) <= 100 else f"{shown[:100]}…"
    hint = f": {name}=str(…)" if isinstance(given, int | float) and expected.startswith("a string") else ""
    return f"is {shown} ({type(given).__name__}), and must be {expected}{hint}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _all(kind: type) -> Callable[[Any], bool]:
    """Return the test of a list or tuple whose members are all of one type."""

    def test(value: Any) -> bool:
        return isinstance(value, _SEQUENCES) and all(isinstance(member, kind) for member in value)

    return test


_are_texts = _all(str)


def _is_index(value: Any) -> bool:
    if value is UNSET:
        return True
    several = value if isinstance(value, _SEQUENCES) else (value,)
    return all(type(index) is int for index in several)


def _is_table(*kinds: type) -> Callable[[Any], bool]:
    """Return the test of a dictionary with strings as keys and values of exactly one of these types."""

    def test(value: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(key, str) and (not kinds or type(entry) in kinds) for key, entry in value.items()
        )

    return test


def _is_none_or(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or test(value)


SAMPLE = Fields(
    {
        "id": (_is_text, "a string that is not empty"),
        "input": (_is_text, "a string"),
        "target": (
            lambda value: isinstance(value, str) or _are_texts(value),
            "a string, or a tuple of strings",
        ),
        "relevance": (_is_table(int), "a dictionary from document ids to whole numbers: {'doc': 1}"),
        "choices": (_are_texts, "a tuple of strings"),
        "answer": (_is_index, "the index of the right choice, from 0, or a tuple of such indices"),
        "images": (_all(Image), "a tuple of pictures: (Image.open(path),)"),
        "cluster": (_is_none_or(_is_text), "a string or None"),
        "slices": (_is_table(str), "a dictionary from strings to strings: {'split': 'test'}"),
        "metadata": (_is_table(), "a dictionary with strings as keys"),
    }
)

ANSWER = Fields(
    {
        "response": (
            _is_none_or(lambda value: isinstance(value, Response)),
            "what model.generate() returned",
        ),
        "text": (_is_text, "a string"),
        "passages": (_is_none_or(_all(Passage)), "a tuple of Passage, or None"),
        "ranking": (_is_none_or(_are_texts), "a tuple of document ids, or None"),
        "choice": (lambda value: value is None or type(value) is int, "the number of an option, or None"),
        "status": (_is_none_or(lambda value: isinstance(value, Status)), "a Status, or None"),
        "metadata": (_is_table(), "a dictionary with strings as keys"),
    }
)
