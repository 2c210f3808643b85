"""An HTTP server in a thread with its own event loop, for tests whose client blocks or is a process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from aiohttp import web


@contextmanager
def in_thread(routes: Sequence[web.RouteDef]) -> Iterator[str]:
    """Serve ``routes`` on a free port of the loopback interface; yields ``http://127.0.0.1:PORT``."""
    loop, ready, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    app = web.Application(client_max_size=2**28)
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def run() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.set()
        await ended.wait()
        await runner.cleanup()

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(run())
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(60)
        assert not thread.is_alive()
