"""A real server and a real model that reasons and calls tools: llama.cpp with tiny-think.

The checks are those of the conformance run, which asks SGLang and vLLM the same. The model is tiny, and was
taught what is asked here: what is tried is the way from a task to the chat template and back.
"""

from __future__ import annotations

from argparse import Namespace

import pytest

from benchmarks.served.__main__ import checks
from tests.servers.start import llama

CHECKS = {name: check for name, check in checks(Namespace(thinks=True)).items() if name != "probe"}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with llama(tmp_path_factory.mktemp("thinks") / "server.log", "tiny-think.gguf") as url:
        yield url


@pytest.mark.parametrize("name", CHECKS)
async def test_a_model_that_thinks_and_calls_tools(name, url, keys):
    assert await CHECKS[name](Namespace(provider="openai", model="tiny", url=url))
