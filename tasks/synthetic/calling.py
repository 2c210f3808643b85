"""The samples of ``function_calling``: a request in words, the functions offered, and the right calls.

Seven categories in turn, so that all are equally frequent:

    one         one function is offered, and it is right
    choice      one of six functions is right; others of its family are among them
    optional    the request states an optional argument
    parallel    one function for two to four patients or values
    several     two or three functions
    irrelevant  none of the functions fits: no call is right
    missing     the request lacks a value that the function requires: no call is right
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evalkit import Sample

from .chance import Chance
from .functions import FUNCTIONS, Detail, Function

VERSION = 1  # increase when a seed no longer gives the same samples
CATEGORIES = ("one", "choice", "optional", "parallel", "several", "irrelevant", "missing")
NO_CALL = "NO CALL"
OFFERED = 6

_CASES = ("first", "second", "third", "fourth")
_NUMBERS = {2: "two", 3: "three", 4: "four"}
Call = dict[str, Any]


def samples(seed: int, n: int) -> Iterator[Sample]:
    """Yield ``n`` samples; sample *i* is the same in a small and in a large benchmark."""
    for number in range(n):
        category = CATEGORIES[number % len(CATEGORIES)]
        yield _sample(Chance(seed, "call", number), number, category)


def _sample(chance: Chance, number: int, category: str) -> Sample:
    text, calls, right = _request(chance, category)
    offered = _offered(chance, category, right)
    expects = "calls" if calls else "no call"
    return Sample(
        f"call-{number:05d}",
        text,
        NO_CALL if not calls else _written(calls),
        slices={"category": category, "expects": expects},
        metadata={"calls": calls, "functions": [function.tool.name for function in offered]},
    )


def _request(chance: Chance, category: str) -> tuple[str, list[Call], list[Function]]:
    """Return the request, the right calls, and the functions that the request asks for."""
    match category:
        case "parallel":
            function = chance.choice(list(FUNCTIONS.values()))
            return _parallel(chance, function)
        case "several":
            return _several(chance)
        case "optional":
            function = chance.choice([f for f in FUNCTIONS.values() if len(f.details) > _required(f)])
            words, call = _stated(chance, function, optional=True)
            return f"{function.ask}: {words}.", [call], [function]
        case "missing":
            function = chance.choice([f for f in FUNCTIONS.values() if _required(f) > 1])
            left_out = chance.integer(0, _required(function) - 1)
            words, _ = _stated(chance, function, left_out=left_out)
            return f"{function.ask}: {words}.", [], [function]
        case _:
            function = chance.choice(list(FUNCTIONS.values()))
            words, call = _stated(chance, function)
            return f"{function.ask}: {words}.", [] if category == "irrelevant" else [call], [function]


def _required(function: Function) -> int:
    return sum(detail.required for detail in function.details)


def _parallel(chance: Chance, function: Function) -> tuple[str, list[Call], list[Function]]:
    wanted, stated = chance.integer(2, 4), dict[str, Call]()
    while len(stated) < wanted:  # a case drawn twice would make two equal calls
        words, call = _stated(chance, function)
        if call not in stated.values():
            stated[words] = call
    cases = "; ".join(f"{case} case: {words}" for case, words in zip(_CASES, stated, strict=False))
    text = f"{function.ask} for {_NUMBERS[wanted]} cases. {cases[0].upper()}{cases[1:]}."
    return text, [*stated.values()], [function]


def _several(chance: Chance) -> tuple[str, list[Call], list[Function]]:
    functions: list[Function] = []
    for _ in range(chance.integer(2, 3)):
        families = {function.family for function in functions}
        functions.append(chance.choice([f for f in FUNCTIONS.values() if f.family not in families]))
    stated = [_stated(chance, function) for function in functions]
    texts = [f"{f.ask}: {words}." for f, (words, _) in zip(functions, stated, strict=True)]
    return " ".join(texts), [call for _, call in stated], functions


def _stated(
    chance: Chance, function: Function, *, optional: bool = False, left_out: int | None = None
) -> tuple[str, Call]:
    """Return the words of a request and its call; ``optional`` states one optional detail too.

    ``left_out`` is the number of a required detail that the words lack.
    """
    required = [detail for detail in function.details if detail.required]
    chosen: list[Detail] = [detail for place, detail in enumerate(required) if place != left_out]
    if optional:
        chosen.append(chance.choice([detail for detail in function.details if not detail.required]))
    arguments: dict[str, Any] = {}
    words: list[str] = []
    for detail in chosen:
        given, text = detail.draw(chance)
        arguments |= given
        words.append(text)
    return ", ".join(words), {"name": function.tool.name, "arguments": arguments}


def _offered(chance: Chance, category: str, right: Sequence[Function]) -> list[Function]:
    """Return the functions offered, in random order; in ``irrelevant`` none of the right one's family."""
    if category == "one":
        return list(right)
    families = {function.family for function in right}
    kin = [f for f in FUNCTIONS.values() if f not in right and f.family in families]
    others = [f for f in FUNCTIONS.values() if f.family not in families]
    offered = [] if category == "irrelevant" else [*right, *kin]
    while len(offered) < OFFERED:
        offered.append(others.pop(chance.integer(0, len(others) - 1)))
    return _shuffled(chance, offered)


def _shuffled(chance: Chance, functions: list[Function]) -> list[Function]:
    left, order = list(functions), []
    while left:
        order.append(left.pop(chance.integer(0, len(left) - 1)))
    return order


def _written(calls: Sequence[Call]) -> str:
    """Return calls as text, for readers: ``corrected_qt(qt_ms=400, heart_rate=70)``."""
    return "; ".join(
        f"{call['name']}({', '.join(f'{name}={value!r}' for name, value in call['arguments'].items())})"
        for call in calls
    )
