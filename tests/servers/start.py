"""Start a real model server for tests, and stop it again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.servers import free_port, serving

HERE = Path(__file__).parent


@contextmanager
def llama(log: Path, model: str, mmproj: str | None = None) -> Iterator[str]:
    """llama.cpp's server for a model of ``models/``, served as ``tiny``; yields ``http://127.0.0.1:PORT``."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    projector = [HERE / "models" / mmproj] if mmproj else []
    command = [sys.executable, HERE / "llama_server.py", HERE / "models" / model, port, *projector]
    with serving(command, f"{url}/health", log=log):
        yield url
