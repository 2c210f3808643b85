"""The command line. Each command has its own module, which is imported when the command is called."""

from __future__ import annotations

import importlib
import io
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from evalkit.errors import EvalkitError, UsageError
from evalkit.extras import not_installed
from evalkit.util.paths import start_in
from evalkit.util.version import VERSION

COMMANDS = {
    "run": ("evalkit.cli.run", "Evaluate models on tasks."),
    "list": ("evalkit.cli.listing", "List tasks with their parameters and metrics."),
    "show": ("evalkit.cli.show", "Show stored runs: scores with intervals, or samples."),
    "annotate": ("evalkit.cli.annotate", "Label runs, or hide them from the leaderboard."),
    "rag-report": ("evalkit.cli.rag_report", "Tell whether the retriever or the generator is the weak part."),
    "resume": ("evalkit.cli.run", "Complete a run that was stopped or had errors."),
    "cache": ("evalkit.cli.cache", "Show the size of the response cache, or empty it."),
    "batches": ("evalkit.cli.batches", "List or cancel jobs at vendors' batch interfaces."),
    "score": ("evalkit.cli.score", "Score predictions that were made elsewhere."),
    "rescore": ("evalkit.cli.rescore", "Score stored answers again, without a model."),
    "new": ("evalkit.cli.new", "Write a commented task, server adapter or retriever."),
    "import": ("evalkit.cli.interchange", "Read result files of lm-eval into the store."),
    "export": ("evalkit.cli.interchange", "Write runs as result files of lm-eval."),
    "lm-eval": ("evalkit.cli.lm_eval", "Run lm-eval's own command with evalkit's models."),
    "index": ("evalkit.cli.index", "Build, search and check retrieval indexes."),
    "retrieve": ("evalkit.cli.retrieve", "Measure retrievers on a benchmark with relevance judgements."),
    "leaderboard": ("evalkit.cli.leaderboard", "Serve the leaderboard in a browser."),
}


class _Lazy(click.Group):
    """A group that knows its commands by name and imports a command only when it runs."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; Ctrl-C ends it with exit code 130, whatever it was doing."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(130)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(module, f"{name}_", None) or getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from evalkit.errors import did_you_mean

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="evalkit")
def cli() -> None:
    """Evaluate language and vision-language models on biomedical and multimodal tasks.

    \b
      evalkit run fictional_trials --model baseline:extract
      evalkit run pubmed_rag --model sglang:NAME@http://127.0.0.1:30000
      evalkit leaderboard

    Exit codes: 0 everything is scored, 1 a run is incomplete, 2 the call was wrong, 130 interrupted.
    """


def _print_traceback(*error: Any) -> None:
    """Print an unexpected error as Python does, without secrets and control characters."""
    from evalkit.util.printable import printable

    sys.stderr.write(printable("".join(traceback.format_exception(*error))))


def main() -> None:
    """Run the ``evalkit`` command; print evalkit's own errors as one message, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that the terminal lacks stops no command
    with suppress(FileNotFoundError):  # the working directory was deleted
        start_in(Path.cwd())
    sys.excepthook = _print_traceback
    as_json = "--json" in sys.argv
    if as_json:
        from evalkit.cli.output import keep_stdout_for_json

        keep_stdout_for_json()
    try:
        cli()
    except (EvalkitError, ImportError, FileNotFoundError, UnicodeEncodeError) as problem:
        from evalkit.cli.output import echo, print_json

        error = problem if isinstance(problem, EvalkitError) else _explained(problem)
        if error is None:
            raise
        echo(f"evalkit: {error}", err=True)
        if as_json:
            print_json({"runs": [], "errors": [str(error)]})
        sys.exit(2)


def _explained(problem: Exception) -> EvalkitError | None:
    """Return the error for what may happen anywhere: no package, no working directory, a name in Latin-1."""
    if isinstance(problem, UnicodeEncodeError):
        return UsageError(
            f"{problem.object!r} holds bytes that are not UTF-8: rename it, or write another name"
        )
    if isinstance(problem, FileNotFoundError):
        try:
            Path.cwd()
        except FileNotFoundError:
            return UsageError("the working directory has been deleted: change to another one, with cd")
    return not_installed(problem)
