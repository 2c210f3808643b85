"""Servers in separate processes, for benchmarks and tests: free port, start, wait until ready, stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_S = 300.0


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving(
    command: Sequence[object],
    ready: str,
    *,
    log: Path | None = None,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Run ``command`` for the block, which begins when the URL ``ready`` answers; then stop its group.

    The output goes to the file ``log``, or to this process's output. Raises ``RuntimeError`` for a server
    that ends, or does not answer within five minutes.
    """
    output = log.open("wb") if log else None
    try:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    finally:
        if output:
            output.close()
    try:
        _wait_until_ready(process, ready, log)
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _wait_until_ready(process: subprocess.Popen[bytes], ready: str, log: Path | None) -> None:
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(ready, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    how = "did not answer in time" if process.returncode is None else f"ended with {process.returncode}"
    said = f":\n{log.read_text(errors='replace')[-3000:]}" if log else ""
    raise RuntimeError(f"the server for {ready} {how}{said}")
