"""Servers of our own in processes of their own, for measurements from outside."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from benchmarks.servers import serving


def simulated(port: int, **options: object) -> AbstractContextManager[str]:
    """The simulated server at ``port``, with the ``options`` of its command line; yields its address."""
    return started("benchmarks.simserver.http", port, **options)


@contextmanager
def started(module: str, port: int, **options: object) -> Iterator[str]:
    """A server that ``python -m module`` starts, once it answers; yields its address."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", module, "--port", str(port), *words]
    url = f"http://127.0.0.1:{port}"
    with serving(command, f"{url}/v1/models"):
        yield url


def asked(url: str) -> Counter[str]:
    """How often the server was asked for each reply."""
    with urllib.request.urlopen(f"{url}/figures") as page:
        return Counter(json.load(page)["asked"])
