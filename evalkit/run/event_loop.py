"""Running coroutines for a command: a fast event loop, and a garbage collector that runs less often."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

from evalkit.util.boundary import CtrlC, refusing_exit, telling_ctrl_c

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as ``asyncio.run`` does, on uvloop where it is installed; return its result.

    Meanwhile the garbage collector ignores the objects that exist already and looks for cycles less often.
    With its defaults it would traverse the thousands of suspended coroutines of the window again and again.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    try:
        with telling_ctrl_c(), refusing_exit(), asyncio.Runner(loop_factory=_new_loop) as runner:
            loop = runner.get_loop()
            main = loop.create_task(work)
            run_until_done(loop, main)
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            run_until_done(loop, asyncio.gather(*left, return_exceptions=True) if left else main)
            return main.result()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def run_until_done(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
    """Run a loop until a future is done, whatever its result.

    A ``SystemExit`` or ``KeyboardInterrupt`` in any task ends ``run_forever``, although it is the result of
    that task alone. So the loop goes on, unless the user pressed Ctrl-C.
    """
    stopped = False

    def stop(_: object) -> None:
        nonlocal stopped
        stopped = True
        loop.stop()

    future.add_done_callback(stop)
    while not stopped:
        try:
            loop.run_forever()
        except CtrlC:
            raise
        except (SystemExit, KeyboardInterrupt):
            continue


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ModuleNotFoundError:  # Windows has none
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
