"""The benchmark servers in separate processes, for measurements from outside."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from benchmarks.servers import serving


def simulated(port: int, **options: object) -> AbstractContextManager[str]:
    """Start the simulated server at ``port`` with command-line ``options``; yield its address."""
    return started("benchmarks.simserver.http", port, **options)


@contextmanager
def started(module: str, port: int, **options: object) -> Iterator[str]:
    """Start a server by ``python -m module`` and wait until it answers; yield its address."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", module, "--port", str(port), *words]
    url = f"http://127.0.0.1:{port}"
    with serving(command, f"{url}/v1/models"):
        yield url


def asked(url: str) -> Counter[str]:
    """Return the number of requests for each reply."""
    with urllib.request.urlopen(f"{url}/figures") as page:
        return Counter(json.load(page)["asked"])
