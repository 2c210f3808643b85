"""Several evaluations in one command: failures of one of them, signals, exit codes, the report."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from evalkit.cli.against import against_document, print_against_first
from evalkit.cli.details import Details, details_of
from evalkit.cli.failures import (
    Failures,
    failures_of,
    incomplete_reasons,
    no_values,
    resume_hint,
    without_value,
)
from evalkit.cli.output import command, echo, in_store, print_json
from evalkit.cli.run_report import print_reliance, print_runs, run_document
from evalkit.errors import EvalkitError, StoreError
from evalkit.models.middleware.spending import Spending
from evalkit.run import event_loop
from evalkit.store.records import Run, RunSpec
from evalkit.util import progress
from evalkit.util.boundary import exit_now

if TYPE_CHECKING:
    from evalkit.compare.differences import Against
    from evalkit.run.forecast import Forecast

OK, INCOMPLETE, USAGE, INTERRUPTED = 0, 1, 2, 130


def scores_nothing(run: Run) -> bool:
    """Return whether a run has metrics and samples, but not one score."""
    return bool(run.n and run.spec.metrics and not run.metrics)


class RunBatch:
    """Several evaluations in one session: runs them, collects their results, and handles signals."""

    def __init__(
        self,
        store_url: str | None,
        as_json: bool,
        quiet: bool,
        options: dict[str, Any],
        *,
        create_store: bool = True,
    ) -> None:
        from evalkit.store import open_store

        self.store = open_store(store_url, create=create_store)
        self.as_json, self.quiet, self.options = as_json, quiet, options
        self.progress = progress.for_stream(quiet=quiet)
        self.runs: list[Run] = []
        self.errors: list[str] = []
        self.skipped: list[dict[str, str]] = []
        self.xfailed: list[dict[str, str]] = []
        self.store_failed = False  # the report then says nothing of scores that are stored
        self.forgiven: set[str] = set()
        self.said: set[str] = set()
        self.reliance: Any = []
        self.against_first: Against | None = None
        self.failures: dict[str, Failures] = {}
        self.details: dict[str, Details] = {}
        self.asked_metrics: set[str] = set()  # named by --metric: they must apply to a sample
        self.open_run: RunSpec | None = None
        self.session: Any = None
        self.stop = asyncio.Event()
        self.spending = Spending(options.get("max_cost"), options.get("max_tokens"))

    def main(self, work: Callable[[RunBatch], Awaitable[None]]) -> int:
        """Run ``work``, print the results, and return the exit code."""
        from evalkit.run.engine import Stopped

        interrupted = False
        try:
            event_loop.run(self._in_session(work))
        except (Stopped, asyncio.CancelledError, KeyboardInterrupt):
            interrupted = True
        finally:
            if interrupted and self.open_run is not None:
                self.runs.append(self._broken_off(self.open_run))
            self._compare_arms()
            self.failures = failures_of(self.store, self.runs)
            self.details = details_of(self.store, self.runs)
            self.store.close()
        self._report(interrupted)
        if interrupted:
            return INTERRUPTED
        if self.errors and not self.runs:
            return USAGE
        failed = [
            run
            for run in self.runs
            if (not run.is_complete or scores_nothing(run) or self._misses_metric(run))
            and run.id not in self.forgiven
        ]
        return INCOMPLETE if self.errors or failed else OK

    def _misses_metric(self, run: Run) -> bool:
        return bool(self.asked_metrics.intersection(without_value(run, self.failures.get(run.id))))

    def _say(self, line: str | None) -> None:
        """Print what a reader of the runs should know, once a command."""
        if line and line not in self.said:
            self.said.add(line)
            echo(f"evalkit: {line}", err=True)

    def skip(self, task: str, reason: str) -> None:
        """Record and print that an item is left out."""
        self.skipped.append({"task": task, "reason": reason})
        echo(f"Skipped {task}: {reason}", err=True)

    async def _in_session(self, work: Callable[[RunBatch], Awaitable[None]]) -> None:
        from evalkit.run.session import Session

        with self._listening():
            async with Session(self.progress) as self.session:
                await work(self)
        self._fail_teardowns("end of the command")

    def _fail_teardowns(self, label: str) -> None:
        """Report the fixtures whose teardown failed; the scores stay."""
        for failure in self.session.failures:
            self._fail(label, failure)
        self.session.failures.clear()

    def _fail(self, label: str, message: str) -> None:
        """Record and print a failure; a message that was already printed is not repeated."""
        self.errors.append(f"{label}: {message}")
        echo(f"evalkit: {label}: {'the same problem' if message in self.said else message}", err=True)
        self.said.add(message)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Handle Ctrl-C and SIGTERM. First: finish the requests in flight. Second: stop at once. Third: exit.

        A limit of time, cost or tokens that is reached counts as a first Ctrl-C, and is ignored after one.
        The signal handler counts, not the event loop: so the third ends even a task that blocks the loop.
        """
        running, main = asyncio.get_running_loop(), asyncio.current_task()
        asked = 0

        def stop(why: str, count: int) -> None:
            if count == 1 and self.open_run is not None:
                echo(f"\n{why}: finishing the requests in flight; Ctrl-C again stops at once.", err=True)
                self.stop.set()
            elif main is not None:
                main.cancel()

        def pressed(*_: object) -> None:
            nonlocal asked
            asked += 1
            if asked > 2:
                os.write(2, f"\nKilled; what is stored is safe.{resume_hint(self.open_run)}\n".encode())
                exit_now(INTERRUPTED)
            running.call_soon_threadsafe(stop, "Stopping", asked)

        def at_limit(why: str) -> None:
            nonlocal asked
            if not asked:
                asked = 1
                stop(why, asked)

        before = {number: signal.signal(number, pressed) for number in (signal.SIGINT, signal.SIGTERM)}
        limit, reached = self.options.get("time_limit"), "The time limit is reached"
        timer = running.call_later(limit, at_limit, reached) if limit else None
        self.spending.on_limit = at_limit
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            for number, handler in before.items():
                signal.signal(number, handler)

    async def __call__(
        self, evaluate: Callable[[Any, Any], Awaitable[Run]], label: str, xfail: str = ""
    ) -> None:
        """Run one evaluation. If its setup fails, report that; the next evaluation still runs.

        ``xfail`` is the reason why a failure is expected; the failure is then recorded as expected.
        """
        from evalkit.run.engine import Stopped
        from evalkit.run.runner import Options

        if self.stop.is_set():  # the run before ended all the same
            raise Stopped

        def started(spec: RunSpec) -> None:
            self.open_run = spec
            self._say(spec.provenance.get("model", {}).get("server", {}).get("reasoning", {}).get("said"))
            from evalkit.run.call_facts import left_out_note

            if note := left_out_note(spec):
                self._say(f"{spec.model}: {note}")

        options = Options(
            limit=self.options.get("limit"),
            sampling=self.options.get("sampling"),
            repeats=self.options.get("repeat", 1),
            window=self.options["window"],
            max_inflight=self.options.get("max_inflight"),
            cache=self.options.get("cache"),
            allow_changed=self.options.get("allow_changed", False),
            backend=self.options.get("backend"),
            on_start=started,
            on_forecast=self._say_forecast,
            stop=self.stop,
            spending=self.spending,
        )
        self.open_run = None
        try:
            self.runs.append(await evaluate(self.session, options))
            if xfail and not self.runs[-1].is_complete:
                self._forgive(label, xfail, f"run {self.runs[-1].id} is {self.runs[-1].status}")
        except EvalkitError as error:
            self.store_failed |= isinstance(error, StoreError)
            if self.open_run is not None and self.open_run.id in self.store.runs:
                self.runs.append(self._broken_off(self.open_run))
            if xfail:
                self._forgive(label, xfail, str(error))
            else:
                self._fail(label, str(error))
        self._fail_teardowns(label)
        self.open_run = None

    def _say_forecast(self, forecast: Forecast) -> None:
        """Print what the next run will cost, and whether a limit will stop it."""
        limits = self.spending
        if self.quiet and not limits.limited:
            return
        echo(f"{self.open_run.model if self.open_run else ''}: {forecast.text()}", err=True)
        cost = forecast.cost.value if forecast.cost else None
        _, above = limits.room_for(cost, forecast.tokens.value)
        if above:
            echo(f"That is more than {above}: the run will stop there; resume goes on.", err=True)

    def compare(self) -> None:
        """Compare each complete run with the first run of its task, for the report."""
        from evalkit.compare.differences import against_first

        self.against_first = against_first(self.store, self.runs)

    def _broken_off(self, spec: RunSpec) -> Run:
        """Return the stored run; interrupted, also where a failing disk could not store its end."""
        run = self.store.runs.get(spec.id)
        return msgspec.structs.replace(run, status="interrupted") if run.status == "running" else run

    def _forgive(self, label: str, reason: str, failure: str) -> None:
        if self.open_run is not None:
            self.forgiven.add(self.open_run.id)
        self.xfailed.append({"task": label, "reason": reason, "failure": failure})
        echo(f"Failed as expected ({reason}): {label}: {failure}", err=True)

    def _compare_arms(self) -> None:
        """Measure the image reliance of vision tasks whose runs have several arms."""
        if len(self.runs) > 1:
            from evalkit.compare.image_ablation import reliance

            self.reliance = reliance(self.store, self.runs)

    def _report(self, interrupted: bool) -> None:
        if self.as_json:
            shown = [run_document(r, self.failures.get(r.id), self.details[r.id]) for r in self.runs]
            document: dict[str, Any] = {"runs": shown}
            lists = {"errors": self.errors, "skipped": self.skipped, "xfailed": self.xfailed}
            document.update({name: entries for name, entries in lists.items() if entries})
            if self.reliance:
                from evalkit.compare.image_ablation import documents

                document["reliance"] = documents(self.reliance)
            print_json(document | against_document(self.against_first))
        elif self.runs:
            print_runs(self.runs, self.details)
            print_reliance(self.reliance)
            print_against_first(self.against_first)
        from evalkit.run.call_facts import call_notes

        for note in dict.fromkeys(note for run in self.runs for note in call_notes(run)):
            echo(f"evalkit: {note}", err=True)
        for run in self.runs:
            if not run.is_complete:
                echo(incomplete_reasons(run, self.failures[run.id]), err=True)
            elif scores_nothing(run):
                echo(
                    f"Run {run.id}: no metric applies to any sample. Most metrics need Sample.target; those "
                    f"of retrieval need Sample.relevance. Add one: evalkit rescore {run.id} --metric CALL",
                    err=True,
                )
        scored = [run for run in self.runs if not scores_nothing(run)]
        missing = [(run.spec.task, without_value(run, self.failures.get(run.id))) for run in scored]
        for line in no_values(missing):
            echo(line, err=True)
        if interrupted and not self.runs and not self.skipped:
            echo("Interrupted before any sample was asked.", err=True)
        elif any(run.n for run in self.runs) and not self.as_json and not self.store_failed:
            echo(
                f"Scores are stored. Open the leaderboard with: {command()} leaderboard{in_store()}", err=True
            )
