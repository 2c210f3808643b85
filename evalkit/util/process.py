"""Processes by name: which one owns something on disk, and whether it still runs."""

from __future__ import annotations

import os
import socket
import time
from functools import cache

STALE_S = 30.0
"""Age of a heartbeat, in seconds, from which another process may take over the work of another machine."""


def this_process() -> str:
    """Return a name for this process: its machine, number and time of start."""
    return f"{_this_machine()}:{os.getpid()}:{_start_of(os.getpid())}"


@cache
def _this_machine() -> str:
    """Return the host's name and the namespace of process numbers, which differs in each container."""
    try:
        return f"{socket.gethostname()}/{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116
    except OSError:  # no Linux
        return socket.gethostname()


def _start_of(pid: int) -> str:
    """Return when a process began, in 1/100 s after the start of the machine.

    The time tells the process from a later one with the same number, also when the clock has been changed.
    It is empty for a process that has ended, also for one that its parent has not yet waited for.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return str(round((process.create_time() - psutil.boot_time()) * 100))
    except psutil.Error:
        return ""


def is_alive(owner: str, heartbeat: float | None) -> bool:
    """Return whether the process that owns a piece of work still works on it.

    For a process on this machine the operating system knows; the heartbeat may be late when a task blocks the
    event loop or the clock was changed. For a process elsewhere only the heartbeat is known.
    """
    host, pid, start = owner.rsplit(":", 2)
    if host == _this_machine() and start:
        return _start_of(int(pid)) == start
    return heartbeat is not None and time.time() - heartbeat <= STALE_S
