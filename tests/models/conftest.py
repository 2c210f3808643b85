"""Fixtures of the tests of models: a scripted server, keys, and a stage for each kind of server."""

from __future__ import annotations

import pytest

from tests.models.script import Script
from tests.models.stage import KEY, Stage


@pytest.fixture
async def script():
    script = Script()
    await script.server.start_server()
    yield script
    await script.server.close()


@pytest.fixture
def keys(monkeypatch):
    """A key for each vendor, and no other."""
    for name in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)


@pytest.fixture
async def stage(script, keys, dialect):
    """A stand-in for the server of the test's ``dialect``, and the adapter that asks it."""
    stage = Stage(script, dialect)
    yield stage
    await stage.backend.close()
