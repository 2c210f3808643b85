"""Items: one task with one set of parameters each, the unit of a run. A task expands into its items."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from evalkit.collection.files import display
from evalkit.collection.fixture_resolution import Asks, Resolved, fixtures_for, overriding, resolve
from evalkit.task import Fixture, Parameter, Task, Value, as_shown, check_known
from evalkit.types import Requirements


@dataclass(frozen=True)
class Item:
    """One task with one set of parameters: the unit of a run.

    ``resolved`` is what the task and its fixtures ask for, ``labels`` are the ids of those values of
    ``params`` that have one. ``skip`` and ``xfail`` are reasons, of
    the task or of its values. ``unused`` are parameters and fixtures that do not act in this run, because
    what they would make is given: they are neither shown nor stored.
    """

    task: Task
    params: Mapping[str, Any]
    resolved: Resolved
    named: tuple[str, ...]
    where: str
    labels: Mapping[str, str] = field(default_factory=dict)
    skip: str = ""
    xfail: str = ""
    unused: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """The short node id, ``pubmed_rag[arm=oracle,k=5]``."""
        shown = self.shown
        inside = ",".join(f"{name}={as_shown(shown[name])}" for name in self.named if name in shown)
        return f"{self.task.name}[{inside}]" if inside else self.task.name

    @property
    def shown(self) -> dict[str, Any]:
        """The parameters as listed and stored: the id of a value that has one, else the value."""
        values = {**self.params, **self.labels}
        return {name: value for name, value in values.items() if name not in self.unused}

    @property
    def needs(self) -> Requirements:
        """What the model must be able to do for these parameters, by the task and by its fixtures."""
        needs = self.task.needs
        all_needs = [needs(self.params) if callable(needs) else needs]
        fixtures = (one for asks in self.resolved.asks.values() for one in asks.fixtures.values())
        all_needs += [fixture.needs(self.params) for fixture in fixtures if fixture.needs]
        names = Requirements.__struct_fields__
        return Requirements(**{name: any(getattr(one, name) for one in all_needs) for name in names})

    @property
    def node_id(self) -> str:
        """The whole node id, ``tasks/biomedical/task_pubmed_rag.py::pubmed_rag[arm=oracle,k=5]``."""
        return f"{self.where}::{self.id}"

    def answered_by(self, fn: Callable[..., Any]) -> Item:
        """Return the same item answered by ``fn``, which asks for what the task's own function asks for."""
        asks = {**self.resolved.asks, fn: self.resolved.asks[self.task.fn]}
        return replace(self, task=replace(self.task, fn=fn), resolved=replace(self.resolved, asks=asks))

    def with_fixture(self, name: str, value: Any) -> Item:
        """Return the same item with a value in place of a fixture, for every function that asks for it."""
        fixed = Fixture(name, _always(value))
        asks = {
            fn: replace(one, fixtures=one.fixtures | {name: fixed}) if name in one.fixtures else one
            for fn, one in self.resolved.asks.items()
        }
        return replace(self, resolved=replace(self.resolved, asks={**asks, fixed.fn: Asks((), {}, ())}))


def plain(value: Any) -> Any:
    """Return a parameter's value in its stored form."""
    return str(value) if isinstance(value, Path) else msgspec.to_builtins(value)


def items_of(
    task: Task,
    params: Mapping[str, Sequence[Any]] | None = None,
    values: Mapping[str, Any] | None = None,
) -> list[Item]:
    """Return the items of a task object; a task without a file sees the fixtures of its own module.

    ``values`` take the place of fixtures, by name. Raises ``TaskFileError`` and ``UsageError`` as collecting
    its file would.
    """
    fixtures = fixtures_for(task.path)
    if task.path is None:
        own = [value for value in task.fn.__globals__.values() if isinstance(value, Fixture)]
        fixtures |= {one.name: overriding(fixtures.get(one.name), one) for one in own}
    for name, value in (values or {}).items():
        fixtures[name] = Fixture(name, _always(value))
    return expand(task, params or {}, resolve(task, fixtures))


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value


def expand(task: Task, given: Mapping[str, Sequence[str]], resolved: Resolved) -> list[Item]:
    """Return the items of a task: one for each combination of its axes and the given values.

    An axis that is given is replaced by the given values; ``all`` stands for every value of a parameter that
    lists its values (``Literal``). Raises ``UsageError`` for an unknown name.
    """
    known = resolved.params
    check_known(given, known, f"task {task.name}")
    axes = dict(task.marks.axes)
    for name, texts in given.items():
        if list(texts) == ["all"]:
            texts = _listed(known[name])
        axes[name] = [_given(text, axes.get(name, []), known[name]) for text in texts]
    own = list(inspect.signature(task.fn).parameters)
    varied = [n for n in own if n in axes] + sorted(n for n in axes if n not in own)
    named = tuple(
        n
        for n in varied
        if not known[n].is_path and (n in task.axes or [v.value for v in axes[n]] != [known[n].default])
    )
    defaults = {name: p.default for name, p in known.items()}
    where = task.where or display(task.path)
    items = []
    for combination in itertools.product(*axes.values()):
        params = defaults | {name: one.value for name, one in zip(axes, combination, strict=True)}
        labels = {name: one.id for name, one in zip(axes, combination, strict=True) if one.id}
        skip, xfail = (
            "; ".join(dict.fromkeys(filter(None, reasons)))
            for reasons in (
                [task.marks.skip, *(one.skip for one in combination)],
                [task.marks.xfail, *(one.xfail for one in combination)],
            )
        )
        items.append(Item(task, params, resolved, named, where, labels, skip, xfail))
    return items


def _listed(parameter: Parameter) -> tuple[Any, ...]:
    """Return the values that a parameter's type lists; ``all`` itself if it is a value, or none is listed."""
    values = parameter.choices
    return ("all",) if "all" in values or not values else values


def _given(text: Any, axis: Sequence[Value], parameter: Parameter) -> Value:
    """Return the axis value with this id or this value; else a new value."""
    for one in axis:
        if one.id and one.id == text:
            return one
    value = parameter.convert(text)
    return next((one for one in axis if one.value == value), Value(value))
