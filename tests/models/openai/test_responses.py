"""What is the Responses interface's alone: nothing is stored, failures stand inside a reply."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from evalkit.errors import ModelError, ProbeError, ServerFailed, UsageError
from evalkit.model import Model
from evalkit.models import load
from evalkit.models.openai.backend import OpenAIBackend
from evalkit.models.openai.responses import payload
from evalkit.types import Request, Requirements
from tests.models.stage import ASK, Stage
from tests.servers.dialects import DIALECTS, Said

RESPONSES = next(dialect for dialect in DIALECTS if dialect.name == "responses")


def test_nothing_is_stored_and_nothing_is_truncated():
    body = payload(ASK, "gpt")
    assert (body["store"], body["truncation"]) == (False, "disabled")
    assert body["include"] == ["reasoning.encrypted_content"]


def test_a_limit_below_the_least_is_raised():
    assert payload(Request(messages=ASK.messages, max_tokens=1), "gpt")["max_output_tokens"] == 16


def test_the_spec_chooses_the_interface(keys):
    assert isinstance(load("openai:gpt"), OpenAIBackend)
    assert not isinstance(load("openai:gpt?api=responses"), OpenAIBackend)


@pytest.mark.parametrize("param", ["seed=1", "stream=true", "logprobs=echo", "sampling=full"])
def test_a_parameter_that_the_interface_lacks_is_refused(keys, param):
    with pytest.raises(UsageError, match=f"{param.partition('=')[0]}: .* Leave it out"):
        load(f"openai:gpt?api=responses&{param}")


async def test_without_permission_no_summary_is_asked_for(script, keys):
    stage = Stage(script, RESPONSES, "effort=low")
    message = "Your organization must be verified to generate reasoning summaries."
    refusal = {"error": {"message": message, "param": "reasoning.summary", "code": "unsupported_value"}}

    async def answer(request, body):
        if "summary" in body.get("reasoning", {}):
            return web.json_response(refusal, status=400)
        return web.json_response(RESPONSES.reply(Said("Yes.")))

    script.replies[RESPONSES.path] = answer
    assert (await stage.backend.send(ASK)).text == "Yes."
    assert (await stage.backend.send(ASK)).text == "Yes."
    asked = [body["reasoning"] for _, body in script.seen]
    assert asked == [{"effort": "low", "summary": "auto"}, {"effort": "low"}, {"effort": "low"}]
    await stage.backend.close()


def refusing(*names: str):
    """Answer, but for a request that has one of the parameters."""

    async def answer(request, body):
        for name in names:
            if name in body:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                return web.json_response({"error": {"message": message, "param": name}}, status=400)
        return web.json_response(RESPONSES.reply(Said("Yes.")))

    return answer


async def test_a_default_that_the_model_refuses_is_left_out_and_named(script, keys):
    stage = Stage(script, RESPONSES)
    script.replies[RESPONSES.path] = refusing("temperature", "top_p")
    probed = await stage.backend.probe(Requirements())
    assert probed.info.identity["left_out"] == ["temperature", "top_p"]
    assert "not supported with this model" in probed.info.server["left_out"]["temperature"]
    before = len(script.seen)
    assert (await stage.backend.send(ASK)).text == "Yes."
    assert len(script.seen) == before + 1
    await stage.backend.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        # OpenAI, of models that do not reason
        ("include", "Encrypted content is not supported with this model."),
        ("truncation", "Unknown parameter: 'truncation'."),
        ("store", "store is not supported by this server"),
    ],
)
async def test_what_another_server_or_model_does_not_have_is_left_out(script, keys, name, message):
    async def answer(request, body):
        if name in body:
            return web.json_response({"error": {"message": message, "param": name}}, status=400)
        return web.json_response(RESPONSES.reply(Said("Yes.")))

    stage = Stage(script, RESPONSES)
    script.replies[RESPONSES.path] = answer
    probed = await stage.backend.probe(Requirements())
    assert message in probed.info.server["left_out"][name]
    assert (await stage.backend.send(ASK)).text == "Yes."
    await stage.backend.close()


async def test_a_refusal_after_the_probe_is_noted_with_each_reply(script, keys):
    stage = Stage(script, RESPONSES)
    stage.answers(200, RESPONSES.reply(Said("343")))
    await stage.backend.probe(Requirements())
    assert (await stage.backend.send(ASK)).notes == ()
    script.replies[RESPONSES.path] = refusing("temperature")
    notes = [(await stage.backend.send(ASK)).notes for _ in range(2)]
    await stage.backend.close()
    assert notes == [("sent without temperature, which the server refused after the probe",)] * 2


async def test_requests_in_flight_learn_together_what_is_refused(script, keys):
    stage = Stage(script, RESPONSES)
    script.replies[RESPONSES.path] = refusing("temperature", "top_p")
    replies = await asyncio.gather(*(stage.backend.send(ASK) for _ in range(8)))
    assert [reply.text for reply in replies] == ["Yes."] * 8
    await stage.backend.close()


@pytest.mark.parametrize("params", ["temperature=0.7", "temperature=0"])
async def test_a_parameter_of_the_spec_is_never_left_out_in_silence(script, keys, params):
    stage = Stage(script, RESPONSES, params)
    script.replies[RESPONSES.path] = refusing("temperature")
    with pytest.raises(UsageError, match=r"'temperature' is not supported.*model's spec sets temperature"):
        await Model(stage.backend).generate("Is it?")
    await stage.backend.close()


async def test_a_parameter_of_the_task_is_never_left_out_in_silence(script, keys):
    stage = Stage(script, RESPONSES)
    script.replies[RESPONSES.path] = refusing("temperature")
    probed = await stage.backend.probe(Requirements())
    model = Model(stage.backend, probed=probed)
    assert (await model.generate("Is it?")).text == "Yes."
    with pytest.raises(UsageError, match=r"The task sets temperature=0\.7.*add \?temperature=unset"):
        await model.generate("Is it?", temperature=0.7)
    await stage.backend.close()


async def test_an_effort_that_the_model_refuses_is_refused_by_the_probe(script, keys):
    stage = Stage(script, RESPONSES, "effort=xhigh")
    script.replies[RESPONSES.path] = refusing("reasoning")
    with pytest.raises(ProbeError, match=r"refuses \?effort=xhigh: .*not supported"):
        await stage.backend.probe(Requirements())
    await stage.backend.close()


@pytest.mark.parametrize(("code", "refused"), [("server_error", False), ("bio_policy", True)])
async def test_a_failure_inside_a_reply(script, keys, code, refused):
    stage = Stage(script, RESPONSES)
    error = {"code": code, "message": "This did not work."}
    stage.answers(200, {**RESPONSES.reply(Said("")), "status": "failed", "error": error})
    if refused:
        assert (await stage.backend.send(ASK)).finish_reason == "refusal"
    else:
        with pytest.raises(ServerFailed, match="did not work"):
            await stage.backend.send(ASK)
    await stage.backend.close()


async def test_broken_arguments_are_kept_as_text(script, keys):
    stage = Stage(script, RESPONSES)
    reply = RESPONSES.reply(Said(calls=(("c1", "now", {}),)))
    reply["output"][0]["arguments"] = '{"zone": '
    stage.answers(200, reply)
    (call,) = (await stage.backend.send(ASK)).tool_calls
    assert (call.arguments, call.raw) == (None, '{"zone": ')
    await stage.backend.close()


async def test_an_output_in_another_form_is_a_failure(script, keys):
    stage = Stage(script, RESPONSES)
    stage.answers(200, {**RESPONSES.reply(Said("")), "output": [7]})
    with pytest.raises(ModelError):
        await stage.backend.send(ASK)
    await stage.backend.close()


@pytest.mark.parametrize("params", ["temperature=unset", "temperature=1"])
async def test_the_probes_question_has_the_parameters_of_the_spec(script, keys, params):
    async def answer(request, body):
        if body.get("temperature", 1) != 1:
            message = "Unsupported value: 'temperature' does not support 0 with this model."
            return web.json_response({"error": {"message": message, "param": "temperature"}}, status=400)
        return web.json_response(RESPONSES.reply(Said("Yes.")))

    stage = Stage(script, RESPONSES, params)
    script.replies[RESPONSES.path] = answer
    assert "left_out" not in (await stage.backend.probe(Requirements())).info.server
    await stage.backend.close()
