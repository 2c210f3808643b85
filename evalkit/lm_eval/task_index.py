"""A cache of lm-eval's index of tasks: its 14,000 YAML files take seconds to parse, and rarely change.

The cache holds lm-eval's version and a digest of each file's path, time of change and size: after a change,
lm-eval reads its files again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from evalkit.util.paths import memory, write_whole


class _Book(msgspec.Struct):
    """The cached index. An entry holds its kind, its file, the file's content, and the tasks of a tag."""

    made_by: str
    entries: dict[str, tuple[str, str | None, Any, list[str]]]


def whole_manager(include_path: Path | None) -> Any:
    """Return lm-eval's ``TaskManager`` of all its tasks; tasks in ``include_path`` replace them by name."""
    from lm_eval.tasks import TaskManager

    root = Path(importlib.import_module("lm_eval.tasks").__path__[0])
    path = memory("lm_eval", str(root))
    try:
        from lm_eval.tasks._index import Entry, Kind
    except ImportError:  # another version of lm-eval
        path = None
    if path is None:
        return TaskManager(include_path=include_path)
    made_by = state_of(root)
    if (book := _open(path, made_by)) is None:
        entries = TaskManager().task_index
        book = _Book(made_by, {name: _plain(entry) for name, entry in entries.items()})
        _save(path, book)
    manager = TaskManager(include_path=include_path, include_defaults=False)
    included = dict(manager.task_index)
    manager.task_index.clear()
    for name, (kind, file, config, members) in book.entries.items():
        manager.task_index[name] = Entry(name, Kind[kind], Path(file) if file else None, config, set(members))
    manager.task_index.update(included)
    return manager


def _plain(entry: Any) -> tuple[str, str | None, Any, list[str]]:
    return entry.kind.name, str(entry.yaml_path) if entry.yaml_path else None, entry.cfg, sorted(entry.tags)


def state_of(root: Path) -> str:
    """Return lm-eval's version and a digest of the present YAML files in a folder."""
    digest = hashlib.sha256()
    for path, changed_ns, size in sorted(_files(str(root))):
        digest.update(f"{path}\0{changed_ns}\0{size}\n".encode())
    return f"1 {importlib.metadata.version('lm_eval')} {digest.hexdigest()}"


def _files(folder: str) -> Iterator[tuple[str, int, int]]:
    """Yield the YAML files under a folder: path, time of change in nanoseconds, size in bytes."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(entry.path)
            elif entry.name.endswith(".yaml"):
                facts = entry.stat()
                yield entry.path, facts.st_mtime_ns, facts.st_size


def _open(path: Path, made_by: str) -> _Book | None:
    """Return the cached index; None where there is none, it is damaged, or a file has changed since."""
    try:
        book = msgspec.msgpack.decode(path.read_bytes(), type=_Book)
    except (OSError, msgspec.DecodeError):
        return None
    return book if book.made_by == made_by else None


def _save(path: Path, book: _Book) -> None:
    """Write the cache, unless the index does not survive encoding."""
    try:
        written = msgspec.msgpack.encode(book)
        if msgspec.msgpack.decode(written, type=_Book) != book:
            return
    except (TypeError, msgspec.MsgspecError):
        return
    write_whole(path, written)
