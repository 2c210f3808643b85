"""Plug-in code in threads: code that never returns keeps nothing else from going on, or from ending."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

from evalkit.util.boundary import MOST_THREADS, call_in_thread

_NEVER_RETURNS = """
import asyncio, threading
from evalkit.util.boundary import call_in_thread

async def main():
    began = threading.Event()
    call = asyncio.create_task(call_in_thread(lambda: (began.set(), threading.Event().wait())))
    while not began.is_set():
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

asyncio.run(main())
"""


def test_code_that_never_returns_does_not_keep_the_command_from_ending() -> None:
    ended = subprocess.run([sys.executable, "-c", _NEVER_RETURNS], timeout=60, check=False)
    assert ended.returncode == 0


async def test_code_that_waits_leaves_the_threads_of_evalkit_itself_free() -> None:
    go_on = threading.Event()
    waiting = [asyncio.create_task(call_in_thread(go_on.wait)) for _ in range(2 * MOST_THREADS)]
    assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), 60) == 7
    assert not any(call.done() for call in waiting)
    go_on.set()
    assert await asyncio.gather(*waiting) == [True] * len(waiting)
