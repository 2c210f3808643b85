"""Servers of our own in processes of their own, for measurements from outside."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    """A port of the loopback interface that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def simulated(port: int, **options: object) -> AbstractContextManager[str]:
    """The simulated server at ``port``, with the ``options`` of its command line; yields its address."""
    return started("benchmarks.simserver.http", port, **options)


@contextmanager
def started(module: str, port: int, **options: object) -> Iterator[str]:
    """A server that ``python -m module`` starts, once it answers; yields its address."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", module, "--port", str(port), *words]
    process = subprocess.Popen(command, cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        while not _answers(url):
            if process.poll() is not None:
                raise RuntimeError(f"{module} ended with exit code {process.returncode}")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/v1/models").close()
    except urllib.error.URLError:
        return False
    return True


def asked(url: str) -> Counter[str]:
    """How often the server was asked for each reply."""
    with urllib.request.urlopen(f"{url}/figures") as page:
        return Counter(json.load(page)["asked"])
