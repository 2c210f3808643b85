"""What the pytest plug-in is made of, imported once it is used: files, items, and the loop that runs them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from evalkit.collection.files import load_file
from evalkit.collection.items import Item, items_of
from evalkit.collection.targets import one_item
from evalkit.compare.acceptance import (
    Verdict,
    check_baseline,
    check_threshold,
    find_baseline,
    metrics_to_check,
)
from evalkit.errors import EvalkitError, TaskFileError, UsageError
from evalkit.models.fake import FakeBackend
from evalkit.protocols import Backend
from evalkit.run import runner
from evalkit.run.session import Session
from evalkit.store import open_store
from evalkit.store.records import Run
from evalkit.task import Task
from evalkit.util.name_values import parse_name_values
from evalkit.util.progress import Silent

T = TypeVar("T")


class Evaluate(Protocol):
    """The type of the fixture ``evaluate``."""

    def __call__(
        self,
        task: Task | str,
        model: str | Backend | Callable[..., Any],
        *,
        limit: int | None = None,
        repeats: int = 1,
        fixtures: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> Run: ...


class Loop:
    """An event loop in a thread of its own, with one evalkit session and one store: so that plain tests and
    async ones alike can wait for a run, and fixtures are made once for a whole pytest session."""

    def __init__(self, store_url: str | None) -> None:
        self.store = open_store(store_url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="evalkit", daemon=True)
        self._thread.start()
        self._session = Session(Silent())
        self.wait(self._session.__aenter__())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine; on Ctrl-C it is cancelled, and what had ended is stored."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def start(self, item: Item, model: str, options: runner.Options) -> Run:
        """Run one item."""
        return self.wait(runner.start(item, model, self.store, self._session, options))

    def evaluate(
        self,
        task: Task | str,
        model: str | Backend | Callable[..., Any],
        *,
        limit: int | None = None,
        repeats: int = 1,
        fixtures: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> Run:
        """Run a task on a model and return the stored run, with its metrics.

        ``task`` is a task, or a target as ``evalkit run`` takes it. ``model`` is a spec, a backend, or a
        function of a request that returns the reply. ``fixtures`` are values in place of the task's own.
        Raises ``UsageError`` where task and parameters leave more than one item, ``SetupError`` where the run
        cannot go on.
        """
        item = one_item(task, params, fixtures or {})
        if isinstance(model, str):
            return self.start(item, model, runner.Options(limit=limit, repeats=repeats))
        if not isinstance(model, Backend):
            model = _as_backend(model)
        name = str(getattr(model, "name", type(model).__name__))
        return self.start(item, name, runner.Options(limit=limit, repeats=repeats, backend=model))

    def close(self) -> None:
        """Tear down fixtures, stop the loop, close the store."""
        self.wait(self._session.__aexit__(None, None, None))
        self.wait(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.store.close()


def _as_backend(function: Callable[..., Any]) -> Backend:
    """A function from request to reply. What it says of one sample holds of no other: nothing is cached."""
    return FakeBackend(function, name="function", cacheable=False)


_LOOP = pytest.StashKey[Loop]()


def loop_of(config: pytest.Config) -> Loop:
    """The loop of this pytest session, started when first asked for."""
    if _LOOP not in config.stash:
        config.stash[_LOOP] = Loop(config.getoption("evalkit_store"))
    return config.stash[_LOOP]


def close_loop(config: pytest.Config) -> None:
    """End the session's loop, where there is one."""
    if _LOOP in config.stash:
        config.stash[_LOOP].close()
        del config.stash[_LOOP]


def _pairs(config: pytest.Config, option: str) -> dict[str, list[str]]:
    try:
        return parse_name_values(config.getoption(option), option)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def check_params(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """A parameter that no collected task takes is a mistake. Raises ``pytest.UsageError``."""
    mine = [item for item in items if isinstance(item, EvalItem)]
    known = {name for one in mine for name in one.item.params}
    unknown = _pairs(config, "--evalkit-param").keys() - known
    if mine and unknown:
        raise pytest.UsageError(f"--evalkit-param: no task here has a parameter {min(unknown)!r}")


class EvalFile(pytest.File):
    """A task file: one test for each item and model."""

    def collect(self) -> Iterable[EvalItem]:
        given = _pairs(self.config, "--evalkit-param")
        try:
            items = [item for task in load_file(self.path) for item in _swept(task, given)]
        except (TaskFileError, UsageError) as error:
            raise self.CollectError(str(error)) from None
        for item in items:
            for model in self.config.getoption("evalkit_models"):
                name, _, inside = item.id.partition("[")
                params = f"{inside.removesuffix(']')}-{model}" if inside else model
                yield EvalItem.from_parent(self, name=f"{name}[{params}]", item=item, model=model)


def _swept(task: Task, given: Mapping[str, list[str]]) -> list[Item]:
    plain = items_of(task)
    mine = {name: values for name, values in given.items() if name in plain[0].params}
    return items_of(task, mine) if mine else plain


class Missed(Exception):
    """A threshold or a baseline that was not met, or a run that is incomplete."""


class EvalItem(pytest.Item):
    """One item of a task, run on one model and judged."""

    def __init__(self, *, item: Item, model: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.item, self.model = item, model
        for tag in item.task.tags:
            self.config.addinivalue_line("markers", f"{tag}: a tag of evalkit tasks")
            self.add_marker(tag)
        if item.skip:
            self.add_marker(pytest.mark.skip(reason=item.skip))
        if item.xfail:
            self.add_marker(pytest.mark.xfail(reason=item.xfail))

    def runtest(self) -> None:
        loop = loop_of(self.config)
        baselines = [_stored(loop, name) for name in self.config.getoption("evalkit_baselines")]
        run = loop.start(self.item, self.model, runner.Options(limit=self.config.getoption("evalkit_limit")))
        self.user_properties.append(("evalkit.run", run.id))
        for name, made in run.metrics.items():
            self.user_properties.append((name, made.value))
            self.user_properties += [(f"{name}.low", made.ci[0]), (f"{name}.high", made.ci[1])]
        if not run.is_complete:
            raise Missed(_incomplete(loop, run))
        verdicts = self._verdicts(loop, run, baselines)
        missed = [verdict.text for verdict in verdicts if not verdict.passed]
        if missed:
            raise Missed("\n".join([f"{run.spec.task} with {run.spec.model} (run {run.id}):", *missed]))
        self.add_report_section("call", "evalkit", "\n".join([f"run {run.id}", *(v.text for v in verdicts)]))

    def _verdicts(self, loop: Loop, run: Run, baselines: list[Run]) -> list[Verdict]:
        option = self.config.getoption
        given = {name: values[-1] for name, values in _pairs(self.config, "--evalkit-min").items()}
        try:
            thresholds = {**self.item.task.min, **{name: float(text) for name, text in given.items()}}
        except ValueError as error:
            raise pytest.UsageError(f"--evalkit-min: {error}") from None
        metrics = metrics_to_check(run, thresholds)
        made = [
            check_threshold(run, info, thresholds[info.name], option("evalkit_whole_interval"))
            for info in metrics
            if info.name in thresholds
        ]
        if baselines:
            base, margin = find_baseline(run, baselines), option("evalkit_margin")
            made += [check_baseline(loop.store, run, base, info, margin) for info in metrics]
        return made

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, (Missed, EvalkitError, pytest.UsageError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        line = self.item.task.fn.__code__.co_firstlineno - 1
        return self.path, line, self.name


def _stored(loop: Loop, name: str) -> Run:
    if name == "latest":
        raise UsageError("--evalkit-baseline needs a run's id: the latest is soon a run of this session")
    return loop.store.runs.get(name)


def _incomplete(loop: Loop, run: Run) -> str:
    ended = ", ".join(f"{n} {status}" for status, n in run.counts.items()) or "none"
    errors = (record.error for record in loop.store.samples.records(run.id) if record.error)
    failed = (f"{metric}: {said}" for metric, (_, said) in loop.store.samples.unscored(run.id).items())
    first = next(errors, None) or next(failed, None)
    return f"run {run.id} is {run.status}: {run.n} of {run.spec.n_expected} samples ended ({ended})" + (
        f"\n  the first error: {first}" if first else ""
    )
