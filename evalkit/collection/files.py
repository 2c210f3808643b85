"""Task files: found by path, as pytest finds tests, and by entry point; imported; their ``evalconf.py``.

Files are imported by path under private module names, each folder as a package of its own, so that
``from .helper import x`` works beside the file while nothing in the working directory is shadowed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import sys
import traceback
from functools import cache
from pathlib import Path
from types import ModuleType

from evalkit.errors import TaskFileError, UsageError, did_you_mean
from evalkit.task import Task

_ROOT_MARKS = (".git", "pyproject.toml", "evalkit.toml")


def task_files(path: Path) -> list[Path]:
    """The task files of a path that is there. Raises ``UsageError`` for a folder without any."""
    files = [path] if path.is_file() else sorted(path.rglob("task_*.py"))
    if not files:
        raise UsageError(f"no task files (task_*.py) under {path}")
    return files


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


def load_task(path: str | Path, name: str | None = None) -> Task:
    """Return the task of a file; its ``name`` where there are several.

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
    for one in tasks:
        one.path = path
        if seen.setdefault(one.name, one) is not one:
            line = one.fn.__code__.co_firstlineno
            raise TaskFileError(str(path), line, f"two tasks are called {one.name!r}; rename one")
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
        raise TaskFileError(str(path), line_in(error, path), f"{type(error).__name__}: {error}") from error
    return module


def line_in(error: Exception, path: Path) -> int | None:
    """The last line of ``path`` that the traceback passes through."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    return lines[-1] if lines else None


def evalconfs(path: Path) -> list[Path]:
    """The ``evalconf.py`` files that a task file sees, from the project's root down."""
    confs: list[Path] = []
    for folder in path.resolve().parents:
        if (folder / "evalconf.py").is_file():
            confs.append(folder / "evalconf.py")
        if any((folder / mark).exists() for mark in _ROOT_MARKS):
            break
    return confs[::-1]


def display(path: Path | None) -> str:
    """A task file as people write it: relative to here, or to the installed package."""
    if path is None:
        return "<session>"
    for base in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return str(path)
