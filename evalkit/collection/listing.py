"""The listing of ``evalkit list``, cached from one call to the next.

The import of thousands of task files takes seconds, and few files change. So the items of a file are cached
with the file's path, time of change and size, and with the same facts of every module loaded with the file:
after a change of a helper, an ``evalconf.py`` or evalkit itself, everything is imported again. Files that are
broken, import another task file, or have a condition (``@skipif``) are imported every time.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from evalkit.collection.files import display, evalconfs, installed_files, task_files
from evalkit.collection.items import Item, items_of
from evalkit.collection.targets import Collection, collect, load_files, selector
from evalkit.errors import TaskFileError
from evalkit.util.paths import memory, write_whole
from evalkit.util.version import VERSION

State = tuple[int, int]
"""The time of change of a file in nanoseconds, and its size in bytes."""

_OTHER_TASK_FILE = re.compile(rb"^\s*(?:from|import)\b.*\btask_", re.MULTILINE)


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a listing, as plain values. ``own`` are the parameters that no axis varies."""

    name: str
    id: str
    doc: str
    tags: tuple[str, ...]
    params: dict[str, Any]
    own: tuple[str, ...]
    named: tuple[str, ...]
    metrics: tuple[str, ...]
    version: str
    skip: str = ""
    xfail: str = ""
    where: str = ""

    @property
    def node_id(self) -> str:
        """The item's node id, such as ``tasks/task_mine.py::mine[k=5]``."""
        return f"{self.where}::{self.id}"

    @property
    def document(self) -> dict[str, Any]:
        """The item in the form of ``--json``."""
        marks = {"skip": self.skip, "xfail": self.xfail}
        return {
            "id": self.id,
            "node_id": self.node_id,
            "doc": self.doc,
            "tags": self.tags,
            "params": self.params,
            "metrics": self.metrics,
            "version": self.version,
            **{k: v for k, v in marks.items() if v},
        }


@dataclass
class Listing:
    """The items of a listing, and the errors of files that could not be imported."""

    items: list[Listed] = field(default_factory=list)
    broken: list[TaskFileError] = field(default_factory=list)


def listed(item: Item) -> Listed:
    """Return the listed form of an item."""
    task = item.task
    return Listed(
        name=task.name,
        id=item.id,
        doc=task.doc,
        tags=task.tags,
        params=msgspec.to_builtins(item.shown, enc_hook=str),
        own=tuple(name for name in item.params if name not in task.axes),
        named=item.named,
        metrics=tuple(m.name for m in task.metrics),
        version=task.version,
        skip=item.skip,
        xfail=item.xfail,
        where=item.where,
    )


def listing(
    targets: Sequence[str],
    *,
    params: Mapping[str, Sequence[str]] | None = None,
    keyword: str | None = None,
    tags: Sequence[str] = (),
    include_path: Path | None = None,
    fresh: bool = False,
) -> Listing:
    """Return the items that ``collect`` would find; only files changed since the last listing are imported.

    ``fresh`` imports all files. Raises ``UsageError`` as ``collect`` does.
    """
    plain = all(not target or Path(target).exists() for target in targets or [""])
    if fresh or params or include_path or not plain:
        collection = collect(targets, params=params, keyword=keyword, tags=tags, include_path=include_path)
        return Listing([listed(item) for item in collection.items], collection.broken)
    total = Listing()
    for target in targets or [""]:
        root = str(Path(target).resolve()) if target else "installed"
        of_target = _cached(root, task_files(Path(root)) if target else installed_files())
        total.items += of_target.items
        total.broken += of_target.broken
    selects = selector(keyword, tags)
    total.items = [item for item in total.items if selects(item.node_id, item.tags)]
    return total


class _Entry(msgspec.Struct):
    """A cached task file: its state and items; ``confs`` are the evalconf.py files that apply to it."""

    state: State
    confs: list[str]
    items: list[Listed]


class _Book(msgspec.Struct):
    """The cache of one target. ``watched`` are the other modules that were loaded."""

    made_by: str = ""
    watched: dict[str, State] = {}
    files: dict[str, _Entry] = {}


def _cached(root: str, files: Sequence[Path]) -> Listing:
    path = memory("listings", root)
    book = _open(path) if path else _Book()
    total = Listing()
    entries: dict[str, _Entry] = {}
    confs: dict[Path, list[str]] = {}
    imported: set[str] = set()
    for file in files:
        name = str(file)
        if file.parent not in confs:
            confs[file.parent] = [str(conf) for conf in evalconfs(file)]
        entry = book.files.get(name)
        state = _state(name)
        if entry is None or state is None or (entry.state, entry.confs) != (state, confs[file.parent]):
            imported.add(name)
            entry = _import(file, state or (0, 0), confs[file.parent], total)
        if entry is not None:
            entries[name] = entry
            where = display(file)
            total.items += [msgspec.structs.replace(item, where=where) for item in entry.items]
    if path and (imported or entries.keys() != book.files.keys()):
        _save(path, entries, book.watched)
    return total


def _import(file: Path, state: State, confs: list[str], total: Listing) -> _Entry | None:
    """Import a file and return its cache entry; a file that must not be cached adds to ``total`` instead."""
    collection = Collection()
    for task in load_files([file], collection):
        try:
            collection.items += items_of(task)
        except TaskFileError as error:
            collection.broken.append(error)
    total.broken += collection.broken
    items = [listed(item) for item in collection.items]
    dynamic = any(item.task.marks.dynamic for item in collection.items)
    if collection.broken or dynamic or _OTHER_TASK_FILE.search(file.read_bytes()):
        total.items += items
        return None
    return _Entry(state, confs, items)


def _made_by() -> str:
    return f"1 {VERSION} {sys.version}"


def _open(path: Path) -> _Book:
    """Return the cache; empty where it is damaged, of another version, or a watched file has changed."""
    try:
        book = msgspec.msgpack.decode(path.read_bytes(), type=_Book)
    except (OSError, msgspec.DecodeError):
        return _Book()
    same = all(_state(name) == state for name, state in book.watched.items())
    return book if same and book.made_by == _made_by() else _Book()


def _save(path: Path, entries: dict[str, _Entry], watched: dict[str, State]) -> None:
    book = _Book(_made_by(), {**watched, **_loaded(entries)}, entries)
    with suppress(UnicodeEncodeError):  # a path that is not UTF-8: the listing is made anew each time
        write_whole(path, msgspec.msgpack.encode(book))


def _loaded(entries: Iterable[str]) -> dict[str, State]:
    """Return the state of all loaded modules, except Python's own and the task files."""
    listed_files, stdlib = set(entries), sysconfig.get_path("stdlib") + os.sep
    packages = sysconfig.get_path("purelib") + os.sep
    states: dict[str, State] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if not isinstance(name, str) or name in listed_files:
            continue
        if name.startswith(stdlib) and not name.startswith(packages):
            continue
        state = _state(name)
        if state is not None and not Path(name).name.startswith("task_"):
            states[name] = state
    return states


def _state(name: str) -> State | None:
    try:
        facts = os.stat(name)  # noqa: PTH116 - called for thousands of names
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size
