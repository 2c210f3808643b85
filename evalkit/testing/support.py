"""What the checks of the test kit share: running coroutines, collecting what is wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Return a coroutine's result, run in a thread: the event loop of an async test is already running."""
    result: list[T] = []
    problem: list[BaseException] = []

    def run() -> None:
        try:
            result.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            problem.append(error)

    thread = threading.Thread(target=run, name="evalkit-testing")
    thread.start()
    thread.join()
    if problem:
        raise problem[0]
    return result[0]


def expect(holds: bool, otherwise: str, wrong: list[str]) -> None:
    """Add ``otherwise`` to what is ``wrong``, unless the condition holds."""
    if not holds:
        wrong.append(f"  {otherwise}")
