"""The targets of a command line (files, folders, node ids, names) and the items that they select."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.collection.expressions import keyword_filter, tag_filter
from evalkit.collection.files import installed_files, load_file, task_files
from evalkit.collection.fixture_resolution import fixtures_for, resolve
from evalkit.collection.items import Item, expand, items_of
from evalkit.collection.sources import source_of
from evalkit.errors import TaskFileError, UsageError, did_you_mean
from evalkit.task import Task, check_known
from evalkit.util.name_values import parse_name_values

_TARGET = re.compile(r"^(?P<where>.*?)(?:::(?P<task>[^\[\]]+))?(?:\[(?P<args>.*)\])?$", re.DOTALL)


@dataclass
class Collection:
    """The collected items, and the errors of files that could not be imported."""

    items: list[Item] = field(default_factory=list)
    broken: list[TaskFileError] = field(default_factory=list)


def collect(
    targets: Sequence[str],
    *,
    params: Mapping[str, Sequence[str]] | None = None,
    keyword: str | None = None,
    tags: Sequence[str] = (),
    include_path: Path | None = None,
) -> Collection:
    """Return the items of ``targets``: a file, a folder, ``FILE::name[k=5]``, ``name`` or ``name[k=5]``.

    No target means all tasks of installed packages. ``lm_eval/NAME`` is a task of lm-eval, and
    ``include_path`` is a folder with more of them. ``params`` are the ``-p`` settings, each a list of values
    to sweep. ``keyword`` is an expression over node ids and tags; ``tags`` are expressions over tags, one of
    which must hold. Raises ``UsageError`` for a target without a task.
    """
    found = Collection()
    chosen: list[tuple[Task, dict[str, list[str]]]] = []
    for target in targets or [""]:
        where, name, args = _split_target(target)
        source = None if Path(where).exists() else source_of(where)
        tasks = source.find(where, include_path) if source else _tasks_at(where, name, found)
        chosen += [(task, args) for task in tasks]
    _expand_all(chosen, params or {}, found)
    selects = selector(keyword, tags)
    found.items = [i for i in found.items if selects(i.node_id, i.task.tags)]
    return found


def selector(keyword: str | None, tags: Sequence[str]) -> Callable[[str, Sequence[str]], bool]:
    """Return the filter of ``-k`` and ``-m`` over a node id and its tags. Raises ``UsageError``."""
    by_keyword = keyword_filter(keyword) if keyword else None
    by_tags = [tag_filter(expression) for expression in tags]

    def selects(node_id: str, item_tags: Sequence[str]) -> bool:
        if by_keyword and not by_keyword(f"{node_id} {' '.join(item_tags)}"):
            return False
        return not by_tags or any(matches(item_tags) for matches in by_tags)

    return selects


def _expand_all(
    chosen: Sequence[tuple[Task, Mapping[str, Sequence[str]]]],
    params: Mapping[str, Sequence[str]],
    found: Collection,
) -> None:
    """Expand every chosen task. A setting of ``params`` must be known to one task at least."""
    known: dict[str, None] = {}
    for task, args in chosen:
        try:
            resolved = resolve(task, fixtures_for(task.path))
        except TaskFileError as error:
            found.broken.append(error)
            continue
        known.update(dict.fromkeys(resolved.params))
        given = {**{n: v for n, v in params.items() if n in resolved.params}, **args}
        found.items += expand(task, given, resolved)
    if chosen and not found.broken:
        owner = f"task {chosen[0][0].name}" if len(chosen) == 1 else "none of these tasks"
        check_known(params, known, owner)


def _split_target(target: str) -> tuple[str, str | None, dict[str, list[str]]]:
    match = _TARGET.match(target)
    assert match is not None  # the pattern takes any text
    args = parse_name_values(filter(None, (match["args"] or "").split(",")), f"{target}:")
    return match["where"], match["task"], {name: [v.strip() for v in values] for name, values in args.items()}


def _tasks_at(where: str, name: str | None, found: Collection) -> list[Task]:
    """Return the tasks of a path or, where the path does not exist, of installed packages by name."""
    path = Path(where)
    if where and path.exists():
        tasks = load_files(task_files(path), found)
        task_name = name
    elif where.endswith(".py") or "/" in where:
        raise UsageError(f"no such file or folder: {where}")
    else:
        tasks = load_files(installed_files(), found)
        task_name = name or where or None
    if task_name is None:
        return tasks
    chosen = [t for t in tasks if t.name == task_name]
    if not chosen and not found.broken:
        known = sorted({t.name for t in tasks})
        nearby = {} if path.exists() and where else _names_here()
        near = did_you_mean(task_name, [*nearby, *known])
        for name, file in nearby.items():
            if repr(name) in near:
                target = shlex.quote(f"{file}::{name}")
                raise UsageError(
                    f"no installed task {task_name!r}. {name!r} is in {file}: evalkit run {target}"
                )
        raise UsageError(
            f"no task {task_name!r}{f' in {where}' if path.exists() and where else ''}."
            f"{near} Known tasks: {', '.join(known) or 'none'}. "
            "For a task of your own give its file: evalkit run path/to/task_mine.py"
        )
    return chosen


def _names_here() -> dict[str, str]:
    """Return async functions in the working directory's task files, by name; the files are not imported."""
    files = {}
    for file in sorted(Path().glob("task_*.py")):
        for name in re.findall(r"^async def (\w+)", file.read_text("utf-8", "replace"), re.MULTILINE):
            files[name] = file.name
    return files


def load_files(files: Sequence[Path], found: Collection) -> list[Task]:
    """Return the tasks of files; the errors of files that cannot be imported go to ``found.broken``."""
    tasks: list[Task] = []
    for file in files:
        try:
            tasks += load_file(file)
        except TaskFileError as error:
            found.broken.append(error)
    return tasks


def items_for(
    task: Task | str, params: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None
) -> list[Item]:
    """Return the items of a task, or of a target of ``collect``, with ``params``; see ``items_of``."""
    settings = {name: [value] for name, value in (params or {}).items()}
    if isinstance(task, Task):
        return items_of(task, settings, values)
    found = collect([task], params=settings)
    if found.broken:
        raise found.broken[0]
    if not values:
        return found.items
    chosen = [(item.task, {name: [value] for name, value in item.shown.items()}) for item in found.items]
    return [item for owner, shown in chosen for item in items_of(owner, shown, values)]


def one_item(
    task: Task | str, params: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None
) -> Item:
    """Return the only item of ``items_for``. Raises ``UsageError`` where there are several."""
    items = items_for(task, params, values)
    if len(items) != 1:
        names = ", ".join(item.id for item in items)
        raise UsageError(f"{len(items)} items match instead of one: {names}. Give more parameters")
    return items[0]


def iter_tasks(found: Collection) -> Iterator[Task]:
    """Yield the distinct tasks of a collection, in order."""
    seen: set[int] = set()
    for item in found.items:
        if id(item.task) not in seen:
            seen.add(id(item.task))
            yield item.task
