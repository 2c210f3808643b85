"""The fixtures and parameters of a task, resolved once for all of its functions."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from evalkit.collection.files import display, evalconfs, import_by_path
from evalkit.errors import TaskFileError, UsageError, did_you_mean
from evalkit.task import GIVEN, SCOPES, Fixture, Parameter, Scope, Task, check_known, parameters_of
from evalkit.util.boundary import contained, reason


def fixtures_for(path: Path | None) -> dict[str, Fixture]:
    """Return the fixtures that a task file sees.

    These are the fixtures of installed packages, then of each ``evalconf.py`` from the project's root down to
    its folder, then its own. A later fixture overrides an earlier one of the same name.
    """
    modules = list(_installed_fixtures())
    if path is not None:
        modules += [import_by_path(conf) for conf in evalconfs(path)]
        modules.append(import_by_path(path))
    found: dict[str, Fixture] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Fixture):
                found[value.name] = overriding(found.get(value.name), value)
    return found


@cache
def _installed_fixtures() -> tuple[ModuleType, ...]:
    """Return the modules of the entry points ``evalkit.fixtures``: their fixtures reach every task file."""
    return tuple(_loaded(point) for point in importlib.metadata.entry_points(group="evalkit.fixtures"))


def _loaded(point: importlib.metadata.EntryPoint) -> ModuleType:
    with contained(lambda error: UsageError(f"the installed fixtures {point.value}: {reason(error)}")):
        module: ModuleType = point.load()
    return module


def overriding(above: Fixture | None, fixture: Fixture) -> Fixture:
    """Return a fixture with the one that it overrides; a fixture that a module only imported is unchanged."""
    return fixture if above is None or above.fn is fixture.fn else replace(fixture, above=above)


@dataclass(frozen=True)
class Asks:
    """The arguments of one function.

    ``names`` are those of its parameters and fixtures, ``fixtures`` the fixtures behind the names, ``given``
    those of ``sample`` and ``model`` that the function takes.
    """

    names: tuple[str, ...]
    fixtures: dict[str, Fixture]
    given: tuple[str, ...]

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that are parameters; a parameter hides a fixture of the same name."""
        return {name: params[name] for name in self.names if name in params}


@dataclass(frozen=True)
class Resolved:
    """All fixtures and parameters that a task uses, directly or through a fixture.

    ``fixtures`` are those that its file sees; ``params`` the parameters of the task, of its samples and of
    each fixture; ``asks`` the arguments of each of these functions.
    """

    fixtures: Mapping[str, Fixture]
    params: dict[str, Parameter] = field(default_factory=dict)
    asks: dict[Callable[..., Any], Asks] = field(default_factory=dict)


def resolve(task: Task, fixtures: Mapping[str, Fixture]) -> Resolved:
    """Return the arguments of a task, of its samples and of every fixture that it uses.

    A parameter in the task's own signature has the default and type that stand there, whatever fixtures say.
    Raises ``TaskFileError`` for a fixture that nobody defines, one that leads back to itself,
    one that asks for another of a narrower scope, two defaults for one name elsewhere, or an axis that
    nothing takes.
    """
    found = _Resolution(task, fixtures)
    found.visit(f"task {task.name}", task.fn, "sample")
    if callable(task.samples):
        found.visit(f"samples of {task.name}", task.samples, "task")
    try:
        check_known(task.axes, found.resolved.params, f"@parametrize: task {task.name}")
    except UsageError as error:
        raise _at(task.fn, task, str(error)) from None
    return found.resolved


class _Resolution:
    """A walk from a task, along the arguments of its functions, to all fixtures and parameters."""

    def __init__(self, task: Task, fixtures: Mapping[str, Fixture]) -> None:
        self.task, self.resolved = task, Resolved(fixtures)
        self.own = parameters_of(task.fn)[0]
        self.path: list[Fixture] = []

    def visit(self, owner: str, fn: Callable[..., Any], scope: Scope) -> None:
        """Record the arguments of ``fn``; none of its fixtures may have a narrower ``scope`` than its own."""
        params, wanted = parameters_of(fn)
        for param in params.values():
            self._note(owner, fn, param)
        given = tuple(name for name in GIVEN if name in inspect.signature(fn).parameters)
        if given and scope != "sample":
            raise _at(
                fn, self.task, f"{owner} asks for {given[0]!r}, which only @fixture(scope='sample') may"
            )
        asks = self.resolved.asks[fn] = Asks((*params, *wanted), {}, given)
        for name in wanted:
            if name in self.task.axes:  # an argument without a default that @parametrize fills
                first = self.task.axes[name][0]
                self.resolved.params.setdefault(name, Parameter(name, first, type(first)))
                continue
            fixture = _meant(name, fn, self.resolved.fixtures)
            if fixture is None:
                raise _at(fn, self.task, f"{owner} {self._unknown(name)}")
            if SCOPES.index(fixture.scope) > SCOPES.index(scope):
                raise _at(
                    fn,
                    self.task,
                    f"{owner} lives for a {scope} and asks for fixture {name!r}, which lives for "
                    f"a {fixture.scope} only",
                )
            asks.fixtures[name] = fixture
            self._follow(owner, fn, fixture)

    def _follow(self, owner: str, fn: Callable[..., Any], fixture: Fixture) -> None:
        if any(one.fn is fixture.fn for one in self.path):
            chain = " → ".join(one.name for one in [*self.path, fixture])
            raise _at(fn, self.task, f"{owner}: fixtures ask for each other in a circle: {chain}")
        if fixture.fn in self.resolved.asks:
            return
        self.path.append(fixture)
        self.visit(f"fixture {fixture.name}", fixture.fn, fixture.scope)
        self.path.pop()

    def _note(self, owner: str, fn: Callable[..., Any], param: Parameter) -> None:
        before = self.resolved.params.setdefault(param.name, param)
        if self.path and param.name in self.own:  # a fixture's parameter, which the task sets for itself
            return
        if before.default != param.default and param.name not in self.task.axes:
            raise _at(
                fn,
                self.task,
                f"{owner}: parameter {param.name!r} has the default {param.default!r} here and "
                f"{before.default!r} elsewhere in the same task; make them equal",
            )

    def _unknown(self, name: str) -> str:
        return (
            f"asks for a fixture {name!r} that nobody defines.{did_you_mean(name, self.resolved.fixtures)} "
            f"Known fixtures: {', '.join(sorted(self.resolved.fixtures))}. "
            "Define it with @fixture in the task file or in evalconf.py beside it"
        )


def _meant(name: str, fn: Callable[..., Any], fixtures: Mapping[str, Fixture]) -> Fixture | None:
    """Return the fixture that ``fn`` means by a name; the one above, if the name is its own."""
    found = fixtures.get(name)
    layer = found
    while layer is not None:
        if layer.fn is fn:
            return layer.above
        layer = layer.above
    return found


def _at(fn: Callable[..., Any], task: Task, message: str) -> TaskFileError:
    return TaskFileError(display(task.path), fn.__code__.co_firstlineno, message)
