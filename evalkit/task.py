"""The decorators of task files: ``@task``, ``@fixture``, ``@parametrize``, ``@skip``, ``@xfail``.

A task consists of samples, an async function that answers a sample, and metrics that score the answer. An
argument with a default is a *parameter* (``-p k=10``). An argument without one is a *fixture*, filled by
name, except ``sample`` and ``model``, which the engine passes. The same rule applies to the samples function
and to fixtures.

``import evalkit`` imports this module, and every pytest run where evalkit is installed imports evalkit: slow
imports therefore stand inside functions.
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

        from evalkit.requests import wrong_value

        try:
            converted = msgspec.convert(value, self.hint, strict=False, dec_hook=_decode)
        except (msgspec.ValidationError, ValueError) as error:
            known = [str(choice) for choice in self.choices]
            wrong = f"must be {' or '.join(known)}.{did_you_mean(str(value), known)}" if known else error
            raise UsageError(f"parameter {self.name}={value!r}: {wrong}") from None
        if isinstance(converted, int | float) and (wrong := wrong_value(self.name, converted)):
            raise UsageError(f"parameter {self.name}={value!r}: {wrong}")
        return converted

    @property
    def choices(self) -> tuple[Any, ...]:
        """Return the values that the parameter's type lists (``Literal``); none for any other type."""
        return typing.get_args(self.hint) if typing.get_origin(self.hint) is Literal else ()

    @property
    def is_path(self) -> bool:
        """Whether the parameter is a path. Paths are locations, so they are not part of a run's name."""
        return self.hint is Path or Path in typing.get_args(self.hint)


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value).expanduser()
    raise ValueError(f"expected {kind.__name__}")


@dataclass(frozen=True)
class Fixture:
    """An object that tasks request by name, made once in its scope and torn down at the scope's end.

    ``above`` is the fixture of the same name that this one overrides, and may ask for. Where ``when`` says no
    to a run's parameters, it is not made for that run, and None stands in its place. ``needs`` returns from
    the parameters what the fixture needs from the model.
    """

    name: str
    fn: Callable[..., Any]
    scope: Scope = "session"
    above: Fixture | None = None
    when: Callable[[Mapping[str, Any]], bool] | None = None
    needs: Callable[[Mapping[str, Any]], Requirements] | None = None


@dataclass(frozen=True)
class Info:
    """The origin of a task's data: ``source`` (paper, hub id), ``licence``, and ``size`` in words.

    ``ids`` says what the ids of the samples are, for files of predictions (``evalkit score``).
    """

    source: str = ""
    licence: str = ""
    size: str = ""
    ids: str = ""


@dataclass(frozen=True)
class Value:
    """A value of an axis with an id, or with a reason to skip the value or to expect its failure.

    For example ``@parametrize(k=[5, Value(100, skip="takes a day")])``.
    """

    value: Any
    id: str = ""
    skip: str = ""
    xfail: str = ""


@dataclass
class Marks:
    """The settings of decorators other than ``@task``: values of axes, reasons to skip or expect a failure.

    ``dynamic``: ``@skipif`` evaluated a condition at import, so that a listing must import the file again.
    """

    axes: dict[str, list[Value]] = field(default_factory=dict)
    skip: str = ""
    xfail: str = ""
    dynamic: bool = False


def _no_requirements() -> Requirements:
    from evalkit.types import Requirements

    return Requirements()


@dataclass
class Task:
    """An evaluation task, as made by ``@task``. ``path`` is the file that the task was collected from.

    ``added`` are metrics from the command line, as written there.
    ``min`` are thresholds for tests (``docs/pytest.md``): the worst mean of a metric that passes.

    Tasks of another harness (``evalkit.lm_eval``) have no task file: ``where`` names their origin, ``facts``
    are recorded with each run, ``prepare`` gets each batch of answers before the answers are scored one by
    one, and ``aggregate`` computes scores of all answers together, from the answers, the estimates of the
    samples' means and the run's parameters. Its scores replace or join the means.
    """

    name: str
    fn: Callable[..., Any]
    samples: Callable[..., Any] | Sequence[Any]
    metrics: tuple[Metric, ...]
    tags: tuple[str, ...] = ()
    version: str = "1"
    needs: Requirements | Callable[[Mapping[str, Any]], Requirements] = field(
        default_factory=_no_requirements
    )
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
        return {name: [value.value for value in values] for name, values in self.marks.axes.items()}

    @property
    def doc(self) -> str:
        """The first line of the task's docstring, or of its module's."""
        text = self.fn.__doc__ or self.fn.__globals__.get("__doc__") or ""
        return text.strip().split("\n")[0]

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer one sample by a call of the plain function, for tests."""
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

    ``samples`` is a sequence of ``Sample``, or a function that yields samples, called again for every pass.
    ``version`` is part of the task's identity: raise it when prompt or data change on purpose. ``needs`` are
    the abilities that the model is probed for, or a function that returns them from the parameters. ``min``
    are thresholds by metric, for tests. ``info`` is the origin of the data.
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
                label = getattr(entry, "__name__", None) or repr(entry)
                hint = f"{label}()" if callable(entry) else "rouge('rougeL')"
                raise UsageError(
                    f"task {fn.__name__!r}: {label} is not a metric; call the factory, as in {hint}"
                )
        names = [m.name for m in listed]
        if repeated := {n for n in names if names.count(n) > 1}:
            raise UsageError(
                f"task {fn.__name__!r} has metrics of the same name: {', '.join(sorted(repeated))}"
            )
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
            needs or _no_requirements(),
            marks,
            min=dict(min or {}),
            info=info or Info(),
        )

    return wrap


def _written_twice(fn: Callable[..., Any]) -> bool:
    """Return whether an earlier function in the file is a task of this name; lines run again do not count."""
    earlier = fn.__globals__.get(fn.__name__)
    if not isinstance(earlier, Task):
        return False
    first, second = earlier.fn.__code__, fn.__code__
    return first.co_filename == second.co_filename and first.co_firstlineno != second.co_firstlineno


def parametrize(
    *, ids: Sequence[str] | Mapping[str, Sequence[str]] | None = None, **axes: Iterable[Any]
) -> Callable[[F], F]:
    """Run a task once for each combination of values: ``@parametrize(k=[5, 10])``, beside ``@task``.

    ``ids`` are names for values that are too long to show: a list for one axis, ``{axis: list}`` for several.
    ``Value`` names or marks a single value. Raises ``UsageError`` where the numbers of ids and values differ,
    or two values have one name.
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
    axis = [value if isinstance(value, Value) else Value(value) for value in values]
    if ids is not None:
        axis = [replace(value, id=value.id or id) for value, id in zip(axis, ids, strict=True)]
    if bad := [value.id for value in axis if set(value.id) & set("[],=")]:
        raise UsageError(f"@parametrize: the id {bad[0]!r} holds one of [ ] , = which node ids are made of")
    names = [value.id or as_shown(value.value) for value in axis]
    if repeated := [label for label in names if names.count(label) > 1]:
        raise UsageError(f"@parametrize: two values of {name!r} are named {repeated[0]}: give them other ids")
    return axis


def as_shown(value: Any) -> str:
    """Return a value as written in a node id."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _marks(fn: Any) -> Marks:
    marks: Marks = fn.marks if isinstance(fn, Task) else fn.__dict__.setdefault(_MARKS, Marks())
    return marks


def skip(*, reason: str) -> Callable[[F], F]:
    """Skip a task; ``list`` and ``run`` show the reason."""

    def wrap(fn: F) -> F:
        _marks(fn).skip = reason
        return fn

    return wrap


def skipif(condition: object, *, reason: str) -> Callable[[F], F]:
    """Skip a task if ``condition`` is true when the file is imported."""

    def wrap(fn: F) -> F:
        marks = _marks(fn)
        marks.dynamic = True
        if condition:
            marks.skip = reason
        return fn

    return wrap


def xfail(*, reason: str) -> Callable[[F], F]:
    """Expect a task to fail (an incomplete run, a missed threshold): the failure is then not an error."""

    def wrap(fn: F) -> F:
        _marks(fn).xfail = reason
        return fn

    return wrap


@overload
def fixture(fn: Callable[..., Any]) -> Fixture: ...


@overload
def fixture(
    *,
    scope: Scope = "session",
    when: Callable[[Mapping[str, Any]], bool] | None = None,
    needs: Callable[[Mapping[str, Any]], Requirements] | None = None,
) -> Callable[[Callable[..., Any]], Fixture]: ...


def fixture(
    fn: Callable[..., Any] | None = None,
    *,
    scope: Scope = "session",
    when: Callable[[Mapping[str, Any]], bool] | None = None,
    needs: Callable[[Mapping[str, Any]], Requirements] | None = None,
) -> Fixture | Callable[[Callable[..., Any]], Fixture]:
    """Make a function, async or not, a fixture of the same name. Code after a ``yield`` is teardown.

    ``scope``: ``session`` (made once in a command, shared by all tasks that give it the same parameters),
    ``task`` (made for each run), ``sample`` (made for each sample, and may ask for ``sample`` and ``model``).
    ``when`` is asked about the parameters of each run: where it returns False, the fixture is not made, nor
    what it alone stands on, and None takes its place. ``needs`` returns from the parameters the abilities
    that the model is probed for, besides those of the task.
    """
    if scope not in SCOPES:
        raise UsageError(f"no fixture scope {scope!r}; known: {', '.join(SCOPES)}")

    def wrap(made: Callable[..., Any]) -> Fixture:
        return Fixture(made.__name__, made, scope, when=when, needs=needs)

    return wrap if fn is None else wrap(fn)


@cache
def parameters_of(fn: Callable[..., Any]) -> tuple[dict[str, Parameter], list[str]]:
    """Return a function's parameters by name, and the names of the fixtures that it requests."""
    try:
        hints: Mapping[str, Any] = typing.get_type_hints(fn)
    except (NameError, TypeError):  # names imported for type checkers only
        hints = {}
    parameters: dict[str, Parameter] = {}
    fixtures: list[str] = []
    for name, argument in inspect.signature(fn).parameters.items():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            continue
        if argument.default is argument.empty:
            if name not in GIVEN:
                fixtures.append(name)
            continue
        default = argument.default
        parameters[name] = Parameter(
            name, default, hints.get(name, Any if default is None else type(default))
        )
    return parameters, fixtures


def check_known(given: Iterable[str], known: Iterable[str], owner: str, what: str = "parameter") -> None:
    """Raise ``UsageError`` for the first unknown name, with the most similar known name."""
    names = sorted(known)
    for name in given:
        if name not in names:
            listed = ", ".join(names) or "none"
            raise UsageError(
                f"{owner} has no {what} {name!r}.{did_you_mean(name, names)} Its {what}s: {listed}."
            )
