"""The hash of a task's code: of its function and of all that the function uses in the files around it.

Comments, docstrings, blank lines and decorators do not count, nor other tasks in the same file. Modules in
the folder of the task file, and below it, are followed; installed packages are not.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from evalkit.task import Task

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_INSTALLED = {"site-packages", "dist-packages"}
_Definition = _Function | ast.ClassDef | ast.Assign | ast.AnnAssign


def code_sha256(folder: Path, *functions: Callable[..., Any] | None) -> str:
    """Return the SHA-256 (hex) of the code of functions from files in ``folder``; empty for none of them."""
    code = _Code(folder.resolve())
    for function in functions:
        code.add(function)
    texts = [code.texts[name] for name in sorted(code.texts)]
    return hashlib.sha256("\n\n".join(texts).encode()).hexdigest() if texts else ""


class _Code:
    """The normal source of definitions, by file and name, collected from a function along its names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts: dict[str, str] = {}

    def add(self, value: Any) -> None:
        """Add a function or class with what it names; the parts of a ``partial`` and what a task holds."""
        if isinstance(value, functools.partial):
            for part in (value.func, *value.args, *value.keywords.values()):
                self.add(part)
        if (found := _unwrapped(value)) is None:
            return
        module = inspect.getmodule(found)
        names = found.__globals__ if isinstance(found, FunctionType) else vars(module) if module else {}
        try:
            file = Path(inspect.getfile(found)).resolve()
        except (TypeError, OSError):
            return
        if self._follows(file):
            self._define(file, found.__qualname__.partition(".")[0], names)

    def _follows(self, file: Path) -> bool:
        """Return whether a file is the user's own: below the folder, in no environment that lies there."""
        return self.folder in file.parents and not _INSTALLED.intersection(
            file.relative_to(self.folder).parts
        )

    def _define(self, file: Path, name: str, names: dict[str, Any]) -> None:
        key = f"{file.relative_to(self.folder)}::{name}"
        definition = _definitions(file).get(name)
        if definition is None or key in self.texts:
            return
        text, used = _normal(definition)
        self.texts[key] = text
        for head, attribute in used:
            value, origin = names.get(head), None
            if isinstance(value, ModuleType):
                value, origin = vars(value).get(attribute), value  # getattr would import what is lazy
            file_of = vars(origin).get("__file__") if origin is not None else None  # sys has none
            if _unwrapped(value) is not None:
                self.add(value)
            elif origin is not None and file_of and self._follows(Path(file_of)):
                self._define(Path(file_of), attribute, vars(origin))
            elif head in names:
                self._define(file, head, names)


def _unwrapped(value: Any) -> FunctionType | type | None:
    """Return the function or class inside decorators and tasks; None for any other value."""
    found = value.fn if isinstance(value, Task) else value
    if not isinstance(found, FunctionType | type):
        found = inspect.getattr_static(found, "__wrapped__", None)  # a foreign object's own may do anything
    if isinstance(found, FunctionType):
        found = inspect.unwrap(found)
    return found if isinstance(found, FunctionType | type) else None


def _definitions(file: Path) -> dict[str, _Definition]:
    """Return what a file defines at its top, by name; nothing for a file that is gone or is no Python."""
    try:
        facts = file.stat()
        return _parsed(file, facts.st_mtime_ns, facts.st_size)
    except (OSError, SyntaxError, ValueError):
        return {}


@functools.lru_cache(maxsize=256)
def _parsed(file: Path, changed_ns: int, size: int) -> dict[str, _Definition]:
    definitions: dict[str, _Definition] = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, _Function | ast.ClassDef):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))
            definitions.update(dict.fromkeys(names, node))
    return definitions


def _normal(definition: _Definition) -> tuple[str, list[tuple[str, str]]]:
    """Return a definition's source as Python writes it, without decorators of functions and docstrings.

    Beside it the names in the source, each with its attribute or an empty string.
    """
    tree = ast.parse(ast.unparse(definition))
    for node in ast.walk(tree):
        if isinstance(node, _Function):
            node.decorator_list = []
        if isinstance(node, _Function | ast.ClassDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree), list(_used(tree))


def _used(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name):
            yield node.id, ""
