"""The expressions of ``-k`` and ``-m``: words joined by ``and``, ``or``, ``not`` and brackets."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection

from evalkit.errors import UsageError


def keyword_filter(expression: str) -> Callable[[str], bool]:
    """Return the test of ``-k``: each word is a part of the text, in any case. Raises ``UsageError``."""
    tree, words = _parse(expression, "-k")
    lowered = [word.lower() for word in words]
    return lambda text: _holds(tree, [word in text.lower() for word in lowered])


def tag_filter(expression: str) -> Callable[[Collection[str]], bool]:
    """Return the test of ``-m``: each word is a whole tag. Raises ``UsageError``."""
    tree, words = _parse(expression, "-m")
    return lambda tags: _holds(tree, [word in tags for word in words])


def _parse(expression: str, option: str) -> tuple[ast.expr, list[str]]:
    """Return the expression with its n-th word as the name ``wn``, and the words."""
    words: list[str] = []

    def placeholder(match: re.Match[str]) -> str:
        if match[0] in ("and", "or", "not"):
            return match[0]
        words.append(match[0])
        return f"w{len(words) - 1}"

    wrong = UsageError(f"{option} {expression!r}: write words joined by and, or, not")
    try:
        tree = ast.parse(re.sub(r"[^\s()]+", placeholder, expression).strip(), mode="eval").body
    except SyntaxError:
        raise wrong from None
    allowed = (ast.Name, ast.UnaryOp, ast.Not, ast.BoolOp, ast.And, ast.Or, ast.Load)
    if not all(isinstance(node, allowed) for node in ast.walk(tree)):
        raise wrong
    return tree, words


def _holds(node: ast.expr, present: list[bool]) -> bool:
    match node:
        case ast.Name(id=name):
            return present[int(name[1:])]
        case ast.UnaryOp(operand=inner):
            return not _holds(inner, present)
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_holds(part, present) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_holds(part, present) for part in parts)
    raise AssertionError(node)  # _parse rejects all other nodes
