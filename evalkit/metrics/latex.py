"""Numbers in short LaTeX expressions: ``\\frac{3}{8}``, ``2\\sqrt{5}-1``, ``6\\pi``, ``3:2``."""

from __future__ import annotations

import math
import re

from evalkit.reading.patterns import regex

_TOKEN = regex(r"\\[a-z]+|\d+\.?\d*|\.\d+|[-+*/^:()\[\]{}]|π")
_TIMES = ("*", "\\cdot", "\\times")
_OVER = ("/", ":", "\\div")
_FUNCTIONS = {"\\sin": math.sin, "\\cos": math.cos, "\\tan": math.tan}
_OPEN = {"(": ")", "{": "}", "[": "]"}
_LONGEST = 200  # the limit of an expression's length, in characters


class _NoNumber(Exception):
    """The text is not an arithmetic expression."""


def value_of(text: str) -> float | None:
    """Return the value of an expression; None where the text is not one or the value is not finite."""
    squeezed = re.sub(r"\\(?:left|right|displaystyle|,|;|!)|\s", "", text.lower())
    squeezed = re.sub(r"\\[dt]frac", r"\\frac", squeezed)
    if not squeezed or len(squeezed) > _LONGEST or "".join(_TOKEN.findall(squeezed)) != squeezed:
        return None
    reader = _Reader(_TOKEN.findall(squeezed))
    try:
        value = reader.sum()
    except (_NoNumber, ZeroDivisionError, OverflowError, ValueError, RecursionError):
        return None
    return value if not reader.tokens and math.isfinite(value) else None


class _Reader:
    """A recursive-descent parser over the tokens that are left."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def sum(self) -> float:
        value = self.product()
        while self._next("+", "-"):
            sign = -1 if self._take() == "-" else 1
            value += sign * self.product()
        return value

    def product(self) -> float:
        if self._next("-", "+"):
            sign = -1 if self._take() == "-" else 1
            return sign * self.product()
        value = self.power()
        while self.tokens:
            if self._next(*_TIMES):
                self._take()
                value *= self.power()
            elif self._next(*_OVER):
                self._take()
                value /= self.power()
            elif self.tokens[0] in "+-)]}^":
                break
            else:  # two factors without an operator are multiplied
                value *= self.power()
        return value

    def power(self) -> float:
        base = self.atom()
        if not self._next("^"):
            return base
        self._take()
        exponent = self.product() if self._next("-") else self.atom()
        if abs(exponent) * math.log10(max(abs(base), 10)) > 300:
            raise _NoNumber
        raised = base**exponent
        if isinstance(raised, complex):
            raise _NoNumber
        return float(raised)

    def atom(self) -> float:
        symbol = self._take()
        if symbol[0].isdigit() or symbol[0] == ".":
            return float(symbol)
        if symbol in _OPEN:
            value = self.sum()
            if self._take() != _OPEN[symbol]:
                raise _NoNumber
            return value
        if symbol in ("\\pi", "π"):
            return math.pi
        if symbol == "\\frac":
            return self.argument() / self.argument()
        if symbol == "\\sqrt":
            degree = self.atom() if self._next("[") else 2.0
            return float(self.argument() ** (1 / degree))
        if symbol in _FUNCTIONS:
            return _FUNCTIONS[symbol](self.atom())
        raise _NoNumber

    def argument(self) -> float:
        """Read a macro's argument: braces, or one digit (``\\frac12``)."""
        if self.tokens and self.tokens[0].isdigit() and len(self.tokens[0]) > 1:
            digits = self.tokens[0]
            self.tokens[0] = digits[1:]
            return float(digits[0])
        return self.atom()

    def _next(self, *tokens: str) -> bool:
        return bool(self.tokens) and self.tokens[0] in tokens

    def _take(self) -> str:
        if not self.tokens:
            raise _NoNumber
        return self.tokens.pop(0)
