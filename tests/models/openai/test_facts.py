"""What servers tell of themselves, for the provenance of a run and the key of the cache."""

from __future__ import annotations

from aiohttp import web

from evalkit.models import load
from evalkit.types import Requirements


async def test_vllm_tells_its_version(script):
    entry = {"id": "tiny", "owned_by": "vllm", "root": "someone/model", "max_model_len": 2048}

    async def models(request, body):
        return web.json_response({"object": "list", "data": [entry]})

    async def version(request, body):
        return web.json_response({"version": "0.32.0"})

    script.replies |= {"/v1/models": models, "/version": version}
    backend = load(f"openai:@{script.url}")
    told = (await backend.probe(Requirements())).info.identity
    del script.replies["/version"]  # behind a router that hides it
    hidden = (await backend.probe(Requirements())).info.identity
    await backend.close()
    assert (told["version"], told["root"], told["context"]) == ("0.32.0", "someone/model", 2048)
    assert hidden == {name: value for name, value in told.items() if name != "version"}


async def test_llama_cpp_tells_its_build(llama_server):
    backend = load(f"openai:tiny@{llama_server}")
    facts = (await backend.probe(Requirements())).info
    await backend.close()
    assert facts.identity["version"].startswith("b")
    assert facts.max_running == 4
