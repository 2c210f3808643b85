"""Finding tasks, as pytest finds tests: ``task_*.py`` files by path, and by entry point.

Files are imported by path under private module names, each folder as a package of its own, so that
``from .helper import x`` works beside the file while nothing in the working directory is shadowed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import itertools
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from evalkit import harness
from evalkit.errors import TaskFileError, UsageError, did_you_mean
from evalkit.expressions import keyword_filter, tag_filter
from evalkit.task import GIVEN, SCOPES, Fixture, Parameter, Scope, Task, check_known, parameters_of
from evalkit.types import Needs

_ROOT_MARKS = (".git", "pyproject.toml", "evalkit.toml")
_TARGET = re.compile(r"^(?P<where>.*?)(?:::(?P<task>[^\[\]]+))?(?:\[(?P<args>.*)\])?$", re.DOTALL)


@dataclass(frozen=True)
class Item:
    """One task with one set of parameters: what a run is a run of.

    ``labels`` are the ids that ``@parametrize(ids=…)`` gave to values of ``params``.
    """

    task: Task
    params: Mapping[str, Any]
    fixtures: Mapping[str, Fixture]
    named: tuple[str, ...]
    where: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The short node id, ``pubmed_rag[arm=oracle,k=5]``."""
        shown = self.shown
        inside = ",".join(f"{name}={_plain(shown[name])}" for name in self.named)
        return f"{self.task.name}[{inside}]" if inside else self.task.name

    @property
    def shown(self) -> dict[str, Any]:
        """The parameters as they are listed and stored: an id in place of a value that has one."""
        return {**self.params, **self.labels}

    @property
    def needs(self) -> Needs:
        """What the model has to be able to do for these parameters."""
        needs = self.task.needs
        return needs(self.params) if callable(needs) else needs

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
        of_lm_eval = where.startswith(harness.PREFIX) and not Path(where).exists()
        here = _harness_tasks(where, include_path) if of_lm_eval else _tasks_at(where, name, found)
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
        raise UsageError(
            f"no task {wanted!r}{f' in {where}' if path.exists() and where else ''}."
            f"{did_you_mean(wanted, known)} Known tasks: {', '.join(known) or 'none'}. "
            "For a task of your own give its file: evalkit run path/to/task_mine.py"
        )
    return chosen


def _harness_tasks(where: str, include_path: Path | None) -> list[Task]:
    """Tasks of lm-eval, which is imported here and not before."""
    from evalkit.harness import catalog

    return catalog.find(where, include_path)


def task_files(path: Path) -> list[Path]:
    """The task files of a path that is there. Raises ``UsageError`` for a folder without any."""
    files = [path] if path.is_file() else sorted(path.rglob("task_*.py"))
    if not files:
        raise UsageError(f"no task files (task_*.py) under {path}")
    return files


def load_files(files: Sequence[Path], found: Collection) -> list[Task]:
    """The tasks of files; those that cannot be imported join ``found.broken``."""
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


def load_file(path: Path) -> list[Task]:
    """The tasks of one file, in the order they are written. Raises ``TaskFileError`` with file and line."""
    return _tasks_in(path.resolve())


@cache
def _tasks_in(path: Path) -> list[Task]:
    module = import_by_path(path)
    tasks = [value for value in vars(module).values() if isinstance(value, Task)]
    for one in tasks:
        one.path = path
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
        modules += [import_by_path(conf) for conf in evalconfs(path)]
        modules.append(import_by_path(path))
    found: dict[str, Fixture] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Fixture):
                found[value.name] = _over(found.get(value.name), value)
    return found


def items_of(
    task: Task,
    params: Mapping[str, Sequence[Any]] | None = None,
    values: Mapping[str, Any] | None = None,
) -> list[Item]:
    """The items of a task object: of one that is in no file, with the fixtures of its own module.

    ``values`` take the place of fixtures, by name. Raises ``TaskFileError`` and ``UsageError`` as collecting
    its file would.
    """
    fixtures = fixtures_for(task.path)
    if task.path is None:
        own = [value for value in task.fn.__globals__.values() if isinstance(value, Fixture)]
        fixtures |= {one.name: _over(fixtures.get(one.name), one) for one in own}
    for name, value in (values or {}).items():
        fixtures[name] = Fixture(name, _always(value))
    return expand(task, params or {}, closure(task, fixtures), fixtures)


def one_item(
    task: Task | str, params: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None
) -> Item:
    """The only item of a task, or of a target as ``collect`` takes it, with ``params``; see ``items_of``.

    Raises ``UsageError`` where there are several.
    """
    given = {name: [value] for name, value in (params or {}).items()}
    if isinstance(task, Task):
        items = items_of(task, given, values)
    else:
        found = collect([task], params=given)
        if found.broken:
            raise found.broken[0]
        items = found.items
        if values and len(items) == 1:
            chosen = {name: [value] for name, value in items[0].shown.items()}
            items = items_of(items[0].task, chosen, values)
    if len(items) != 1:
        names = ", ".join(item.id for item in items)
        raise UsageError(f"one item is wanted, and here are {len(items)}: {names}. Give more parameters")
    return items[0]


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value


def _over(above: Fixture | None, fixture: Fixture) -> Fixture:
    """A fixture that overrides another of its name; one that a module only imported stays as it is."""
    return fixture if above is None or above.fn is fixture.fn else replace(fixture, above=above)


def evalconfs(path: Path) -> list[Path]:
    """The ``evalconf.py`` files that a task file sees, from the project's root down."""
    confs: list[Path] = []
    for folder in path.resolve().parents:
        if (folder / "evalconf.py").is_file():
            confs.append(folder / "evalconf.py")
        if any((folder / mark).exists() for mark in _ROOT_MARKS):
            break
    return confs[::-1]


def closure(task: Task, fixtures: Mapping[str, Fixture]) -> dict[str, Parameter]:
    """All parameters that a task takes: its own, those of its samples and of every fixture it leads to.

    Raises ``TaskFileError`` for a fixture that nobody defines, one that leads back to itself, one that asks
    for another of a narrower scope, two defaults for one name, or an axis that nothing takes.
    """
    found = _Closure(task, fixtures)
    found.visit(f"task {task.name}", task.fn, "sample")
    if callable(task.samples):
        found.visit(f"samples of {task.name}", task.samples, "task")
    try:
        check_known(task.axes, found.params, f"@parametrize: task {task.name}")
    except UsageError as error:
        raise _at(task.fn, task, str(error)) from None
    return found.params


class _Closure:
    """Walks from a task along the arguments of its functions to all fixtures and parameters."""

    def __init__(self, task: Task, fixtures: Mapping[str, Fixture]) -> None:
        self.task, self.fixtures = task, fixtures
        self.params: dict[str, Parameter] = {}
        self.done: set[Callable[..., Any]] = set()
        self.path: list[Fixture] = []

    def visit(self, owner: str, fn: Callable[..., Any], scope: Scope) -> None:
        """Note what ``fn`` asks for; its own ``scope`` is the narrowest that it may ask for."""
        params, wanted = parameters_of(fn)
        for param in params.values():
            self._note(owner, fn, param)
        if scope != "sample" and (given := [n for n in GIVEN if n in inspect.signature(fn).parameters]):
            raise _at(
                fn, self.task, f"{owner} asks for {given[0]!r}, which only @fixture(scope='sample') may"
            )
        for name in wanted:
            if name in self.task.axes:  # an argument without a default that @parametrize fills
                first = self.task.axes[name][0]
                self.params.setdefault(name, Parameter(name, first, type(first)))
                continue
            fixture = wanted_fixture(name, fn, self.fixtures)
            if fixture is None:
                raise _at(fn, self.task, f"{owner} {self._unknown(name)}")
            if SCOPES.index(fixture.scope) > SCOPES.index(scope):
                raise _at(
                    fn, self.task,
                    f"{owner} lives for a {scope} and asks for fixture {name!r}, which lives for "
                    f"a {fixture.scope} only",
                )  # fmt: skip
            self._follow(owner, fn, fixture)

    def _follow(self, owner: str, fn: Callable[..., Any], fixture: Fixture) -> None:
        if any(one.fn is fixture.fn for one in self.path):
            chain = " → ".join(one.name for one in [*self.path, fixture])
            raise _at(fn, self.task, f"{owner}: fixtures ask for each other in a circle: {chain}")
        if fixture.fn in self.done:
            return
        self.path.append(fixture)
        self.visit(f"fixture {fixture.name}", fixture.fn, fixture.scope)
        self.path.pop()
        self.done.add(fixture.fn)

    def _note(self, owner: str, fn: Callable[..., Any], param: Parameter) -> None:
        before = self.params.setdefault(param.name, param)
        if before.default != param.default and param.name not in self.task.axes:
            raise _at(
                fn, self.task,
                f"{owner}: parameter {param.name!r} has the default {param.default!r} here and "
                f"{before.default!r} elsewhere in the same task; make them equal",
            )  # fmt: skip

    def _unknown(self, name: str) -> str:
        return (
            f"asks for a fixture {name!r} that nobody defines.{did_you_mean(name, self.fixtures)} "
            f"Known fixtures: {', '.join(sorted(self.fixtures))}. "
            "Define it with @fixture in the task file or in evalconf.py beside it"
        )


def wanted_fixture(name: str, fn: Callable[..., Any], fixtures: Mapping[str, Fixture]) -> Fixture | None:
    """The fixture that ``fn`` means by ``name``: a fixture that asks for its own name means the one above."""
    found = fixtures.get(name)
    layer = found
    while layer is not None:
        if layer.fn is fn:
            return layer.above
        layer = layer.above
    return found


def _at(fn: Callable[..., Any], task: Task, message: str) -> TaskFileError:
    return TaskFileError(display(task.path), fn.__code__.co_firstlineno, message)


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
    axes: dict[str, list[tuple[Any, str | None]]] = {}
    for name, values in task.axes.items():
        labels: Sequence[str | None] = task.marks.ids.get(name) or [None] * len(values)
        axes[name] = list(zip(values, labels, strict=True))
    for name, texts in given.items():
        by_id = {label: (value, label) for value, label in axes.get(name, []) if label is not None}
        axes[name] = [
            by_id[t] if isinstance(t, str) and t in by_id else (known[name].convert(t), None) for t in texts
        ]
    own = list(inspect.signature(task.fn).parameters)
    varied = [n for n in own if n in axes] + sorted(n for n in axes if n not in own)
    named = tuple(
        n for n in varied
        if not known[n].is_path and (n in task.axes or [v for v, _ in axes[n]] != [known[n].default])
    )  # fmt: skip
    defaults = {name: p.default for name, p in known.items()}
    items = []
    for combination in itertools.product(*axes.values()):
        chosen = dict(zip(axes, combination, strict=True))
        params = {**defaults, **{name: value for name, (value, _) in chosen.items()}}
        ids = {name: label for name, (_, label) in chosen.items() if label is not None}
        items.append(Item(task, params, fixtures, named, task.where or display(task.path), ids))
    return items


def display(path: Path | None) -> str:
    """A task file as people write it: relative to here, or to the installed package."""
    if path is None:
        return "<session>"
    for base in (Path.cwd(), Path(__file__).resolve().parent.parent):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return str(path)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def iter_tasks(found: Collection) -> Iterator[Task]:
    """The distinct tasks of a collection, in order."""
    seen: set[int] = set()
    for item in found.items:
        if id(item.task) not in seen:
            seen.add(id(item.task))
            yield item.task
