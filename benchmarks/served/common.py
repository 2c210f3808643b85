"""Helpers of all checks of a served model."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from evalkit.errors import ProbeError
from evalkit.model import Model
from evalkit.models import load, wrap
from evalkit.types import Requirements

Check = Callable[[argparse.Namespace], Awaitable[str]]


@asynccontextmanager
async def connect(
    args: argparse.Namespace, params: str = "", provider: str = "", needs: Requirements | None = None
) -> AsyncIterator[Model]:
    """Connect and probe the served model. ``provider`` replaces the provider of the command line."""
    backend: Any = load(f"{provider or args.provider}:{args.model}@{args.url}{params}")
    try:
        probed = await backend.probe(needs or Requirements())
        yield Model(wrap(backend, identity=probed.info.identity), adapter=backend, probed=probed)
    finally:
        await backend.close()


async def refused(args: argparse.Namespace, needs: Requirements) -> str:
    """Return why the probe refuses the served model. Raises ``AssertionError`` where it does not."""
    try:
        async with connect(args, needs=needs):
            pass
    except ProbeError as problem:
        return str(problem)
    raise AssertionError(f"{args.model} was accepted for a task that needs {needs}")


def expect(found: Any, wanted: Any) -> None:
    """Raise ``AssertionError`` where the two values differ."""
    if found != wanted:
        raise AssertionError(f"{found!r} instead of {wanted!r}")
