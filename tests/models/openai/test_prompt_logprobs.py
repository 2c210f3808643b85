"""Log-probabilities of a continuation out of an echoed prompt: where it begins, and what is refused."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from evalkit.errors import ProbeError, RequestRejected, ServerFailed, UsageError
from evalkit.model import Model
from evalkit.models import load
from evalkit.types import Request, Requirements

PROBE = ["The", " brown", " dog", " of", " seven", "?", " Lazy", " 41", " over", " fox."]


def echoing(tokens, logprobs, best):
    """A completion server that knows one text; it writes its most probable token everywhere."""

    async def handler(request, body):
        shown, values, tops = list(tokens), list(logprobs), [None if b is None else {"best": b} for b in best]
        if not body.get("echo"):
            place = next(i for i in range(len(tokens)) if "".join(tokens[:i]) == body["prompt"])
            shown, values, tops = ["best"], [-0.5 - place], [{"best": -0.5 - place}]
        data = {
            "tokens": shown,
            "token_logprobs": values,
            "top_logprobs": tops,
            "text_offset": [-1] * len(shown),
        }
        if body.get("echo"):  # the one token that had to be generated
            for column, value in zip(
                ("tokens", "token_logprobs", "top_logprobs"), ("!", -9.0, {"!": -9.0}), strict=True
            ):
                data[column] = [*data[column], value]
        return web.json_response(
            {"choices": [{"text": "", "logprobs": data}], "usage": {"prompt_tokens": len(tokens)}}
        )

    return handler


async def score(script, context, continuation):
    backend = load(f"openai:tiny@{script.url}")
    try:
        return await backend.send(Request(prompt=context, continuation=continuation))
    finally:
        await backend.close()


@pytest.mark.parametrize(
    ("tokens", "context", "continuation", "expected"),
    [
        (["a", " b", " c"], "a", " b c", (-2.0, -3.0)),
        (["a", " b", " c"], "a b", " c", (-3.0,)),
        (["a", " b", " c"], "a b ", "c", (-3.0,)),  # the token " c" spans the border: it is continuation
        (["a", " b", " c"], "a ", "b c", (-2.0, -3.0)),
        (["<s>", "a", " b"], "a", " b", (-3.0,)),  # a special token that is no part of the text
        (["\ufffd", "\ufffd", " b"], "é", " b", (-3.0,)),  # half characters in the context
        (["a", "", "µ"], "a", "µ", (-2.0, -3.0)),  # vLLM: a character's first piece is written as nothing
        (["a", "", "b"], "a", "b", (-3.0,)),  # nothing before a plain letter is no piece of it
        (["caf", "é", " x"], "cafe", "\u0301 x", (-2.0, -3.0)),  # an accent that the tokenizer joins to its e
    ],
)
async def test_the_border(script, tokens, context, continuation, expected):
    script.replies["/v1/completions"] = echoing(tokens, [None, -2.0, -3.0], [None, -2.0, -1.0])
    response = await score(script, context, continuation)
    assert response.logprobs == expected
    assert response.logprob == sum(expected)
    assert response.is_greedy is False
    assert response.text == ""


async def test_greedy(script):
    script.replies["/v1/completions"] = echoing(["a", " b", " c"], [None, -2.0, -3.0], [None, -1.0, -3.0])
    assert (await score(script, "a b", " c")).is_greedy is True
    assert (await score(script, "a", " b c")).is_greedy is False


async def test_what_has_no_log_probability(script):
    script.replies["/v1/completions"] = echoing(["ab"], [None], [None])
    with pytest.raises(RequestRejected, match="first token"):
        await score(script, "a", "b")
    with pytest.raises(RequestRejected, match="put at least one token before"):
        await score(script, "", "ab")
    with pytest.raises(RequestRejected, match="empty continuation"):
        await score(script, "a", "")
    script.replies["/v1/completions"] = echoing(["a", "\ufffd", "\ufffd"], [None, -1.0, -1.0], [None] * 3)
    with pytest.raises(RequestRejected, match="do not spell"):
        await score(script, "a", "é")


async def probe(script):
    backend = load(f"openai:tiny@{script.url}")
    try:
        await backend.probe(Requirements(logprobs=True))
    finally:
        await backend.close()


async def test_the_probe_takes_right_ones_and_refuses_shifted_ones(script):
    own = [None, *(-1.0 - i for i in range(1, 10))]
    best = [None, *(-0.5 - i for i in range(1, 10))]
    script.replies["/v1/completions"] = echoing(PROBE, own, best)
    await probe(script)
    script.replies["/v1/completions"] = echoing(PROBE, own, [*best[1:], -9.9])
    with pytest.raises(ProbeError, match="shifted"):
        await probe(script)
    script.replies["/v1/completions"] = echoing(PROBE, [*own[2:], None, None], best)
    with pytest.raises(ProbeError):
        await probe(script)


def vllm(tokens, own, best):
    """vLLM's ``prompt_logprobs``: the prompt's token with its rank, and the likeliest one beside it."""
    plain = echoing(tokens, own, best)

    async def handler(request, body):
        if "prompt_logprobs" not in body:
            return await plain(request, body)
        assert "echo" not in body
        rows = [None]
        for place, (token, value, top) in enumerate(zip(tokens, own, best, strict=True)):
            if place == 0:
                continue
            entry = {"logprob": value, "rank": 1 if value == top else 7, "decoded_token": token}
            row = {str(100 + place): entry}
            if value != top:
                row["5"] = {"logprob": top, "rank": 1, "decoded_token": " best"}
            rows.append(row)
        choice = {"text": "!", "finish_reason": "length", "prompt_logprobs": rows}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": len(tokens)}})

    return handler


async def with_prompt_logprobs(script, request=None):
    backend = load(f"openai:tiny@{script.url}?logprobs=prompt_logprobs")
    try:
        return await (backend.send(request) if request else backend.probe(Requirements(logprobs=True)))
    finally:
        await backend.close()


@pytest.mark.parametrize(
    ("tokens", "context", "continuation", "expected", "greedy"),
    [
        (["a", " b", " c"], "a", " b c", (-2.0, -3.0), False),
        (["a", " b", " c"], "a b", " c", (-3.0,), True),
        (["<s>", "a", " b"], "", "a b", (-2.0, -3.0), False),  # a BOS token makes an empty context possible
    ],
)
async def test_vllms_prompt_logprobs(script, tokens, context, continuation, expected, greedy):
    script.replies["/v1/completions"] = vllm(tokens, [None, -2.0, -3.0], [None, -1.0, -3.0])
    response = await with_prompt_logprobs(script, Request(prompt=context, continuation=continuation))
    assert (response.logprobs, response.is_greedy) == (expected, greedy)


async def test_vllm_without_a_token_before_the_continuation(script):
    script.replies["/v1/completions"] = vllm(["a", " b"], [None, -2.0], [None, -1.0])
    with pytest.raises(RequestRejected, match="put at least one token before"):
        await with_prompt_logprobs(script, Request(prompt="", continuation="a b"))

    async def plain(request, body):
        return web.json_response({"choices": [{"text": "!"}], "usage": {"prompt_tokens": 2}})

    script.replies["/v1/completions"] = plain
    with pytest.raises(RequestRejected, match="gives no prompt_logprobs"):
        await with_prompt_logprobs(script, Request(prompt="a", continuation=" b"))


async def test_the_probe_of_prompt_logprobs(script):
    own = [None, *(-1.0 - i for i in range(1, 10))]
    best = [None, *(-0.5 - i for i in range(1, 10))]
    script.replies["/v1/completions"] = vllm(PROBE, own, best)
    await with_prompt_logprobs(script)
    for shifted in (
        vllm(PROBE, [*own[1:], -9.9], [*best[1:], -9.4]),  # one place to the left, as llama-cpp-python's
        vllm(PROBE, [None, -3.0, *own[1:-1]], [None, -2.5, *best[1:-1]]),  # one to the right
    ):

        async def handler(request, body, shifted=shifted):
            if "prompt_logprobs" in body:
                return await shifted(request, body)
            return await vllm(PROBE, own, best)(request, body)

        script.replies["/v1/completions"] = handler
        with pytest.raises(ProbeError, match="shifted"):
            await with_prompt_logprobs(script)


@pytest.mark.parametrize("places", [1, -1])  # to the left, to the right
async def test_an_echo_that_is_shifted_as_a_whole_is_refused(script, places):
    """As llama-cpp-python's: own and best values move together, so that each looks right beside the other."""
    own = [None, *(-1.0 - i for i in range(1, 10))]
    best = [None, *(-0.5 - i for i in range(1, 10))]
    right = echoing(PROBE, own, best)
    if places == 1:
        moved = echoing(PROBE, [*own[1:], -9.9], [*best[1:], -9.4])
    else:
        moved = echoing(PROBE, [None, -3.0, *own[1:-1]], [None, -2.5, *best[1:-1]])

    async def handler(request, body):
        return await (moved if body.get("echo") else right)(request, body)

    script.replies["/v1/completions"] = handler
    with pytest.raises(ProbeError, match="shifted"):
        await probe(script)


@pytest.mark.parametrize(("provider", "way"), [("openai", "score"), ("sglang", "prompt_logprobs")])
def test_a_way_that_a_provider_has_not(provider, way):
    with pytest.raises(UsageError, match=f"{provider} has no logprobs={way}; it has"):
        load(f"{provider}:tiny@http://127.0.0.1:1?logprobs={way}")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "no value (null)"),
        (float("nan"), "NaN (Python's JSON)"),
        (float("-inf"), "-Infinity (Python's JSON)"),
        (0.3, "0.3"),
        ("-1", '"-1"'),
        (True, "true"),
    ],
)
@pytest.mark.parametrize("way", ["echo", "prompt_logprobs"])
async def test_a_value_that_is_no_log_probability_is_named(script, value, said, way):
    server = echoing if way == "echo" else vllm
    script.replies["/v1/completions"] = server(["a", " b", " c"], [None, -1.0, value], [None, -1.0, -1.0])
    backend = load(f"openai:tiny@{script.url}?logprobs={way}")
    with pytest.raises(RequestRejected) as caught:
        await backend.send(Request(prompt="a", continuation=" b c"))
    await backend.close()
    assert f"the server gave {said} for the token ' c'" in str(caught.value)
    assert len(script.seen) == 1


async def test_the_best_value_may_be_missing_and_rounding_is_no_fault(script):
    script.replies["/v1/completions"] = echoing(["a", " b"], [None, 1e-7], [None, float("nan")])
    response = await score(script, "a", " b")
    assert (response.logprobs, response.is_greedy) == ((0.0,), None)


@pytest.mark.parametrize("count", [-3, 10**23, None, "x"])
async def test_a_usage_that_is_none_does_not_cost_the_log_probabilities(script, count):
    plain = echoing(["a", " b"], [None, -1.0], [None, -1.0])

    async def handler(request, body):
        document = json.loads((await plain(request, body)).text)
        return web.json_response({**document, "usage": {"prompt_tokens": count}})

    script.replies["/v1/completions"] = handler
    assert (await score(script, "a", " b")).logprobs == (-1.0,)


async def test_a_parameter_that_is_null_is_left_out_of_the_prompt_too(script):
    script.replies["/v1/completions"] = echoing(["a", " b"], [None, -1.0], [None, -1.0])
    backend = load(f"openai:tiny@{script.url}?top_p=null&extra.top_k=null&extra.user=me")
    await Model(backend).loglikelihood("a", [" b"])
    await backend.close()
    sent = script.seen[0][1]
    assert {"top_p", "top_k"}.isdisjoint(sent)
    assert (sent["user"], sent["temperature"]) == ("me", 0.0)


@pytest.mark.parametrize(
    ("way", "choice"),
    [
        ("echo", {"logprobs": {"tokens": ["a", " b", "x"], "token_logprobs": 5, "top_logprobs": None}}),
        (
            "echo",
            {"logprobs": {"tokens": ["a", "b", ""], "token_logprobs": [None, -1, 0], "top_logprobs": 5}},
        ),
        ("prompt_logprobs", {"prompt_logprobs": [None, {"1": {"logprob": -1, "decoded_token": 7}}]}),
        ("prompt_logprobs", {"prompt_logprobs": [None, {"1": {"rank": 1}, "2": {"rank": "x"}}]}),
    ],
)
async def test_log_probabilities_in_another_form_are_a_failure_of_the_server(script, way, choice):
    async def odd(request, _):
        return web.json_response({"model": "tiny", "choices": [choice]})

    script.replies["/v1/completions"] = odd
    backend = load(f"openai:tiny@{script.url}?logprobs={way}")
    with pytest.raises(ServerFailed, match="answered in another form than its API has"):
        await backend.send(Request(prompt="a", continuation=" b"))
    await backend.close()
