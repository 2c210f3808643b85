"""Start a real model server for tests, and stop it again."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
READY_S = 60.0


def free_port() -> int:
    """A port of the loopback interface that nothing uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def llama(log: Path, model: str, mmproj: str | None = None) -> Iterator[str]:
    """llama.cpp's server for a model of ``models/``, served as ``tiny``; yields ``http://127.0.0.1:PORT``."""
    port = free_port()
    files = [str(HERE / "models" / model), str(port)]
    if mmproj:
        files.append(str(HERE / "models" / mmproj))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "llama_server.py"), *files], stdout=output, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"the model server at {url} did not start:\n{log.read_text(errors='replace')[-2000:]}")
