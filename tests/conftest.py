"""Fixtures for all tests: real model servers on the loopback interface, started once a session."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.store.records import SampleRecord
from evalkit.util import paths
from tests.servers.scripted import Scripted, serve
from tests.servers.start import llama

# A shell's background job ignores Ctrl-C, and so would every command that a test starts from there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests read plain text, also those of a user who wants colours everywhere.
for _name in ("FORCE_COLOR", "PY_COLORS"):
    os.environ.pop(_name, None)


@pytest.fixture(scope="session")
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama.cpp's server with a tiny chat model called ``tiny``, 8k context: ``http://127.0.0.1:PORT``."""
    log = tmp_path_factory.mktemp("llama") / "server.log"
    with llama(log, "tiny-text.gguf") as url:
        yield url


@pytest.fixture(scope="session")
def llava_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama.cpp's server with a tiny model that names the colour of an image, called ``tiny``."""
    log = tmp_path_factory.mktemp("llava") / "server.log"
    with llama(log, "tiny-llava.gguf", "tiny-llava-mmproj.gguf") as url:
        yield url


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """An OpenAI-compatible server that counts, waits and fails as the test tells it to."""
    with serve() as server:
        yield server


class Command:
    """The ``evalkit`` command in a folder of its own, as a user runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "EVALKIT_CACHE": str(folder / "cache"), "COLUMNS": "200"}
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment.pop("EVALKIT_STORE", None)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command without waiting for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "evalkit", *arguments],
            cwd=self.folder,
            env=self.environment,
            encoding="utf-8",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the command; fail the test where its exit code is not ``code``."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        assert code is None or process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def json(self, *arguments: str, code: int | None = 0) -> dict[str, Any]:
        """Run the command with ``--json``: stdout must be one JSON document and nothing else."""
        document: dict[str, Any] = json.loads(self(*arguments, "--json", code=code).stdout)
        return document


@pytest.fixture(autouse=True)
def _no_start_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the folder of a command that an earlier test ran in this process."""
    monkeypatch.setattr(paths, "_start", None)


@pytest.fixture
def evalkit(tmp_path: Path) -> Command:
    """Run ``evalkit`` in a temporary folder."""
    return Command(tmp_path)


@pytest.fixture(scope="session")
def data() -> Path:
    """The real evaluation data, which is no part of the project: named by EVALKIT_DATA."""
    folder = os.environ.get("EVALKIT_DATA")
    if not folder:
        pytest.skip("EVALKIT_DATA is not set: it names the folder of real evaluation data")
    return Path(folder)


@pytest.fixture
async def talked() -> SampleRecord:
    """A sample that the model answered after two calls of tools, one of them of an unknown tool."""
    from evalkit import Sample, Status, ToolCall, converse, tool
    from evalkit.requests import describe
    from evalkit.testing import scripted
    from evalkit.types import Response, Usage

    @tool
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    calls = (ToolCall.of("add", a=1, b=1), ToolCall.of("nothing"))
    first = Response(text="", tool_calls=calls, reasoning="I need a sum.", usage=Usage(prompt_tokens=9))
    model = scripted(first, "It is 2.")
    answer = (await converse(model, "1+1?", tools=[add])).answer()
    requests = tuple(describe(call.request) for call in model.calls)
    return SampleRecord(
        sequence=0, sample=Sample("1", "1+1?", "2"), status=Status.OK, answer=answer, requests=requests
    )
