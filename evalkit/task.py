"""How tasks are written: ``@task``, ``@fixture``, ``@parametrize``, ``@skip``, ``@xfail``.

A task is samples, one async function that answers a sample, and metrics that score the answer. An
argument with a default is a *parameter* (``-p k=10``); one without is a *fixture*, filled by name, but for
``sample`` and ``model``, which the engine gives. The same holds for the samples function and for fixtures.

``import evalkit`` imports this module, and every pytest run where evalkit is installed imports evalkit: what
is not needed to name things is imported inside functions.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from evalkit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from evalkit.metric import Metric
    from evalkit.types import Answer, Estimate, Requirements, Sample

    Aggregate = Callable[
        [Sequence[tuple[Sample, Answer]], Mapping[str, Estimate], Mapping[str, Any]], Mapping[str, Estimate]
    ]

F = TypeVar("F", bound=Callable[..., Any])

Scope = Literal["session", "task", "sample"]
SCOPES: tuple[Scope, ...] = ("session", "task", "sample")

GIVEN = ("sample", "model")
_MARKS = "__evalkit_marks__"


@dataclass(frozen=True)
class Parameter:
    """A named setting of a task: its default and its type, both read from the function's signature."""

    name: str
    default: Any
    hint: Any

    def convert(self, value: Any) -> Any:
        """Turn the text of ``-p name=value`` into a value of the right type. Raises ``UsageError``."""
        import msgspec

        try:
            return msgspec.convert(value, self.hint, strict=False, dec_hook=_decode)
        except (msgspec.ValidationError, ValueError) as error:
            raise UsageError(f"parameter {self.name}={value!r}: {error}") from None

    @property
    def choices(self) -> tuple[Any, ...]:
        """Return the values that the parameter's type lists (``Literal``); none for any other type."""
        return typing.get_args(self.hint) if typing.get_origin(self.hint) is Literal else ()

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
    """Something that tasks ask for by name, made once in its scope and torn down at the scope's end.

    ``above`` is the fixture of the same name that this one overrides, and may ask for. Where ``when`` says no
    to a run's parameters, it is not made for that run, and None stands in its place.
    """

    name: str
    fn: Callable[..., Any]
    scope: Scope = "session"
    above: Fixture | None = None
    when: Callable[[Mapping[str, Any]], bool] | None = None


@dataclass(frozen=True)
class Info:
    """Where a task's data come from: its ``source`` (paper, hub id), ``licence``, and ``size`` in words."""

    source: str = ""
    licence: str = ""
    size: str = ""


@dataclass(frozen=True)
class Value:
    """One value of an axis with an id, or with a reason to skip it or to expect it to fail:
    ``@parametrize(k=[5, Value(100, skip="takes a day")])``."""

    value: Any
    id: str = ""
    skip: str = ""
    xfail: str = ""


@dataclass
class Marks:
    """What decorators other than ``@task`` say: the axes' values, reasons to skip or xfail.

    ``dynamic``: a condition was asked when the file was imported, so that a listing must import it anew.
    """

    axes: dict[str, list[Value]] = field(default_factory=dict)
    skip: str = ""
    xfail: str = ""
    dynamic: bool = False


def _nothing() -> Requirements:
    from evalkit.types import Requirements

    return Requirements()


@dataclass
class Task:
    """What ``@task`` makes. ``path`` is the file that it was collected from.

    ``added`` are metrics from the command line, as they were written there.
    ``min`` are thresholds for tests (``docs/pytest.md``): the worst mean of a metric that passes.

    Tasks of another harness (``evalkit.lm_eval``) have no file of ours: ``where`` names theirs, ``facts`` are
    recorded with each run, ``prepare`` sees each batch of answers before they are scored one by one, and
    ``aggregate`` makes scores of all answers together that replace or join the
    samples' means, out of these means' estimates and the run's parameters.
    """

    name: str
    fn: Callable[..., Any]
    samples: Callable[..., Any] | Sequence[Any]
    metrics: tuple[Metric, ...]
    tags: tuple[str, ...] = ()
    version: str = "1"
    needs: Requirements | Callable[[Mapping[str, Any]], Requirements] = field(default_factory=_nothing)
    marks: Marks = field(default_factory=Marks)
    path: Path | None = None
    min: Mapping[str, float] = field(default_factory=dict)
    info: Info = field(default_factory=Info)
    where: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[Sequence[tuple[Sample, Answer]]], None] | None = None
    aggregate: Aggregate | None = None
    added: tuple[str, ...] = ()

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The values of each parameter that ``@parametrize`` varies."""
        return {name: [one.value for one in values] for name, values in self.marks.axes.items()}

    @property
    def doc(self) -> str:
        """The first line of the task's docstring, or of its module's."""
        text = self.fn.__doc__ or self.fn.__globals__.get("__doc__") or ""
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
    needs: Requirements | Callable[[Mapping[str, Any]], Requirements] | None = None,
    min: Mapping[str, float] | None = None,
    info: Info | None = None,
) -> Callable[[Callable[..., Any]], Task]:
    """Make an async function ``(sample, model, ...) -> Answer`` a task.

    ``samples`` is a sequence of ``Sample``, or a function that yields them, called afresh for every pass.
    ``version`` belongs to the task's identity: raise it when prompt or data change on purpose. ``needs`` is
    what the model is probed for; a function of the parameters where it depends on them. ``min`` are
    thresholds by metric, for tests. ``info`` says where the data come from.
    Raises ``UsageError`` for a function that cannot be a task.
    """
    from evalkit.metric import Metric

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
                said = getattr(entry, "__name__", None) or repr(entry)
                hint = f"{said}()" if callable(entry) else "rouge('rougeL')"
                raise UsageError(f"task {fn.__name__!r}: {said} is no metric; call the factory, as in {hint}")
        names = [m.name for m in listed]
        if twice := {n for n in names if names.count(n) > 1}:
            raise UsageError(f"task {fn.__name__!r} has metrics of the same name: {', '.join(sorted(twice))}")
        check_known(min or {}, names, f"min= of task {fn.__name__}", "metric")
        if _written_twice(fn):
            raise UsageError(f"two tasks are called {fn.__name__!r}: the first would be lost; rename one")
        marks = getattr(fn, _MARKS, Marks())
        return Task(
            name or fn.__name__,
            fn,
            samples,
            listed,
            tuple(tags),
            str(version),
            needs or _nothing(),
            marks,
            min=dict(min or {}),
            info=info or Info(),
        )

    return wrap


def _written_twice(fn: Callable[..., Any]) -> bool:
    """Whether the file has a task of this name further up; the same lines run again (a notebook) are one."""
    before = fn.__globals__.get(fn.__name__)
    if not isinstance(before, Task):
        return False
    first, second = before.fn.__code__, fn.__code__
    return first.co_filename == second.co_filename and first.co_firstlineno != second.co_firstlineno


def parametrize(
    *, ids: Sequence[str] | Mapping[str, Sequence[str]] | None = None, **axes: Iterable[Any]
) -> Callable[[F], F]:
    """Run a task once for each combination of values: ``@parametrize(k=[5, 10])``, beside ``@task``.

    ``ids`` name the values where they are too long to show: a list for one axis, ``{axis: list}`` for
    several; ``Value`` names a single one, or marks it. Raises ``UsageError`` where ids and values do not pair
    up, or two values have one name.
    """
    if ids is not None and not isinstance(ids, Mapping):
        if len(axes) != 1:
            raise UsageError("@parametrize over several axes takes ids={'axis': [...]}, not one list")
        ids = {next(iter(axes)): ids}
    check_known(ids or {}, axes, "ids= of @parametrize", "axis")
    listed = {name: _axis(name, list(values), (ids or {}).get(name)) for name, values in axes.items()}

    def wrap(fn: F) -> F:
        _marks(fn).axes.update(listed)
        return fn

    return wrap


def _axis(name: str, values: list[Any], ids: Sequence[str] | None) -> list[Value]:
    if not values:
        raise UsageError(f"@parametrize: {name} has no values")
    if ids is not None and len(ids) != len(values):
        raise UsageError(f"@parametrize: {name!r} has {len(values)} values and {len(ids)} ids")
    axis = [one if isinstance(one, Value) else Value(one) for one in values]
    if ids is not None:
        axis = [replace(one, id=one.id or own) for one, own in zip(axis, ids, strict=True)]
    if bad := [one.id for one in axis if set(one.id) & set("[],=")]:
        raise UsageError(f"@parametrize: the id {bad[0]!r} holds one of [ ] , = which node ids are made of")
    names = [one.id or as_shown(one.value) for one in axis]
    if twice := [one for one in names if names.count(one) > 1]:
        raise UsageError(f"@parametrize: two values of {name!r} are named {twice[0]}: give them other ids")
    return axis


def as_shown(value: Any) -> str:
    """A value as it stands in a node id."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _marks(fn: Any) -> Marks:
    made: Marks = fn.marks if isinstance(fn, Task) else fn.__dict__.setdefault(_MARKS, Marks())
    return made


def skip(*, reason: str) -> Callable[[F], F]:
    """Leave a task out; ``list`` and ``run`` show the reason."""

    def wrap(fn: F) -> F:
        _marks(fn).skip = reason
        return fn

    return wrap


def skipif(condition: object, *, reason: str) -> Callable[[F], F]:
    """Leave a task out where ``condition`` holds when the file is imported."""

    def wrap(fn: F) -> F:
        marks = _marks(fn)
        marks.dynamic = True
        if condition:
            marks.skip = reason
        return fn

    return wrap


def xfail(*, reason: str) -> Callable[[F], F]:
    """Expect a task to fail (its run to be incomplete, its threshold to be missed): no error if it does."""

    def wrap(fn: F) -> F:
        _marks(fn).xfail = reason
        return fn

    return wrap


@overload
def fixture(fn: Callable[..., Any]) -> Fixture: ...


@overload
def fixture(
    *, scope: Scope = "session", when: Callable[[Mapping[str, Any]], bool] | None = None
) -> Callable[[Callable[..., Any]], Fixture]: ...


def fixture(
    fn: Callable[..., Any] | None = None,
    *,
    scope: Scope = "session",
    when: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Fixture | Callable[[Callable[..., Any]], Fixture]:
    """Make a function a fixture under its own name. It may be async; code after a ``yield`` is teardown.

    ``scope``: ``session`` (made once in a command, shared by all tasks that give it the same parameters),
    ``task`` (made for each run), ``sample`` (made for each sample, and may ask for ``sample`` and ``model``).
    ``when`` is asked about the parameters of each run: where it returns False, the fixture is not made, nor
    what it alone stands on, and None takes its place.
    """
    if scope not in SCOPES:
        raise UsageError(f"no fixture scope {scope!r}; known: {', '.join(SCOPES)}")

    def wrap(made: Callable[..., Any]) -> Fixture:
        return Fixture(made.__name__, made, scope, when=when)

    return wrap if fn is None else wrap(fn)


@cache
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


def check_known(given: Iterable[str], known: Iterable[str], owner: str, what: str = "parameter") -> None:
    """Raise ``UsageError`` for the first name that is not known, with the nearest one that is."""
    names = sorted(known)
    for name in given:
        if name not in names:
            listed = ", ".join(names) or "none"
            raise UsageError(
                f"{owner} has no {what} {name!r}.{did_you_mean(name, names)} Its {what}s: {listed}."
            )
