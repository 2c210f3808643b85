"""How tasks are written: ``@task``, ``@fixture``, ``@parametrize``.

A task is samples, one async function that answers a sample, and metrics that score the answer. An
argument with a default is a *parameter* (``-p k=10``); one without is a *fixture*, filled by name, but for
``sample`` and ``model``, which the engine gives. The same holds for the samples function and for fixtures.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from evalkit.errors import UsageError, did_you_mean
from evalkit.metrics.base import Metric
from evalkit.types import Needs

F = TypeVar("F", bound=Callable[..., Any])

GIVEN = ("sample", "model")
_AXES = "__evalkit_axes__"


@dataclass(frozen=True)
class Parameter:
    """A named setting of a task: its default and its type, both read from the function's signature."""

    name: str
    default: Any
    hint: Any

    def convert(self, value: Any) -> Any:
        """Turn the text of ``-p name=value`` into a value of the right type. Raises ``UsageError``."""
        try:
            return msgspec.convert(value, self.hint, strict=False, dec_hook=_decode)
        except (msgspec.ValidationError, ValueError) as error:
            raise UsageError(f"parameter {self.name}={value!r}: {error}") from None

    @property
    def is_path(self) -> bool:
        """Paths say where something lies, not what is asked: they are no part of a run's name."""
        return self.hint is Path or Path in typing.get_args(self.hint)


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value).expanduser()
    raise ValueError(f"expected {kind.__name__}")


@dataclass(frozen=True)
class Fixture:
    """Something that tasks ask for by name, made once in a session and torn down at its end."""

    name: str
    fn: Callable[..., Any]


@dataclass
class Task:
    """What ``@task`` makes. ``path`` is the file that it was collected from."""

    name: str
    fn: Callable[..., Any]
    samples: Callable[..., Any] | Sequence[Any]
    metrics: tuple[Metric, ...]
    tags: tuple[str, ...] = ()
    version: str = "1"
    needs: Needs = field(default_factory=Needs)
    axes: dict[str, list[Any]] = field(default_factory=dict)
    path: Path | None = None

    @property
    def doc(self) -> str:
        """The first line of the task's docstring, or of its module's."""
        text = self.fn.__doc__ or getattr(inspect.getmodule(self.fn), "__doc__", None) or ""
        return text.strip().split("\n")[0]

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer one sample, for tests: the plain function."""
        return await self.fn(*args, **kwargs)


def task(
    samples: Callable[..., Any] | Sequence[Any],
    *,
    metrics: Iterable[Metric],
    tags: Iterable[str] = (),
    name: str | None = None,
    version: str | int = "1",
    needs: Needs | None = None,
) -> Callable[[Callable[..., Any]], Task]:
    """Make an async function ``(sample, model, ...) -> Answer`` a task.

    ``samples`` is a sequence of ``Sample``, or a function that yields them, called afresh for every pass.
    ``version`` belongs to the task's identity: raise it when prompt or data change on purpose.
    Raises ``UsageError`` for a function that cannot be a task.
    """
    listed = tuple(metrics)

    def wrap(fn: Callable[..., Any]) -> Task:
        if not inspect.iscoroutinefunction(fn):
            raise UsageError(f"task {fn.__name__!r} must be 'async def': it awaits the model")
        if not (callable(samples) or isinstance(samples, Sequence)):
            raise UsageError(
                f"task {fn.__name__!r}: samples must be a list or a function, not {type(samples).__name__}; "
                "pass the generator function itself, without calling it"
            )
        for entry in listed:
            if not isinstance(entry, Metric):
                raise UsageError(
                    f"task {fn.__name__!r}: {entry!r} is no metric; call the factory, as in rouge('rougeL')"
                )
        names = [m.name for m in listed]
        if twice := {n for n in names if names.count(n) > 1}:
            raise UsageError(f"task {fn.__name__!r} has metrics of the same name: {', '.join(sorted(twice))}")
        made = Task(name or fn.__name__, fn, samples, listed, tuple(tags), str(version), needs or Needs(), {})
        made.axes.update(getattr(fn, _AXES, {}))
        return made

    return wrap


def parametrize(**axes: Iterable[Any]) -> Callable[[F], F]:
    """Run a task once for each combination of values: ``@parametrize(k=[5, 10])``, beside ``@task``."""

    def wrap(fn: F) -> F:
        target = fn.axes if isinstance(fn, Task) else fn.__dict__.setdefault(_AXES, {})
        target.update({name: list(values) for name, values in axes.items()})
        return fn

    return wrap


def fixture(fn: Callable[..., Any]) -> Fixture:
    """Make a function a fixture under its own name. It may be async; code after a ``yield`` is teardown."""
    return Fixture(fn.__name__, fn)


def parameters_of(fn: Callable[..., Any]) -> tuple[dict[str, Parameter], list[str]]:
    """A function's parameters by name, and the names of the fixtures it asks for."""
    try:
        hints: Mapping[str, Any] = typing.get_type_hints(fn)
    except (NameError, TypeError):  # names imported for type checkers only
        hints = {}
    found: dict[str, Parameter] = {}
    wanted: list[str] = []
    for name, argument in inspect.signature(fn).parameters.items():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            continue
        if argument.default is argument.empty:
            if name not in GIVEN:
                wanted.append(name)
            continue
        default = argument.default
        found[name] = Parameter(name, default, hints.get(name, Any if default is None else type(default)))
    return found, wanted


def check_known(given: Iterable[str], known: Iterable[str], owner: str) -> None:
    """Raise ``UsageError`` for the first name that is not known, with the nearest one that is."""
    names = sorted(known)
    for name in given:
        if name not in names:
            listed = ", ".join(names) or "none"
            raise UsageError(
                f"{owner} has no parameter {name!r}.{did_you_mean(name, names)} Its parameters: {listed}."
            )
