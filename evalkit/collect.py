"""Finding tasks, as pytest finds tests: ``task_*.py`` files by path, and by entry point.

Files are imported by path under private module names, each folder as a package of its own, so that
``from .helper import x`` works beside the file while nothing in the working directory is shadowed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import itertools
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from evalkit.errors import TaskFileError, UsageError, did_you_mean
from evalkit.task import Fixture, Parameter, Task, check_known, parameters_of

_ROOT_MARKS = (".git", "pyproject.toml", "evalkit.toml")
_TARGET = re.compile(r"^(?P<where>.*?)(?:::(?P<task>[^\[\]]+))?(?:\[(?P<args>.*)\])?$", re.DOTALL)


@dataclass(frozen=True)
class Item:
    """One task with one set of parameters: what a run is a run of."""

    task: Task
    params: Mapping[str, Any]
    fixtures: Mapping[str, Fixture]
    named: tuple[str, ...]
    where: str

    @property
    def id(self) -> str:
        """The short node id, ``pubmed_rag[arm=oracle,k=5]``."""
        inside = ",".join(f"{name}={_plain(self.params[name])}" for name in self.named)
        return f"{self.task.name}[{inside}]" if inside else self.task.name

    @property
    def node_id(self) -> str:
        """The whole node id, ``tasks/biomedical/task_pubmed_rag.py::pubmed_rag[arm=oracle,k=5]``."""
        return f"{self.where}::{self.id}"


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
) -> Collection:
    """Find the items that ``targets`` name: a file, a folder, ``FILE::name[k=5]``, ``name`` or ``name[k=5]``.

    ``params`` are the ``-p`` settings, each a list of values to sweep. Without targets, all tasks of
    installed packages. Raises ``UsageError`` for a target that names nothing.
    """
    found = Collection()
    chosen: list[tuple[Task, dict[str, list[str]]]] = []
    for target in targets or [""]:
        where, name, args = _split_target(target)
        chosen += [(one, args) for one in _tasks_at(where, name, found)]
    _expand_all(chosen, params or {}, found)
    if keyword:
        matches = keyword_filter(keyword)
        found.items = [i for i in found.items if matches(f"{i.node_id} {' '.join(i.task.tags)}")]
    if tags:
        found.items = [i for i in found.items if set(tags) & set(i.task.tags)]
    return found


def _expand_all(
    chosen: Sequence[tuple[Task, Mapping[str, Sequence[str]]]],
    params: Mapping[str, Sequence[str]],
    found: Collection,
) -> None:
    """Expand every chosen task. A setting of ``params`` must be known to one task at least."""
    known: dict[str, None] = {}
    for task, args in chosen:
        try:
            fixtures = fixtures_for(task.path)
            names = closure(task, fixtures)
        except TaskFileError as error:
            found.broken.append(error)
            continue
        known.update(dict.fromkeys(names))
        given = {**{n: v for n, v in params.items() if n in names}, **args}
        found.items += expand(task, given, names, fixtures)
    if chosen and not found.broken:
        owner = f"task {chosen[0][0].name}" if len(chosen) == 1 else "none of these tasks"
        check_known(params, known, owner)


def _split_target(target: str) -> tuple[str, str | None, dict[str, list[str]]]:
    match = _TARGET.match(target)
    assert match is not None  # the pattern takes any text
    args: dict[str, list[str]] = {}
    for piece in filter(None, (match["args"] or "").split(",")):
        name, equals, value = piece.partition("=")
        if not equals:
            raise UsageError(f"{target!r}: write parameters as name=value, not {piece!r}")
        args.setdefault(name.strip(), []).append(value.strip())
    return match["where"], match["task"], args


def _tasks_at(where: str, name: str | None, found: Collection) -> list[Task]:
    """Tasks of a path, or, where there is no such path, of installed packages by name."""
    path = Path(where)
    if where and path.exists():
        files = [path] if path.is_file() else sorted(path.rglob("task_*.py"))
        if not files:
            raise UsageError(f"no task files (task_*.py) under {where}")
        tasks = _load_files(files, found)
        wanted = name
    elif where.endswith(".py") or "/" in where:
        raise UsageError(f"no such file or folder: {where}")
    else:
        tasks = _load_files(installed_files(), found)
        wanted = name or where or None
    if wanted is None:
        return tasks
    chosen = [t for t in tasks if t.name == wanted]
    if not chosen and not found.broken:
        known = sorted({t.name for t in tasks})
        raise UsageError(
            f"no task {wanted!r}{f' in {where}' if path.exists() and where else ''}."
            f"{did_you_mean(wanted, known)} Known tasks: {', '.join(known) or 'none'}. "
            "For a task of your own give its file: evalkit run path/to/task_mine.py"
        )
    return chosen


def _load_files(files: Sequence[Path], found: Collection) -> list[Task]:
    tasks: list[Task] = []
    for file in files:
        try:
            tasks += load_file(file)
        except TaskFileError as error:
            found.broken.append(error)
    return tasks


def installed_files() -> list[Path]:
    """Task files of installed packages, by the entry-point group ``evalkit.tasks`` (a package name each)."""
    files: list[Path] = []
    for point in importlib.metadata.entry_points(group="evalkit.tasks"):
        spec = importlib.util.find_spec(point.value)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            files += sorted(Path(folder).rglob("task_*.py"))
    return files


@cache
def load_file(path: Path) -> list[Task]:
    """The tasks of one file, in the order they are written. Raises ``TaskFileError`` with file and line."""
    module = import_by_path(path)
    tasks = [value for value in vars(module).values() if isinstance(value, Task)]
    for one in tasks:
        one.path = path.resolve()
    return tasks


def import_by_path(path: Path) -> ModuleType:
    """Import a plug-in file under a private name. Raises ``TaskFileError``; nothing half-imported stays."""
    path = path.resolve()
    package = f"_evalkit_{hashlib.sha256(str(path.parent).encode()).hexdigest()[:16]}"
    name = f"{package}.{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    if package not in sys.modules:
        home = ModuleType(package)
        home.__path__ = [str(path.parent)]
        sys.modules[package] = home
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TaskFileError(str(path), None, "not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        sys.modules.pop(name, None)
        raise TaskFileError(error.filename or str(path), error.lineno, f"syntax error: {error.msg}") from None
    except Exception as error:  # a plug-in file may raise anything; it becomes one typed error
        sys.modules.pop(name, None)
        raise TaskFileError(str(path), _line_in(error, path), f"{type(error).__name__}: {error}") from error
    return module


def _line_in(error: Exception, path: Path) -> int | None:
    """The last line of ``path`` that the traceback passes through."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    return lines[-1] if lines else None


def fixtures_for(path: Path | None) -> dict[str, Fixture]:
    """The fixtures that a task file sees: the core's, then each ``evalconf.py`` from the project's root
    down to its folder, then its own; the later wins."""
    from evalkit import fixtures as core

    modules: list[ModuleType] = [core]
    if path is not None:
        modules += [import_by_path(conf) for conf in _evalconfs(path)]
        modules.append(import_by_path(path))
    found: dict[str, Fixture] = {}
    for module in modules:
        found.update({v.name: v for v in vars(module).values() if isinstance(v, Fixture)})
    return found


def _evalconfs(path: Path) -> list[Path]:
    confs: list[Path] = []
    for folder in path.parents:
        if (folder / "evalconf.py").is_file():
            confs.append(folder / "evalconf.py")
        if any((folder / mark).exists() for mark in _ROOT_MARKS):
            break
    return confs[::-1]


def closure(task: Task, fixtures: Mapping[str, Fixture]) -> dict[str, Parameter]:
    """All parameters that a task takes: its own, those of its samples and of every fixture it leads to.

    Raises ``TaskFileError`` for a fixture that nobody defines, or two defaults for one name.
    """
    found: dict[str, Parameter] = {}
    asked: set[str] = set()
    todo: list[tuple[str, Callable[..., Any]]] = [(f"task {task.name}", task.fn)]
    if callable(task.samples):
        todo.append((f"samples of {task.name}", task.samples))
    while todo:
        owner, fn = todo.pop()
        params, wanted = parameters_of(fn)
        for name, param in params.items():
            if name in found and found[name].default != param.default:
                raise _at(
                    fn,
                    task,
                    f"{owner}: parameter {name!r} has the default {param.default!r} here and "
                    f"{found[name].default!r} elsewhere in the same task; make them equal",
                )
            found[name] = param
        for name in wanted:
            if name in asked:
                continue
            if name in task.axes:  # an argument without a default that @parametrize fills
                found.setdefault(name, Parameter(name, task.axes[name][0], type(task.axes[name][0])))
                continue
            if name not in fixtures:
                raise _at(
                    fn,
                    task,
                    f"{owner} asks for a fixture {name!r} that nobody defines."
                    f"{did_you_mean(name, fixtures)} Known fixtures: {', '.join(sorted(fixtures))}. "
                    "Define it with @fixture in the task file or in evalconf.py beside it",
                )
            asked.add(name)
            todo.append((f"fixture {name}", fixtures[name].fn))
    return found


def _at(fn: Callable[..., Any], task: Task, message: str) -> TaskFileError:
    return TaskFileError(_display(task.path), fn.__code__.co_firstlineno, message)


def expand(
    task: Task,
    given: Mapping[str, Sequence[str]],
    known: Mapping[str, Parameter],
    fixtures: Mapping[str, Fixture],
) -> list[Item]:
    """The items of a task: one for each combination of its axes and of the given values.

    An axis that is given is replaced by the given values. Raises ``UsageError`` for an unknown name.
    """
    check_known(given, known, f"task {task.name}")
    check_known(task.axes, known, f"@parametrize of task {task.name}")
    axes = dict(task.axes)
    axes.update({name: [known[name].convert(v) for v in values] for name, values in given.items()})
    own = list(inspect.signature(task.fn).parameters)
    varied = [n for n in own if n in axes] + sorted(n for n in axes if n not in own)
    named = tuple(
        n for n in varied if not known[n].is_path and (n in task.axes or axes[n] != [known[n].default])
    )
    defaults = {name: p.default for name, p in known.items()}
    return [
        Item(task, {**defaults, **dict(zip(axes, values, strict=True))}, fixtures, named, _display(task.path))
        for values in itertools.product(*axes.values())
    ]


def _display(path: Path | None) -> str:
    """A task file as people write it: relative to here, or to the installed package."""
    if path is None:
        return "<session>"
    for base in (Path.cwd(), Path(__file__).resolve().parent.parent):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return str(path)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def keyword_filter(expression: str) -> Callable[[str], bool]:
    """A test for ``-k``: words joined by ``and``, ``or``, ``not`` and brackets, each a part of the node id.

    Raises ``UsageError`` for anything else.
    """
    words: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        if match[0] in ("and", "or", "not"):
            return match[0]
        words.append(match[0].lower())
        return f"w{len(words) - 1}"

    try:
        tree = ast.parse(re.sub(r"[^\s()]+", stand_in, expression), mode="eval").body
    except SyntaxError:
        raise UsageError(f"-k {expression!r}: write words joined by and, or, not") from None

    def holds(node: ast.expr, text: str) -> bool:
        match node:
            case ast.Name(id=name):
                return words[int(name[1:])] in text
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return not holds(inner, text)
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(holds(p, text) for p in parts)
            case ast.BoolOp(op=ast.Or(), values=parts):
                return any(holds(p, text) for p in parts)
        raise UsageError(f"-k {expression!r}: write words joined by and, or, not")

    holds(tree, "")
    return lambda text: holds(tree, text.lower())


def iter_tasks(found: Collection) -> Iterator[Task]:
    """The distinct tasks of a collection, in order."""
    seen: set[int] = set()
    for item in found.items:
        if id(item.task) not in seen:
            seen.add(id(item.task))
            yield item.task
