"""Where tasks come from: a file, or a source that a prefix names (``lm_eval/NAME``). Back from a stored run.

A source is a class that the entry-point group ``evalkit.sources`` names by its prefix. Nothing of it is
imported before a target or a stored run has that prefix.
"""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.collection.files import load_task
from evalkit.collection.fixture_resolution import fixtures_for, resolve
from evalkit.collection.items import Item, expand
from evalkit.collection.with_metrics import with_metrics
from evalkit.errors import UsageError
from evalkit.store.records import Reproduction, RunSpec
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
    if (source := source_of(spec.task_name)) is not None:
        return source.rebuild(spec)
    path = spec.reproduction.path
    if path is None or not Path(path).is_file():
        raise UsageError(f"run {spec.id}: its task file {path} is not there")
    try:
        return rebuilt(load_task(path, spec.task_name), spec.reproduction)
    except UsageError as error:
        raise UsageError(f"run {spec.id}: {error}") from None


def rebuilt(task: Task, stored: Reproduction) -> Item:
    """Return the item of a task with the parameters that a run stored, without those it no longer has."""
    resolved = resolve(task, fixtures_for(task.path))
    values: dict[str, list[Any]] = {name: [resolved.params[name].default] for name in task.axes}
    values |= {n: [v] for n, v in stored.params.items() if n in resolved.params}
    (item,) = expand(task, values, resolved)
    return replace(item, task=with_metrics(item.task, stored.metrics), named=stored.named)
