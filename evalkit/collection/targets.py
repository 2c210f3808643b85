"""What the targets of a command line name: files, folders, node ids and names, as items."""

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
    """What was found, and the files that could not be imported."""

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
    """Find the items that ``targets`` name: a file, a folder, ``FILE::name[k=5]``, ``name`` or ``name[k=5]``.

    ``params`` are the ``-p`` settings, each a list of values to sweep. ``keyword`` is an expression over node
    ids and tags, ``tags`` are expressions over tags of which one must hold. Without targets, all tasks of
    installed packages. ``lm_eval/NAME`` is a task of lm-eval; ``include_path`` a folder of more of them.
    Raises ``UsageError`` for a target that names nothing.
    """
    found = Collection()
    chosen: list[tuple[Task, dict[str, list[str]]]] = []
    for target in targets or [""]:
        where, name, args = _split_target(target)
        source = None if Path(where).exists() else source_of(where)
        here = source.find(where, include_path) if source else _tasks_at(where, name, found)
        chosen += [(one, args) for one in here]
    _expand_all(chosen, params or {}, found)
    chosen_by = selector(keyword, tags)
    found.items = [i for i in found.items if chosen_by(i.node_id, i.task.tags)]
    return found


def selector(keyword: str | None, tags: Sequence[str]) -> Callable[[str, Sequence[str]], bool]:
    """What ``-k`` and ``-m`` say of a node id and its tags. Raises ``UsageError`` for a wrong expression."""
    by_keyword = keyword_filter(keyword) if keyword else None
    by_tags = [tag_filter(expression) for expression in tags]

    def chosen(node_id: str, own: Sequence[str]) -> bool:
        if by_keyword and not by_keyword(f"{node_id} {' '.join(own)}"):
            return False
        return not by_tags or any(one(own) for one in by_tags)

    return chosen


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
    """Tasks of a path, or, where there is no such path, of installed packages by name."""
    path = Path(where)
    if where and path.exists():
        tasks = load_files(task_files(path), found)
        wanted = name
    elif where.endswith(".py") or "/" in where:
        raise UsageError(f"no such file or folder: {where}")
    else:
        tasks = load_files(installed_files(), found)
        wanted = name or where or None
    if wanted is None:
        return tasks
    chosen = [t for t in tasks if t.name == wanted]
    if not chosen and not found.broken:
        known = sorted({t.name for t in tasks})
        here = {} if path.exists() and where else _names_here()
        near = did_you_mean(wanted, [*here, *known])
        for name, file in here.items():
            if repr(name) in near:
                target = shlex.quote(f"{file}::{name}")
                raise UsageError(f"no installed task {wanted!r}. {name!r} is in {file}: evalkit run {target}")
        raise UsageError(
            f"no task {wanted!r}{f' in {where}' if path.exists() and where else ''}."
            f"{near} Known tasks: {', '.join(known) or 'none'}. "
            "For a task of your own give its file: evalkit run path/to/task_mine.py"
        )
    return chosen


def _names_here() -> dict[str, str]:
    """Functions of the task files in the working directory, and their files; read, not imported."""
    found = {}
    for file in sorted(Path().glob("task_*.py")):
        for name in re.findall(r"^async def (\w+)", file.read_text("utf-8", "replace"), re.MULTILINE):
            found[name] = file.name
    return found


def load_files(files: Sequence[Path], found: Collection) -> list[Task]:
    """The tasks of files; those that cannot be imported join ``found.broken``."""
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
    """The items of a task, or of a target as ``collect`` takes it, with ``params``; see ``items_of``."""
    given = {name: [value] for name, value in (params or {}).items()}
    if isinstance(task, Task):
        return items_of(task, given, values)
    found = collect([task], params=given)
    if found.broken:
        raise found.broken[0]
    if not values:
        return found.items
    chosen = [(item.task, {name: [value] for name, value in item.shown.items()}) for item in found.items]
    return [item for one, own in chosen for item in items_of(one, own, values)]


def one_item(
    task: Task | str, params: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None
) -> Item:
    """The only item of ``items_for``. Raises ``UsageError`` where there are several."""
    items = items_for(task, params, values)
    if len(items) != 1:
        names = ", ".join(item.id for item in items)
        raise UsageError(f"one item is wanted, and here are {len(items)}: {names}. Give more parameters")
    return items[0]


def iter_tasks(found: Collection) -> Iterator[Task]:
    """The distinct tasks of a collection, in order."""
    seen: set[int] = set()
    for item in found.items:
        if id(item.task) not in seen:
            seen.add(id(item.task))
            yield item.task
