"""Where tasks come from: a file, or a source that a prefix names (``lm_eval/NAME``). Back from a stored run.

A source is a class that the entry-point group ``evalkit.sources`` names by its prefix. Nothing of it is
imported before a target or a stored run has that prefix.
"""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.collection.files import load_task
from evalkit.collection.fixture_resolution import closure, fixtures_for
from evalkit.collection.items import Item, expand
from evalkit.collection.with_metrics import with_metrics
from evalkit.errors import UsageError
from evalkit.store.records import RunSpec
from evalkit.task import Task


class TaskSource(ABC):
    """Tasks that no file of ours defines."""

    @abstractmethod
    def find(self, target: str, include_path: Path | None) -> list[Task]:
        """Return the tasks that ``target``, prefix included, names. Raises ``UsageError`` for none."""

    @abstractmethod
    def rebuild(self, spec: RunSpec) -> Item:
        """Return the item that a stored run was made of. Raises ``UsageError`` where it is gone."""


def source_of(target: str) -> TaskSource | None:
    """Return the source whose prefix ``target`` begins with; None for a path or a plain name."""
    prefix, slash, _ = target.partition("/")
    if not slash:
        return None
    for point in importlib.metadata.entry_points(group="evalkit.sources", name=prefix):
        source: TaskSource = point.load()()
        return source
    return None


def item_of(spec: RunSpec) -> Item:
    """Return the item that a run was made of. Raises ``UsageError`` if its file or task is gone."""
    target = spec.target
    if (source := source_of(target["task"])) is not None:
        return source.rebuild(spec)
    path = Path(target["path"]) if target.get("path") else None
    if path is None or not path.is_file():
        raise UsageError(f"run {spec.id}: its task file {target.get('path')} is not there")
    try:
        return rebuilt(load_task(path, target["task"]), target)
    except UsageError as error:
        raise UsageError(f"run {spec.id}: {error}") from None


def rebuilt(task: Task, target: Mapping[str, Any]) -> Item:
    """Return the item of a task with the parameters that a run stored, without those it no longer has."""
    fixtures = fixtures_for(task.path)
    known = closure(task, fixtures)
    values: dict[str, list[Any]] = {name: [known[name].default] for name in task.axes}
    values |= {n: [v] for n, v in target["params"].items() if n in known}
    (item,) = expand(task, values, known, fixtures)
    task = with_metrics(item.task, target.get("metrics", ()))
    return replace(item, task=task, named=tuple(target["named"]))
