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


async def identity(script, entry: dict, **pages) -> dict:
    async def models(request, body):
        return web.json_response({"object": "list", "data": [entry]})

    def page(content):
        async def answer(request, body):
            return web.json_response(content)

        return answer

    script.replies |= {"/v1/models": models, **{path: page(content) for path, content in pages.items()}}
    backend = load(f"openai:@{script.url}")
    try:
        return (await backend.probe(Requirements())).info.identity
    finally:
        await backend.close()


async def test_sglang_tells_its_weights_to_the_general_adapter_too(script):
    entry = {"id": "tiny", "owned_by": "sglang", "root": "tiny"}
    page = {"model_path": "/models/tiny", "weight_version": "step-200"}
    told = await identity(script, entry, **{"/get_model_info": page})
    assert (told["weight_version"], told["root"]) == ("step-200", "tiny")


async def test_ollama_tells_the_digest_of_a_model(script):
    entry = {"id": "tiny:latest", "owned_by": "library"}
    tags = {"models": [{"name": "other", "digest": "0"}, {"name": "tiny:latest", "digest": "abc"}]}
    assert (await identity(script, entry, **{"/api/tags": tags}))["digest"] == "abc"


async def test_a_page_of_another_form_tells_nothing(script):
    for pages in ({"/api/tags": {"models": 3}}, {"/api/tags": []}, {"/api/tags": {"models": [None]}}):
        told = await identity(script, {"id": "tiny", "owned_by": "library", "digest": ["no text"]}, **pages)
        assert "digest" not in told


async def test_llama_cpp_tells_its_file_and_its_template(llama_server):
    backend = load(f"openai:tiny@{llama_server}")
    told = (await backend.probe(Requirements())).info.identity
    await backend.close()
    assert told["root"].endswith("tiny-text.gguf")
    assert len(told["files"]) == len(told["chat_template"]) == 16
