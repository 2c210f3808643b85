"""Running coroutines for a command: on the loop that costs least, the garbage collector mostly at rest."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, on uvloop where it is installed.

    Meanwhile the collector leaves what is loaded already alone, and looks for cycles less often: with its
    defaults it would walk the window's thousands of suspended coroutines all the time.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            return runner.run(work)
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ModuleNotFoundError:  # Windows has none
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
