"""The SGLang adapter against a stand-in that speaks as version 0.5 does.

The real server is checked by benchmarks/served; here is what it does not show at will.
"""

from __future__ import annotations

import math
import re

import pytest
from aiohttp import web

from evalkit.errors import Overloaded, ProbeError, RequestRejected, ServerFailed
from evalkit.media.pixels import plain_png
from evalkit.model import Model, read_reply
from evalkit.models import load
from evalkit.types import Image, Message, Request, Requirements, Text

VOCABULARY = ["The", " qu", "ick", " quick", " b", "r", " br", "own", " brown", "ead", " fox", "é", " "]
SERVER = {
    "version": "0.5.23",
    "dtype": "bfloat16",
    "quantization": None,
    "api_key": "sk-secret",
    "tp_size": 2,
}
SERVER |= {"launch_command": "--api-key sk-secret", "allow_auto_truncate": False}
MODEL = {"model_path": "org/model", "weight_version": "3"}


def encode(text: str) -> list[int]:
    """Longest match first, as a tokenizer whose pieces depend on what follows."""
    ids = []
    while text:
        token = max((t for t in VOCABULARY if text.startswith(t)), key=len)
        ids.append(VOCABULARY.index(token))
        text = text[len(token) :]
    return ids


class SGLang:
    """The pages of the server; its log-probability of a token is minus its number, the best is always 0."""

    def __init__(self, script) -> None:
        self.script = script
        self.server, self.model = dict(SERVER), dict(MODEL)
        self.usage: dict = {"prompt_tokens": 30, "completion_tokens": 1}
        script.replies |= {
            "/v1/tokenize": self.tokenize,
            "/v1/detokenize": self.detokenize,
            "/generate": self.generate,
            "/server_info": lambda request, body: self.page(self.server),
            "/model_info": lambda request, body: self.page(self.model),
            "/v1/chat/completions": self.chat,
        }

    async def page(self, content):
        return web.json_response(content)

    async def tokenize(self, request, body):
        return web.json_response({"tokens": [encode(text) for text in body["prompt"]]})

    async def detokenize(self, request, body):
        return web.json_response({"text": ["".join(VOCABULARY[i] for i in ids) for ids in body["tokens"]]})

    async def generate(self, request, body):
        if "input_ids" not in body:
            meta = {"finish_reason": {"type": "stop"}, "prompt_tokens": 3, "completion_tokens": 1}
            return web.json_response({"text": "<think>B?</think>\ndone", "meta_info": meta})
        rows = [[-float(i), i, None] for i in body["input_ids"][body["logprob_start_len"] :]]
        tops = [[[0.0, 3, None]] for _ in rows]
        rows[0][0] = tops[0] = None
        meta = {"prompt_tokens": len(body["input_ids"]), "finish_reason": {"type": "length"}}
        return web.json_response(
            {"text": "", "meta_info": meta | {"input_token_logprobs": rows, "input_top_logprobs": tops}}
        )

    async def chat(self, request, body):
        images = str(body["messages"]).count("'image_url':")
        usage = self.usage if images else {"prompt_tokens": 20, "completion_tokens": 1}
        if images > 1 and usage["prompt_tokens"] > 20:  # what a further picture costs
            usage = usage | {"prompt_tokens": usage["prompt_tokens"] + 4 * (images - 1)}
        choice = {"message": {"content": "red"}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": usage})


@pytest.fixture
def sglang(script):
    return SGLang(script)


@pytest.fixture
async def backend(sglang):
    backend = load(f"sglang:tiny@{sglang.script.url}")
    yield backend
    await backend.close()


@pytest.mark.parametrize(
    ("context", "continuation", "tokens"),
    [
        ("The quick", " brown fox", [" brown", " fox"]),
        ("The quick ", "brown", [" brown"]),  # the space belongs to the continuation's first token
        ("The quick br", "own", [" brown"]),
        ("The qu", "ick fox", [" quick", " fox"]),
        ("The quick b", "read", [" br", "ead"]),
    ],
)
async def test_the_continuation_is_scored_by_the_recipe(sglang, backend, context, continuation, tokens):
    response = await backend.send(Request(prompt=context, continuation=continuation))
    assert response.logprobs == tuple(-float(VOCABULARY.index(token)) for token in tokens)
    assert response.is_greedy is False
    sent = next(body for path, body in sglang.script.seen if path == "/generate")
    whole = encode(context + continuation)
    assert sent["input_ids"] == whole
    assert sent["logprob_start_len"] == len(whole) - len(tokens) - 1  # one earlier: that row holds no value
    assert sent["sampling_params"]["max_new_tokens"] == 0


async def test_greedy(backend):
    assert (await backend.send(Request(prompt="The", continuation=" quick"))).is_greedy is True


async def test_the_first_token_of_a_text_has_no_log_probability(backend):
    with pytest.raises(RequestRejected, match="no log-probability"):
        await backend.send(Request(prompt="", continuation="The"))


async def test_facts_hold_what_changes_replies_and_no_key(sglang, backend):
    facts = (await backend.probe(Requirements())).info
    wanted = {"root": "org/model", "weight_version": "3", "dtype": "bfloat16", "version": "0.5.23"}
    assert wanted.items() <= facts.identity.items()
    assert facts.server == {"tp_size": 2}
    assert "secret" not in str(facts)


async def test_older_servers_call_their_pages_otherwise(sglang, backend):
    for name in ("server_info", "model_info"):
        sglang.script.replies[f"/get_{name}"] = sglang.script.replies.pop(f"/{name}")
    assert (await backend.probe(Requirements())).info.identity["weight_version"] == "3"


async def test_a_server_that_cuts_prompts_is_refused(sglang, backend):
    sglang.server["allow_auto_truncate"] = True
    with pytest.raises(ProbeError, match="allow-auto-truncate"):
        await backend.probe(Requirements())


async def test_an_image_that_is_dropped_later(sglang, backend):
    picture = Request(messages=(Message("user", (Image.of(plain_png(64, 64, (220, 30, 30))), Text("?"))),))
    sglang.usage["prompt_tokens_details"] = {"image_tokens": 4}
    await backend.probe(Requirements(images=True))
    assert (await backend.send(picture)).usage.image_tokens == 4
    del sglang.usage["prompt_tokens_details"]
    sglang.usage["prompt_tokens"] = 20
    with pytest.raises(RequestRejected, match=r"dropped the image: .* 20 prompt tokens, and 20 without it"):
        await backend.send(picture)
    with pytest.raises(ProbeError, match="drops images silently"):
        await backend.probe(Requirements(images=True))


async def test_plain_prompts_are_native_and_complete(sglang, backend):
    request = Request(
        prompt="The", json_schema={"type": "object"}, stop=("\n",), seed=3, extra={"ignore_eos": True}
    )
    response = read_reply(request, await backend.send(request))
    assert (response.text, response.reasoning) == ("done", "B?")
    _, sent = sglang.script.seen[-1]
    assert sent["text"] == "The"
    sampling = sent["sampling_params"]
    assert sampling["json_schema"] == '{"type":"object"}'
    assert {"top_k": -1, "min_p": 0.0, "sampling_seed": 3, "ignore_eos": True}.items() <= sampling.items()


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, RequestRejected), (503, Overloaded), (500, ServerFailed), (None, ServerFailed)],
)
async def test_an_aborted_request_is_no_answer(sglang, backend, status, error):
    async def aborted(request, body):
        reason = {"type": "abort", "message": "gone", "status_code": status}
        return web.json_response({"text": "half an ans", "meta_info": {"finish_reason": reason}})

    sglang.script.replies["/generate"] = aborted
    with pytest.raises(error, match="gone"):
        await backend.send(Request(prompt="The"))


async def test_one_token_options_of_a_question_are_one_call_of_score(sglang):
    asked = []

    async def score(request, body):
        asked.append(body)
        return web.json_response({"scores": [[math.exp(-i) for i in body["label_token_ids"]]]})

    sglang.script.replies["/v1/score"] = score
    backend = load(f"sglang:tiny@{sglang.script.url}?logprobs=score")
    try:
        model = Model(backend)
        found = await model.loglikelihood("The quick", [" brown", " fox", " br", " brown fox"])
        again = await model.loglikelihood("The", [" quick"])
    finally:
        await backend.close()
    assert [r.logprob for r in found] == pytest.approx([-8.0, -10.0, -6.0, -18.0])
    assert [r.logprob for r in again] == pytest.approx([-3.0])
    assert len(asked) == 2, "all labels of the first context in one call, the longer option natively"
    assert (asked[0]["query"], asked[0]["items"]) == ([0], [[3]])
    assert sorted(asked[0]["label_token_ids"]) == [6, 8, 10]
    assert asked[0]["apply_softmax"] is False


async def test_a_score_that_lacks_a_label_is_a_failure(sglang):
    async def score(request, body):
        return web.json_response({"scores": [[0.5]]})

    sglang.script.replies["/v1/score"] = score
    backend = load(f"sglang:tiny@{sglang.script.url}?logprobs=score")
    try:
        with pytest.raises(ServerFailed, match="without a score for each label"):
            await Model(backend).loglikelihood("The quick", [" brown", " fox"])
    finally:
        await backend.close()


@pytest.mark.parametrize("scores", [[0.0, 0.0], [0.5, -0.1], [float("nan"), 0.5], [1.5, 0.1], ["a", 0.5]])
async def test_scores_that_are_no_probabilities_are_refused(sglang, scores):
    async def score(request, body):
        return web.json_response({"scores": [scores]})

    sglang.script.replies["/v1/score"] = score
    backend = load(f"sglang:tiny@{sglang.script.url}?logprobs=score")
    try:
        with pytest.raises(RequestRejected, match="no probabilities"):
            await Model(backend).loglikelihood("The quick", [" brown", " fox"])
    finally:
        await backend.close()


@pytest.mark.parametrize(("value", "said"), [(None, "no value (null)"), (0.5, "0.5"), (float("nan"), "NaN")])
async def test_a_value_that_is_no_log_probability_is_named(sglang, backend, value, said):
    async def generate(request, body):
        ids = body["input_ids"][body["logprob_start_len"] :]
        rows = [[None, ids[0], None], *([value, i, VOCABULARY[i]] for i in ids[1:])]
        meta = {
            "input_token_logprobs": rows,
            "input_top_logprobs": [None, *([[0.0, 3, None]] for _ in ids[1:])],
        }
        return web.json_response({"text": "", "meta_info": meta})

    sglang.script.replies["/generate"] = generate
    with pytest.raises(RequestRejected, match=rf"{re.escape(said)}.*for the token ' quick'"):
        await backend.send(Request(prompt="The", continuation=" quick"))


async def test_a_text_with_the_token_that_begins_texts_is_read_without_a_second_one(sglang, backend):
    await Model(backend).loglikelihood("The", [" quick"], add_special_tokens=False)
    await Model(backend).loglikelihood("The", [" quick"])
    sent = [body for path, body in sglang.script.seen if path == "/v1/tokenize"]
    assert [body["add_special_tokens"] for body in sent] == [False, True]
