"""Parameters that a server refuses: found by the probe and left out, or named with what helps."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from evalkit.errors import RequestRejected, UsageError
from evalkit.model import Model
from evalkit.models import load
from evalkit.types import Requirements
from tests.models.script import Script

PENALTIES = ("frequency_penalty", "presence_penalty")


def openai_error(message, param=None, code=None):
    return 400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def reasoning_model(body):
    """OpenAI and Azure, as their reasoning models answer."""
    if "max_tokens" in body:
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
        return openai_error(message, "max_tokens", "unsupported_parameter")
    for name in ("temperature", "top_p"):
        if body.get(name, 1) != 1:
            message = (
                f"Unsupported value: '{name}' does not support {body[name]:g} with this model. "
                "Only the default (1) value is supported."
            )
            return openai_error(message, name, "unsupported_value")
    for name in PENALTIES:
        if name in body:
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            return openai_error(message, name, "unsupported_parameter")
    return None


def strict_openai(body):
    for name in ("top_k", "min_p", "repetition_penalty"):
        if name in body:
            return openai_error(f"Unrecognized request argument supplied: {name}")
    return None


def xai(body):
    for name, theirs in (("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty")):
        if name in body:
            code = "Client specified an invalid argument"
            return 400, {"code": code, "error": f"Argument not supported on this model: {theirs}"}
    if "stop" in body:
        return 400, {"code": "400", "error": "Model grok-4 does not support parameter stop."}
    return None


def mistral(body):
    wrong = [
        {
            "type": "extra_forbidden",
            "loc": ["body", n],
            "msg": "Extra inputs are not permitted",
            "input": body[n],
        }
        for n in ("top_k", "min_p", "repetition_penalty")
        if n in body
    ]
    return (
        (422, {"object": "error", "message": {"detail": wrong}, "type": "invalid_request_error"})
        if wrong
        else None
    )


def vllm_of_old(body):
    if "min_p" in body:
        where = [
            {"type": "extra_forbidden", "loc": ("body", "min_p"), "msg": "Extra inputs are not permitted"}
        ]
        return 400, {
            "object": "error",
            "message": str(where),
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        }
    return None


def anthropic_gateway(body):
    if "temperature" in body and "top_p" in body:
        message = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        return 400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    return None


def gemini(body):
    if "frequency_penalty" in body:
        message = 'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.'
        return 400, [{"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}]
    return None


def litellm(body):
    if named := [name for name in PENALTIES if name in body]:
        message = (
            f"litellm.UnsupportedParamsError: vertex_ai does not support parameters: {named}, for model=x."
        )
        return 400, {"error": {"message": message, "type": "None", "param": None, "code": "400"}}
    return None


def strict_about_stream(body):
    return (422, {"detail": "property 'stream' is unsupported"}) if "stream" in body else None


def fussy_about_values(body):
    if body.get("top_k", 1) < 1:
        return 400, {
            "error": {"message": "top_k must be at least 1, got -1", "param": "top_k", "code": "invalid"}
        }
    return None


def takes_one_temperature(body):
    """Moonshot."""
    if body.get("temperature", 1) != 1:
        return openai_error("invalid temperature: only 1 is allowed for this model")
    return None


def says(message, *names, param=None):
    """A server that refuses parameters in words that do not tell which."""
    return lambda body: openai_error(message, param) if any(name in body for name in names) else None


def a_web_page(body):
    page = "<html><head><title>400 Bad Request</title></head><body><h1>400</h1></body></html>"
    return (400, page) if "top_k" in body else None


def takes_the_new_name_only_in_words(body):
    return (400, {"error": "unexpected field max_tokens"}) if "max_tokens" in body else None


REFUSALS = {
    "a reasoning model": (reasoning_model, {"temperature", *PENALTIES}),
    "unknown to OpenAI": (strict_openai, {"top_k", "min_p", "repetition_penalty"}),
    "xAI": (xai, set(PENALTIES)),
    "Mistral": (mistral, {"top_k", "min_p", "repetition_penalty"}),
    "vLLM of old": (vllm_of_old, {"min_p"}),
    "a gateway to Anthropic": (anthropic_gateway, {"top_p"}),
    "Gemini": (gemini, {"frequency_penalty"}),
    "LiteLLM": (litellm, set(PENALTIES)),
    "stream: false": (strict_about_stream, {"stream"}),
    "a default's value": (fussy_about_values, {"top_k"}),
    "only one value": (takes_one_temperature, {"temperature"}),
    "German": (says("Der Parameter „min_p“ wird nicht unterstützt.", "min_p"), {"min_p"}),
    "Chinese, the name in a field": (says("请求参数不合法", "top_k", param="top_k"), {"top_k"}),
    "nothing but a number": (says("Invalid parameter (code 1210)", "top_k", "min_p"), {"top_k", "min_p"}),
    "the name of another parameter": (says("top_p is not supported", "min_p", param="top_p"), {"min_p"}),
    "a parameter that was not sent": (says("Unsupported parameter: 'user'", "min_p"), {"min_p"}),
    "a proxy's web page": (a_web_page, {"top_k"}),
    "the length, in Chinese": (says("参数错误", "max_tokens"), set()),
    "nothing but the length": (takes_the_new_name_only_in_words, set()),
}


def serve(script, refuse) -> None:
    async def answer(request, body):
        if (failure := refuse(body)) is not None:
            if isinstance(failure[1], str):
                return web.Response(text=failure[1], status=failure[0], content_type="text/html")
            return web.json_response(failure[1], status=failure[0])
        return web.json_response({"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]})

    script.chat(answer)


def chats(script) -> list[dict]:
    return [body for path, body in script.seen if path.endswith("/chat/completions")]


@pytest.mark.parametrize(("refuse", "left_out"), REFUSALS.values(), ids=list(REFUSALS))
async def test_a_refused_default_is_found_by_the_probe_and_left_out(script, refuse, left_out):
    serve(script, refuse)
    backend = load(f"openai:tiny@{script.url}")
    info = (await backend.probe(Requirements())).info
    told = len(chats(script))
    response = await Model(backend).generate("2+2?", max_tokens=9)
    await backend.close()
    assert (response.text, response.notes) == ("4", ())
    assert set(info.server.get("left_out", {})) == left_out
    assert info.identity.get("left_out", []) == sorted(left_out - {"stream"})
    (sent,) = chats(script)[told:]  # refused once more would be asked twice
    assert left_out.isdisjoint(sent)
    assert 9 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
    everything = {"temperature", "top_p", "n", *PENALTIES, "top_k", "min_p", "repetition_penalty", "stream"}
    assert sent.keys() >= everything - left_out


async def test_the_provenance_has_the_servers_words(script):
    serve(script, reasoning_model)
    backend = load(f"openai:tiny@{script.url}")
    left_out = (await backend.probe(Requirements())).info.server["left_out"]
    await backend.close()
    assert left_out["temperature"].startswith("Unsupported value: 'temperature' does not support 0 with this")


async def test_a_server_that_takes_all_gets_all_and_has_its_former_identity(script):
    serve(script, lambda body: None)
    backend = load(f"openai:tiny@{script.url}")
    info = (await backend.probe(Requirements())).info
    await backend.close()
    assert "left_out" not in info.identity
    assert "left_out" not in info.server
    (sent,) = chats(script)
    assert (sent["temperature"], sent["top_k"], sent["stream"]) == (0.0, -1, False)


@pytest.mark.parametrize(
    ("params", "refuse", "words"),
    [
        ("temperature=0.7", reasoning_model, r"The model's spec sets temperature=0\.7: take it out"),
        ("temperature=0", reasoning_model, r"The model's spec sets temperature=0\.0: take it out"),
        ("extra.top_k=5", strict_openai, r"The model's spec sets extra\.top_k=5: take it out"),
        ("temperature=0.6", takes_one_temperature, r"The model's spec sets temperature=0\.6: take it out"),
        ("seed=3", lambda body: openai_error("seed is not supported") if "seed" in body else None, "seed=3"),
        ("stop=END", xai, r"The model's spec sets stop=\['END'\]: take it out"),
        (
            "extra.user=me",
            lambda body: (400, {"error": "unknown field 'user'"}),
            r"sets extra\.user=me: take it",
        ),
        (
            "stream=true",
            lambda body: (400, {"error": "'stream' is not supported"}) if body.get("stream") else None,
            "The model's spec sets stream=True: take it out",
        ),
    ],
)
async def test_what_the_spec_sets_is_never_left_out_in_silence(script, params, refuse, words):
    serve(script, refuse)
    backend = load(f"openai:tiny@{script.url}?{params}")
    with pytest.raises(UsageError, match=words):
        await backend.probe(Requirements())
    await backend.close()


@pytest.mark.parametrize(
    ("sets", "refuse", "words"),
    [
        ({"temperature": 0.5}, reasoning_model, r"The task sets temperature=0\.5.*add \?temperature=unset"),
        ({"temperature": 0.0}, reasoning_model, r"The task sets temperature=0\.0.*add \?temperature=unset"),
        ({"stop": ["\n"]}, xai, r"The task sets stop=.*add \?stop=unset"),
        ({"top_k": 5}, strict_openai, r"The task sets top_k=5.*add \?extra\.top_k=unset"),
    ],
)
async def test_what_a_task_sets_is_never_left_out_in_silence(script, sets, refuse, words):
    serve(script, refuse)
    backend = load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements())
    with pytest.raises(UsageError, match=words):
        await Model(backend).generate("2+2?", **sets)
    assert (await Model(backend).generate("2+2?")).text == "4"  # other samples go on
    await backend.close()


@pytest.mark.parametrize(
    ("sets", "message", "words"),
    [
        ({"seed": 3}, "Unbekannter Parameter: seed", r"The task sets seed=3.*add \?seed=unset"),
        ({"temperature": 1.5}, "temperature must be below 1", r"The task sets temperature=1\.5"),
    ],
)
async def test_words_that_are_not_known_and_name_what_a_task_sets_come_with_what_helps(
    script, sets, message, words
):
    (name,) = sets
    serve(script, lambda body: openai_error(message) if body.get(name) == sets[name] else None)
    backend = load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements())
    with pytest.raises(RequestRejected, match=words):
        await Model(backend).generate("2+2?", **sets)
    await backend.close()


async def test_what_a_task_sets_goes_out_although_the_default_was_refused(script):
    serve(script, reasoning_model)
    backend = load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements())
    assert (await Model(backend).generate("2+2?", temperature=1.0)).text == "4"
    assert chats(script)[-1]["temperature"] == 1.0
    await backend.close()


@pytest.mark.parametrize("name", ["temperature", "top_p", "max_tokens", "seed", "stop"])
async def test_each_generation_parameter_can_be_left_out_by_hand(script, name):
    serve(script, reasoning_model if name == "max_tokens" else lambda body: None)
    backend = load(f"openai:tiny@{script.url}?{name}=unset&extra.n=unset")
    await backend.probe(Requirements())
    sets = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 5, "seed": 3, "stop": ["x"]}
    await Model(backend, defaults=backend.traits.defaults).generate("2+2?", **sets)
    await backend.close()
    sent = chats(script)[-1]
    assert {name, "n"}.isdisjoint(sent)
    assert name != "max_tokens" or "max_completion_tokens" not in sent
    assert sent.keys() >= sets.keys() - {name, "max_tokens"}


async def test_a_refusal_after_the_probe_is_noted_with_each_reply(script):
    refusing = False

    def later(body):
        return reasoning_model(body) if refusing else None

    serve(script, later)
    backend = load(f"openai:tiny@{script.url}")
    info = (await backend.probe(Requirements())).info
    model = Model(backend)
    assert (await model.generate("2+2?")).notes == ()
    refusing = True
    notes = [(await model.generate("2+2?")).notes for _ in range(2)]
    await backend.close()
    assert "left_out" not in info.identity
    names = ", ".join(sorted(("temperature", *PENALTIES)))
    note = f"sent without {names}, which the server refused after the probe"
    assert notes == [(note,), (note,)]


async def test_a_server_that_refuses_both_names_of_the_length_is_not_asked_for_ever(script):
    def neither(body):
        name = next((n for n in ("max_tokens", "max_completion_tokens") if n in body), None)
        return (
            openai_error(f"Unsupported parameter: '{name}'", name, "unsupported_parameter") if name else None
        )

    serve(script, neither)
    backend = load(f"openai:tiny@{script.url}")
    with pytest.raises(RequestRejected, match="Unsupported parameter"):
        await Model(backend).generate("2+2?")
    assert len(script.seen) == 2
    await backend.close()


async def test_the_length_that_the_user_names_is_the_only_one(script):
    serve(script, lambda body: None)
    backend = load(f"openai:tiny@{script.url}?extra.max_completion_tokens=77")
    await Model(backend, defaults=backend.traits.defaults).generate("2+2?", max_tokens=9)
    await backend.close()
    (sent,) = chats(script)
    assert (sent.get("max_tokens"), sent["max_completion_tokens"]) == (None, 77)


@pytest.mark.parametrize(
    "message",
    [
        "maximum context length is 10 tokens: lower max_tokens, and stop",
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "This model does not support images",
        "Invalid schema for response_format: 'seed' is not permitted",
        "messages.0.content: Extra inputs are not permitted",
        "This content type is not supported. " + "x" * 150 + "'temperature': 0.0, 'top_k': -1",
    ],
)
async def test_another_mistake_is_reported_as_it_is_and_leaves_nothing_out(script, message):
    param = "response_format" if "schema" in message else None
    serve(script, lambda body: openai_error(message, param))
    backend = load(f"openai:tiny@{script.url}")
    with pytest.raises(RequestRejected) as caught:
        await Model(backend).generate("2+2?", seed=3, stop=["x"])
    assert "unset" not in str(caught.value)
    assert len(script.seen) == 1
    assert not backend.parameters.left_out
    await backend.close()


async def test_a_refusal_in_a_stream_and_of_its_options(script):
    def refuse(body):
        if "stream_options" in body:
            return 400, {"error": {"message": "stream_options: Extra inputs are not permitted"}}
        return reasoning_model(body)

    async def answer(request, body):
        if (failure := refuse(body)) is not None:
            return web.json_response(failure[1], status=failure[0])
        event = json.dumps({"choices": [{"delta": {"content": "4"}, "finish_reason": "stop"}]})
        return web.Response(text=f"data: {event}\n\ndata: [DONE]\n\n", content_type="text/event-stream")

    script.chat(answer)
    backend = load(f"openai:tiny@{script.url}?stream=true")
    info = (await backend.probe(Requirements())).info
    assert set(info.server["left_out"]) == {"stream_options", "temperature", *PENALTIES}
    assert (await Model(backend).generate("2+2?")).text == "4"
    await backend.close()


async def test_a_completion_and_a_prompt_that_is_read_leave_out_what_is_refused(script):
    async def completions(request, body):
        if "min_p" in body:
            return web.json_response({"error": "unknown field min_p"}, status=400)
        return web.json_response({"choices": [{"text": "4", "finish_reason": "stop"}]})

    script.replies["/v1/completions"] = completions
    backend = load(f"openai:tiny@{script.url}?api=completions")
    info = (await backend.probe(Requirements())).info
    assert set(info.server["left_out"]) == {"min_p"}
    assert (await Model(backend).complete("2+2=")).text == "4"
    await backend.close()


async def test_a_question_that_is_refused_without_any_default_costs_three_requests_and_changes_nothing(
    script,
):
    """A base model without a chat template: the task asks it otherwise."""
    serve(script, lambda body: openai_error("the model has no chat template"))
    backend = load(f"openai:tiny@{script.url}")
    info = (await backend.probe(Requirements())).info
    await backend.close()
    assert "left_out" not in info.identity
    assert len(chats(script)) == 3  # the question, without the defaults, with the other name of the length


async def test_what_is_left_out_by_trial_is_said_in_the_servers_words(script):
    serve(script, a_web_page)
    backend = load(f"openai:tiny@{script.url}")
    left_out = (await backend.probe(Requirements())).info.server["left_out"]
    await backend.close()
    assert left_out == {"top_k": "400 Bad Request (a web page, as a proxy sends it)"}


async def test_fields_that_fastapi_refuses_are_said_in_words(script):
    wrong = {"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}
    refusal = 422, {"detail": [{**wrong, "input": -1}]}
    serve(script, lambda body: refusal if "top_k" in body else None)
    backend = load(f"openai:tiny@{script.url}")
    left_out = (await backend.probe(Requirements())).info.server["left_out"]
    await backend.close()
    assert left_out == {"top_k": "'top_k': Extra inputs are not permitted (it is -1)"}


@pytest.mark.parametrize("params", ["temperature=unset", "temperature=1", "temperature=unset&effort=low"])
async def test_a_refused_default_that_no_sample_would_have_is_not_said_to_be_left_out(script, params):
    """The probe's own requests have temperature 0 (of pictures, of effort); those of samples do not."""
    thought = {"content": "4", "reasoning_content": "2 and 2"}

    async def answer(request, body):
        if (failure := takes_one_temperature(body)) is not None:
            return web.json_response(failure[1], status=failure[0])
        message = {**thought, "reasoning_content": "hm " * (1 + ("reasoning_effort" in body))}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})

    script.chat(answer)
    backend = load(f"openai:tiny@{script.url}?{params}")
    probed = await backend.probe(Requirements())
    response = await Model(backend, probed=probed).generate("2+2?")
    await backend.close()
    assert "left_out" not in probed.info.server
    assert "left_out" not in probed.info.identity
    assert (response.text, response.notes) == ("4", ())


async def test_what_one_endpoint_refuses_is_left_out_at_all(script):
    other = Script()
    await other.server.start_server()
    serve(script, says("参数错误", "top_k"))
    serve(other, says("参数错误", "min_p"))
    backend = load(f"openai:tiny@{script.url},{other.url}")
    left_out = (await backend.probe(Requirements())).info.server["left_out"]
    await backend.close()
    await other.server.close()
    assert left_out.keys() == {"top_k", "min_p"}
