"""Log-probabilities of a continuation out of an echoed prompt: where it begins, and what is refused."""

from __future__ import annotations

import pytest
from aiohttp import web

from evalkit.errors import ProbeError, RequestRejected
from evalkit.models import load
from evalkit.types import Needs, Request

PROBE = ["The", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog", "."]


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
        await backend.probe(Needs(logprobs=True))
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
