"""The boundary around plug-in code (tasks, metrics, fixtures, adapters), which may raise or end anything.

Wherever evalkit calls plug-in code, it catches ``BaseException``, because ``sys.exit()``, a
``CancelledError`` or a ``KeyboardInterrupt`` of that code must not end the command. The user's Ctrl-C and a
cancellation by evalkit pass through the boundary.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from types import FrameType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class CtrlC(KeyboardInterrupt):
    """Ctrl-C of the user, inside ``telling_ctrl_c``. Any other ``KeyboardInterrupt`` was raised by code."""


@contextmanager
def telling_ctrl_c() -> Iterator[None]:
    """Make Ctrl-C raise ``CtrlC`` where it would raise ``KeyboardInterrupt``, in the main thread."""

    def pressed(number: int, frame: FrameType | None) -> None:
        raise CtrlC

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, pressed)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_refusals = 0
_here = os.getpid()
exit_now = os._exit
"""The real ``os._exit``, for evalkit itself."""
_changing = threading.Lock()


@contextmanager
def refusing_exit() -> Iterator[None]:
    """Make ``os._exit`` raise ``SystemExit`` in this process: it would end the command without a word.

    Forked children, and timers (a watchdog), still exit.
    """
    _count_refusals(1)
    try:
        yield
    finally:
        _count_refusals(-1)


def _count_refusals(more: int) -> None:
    """Replace ``os._exit`` while at least one block refuses it: blocks of several threads may overlap."""
    global _refusals
    with _changing:
        _refusals += more
        os._exit = _refuse if _refusals else exit_now  # type: ignore[assignment]


def _refuse(status: int) -> None:
    if os.getpid() != _here or isinstance(threading.current_thread(), threading.Timer):
        exit_now(status)
    raise SystemExit(f"os._exit({status})")


@contextmanager
def contained(failure: Callable[[BaseException], BaseException]) -> Iterator[None]:
    """Enclose plug-in code: whatever it raises, also ``SystemExit``, is raised as ``failure(error)``.

    Only the user's Ctrl-C and a cancellation of the present asyncio task pass unchanged.
    """
    with telling_ctrl_c(), refusing_exit():
        try:
            yield
        except BaseException as error:
            if is_request_to_stop(error) or (made := failure(error)) is error:
                raise
            raise made from error


def is_request_to_stop(error: BaseException) -> bool:
    """Return whether an exception is the user's Ctrl-C, or the cancellation of the present asyncio task."""
    if isinstance(error, asyncio.CancelledError):
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no event loop runs in this thread
            return False
        return task is not None and task.cancelling() > 0
    return isinstance(error, CtrlC)


MOST_THREADS = 64  # that run plug-in code at the same time
_places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def call_in_thread(fn: Callable[..., T], **values: Any) -> T:
    """Return ``fn(**values)``, called in a thread: the event loop stays free for Ctrl-C.

    Code that never returns keeps neither the command from ending nor the threads of evalkit itself busy.
    """
    loop, context = asyncio.get_running_loop(), copy_context()
    done: asyncio.Future[T] = loop.create_future()

    def call() -> None:
        try:
            settle = partial(done.set_result, context.run(fn, **values))
        except (StopIteration, GeneratorExit) as error:  # which asyncio cannot hand over to a coroutine
            failure = RuntimeError(reason(error))
            failure.__cause__ = error
            settle = partial(done.set_exception, failure)
        except BaseException as error:  # noqa: BLE001 - raised by the await below
            settle = partial(done.set_exception, error)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(lambda: done.done() or settle())

    async with _places.setdefault(loop, asyncio.Semaphore(MOST_THREADS)):
        threading.Thread(target=call, daemon=True).start()
        return await done


def reason(error: BaseException) -> str:
    """Return the type and the message of an exception: ``ValueError: no such row``."""
    try:
        text = str(error)
    except CtrlC:
        raise
    except BaseException:  # noqa: BLE001 - plug-in code may raise or end anything here too
        text = "its message cannot be read"
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def place(error: BaseException) -> str:
    """Return file and line where an exception was raised; empty without a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
