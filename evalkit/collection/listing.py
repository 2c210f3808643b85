"""What ``evalkit list`` shows of each item, remembered from one listing to the next.

Importing thousands of task files takes seconds, and nearly all of them are what they were. So what a file
lists is kept by its path, time of change and size, beside the same facts of every module that was loaded with
it: where a helper, an ``evalconf.py`` or evalkit itself has changed, everything is imported anew. Files that
are broken, that import another task file, or that ask a condition (``@skipif``) are imported every time.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
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
"""Time of change in nanoseconds, and size in bytes."""

_OTHER_TASK_FILE = re.compile(rb"^\s*(?:from|import)\b.*\btask_", re.MULTILINE)


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An item as it is listed: plain values. ``own`` are the parameters that no axis varies."""

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
        """``tasks/task_mine.py::mine[k=5]``."""
        return f"{self.where}::{self.id}"

    @property
    def document(self) -> dict[str, Any]:
        """The item as ``--json`` shows it."""
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
    """What was found, and the files that could not be imported."""

    items: list[Listed] = field(default_factory=list)
    broken: list[TaskFileError] = field(default_factory=list)


def listed(item: Item) -> Listed:
    """What is shown of an item."""
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
    """The items that ``collect`` would find, without importing what has not changed since the last listing.

    ``fresh`` imports everything. Raises ``UsageError`` as ``collect`` does.
    """
    plain = all(not target or Path(target).exists() for target in targets or [""])
    if fresh or params or include_path or not plain:
        found = collect(targets, params=params, keyword=keyword, tags=tags, include_path=include_path)
        return Listing([listed(item) for item in found.items], found.broken)
    made = Listing()
    for target in targets or [""]:
        root = Path(target).resolve()
        files = task_files(root) if target else installed_files()
        here = _remembered(str(root) if target else "installed", files)
        made.items += here.items
        made.broken += here.broken
    chosen = selector(keyword, tags)
    made.items = [item for item in made.items if chosen(item.node_id, item.tags)]
    return made


class _Entry(msgspec.Struct):
    """One task file as it was when it was listed; ``confs`` are the evalconf.py files that it sees."""

    state: State
    confs: list[str]
    items: list[Listed]


class _Book(msgspec.Struct):
    """Everything remembered of one target. ``watched`` are the other modules that were loaded."""

    made_by: str = ""
    watched: dict[str, State] = {}
    files: dict[str, _Entry] = {}


def _remembered(root: str, files: Sequence[Path]) -> Listing:
    path = memory("listings", root)
    book = _open(path) if path else _Book()
    found = Listing()
    entries: dict[str, _Entry] = {}
    confs: dict[Path, list[str]] = {}
    anew: set[str] = set()
    for file in files:
        name = str(file)
        if file.parent not in confs:
            confs[file.parent] = [str(conf) for conf in evalconfs(file)]
        entry = book.files.get(name)
        state = _state(name)
        if entry is None or state is None or (entry.state, entry.confs) != (state, confs[file.parent]):
            anew.add(name)
            entry = _import(file, state or (0, 0), confs[file.parent], found)
        if entry is not None:
            entries[name] = entry
            where = display(file)
            found.items += [msgspec.structs.replace(item, where=where) for item in entry.items]
    if path and (anew or entries.keys() != book.files.keys()):
        _save(path, entries, book.watched)
    return found


def _import(file: Path, state: State, confs: list[str], found: Listing) -> _Entry | None:
    """What a file lists now. Broken, it is named in ``found``, and nothing is remembered."""
    here = Collection()
    for task in load_files([file], here):
        try:
            here.items += items_of(task)
        except TaskFileError as error:
            here.broken.append(error)
    found.broken += here.broken
    items = [listed(item) for item in here.items]
    dynamic = any(item.task.marks.dynamic for item in here.items)
    if here.broken or dynamic or _OTHER_TASK_FILE.search(file.read_bytes()):
        found.items += items
        return None
    return _Entry(state, confs, items)


def _made_by() -> str:
    return f"1 {VERSION} {sys.version}"


def _open(path: Path) -> _Book:
    """What was remembered; nothing where it is damaged, another evalkit's, or a watched file has changed."""
    try:
        book = msgspec.msgpack.decode(path.read_bytes(), type=_Book)
    except (OSError, msgspec.DecodeError):
        return _Book()
    same = all(_state(name) == state for name, state in book.watched.items())
    return book if same and book.made_by == _made_by() else _Book()


def _save(path: Path, entries: dict[str, _Entry], watched: dict[str, State]) -> None:
    book = _Book(_made_by(), {**watched, **_loaded(entries)}, entries)
    write_whole(path, msgspec.msgpack.encode(book))


def _loaded(entries: Iterable[str]) -> dict[str, State]:
    """All modules that are loaded now, but for Python's own and the task files, which are kept one by one."""
    known, stdlib = set(entries), sysconfig.get_path("stdlib") + os.sep
    packages = sysconfig.get_path("purelib") + os.sep
    found: dict[str, State] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if not isinstance(name, str) or name in known:
            continue
        if name.startswith(stdlib) and not name.startswith(packages):
            continue
        state = _state(name)
        if state is not None and not Path(name).name.startswith("task_"):
            found[name] = state
    return found


def _state(name: str) -> State | None:
    try:
        facts = os.stat(name)  # noqa: PTH116 - called for thousands of names
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size
