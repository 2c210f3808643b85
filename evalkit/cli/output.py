"""The output of commands: texts, or one JSON document. Logs and progress go to stderr."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from evalkit.requests import encoded
from evalkit.types import Estimate
from evalkit.util.masking import mask_bytes
from evalkit.util.printable import printable, printable_json


def command() -> str:
    """Return how to call evalkit again: ``evalkit``, or its path where it is not on the search path."""
    beside = Path(sys.executable).parent / "evalkit"
    if shutil.which("evalkit"):
        return "evalkit"
    try:
        return os.path.relpath(beside)
    except FileNotFoundError:  # the working directory was deleted
        return str(beside)


def in_store() -> str:
    """Return the option that names the store of this call; empty where the call named none."""
    context = click.get_current_context(silent=True)
    named = context.params.get("store_url") if context else None
    return f" --store {shlex.quote(named)}" if named else ""


def echo(text: object = "", *, err: bool = False, bold: bool = False, nl: bool = True) -> None:
    """Print text on stdout or stderr: all that a command prints, except tables, goes through here."""
    click.secho(printable(str(text)), err=err, bold=bold or None, nl=nl)


_out = 1


def keep_stdout_for_json() -> None:
    """Send all later prints to stderr, also those of task files and workers; only JSON goes to stdout."""
    global _out
    _out = os.dup(1)
    os.dup2(2, 1)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    plain = msgspec.to_builtins(document, enc_hook=str, str_keys=True)
    raw = msgspec.json.format(mask_bytes(encoded(plain)), indent=2)
    with open(_out, "wb", closefd=False) as stdout:
        stdout.write(printable_json(raw) + b"\n")


def cell(estimate: Estimate | None) -> str:
    """Return ``0.312 [0.290, 0.334]``; for an incomplete run the bounds, with a question mark.

    An infinite interval is ``[undetermined]``: the values of an unbounded metric are all equal, or only one.
    """
    if estimate is None:
        return "–"
    digits = 3 if abs(estimate.value) < 10 else 1
    low, high = estimate.bounds or estimate.ci
    mark = "?" if estimate.bounds else ""
    known = math.isfinite(low) or math.isfinite(high)
    interval = f"{low:.{digits}f}, {high:.{digits}f}" if known else "undetermined"
    return f"{estimate.value:.{digits}f}{mark} [{interval}]"


def counted(n: int, noun: str) -> str:
    """Return a count with its noun: ``1 document``, ``1,024 documents``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
