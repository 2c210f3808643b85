"""The vendors' own libraries speak to the test server as evalkit does: the same calls, the same bodies.

So the server is one that the official libraries accept, and evalkit's calls are theirs.
"""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from evalkit.models.providers import load
from evalkit.types import Message, Request

KEYS = ["a" * 64, "b" * 64]
REQUESTS = [Request(messages=(Message("user", f"question {i}"),), max_tokens=16) for i in range(2)]


@pytest.fixture
def service(server, vendor):
    server.looks = 0
    version = "v1beta" if vendor == "gemini" else "v1"
    found = load(f"{vendor}:tiny@{server.url}/{version}?batch=true").batches()
    assert found is not None
    return found


async def ours(service, lines: list[bytes]) -> dict[str, Any]:
    """Submit, look, read the results and cancel, by evalkit."""
    job = await service.submit("evalkit-test", lines)
    state = await service.state(job)
    results = {result.key: result.body async for result in service.results(job)}
    await service.cancel(job)
    texts = {key: service.read(results[key], r).text for key, r in zip(KEYS, REQUESTS, strict=True)}
    return {"word": state.word, "texts": texts}


def openai_sdk(url: str, lines: list[bytes]) -> dict[str, Any]:
    from openai import OpenAI

    client = OpenAI(base_url=f"{url}/v1", api_key="k")
    file = client.files.create(file=("evalkit-test.jsonl", io.BytesIO(b"\n".join(lines))), purpose="batch")
    job = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"evalkit": "evalkit-test"},
    )
    job = client.batches.retrieve(job.id)
    rows = map(json.loads, client.files.content(job.output_file_id).text.splitlines())
    texts = {row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"] for row in rows}
    assert next(one.id for one in client.batches.list(limit=100)) == job.id
    client.batches.cancel(job.id)
    return {"word": job.status, "texts": texts}


def anthropic_sdk(url: str, lines: list[bytes]) -> dict[str, Any]:
    from anthropic import Anthropic

    client = Anthropic(base_url=url, api_key="k")
    job = client.messages.batches.create(requests=[json.loads(line) for line in lines])
    job = client.messages.batches.retrieve(job.id)
    texts = {
        row.custom_id: row.result.message.content[0].text for row in client.messages.batches.results(job.id)
    }
    assert next(one.id for one in client.messages.batches.list(limit=100)) == job.id
    client.messages.batches.cancel(job.id)
    return {"word": job.processing_status, "texts": texts}


def gemini_sdk(url: str, lines: list[bytes]) -> dict[str, Any]:
    from google import genai

    client = genai.Client(api_key="k", http_options={"base_url": url, "api_version": "v1beta"})
    file = client.files.upload(file=io.BytesIO(b"\n".join(lines)), config={"mime_type": "application/jsonl"})
    job = client.batches.create(model="tiny", src=file.name, config={"display_name": "evalkit-test"})
    job = client.batches.get(name=job.name)
    rows = map(json.loads, client.files.download(file=job.dest.file_name).splitlines())
    texts = {row["key"]: row["response"]["candidates"][0]["content"]["parts"][0]["text"] for row in rows}
    assert next(iter(client.batches.list())).name == job.name
    client.batches.cancel(name=job.name)
    # The library gives the states its own prefix.
    return {"word": job.state.name.replace("JOB_", "BATCH_", 1), "texts": texts}


SDKS = {"openai": openai_sdk, "anthropic": anthropic_sdk, "gemini": gemini_sdk}


async def test_evalkit_calls_what_the_official_library_calls(server, service, vendor) -> None:
    server.outcome = lambda question, times: ("ok", f"answer to {question}")
    lines = [service.line(key, request) for key, request in zip(KEYS, REQUESTS, strict=True)]
    from_us = await ours(service, lines)
    calls, uploads = list(server.seen), dict(server.files)
    server.seen.clear()
    server.files.clear()
    server.jobs.clear()

    from_sdk = await asyncio.to_thread(SDKS[vendor], server.url, lines)
    assert from_us == from_sdk
    assert calls == server.seen
    assert uploads == server.files
    assert from_us["texts"] == dict(zip(KEYS, ["answer to question 0", "answer to question 1"], strict=True))
    await service.backend.close()
