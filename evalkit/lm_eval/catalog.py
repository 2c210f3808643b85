"""lm-eval's index of tasks and groups, by name. No data set is loaded before a run."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError, did_you_mean
from evalkit.extras import load
from evalkit.lm_eval.task_index import whole_manager


def leaves(manager: Any, name: str) -> Iterator[dict[str, Any]]:
    """Yield the configurations of the tasks under a name, from the YAML files, without running code."""
    entry = manager.task_index.get(name)
    if entry is None:
        return
    if entry.kind.name == "TAG":
        for member in sorted(entry.tags):
            yield from leaves(manager, member)
    elif entry.kind.name != "GROUP":
        yield {"task": name, **(entry.cfg or {})}
    else:
        yield from _members(manager, entry.cfg or {})


def _members(manager: Any, config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for member in _as_list(config.get("task")):
        if isinstance(member, str):
            yield from leaves(manager, member)
            continue
        name = member.get("group") or member.get("task")
        inside = list(leaves(manager, name)) if isinstance(name, str) else []
        yield from ({**leaf, **member, "task": leaf["task"]} for leaf in inside)
        if not inside:
            yield from _members(manager, member) if "group" in member else [member]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def matching(pattern: str, include_path: Path | None) -> tuple[Any, list[str]]:
    """Return the index that holds ``pattern``, and the names of the matching tasks. Raises ``UsageError``.

    The user's own folder is searched first, because lm-eval's 14,000 files take seconds to read.
    """
    if include_path is not None and not include_path.is_dir():
        raise UsageError(f"--include-path {include_path}: no such folder")
    own_first = [False, True] if include_path is not None else [True]
    for defaults in own_first:
        manager = _manager(include_path, defaults)
        matches = [n for n in sorted(manager.task_index) if fnmatch.fnmatchcase(n, pattern)]
        if matches and (defaults or all(_complete(manager, name) for name in matches)):
            names = dict.fromkeys(member for name in matches for member in _runnable(manager, name))
            return manager, list(names)
    raise UsageError(
        f"lm-eval has no task {pattern!r}.{did_you_mean(pattern, sorted(manager.task_index))} "
        "evalkit list 'lm_eval/*' lists all of them; --include-path DIR adds your own YAML files"
    )


@cache
def _manager(include_path: Path | None, defaults: bool) -> Any:
    tasks = load("lm_eval.tasks", "a task of lm-eval", "lm-eval")
    if defaults:
        return whole_manager(include_path)
    return tasks.TaskManager(include_path=include_path, include_defaults=False)


def _runnable(manager: Any, name: str) -> list[str]:
    entry = manager.task_index[name]
    if entry.kind.name == "TAG":
        members = sorted(entry.tags)
    elif entry.kind.name == "GROUP" and not (entry.cfg or {}).get("aggregate_metric_list"):
        members = [m for m in _as_list((entry.cfg or {}).get("task")) if isinstance(m, str)]
        if len(members) < len(_as_list((entry.cfg or {}).get("task"))):
            return [name]  # members defined inside the group have no name
    else:
        return [name]
    return [leaf for member in members if member in manager.task_index for leaf in _runnable(manager, member)]


def _complete(manager: Any, name: str) -> bool:
    """Return whether this index holds a name and all its members."""
    entry = manager.task_index.get(name)
    if entry is None:
        return False
    named = [m for m in _as_list((entry.cfg or {}).get("task")) if isinstance(m, str)]
    return entry.kind.name != "GROUP" or all(_complete(manager, member) for member in named)
