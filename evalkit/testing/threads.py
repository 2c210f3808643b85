"""Coroutines for tests, be these plain or async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Return a coroutine's result, from plain tests and from async ones, whose loop is running already."""
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
