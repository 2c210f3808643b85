"""The parts of the pytest plug-in that are imported at first use: files, items, and the loop for runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
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
from evalkit.run.call_facts import call_notes
from evalkit.run.event_loop import run_until_done
from evalkit.run.session import Session
from evalkit.store import open_store
from evalkit.store.records import Run, RunSpec
from evalkit.task import Task
from evalkit.util import paths
from evalkit.util.name_values import parse_name_values
from evalkit.util.printable import one_line, printable
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
    """An event loop in a separate thread, with one evalkit session and one store.

    So both plain and async tests can wait for a run, and fixtures are made once per pytest session.
    """

    def __init__(self, store_url: str | None) -> None:
        self.store = open_store(store_url)
        self._loop = asyncio.new_event_loop()
        self._closed = self._loop.create_future()
        work = partial(run_until_done, self._loop, self._closed)
        self._thread = threading.Thread(target=work, name="evalkit", daemon=True)
        self._thread.start()
        self._session = Session(Silent())
        self.wait(self._session.__aenter__())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine. Ctrl-C cancels it; samples that have ended are stored."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException as error:
            future.cancel()
            if isinstance(
                error, EvalkitError
            ):  # pytest prints it as it is, in a test that calls ``evaluate``
                error.args = (printable(str(error)),)
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

        ``task`` is a task, or a target of ``evalkit run``. ``model`` is a spec, a backend, or a function that
        returns the reply to a request. ``fixtures`` are values that replace the task's fixtures.
        Raises ``UsageError`` where task and parameters select several items, ``SetupError`` where the run
        cannot continue.
        """
        item = one_item(task, params, fixtures or {})
        if isinstance(model, str):
            return self.start(item, model, runner.Options(limit=limit, repeats=repeats))
        if not isinstance(model, Backend):
            model = _as_backend(model)
        name = str(getattr(model, "name", type(model).__name__))
        return self.start(item, name, runner.Options(limit=limit, repeats=repeats, backend=model))

    def close(self) -> list[str]:
        """Tear down fixtures, stop the loop, close the store; return the teardowns that failed."""
        self.wait(self._session.__aexit__(None, None, None))
        self.wait(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._closed.set_result, None)
        self._thread.join()
        self._loop.close()
        self.store.close()
        return self._session.failures


def _as_backend(function: Callable[..., Any]) -> Backend:
    """Return a backend that calls ``function`` for each request. Nothing is cached."""
    return FakeBackend(function, name="function", cacheable=False)


_LOOP = pytest.StashKey[Loop]()


def loop_of(config: pytest.Config) -> Loop:
    """Return the loop of this pytest session, started at the first call."""
    if _LOOP not in config.stash:
        paths.start_in(config.invocation_params.dir)  # a test may stand in another folder by now
        config.stash[_LOOP] = Loop(config.getoption("evalkit_store"))
    return config.stash[_LOOP]


def close_loop(config: pytest.Config) -> list[str]:
    """End the session's loop, if it was started; return the teardowns of fixtures that failed."""
    if _LOOP not in config.stash:
        return []
    loop = config.stash[_LOOP]
    del config.stash[_LOOP]
    paths.start_in(None)
    return loop.close()


def _pairs(config: pytest.Config, option: str) -> dict[str, list[str]]:
    try:
        return parse_name_values(config.getoption(option), option)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def check_params(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Raise ``pytest.UsageError`` for a parameter that no collected task takes."""
    ours = [item for item in items if isinstance(item, EvalItem)]
    known = {name for test in ours for name in test.item.params}
    unknown = _pairs(config, "--evalkit-param").keys() - known
    if ours and unknown:
        raise pytest.UsageError(f"--evalkit-param: no task here has a parameter {min(unknown)!r}")


class EvalFile(pytest.File):
    """A task file: one test for each item and model."""

    def collect(self) -> Iterable[EvalItem]:
        params = _pairs(self.config, "--evalkit-param")
        try:
            items = [item for task in load_file(self.path) for item in _swept(task, params)]
        except (TaskFileError, UsageError) as error:
            raise self.CollectError(printable(str(error))) from None
        for item in items:
            for model in self.config.getoption("evalkit_models"):
                name, _, inside = item.id.partition("[")
                label = f"{inside.removesuffix(']')}-{model}" if inside else model
                # pytest 9 reads the brackets from a whole node id only: without them --lf finds no test again
                test = one_line(f"{name}[{label}]")
                yield EvalItem.from_parent(
                    self, name=test, nodeid=f"{self.nodeid}::{test}", item=item, model=model
                )


def _swept(task: Task, params: Mapping[str, list[str]]) -> list[Item]:
    plain = items_of(task)
    accepted = {name: values for name, values in params.items() if name in plain[0].params}
    return items_of(task, accepted) if accepted else plain


class Missed(Exception):
    """A missed threshold, a result worse than the baseline, or an incomplete run."""


class EvalItem(pytest.Item):
    """A test: one item of a task, run on one model and checked."""

    def __init__(self, *, item: Item, model: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.item, self.model = item, model
        for tag in item.task.tags:
            self.config.addinivalue_line("markers", f"{tag}: a tag of evalkit tasks")
            # pytest.mark takes no name with a colon, a bracket or a leading underscore
            self.add_marker(pytest.MarkDecorator(pytest.Mark(tag, (), {}, _ispytest=True), _ispytest=True))
        if item.skip:
            self.add_marker(pytest.mark.skip(reason=item.skip))
        if item.xfail:
            self.add_marker(pytest.mark.xfail(reason=item.xfail))

    def runtest(self) -> None:
        loop, option = loop_of(self.config), self.config.getoption
        baselines = [_stored(loop, name) for name in option("evalkit_baselines")]
        thresholds = self._thresholds()

        def check(spec: RunSpec) -> None:
            metrics_to_check(spec, thresholds)
            if baselines:
                find_baseline(spec, baselines)

        run = loop.start(self.item, self.model, runner.Options(limit=option("evalkit_limit"), on_start=check))
        self.user_properties.append(("evalkit.run", run.id))
        for name, estimate in run.metrics.items():
            self.user_properties.append((name, estimate.value))
            self.user_properties += [(f"{name}.low", estimate.ci[0]), (f"{name}.high", estimate.ci[1])]
        if not run.is_complete:
            raise Missed(_incomplete(loop, run))
        verdicts = self._verdicts(loop, run, thresholds, baselines)
        missed = [verdict.text for verdict in verdicts if not verdict.passed]
        if missed:
            raise Missed("\n".join([f"{run.spec.task} with {run.spec.model} (run {run.id}):", *missed]))
        said = [f"run {run.id}", *(verdict.text for verdict in verdicts), *call_notes(run)]
        self.add_report_section("call", "evalkit", printable("\n".join(said)))

    def _thresholds(self) -> dict[str, float]:
        texts = {name: values[-1] for name, values in _pairs(self.config, "--evalkit-min").items()}
        try:
            return {**self.item.task.min, **{name: float(text) for name, text in texts.items()}}
        except ValueError as error:
            raise pytest.UsageError(f"--evalkit-min: {error}") from None

    def _verdicts(
        self, loop: Loop, run: Run, thresholds: Mapping[str, float], baselines: list[Run]
    ) -> list[Verdict]:
        option = self.config.getoption
        metrics = metrics_to_check(run.spec, thresholds)
        verdicts = [
            check_threshold(run, info, thresholds[info.name], option("evalkit_whole_interval"))
            for info in metrics
            if info.name in thresholds
        ]
        if baselines:
            base, margin = find_baseline(run.spec, baselines), option("evalkit_margin")
            verdicts += [check_baseline(loop.store, run, base, info, margin) for info in metrics]
        return verdicts

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, (Missed, EvalkitError, pytest.UsageError)):
            return printable(str(excinfo.value))
        return printable(str(super().repr_failure(excinfo, style)))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        line = self.item.task.fn.__code__.co_firstlineno - 1
        return self.path, line, self.name


def _stored(loop: Loop, name: str) -> Run:
    if name == "latest":
        raise UsageError("--evalkit-baseline needs a run's id: 'latest' would become a run of this session")
    return loop.store.runs.get(name)


def _incomplete(loop: Loop, run: Run) -> str:
    ended = ", ".join(f"{n} {status}" for status, n in run.counts.items()) or "none"
    errors = (record.error for record in loop.store.samples.records(run.id) if record.error)
    failed = (f"{metric}: {said}" for metric, (_, said) in loop.store.samples.unscored(run.id).items())
    first = next(errors, None) or next(failed, None)
    return f"run {run.id} is {run.status}: {run.n} of {run.spec.n_expected} samples ended ({ended})" + (
        f"\n  the first error: {first}" if first else ""
    )
