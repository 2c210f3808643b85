"""Task files: search by path, as in pytest, and by entry point; import; the ``evalconf.py`` files of a task.

Files are imported by path under private module names, each folder as a separate package. So
``from .helper import x`` works in a task file, and no other module is shadowed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import sys
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType

from evalkit.errors import TaskFileError, UsageError, did_you_mean
from evalkit.task import Task
from evalkit.util.boundary import contained, reason

_ROOT_MARKS = (".git", "pyproject.toml", "evalkit.toml")


def task_files(path: Path) -> list[Path]:
    """Return the task files of an existing path. Raises ``UsageError`` for a folder without task files."""
    files = [path] if path.is_file() else sorted(path.rglob("task_*.py"))
    if not files:
        raise UsageError(f"no task files (task_*.py) under {path}")
    return files


def installed_files() -> list[Path]:
    """Return the task files of the packages that the entry points ``evalkit.tasks`` name."""
    files: list[Path] = []
    for point in importlib.metadata.entry_points(group="evalkit.tasks"):
        spec = importlib.util.find_spec(point.value)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            files += sorted(Path(folder).rglob("task_*.py"))
    return files


def load_file(path: Path) -> list[Task]:
    """Return the tasks of one file in their order. Raises ``TaskFileError`` with file and line."""
    return _tasks_in(path.resolve())


def load_task(path: str | Path, name: str | None = None) -> Task:
    """Return a task of a file; ``name`` selects one of several.

    Raises ``TaskFileError``, ``UsageError``.
    """
    tasks = {task.name: task for task in load_file(Path(path))}
    if name is None and len(tasks) == 1:
        return next(iter(tasks.values()))
    if name not in tasks:
        raise UsageError(
            f"{path}: no task {name!r}.{did_you_mean(name or '', tasks)} Its tasks: {', '.join(tasks)}"
        )
    return tasks[name]


@cache
def _tasks_in(path: Path) -> list[Task]:
    module = import_by_path(path)
    tasks = [value for value in vars(module).values() if isinstance(value, Task)]
    seen: dict[str, Task] = {}
    for task in tasks:
        task.path = path
        if seen.setdefault(task.name, task) is not task:
            line = task.fn.__code__.co_firstlineno
            raise TaskFileError(str(path), line, f"two tasks are called {task.name!r}; rename one")
    return tasks


def import_by_path(path: Path) -> ModuleType:
    """Import a plug-in file under a private name. Raises ``TaskFileError``, and then leaves no module."""
    path = path.resolve()
    package = f"_evalkit_{hashlib.sha256(os.fsencode(path.parent)).hexdigest()[:16]}"
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

    def failure(error: BaseException) -> BaseException:
        sys.modules.pop(name, None)
        if isinstance(error, SyntaxError):
            return TaskFileError(error.filename or str(path), error.lineno, f"syntax error: {error.msg}")
        return TaskFileError(str(path), line_in(error, path), reason(error))

    with contained(failure):
        spec.loader.exec_module(module)
    return module


def line_in(error: BaseException, path: Path) -> int | None:
    """Return the last line of ``path`` in the traceback."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    return lines[-1] if lines else None


def evalconfs(path: Path) -> list[Path]:
    """Return the ``evalconf.py`` files that apply to a task file, from the project's root down."""
    confs: list[Path] = []
    for folder in path.resolve().parents:
        if (folder / "evalconf.py").is_file():
            confs.append(folder / "evalconf.py")
        if any((folder / mark).exists() for mark in _ROOT_MARKS):
            break
    return confs[::-1]


def display(path: Path | None) -> str:
    """Return a task file's path relative to the working directory or to the installed package."""
    if path is None:
        return "<session>"
    bases = [Path(__file__).resolve().parents[2]]
    with suppress(FileNotFoundError):  # the working directory was deleted
        bases.insert(0, Path.cwd())
    for base in bases:
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return str(path)
