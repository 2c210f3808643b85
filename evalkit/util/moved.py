"""Former names and import paths that task files may still use, and their present ones.

Each use causes a ``DeprecationWarning``. evalkit itself does not use the former names.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from operator import attrgetter
from types import ModuleType
from typing import Any

MODULES = {
    "evalkit.arms": "evalkit.rag.arms",
    "evalkit.choices": "evalkit.choice.asking",
    "evalkit.collect": "evalkit.collection.targets",
    "evalkit.extract": "evalkit.choice.extract",
    "evalkit.hub": "evalkit.data.hub",
    "evalkit.metrics.base": "evalkit.metric",
    "evalkit.prompts": "evalkit.rag.prompts",
    "evalkit.queries": "evalkit.rag.queries",
    "evalkit.sentences": "evalkit.data.sentences",
    "evalkit.trec": "evalkit.retrieval.trec",
}
NAMES = {"evalkit": {"Needs": "Requirements"}, "evalkit.media": {"Arm": "ImageArm"}}
STORE_METHODS = {
    "page": "board.page",
    "ranking": "board.ranking",
    "records": "samples.records",
    "run": "runs.get",
    "sample": "samples.get",
    "tasks": "board.tasks",
}


def former_names(package: str) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package that knows the former names of its members."""

    def getattr_(name: str) -> Any:
        now = NAMES[package].get(name)
        if now is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        _warn(f"{package}.{name}", f"{package}.{now}")
        return getattr(sys.modules[package], now)

    return getattr_


def former_method(store: Any, name: str) -> Any:
    """Return the method of an open store that a former name stands for. Raises ``AttributeError``."""
    if name not in STORE_METHODS:
        raise AttributeError(f"a store has no attribute {name!r}")
    _warn(f"store.{name}", f"store.{STORE_METHODS[name]}")
    return attrgetter(STORE_METHODS[name])(store)


class _Finder:
    """An import finder that makes a module for a former path, with the names of the present module."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in MODULES else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        now = MODULES[module.__name__]
        _warn(module.__name__, now)
        present = importlib.import_module(now)
        module.__getattr__ = lambda name: getattr(present, name)  # type: ignore[method-assign]


def _warn(former: str, now: str) -> None:
    warnings.warn(f"{former} is now {now}", DeprecationWarning, stacklevel=2)


def install() -> None:
    """Let Python find the former paths, after all other finders."""
    sys.meta_path.append(_Finder())
