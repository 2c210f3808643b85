"""``evalkit run`` and ``evalkit resume``."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from evalkit import loop, progress
from evalkit.cli.output import command, print_json, print_reliance, print_runs, run_document
from evalkit.collect import collect
from evalkit.errors import SetupError, StoreError, UsageError
from evalkit.store.records import Run, RunSpec

OK, INCOMPLETE, USAGE, INTERRUPTED = 0, 1, 2, 130

store_option = click.option(
    "--store", "store_url", metavar="URL", help="Score store [default: .evalkit/evalkit.db]."
)
include_option = click.option(
    "--include-path",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="A folder of lm-eval's YAML files, for targets lm_eval/NAME.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
metric_option = click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="CALL",
    help="One more metric, as a task file would write it: 'bertscore(truncate=True)'. Repeat for several.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress.")


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """``90``, ``90s``, ``30m``, ``12h`` or ``2d`` in seconds."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value)
    if match is None or not float(match[1]):
        raise click.BadParameter(f"{value!r}: write it as 90s, 30m or 12h", ctx, param)
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]


time_option = click.option(
    "--time-limit",
    callback=_seconds,
    metavar="TIME",
    help="Stop after 90s, 30m or 12h, as Ctrl-C would: what ended is stored, resume goes on.",
)


@click.command()
@click.argument("targets", nargs=-1)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="SPEC",
    help="provider:name[@url][?param=value], or a name from evalkit.toml. Repeat for several.",
)
@click.option("-p", "params", multiple=True, metavar="NAME=VALUE", help="Set a parameter; repeat to sweep.")
@click.option("-k", "keyword", metavar="EXPR", help="Only items whose node id matches: 'rag and not oracle'.")
@click.option(
    "-m", "tags", multiple=True, metavar="EXPR", help="Only tasks with these tags: 'rag and not vqa'."
)
@metric_option
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N samples.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, help="Ask every sample N times.")
@click.option("--max-inflight", type=click.IntRange(min=1), help="Requests at the server at once.")
@click.option("--window", type=click.IntRange(min=1), default=2048, help="Samples in work at once.")
@time_option
@click.option(
    "--cache",
    type=click.Choice(["on", "off", "refresh", "only"]),
    default="on",
    help="off: answers that other runs were given are not used. refresh: nor are they, and the new ones take "
    "their place. only: no server is asked.",
)
@click.option("--collect-only", is_flag=True, help="Name what would run, and stop.")
@include_option
@store_option
@json_option
@quiet_option
def run(
    targets: tuple[str, ...], models: tuple[str, ...], params: tuple[str, ...], keyword: str | None,
    tags: tuple[str, ...], metrics: tuple[str, ...], collect_only: bool, include_path: Path | None,
    store_url: str | None, as_json: bool, quiet: bool, **options: Any,
) -> None:  # fmt: skip
    """Evaluate models on tasks.

    TARGETS are files (task_mine.py), folders, FILE::name[k=5], names of installed tasks (see evalkit list),
    or lm_eval/NAME for a task of lm-eval; without any, all installed tasks.
    """
    chosen: dict[str, Any] = {
        "params": settings(params), "keyword": keyword, "tags": tags, "include_path": include_path,
    }  # fmt: skip
    if collect_only:
        from evalkit.cli.listing import print_node_ids
        from evalkit.listing import listing

        sys.exit(print_node_ids(listing(targets, **chosen), as_json))
    if not models:
        raise UsageError(
            "give a model: --model baseline:extract (needs no server), "
            "--model sglang:NAME@http://127.0.0.1:30000 or --model openai:NAME"
        )
    found = collect(targets, **chosen)
    for broken in found.broken:
        click.echo(f"evalkit: broken task file: {broken}", err=True)
    if not found.items and not found.broken:
        raise UsageError("no task matches; see evalkit list")

    async def work(drive: Driver) -> None:
        from evalkit import runner
        from evalkit.metrics.spec import with_metrics

        for item in (replace(item, task=with_metrics(item.task, metrics)) for item in found.items):
            if item.skip:
                drive.skip(item.id, item.skip)
                continue
            for text in models:
                start = partial(runner.start, item, text, drive.store)
                await drive(start, f"{item.id} with {text}", item.xfail)

    driver = Driver(store_url, as_json, quiet, options)
    code = driver.main(work)
    sys.exit(USAGE if found.broken and code == OK else code)


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--max-inflight", type=click.IntRange(min=1), help="Requests at the server at once.")
@click.option("--window", type=click.IntRange(min=1), default=2048, help="Samples in work at once.")
@time_option
@click.option(
    "--cache", type=click.Choice(["on", "off", "refresh", "only"]), help="Another mode than it began with."
)
@store_option
@json_option
@quiet_option
def resume(runs: tuple[str, ...], store_url: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Go on with runs that were stopped or had errors: only what is missing is asked for.

    RUNS are run ids, unique prefixes of them, or 'latest'.
    """

    async def work(drive: Driver) -> None:
        from evalkit import runner

        for name in runs:
            stored = drive.store.run(name)
            await drive(partial(runner.resume, stored, drive.store), f"run {stored.id}")

    sys.exit(Driver(store_url, as_json, quiet, options).main(work))


def settings(params: Sequence[str]) -> dict[str, list[str]]:
    """``-p name=value`` options, by name, in order."""
    found: dict[str, list[str]] = {}
    for text in params:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"-p {text!r}: write it as name=value")
        found.setdefault(name, []).append(value)
    return found


class Driver:
    """Runs several evaluations in one session, gathers their results, and answers signals."""

    def __init__(self, store_url: str | None, as_json: bool, quiet: bool, options: dict[str, Any]) -> None:
        from evalkit.store import open_store

        self.store = open_store(store_url)
        self.as_json, self.options = as_json, options
        self.progress = progress.for_stream(quiet=quiet)
        self.runs: list[Run] = []
        self.errors: list[str] = []
        self.skipped: list[dict[str, str]] = []
        self.xfailed: list[dict[str, str]] = []
        self.forgiven: set[str] = set()
        self.reliance: Any = []
        self.open_run: RunSpec | None = None
        self.session: Any = None
        self.stop = asyncio.Event()

    def main(self, work: Callable[[Driver], Awaitable[None]]) -> int:
        """Run ``work``, print what came of it, and return the exit code."""
        from evalkit.engine import Stopped

        interrupted = False
        try:
            loop.run(self._in_session(work))
        except (Stopped, asyncio.CancelledError, KeyboardInterrupt):
            interrupted = True
        finally:
            if interrupted and self.open_run is not None:
                self.runs.append(self.store.run(self.open_run.id))
            self._compare_arms()
            self.store.close()
        self._report(interrupted)
        if interrupted:
            return INTERRUPTED
        if self.errors and not self.runs:
            return USAGE
        failed = [run for run in self.runs if not run.ranked and run.id not in self.forgiven]
        return INCOMPLETE if self.errors or failed else OK

    def skip(self, task: str, reason: str) -> None:
        """Note an item that is left out."""
        self.skipped.append({"task": task, "reason": reason})
        click.echo(f"Skipped {task}: {reason}", err=True)

    async def _in_session(self, work: Callable[[Driver], Awaitable[None]]) -> None:
        from evalkit.session import Session

        self._listen()
        async with Session(self.progress) as self.session:
            await work(self)

    def _listen(self) -> None:
        """First Ctrl-C or SIGTERM: finish what is in flight. Second: stop at once. Third: die."""
        running, main = asyncio.get_running_loop(), asyncio.current_task()
        presses = 0

        def end(why: str) -> None:
            nonlocal presses
            presses += 1
            if presses > 2:
                os._exit(INTERRUPTED)
            if presses == 1 and self.open_run is not None:
                click.echo(f"\n{why}: finishing what is in flight; Ctrl-C again stops at once.", err=True)
                self.stop.set()
            elif main is not None:
                main.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            running.add_signal_handler(number, end, "Stopping")
        if limit := self.options.get("time_limit"):
            running.call_later(limit, end, "The time limit is reached")

    async def __call__(
        self, evaluate: Callable[[Any, Any], Awaitable[Run]], label: str, xfail: str = ""
    ) -> None:
        """One evaluation. A setup that fails is reported; the next evaluation still runs.

        With ``xfail``, the reason to expect it, a failure is noted as expected.
        """
        from evalkit.runner import Options

        def started(spec: RunSpec) -> None:
            self.open_run = spec

        options = Options(
            limit=self.options.get("limit"),
            repeats=self.options.get("repeat", 1),
            window=self.options["window"],
            max_inflight=self.options.get("max_inflight"),
            cache=self.options.get("cache"),
            backend=self.options.get("backend"),
            on_start=started,
            stop=self.stop,
        )
        self.open_run = None
        try:
            self.runs.append(await evaluate(self.session, options))
            if xfail and not self.runs[-1].ranked:
                self._forgive(label, xfail, f"run {self.runs[-1].id} is {self.runs[-1].status}")
        except (SetupError, UsageError, StoreError) as error:
            if self.open_run is not None:
                self.runs.append(self.store.run(self.open_run.id))
            if xfail:
                self._forgive(label, xfail, str(error))
            else:
                self.errors.append(f"{label}: {error}")
                click.echo(f"evalkit: {label}: {error}", err=True)
        self.open_run = None

    def _forgive(self, label: str, reason: str, failure: str) -> None:
        if self.open_run is not None:
            self.forgiven.add(self.open_run.id)
        self.xfailed.append({"task": label, "reason": reason, "failure": failure})
        click.echo(f"Failed as expected ({reason}): {label}: {failure}", err=True)

    def _compare_arms(self) -> None:
        """Runs of a vision task with its pictures and without: what the pictures are worth."""
        if len(self.runs) > 1:
            from evalkit.reliance import reliance

            self.reliance = reliance(self.store, self.runs)

    def _report(self, interrupted: bool) -> None:
        if self.as_json:
            document: dict[str, Any] = {"runs": [run_document(r) for r in self.runs]}
            lists = {"errors": self.errors, "skipped": self.skipped, "xfailed": self.xfailed}
            document.update({name: some for name, some in lists.items() if some})
            if self.reliance:
                from evalkit.reliance import documents

                document["reliance"] = documents(self.reliance)
            print_json(document)
        elif self.runs:
            print_runs(self.runs)
            print_reliance(self.reliance)
        for left in self.runs:
            if not left.ranked:
                given = left.spec.target.get("given")
                again = "" if given else f" Go on with: {command()} resume {left.id}"
                click.echo(f"Run {left.id} is {left.status}.{again}", err=True)
        if interrupted and not self.runs and not self.skipped:
            click.echo("Interrupted before any sample was asked.", err=True)
        elif self.runs and not self.as_json:
            click.echo(f"Scores are stored. Open the leaderboard with: {command()} leaderboard", err=True)
