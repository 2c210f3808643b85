"""Reasoning models on OpenAI-compatible servers: found out, given room, told what the spec says."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from evalkit.errors import ProbeError, RequestRejected
from evalkit.model import Model
from evalkit.models import load
from evalkit.models.openai.probe import QUESTION
from evalkit.models.openai.reasoning import ASKED_AGAIN, SHORTENED, UNFINISHED
from evalkit.models.openai.reasoning_probe import parameters_for, server_kind
from evalkit.models.reasoning import ALLOWANCE, MOST_ALLOWANCE
from evalkit.types import Message, Request, Requirements, Response, ServerInfo
from tests.servers.thinking import CHANNELS, ThinkingModel, serve

NEEDS = Requirements()


async def asked(
    thinker: ThinkingModel, options: str = "", question: str = "By how much?", **request: Any
) -> tuple[Any, Response]:
    """The probe's result, and the reply to one request for an answer of 16 words."""
    backend = load(f"openai:thinker@{thinker.url}{options}")
    try:
        probed = await backend.probe(NEEDS)
        model = Model(backend, probed=probed)
        return probed, await model.generate(question, **{"max_tokens": 16, **request})
    finally:
        await backend.close()


def last(thinker: ThinkingModel) -> dict[str, Any]:
    return thinker.bodies[-1]


class Silent(ThinkingModel):
    """A server that counts no tokens at all."""

    def reply(self, body: dict[str, Any], most: int, prompt: int) -> dict[str, Any]:
        return super().reply(body, most, prompt) | {"usage": None}


class SecretContext(ThinkingModel):
    """A server that does not tell the length of its context, and refuses too long a request in German."""

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "thinker"}]})

    async def chat(self, request: web.Request) -> web.Response:
        reply = await super().chat(request)
        return web.Response(status=400, text="Zu lang: 4096 Wörter") if reply.status == 400 else reply


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_reasoning_model_gets_room_in_each_channel(channel):
    with serve(ThinkingModel(channel)) as thinker:
        probed, response = await asked(thinker)
    assert (response.text, response.finish_reason) == ("343", "stop")
    assert last(thinker)["max_tokens"] == 16 + 20_480  # half of the context
    assert probed.info.identity[ALLOWANCE] == 20_480
    found = probed.info.server["reasoning"]
    expected = {"hidden": "hidden", "template": "template"}.get(channel)
    assert found["channel"] == expected or (
        "field" if channel.startswith("reasoning_") or channel == "reasoning" else "marks"
    )
    assert "20,480 tokens" in found["said"]
    assert found["said"].count("\n") == 0


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_reply_cut_inside_the_reasoning_has_no_answer_and_says_where_it_was_cut(channel):
    """The question of the probe is thought about for a moment, that of the task for longer than allowed."""

    def thinks(body):
        return 50 if QUESTION in str(body) else 5000

    with serve(ThinkingModel(channel, thinks)) as thinker:
        _, response = await asked(thinker, "?reasoning_tokens=400")
    assert (response.text, response.finish_reason) == ("", "length")
    assert response.cut_in_reasoning
    assert last(thinker)["max_tokens"] == 416


async def test_a_model_that_does_not_reason_is_asked_one_question_and_sent_what_it_was_sent_before():
    with serve(ThinkingModel(thinks=lambda body: 0, counts=False)) as thinker:
        probed, response = await asked(thinker, stop=["\n"])
    assert response.text == "343"
    assert ALLOWANCE not in probed.info.identity
    assert "reasoning" not in probed.info.server
    question, request = thinker.bodies
    assert QUESTION in str(question)
    assert request == {
        "model": "thinker",
        "messages": [{"role": "user", "content": "By how much?"}],
        "max_tokens": 16,
        "temperature": 0.0,
        "top_p": 1.0,
        "n": 1,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "stop": ["\n"],
        "stream": False,
    }


@pytest.mark.parametrize("channel", [name for name in CHANNELS if name != "template"])
async def test_a_model_that_begins_to_reason_later_is_asked_again_with_room(channel):
    """Where the template opens the reasoning, it always does: then the probe's question shows it."""

    def thinks(body):
        return 0 if QUESTION in str(body) else 300

    with serve(ThinkingModel(channel, thinks)) as thinker:
        backend = load(f"openai:thinker@{thinker.url}")
        probed = await backend.probe(NEEDS)
        model = Model(backend, probed=probed)
        first, second = [await model.generate(text, max_tokens=16) for text in ("one", "two")]
        await backend.close()
    assert ALLOWANCE not in probed.info.identity
    assert [first.text, second.text] == ["343", "343"]
    assert (ASKED_AGAIN in first.notes, ASKED_AGAIN in second.notes) == (True, False)
    assert [body["max_tokens"] for body in thinker.bodies[1:]] == [16, 16 + 20_480, 16 + 20_480]


async def test_a_model_that_does_not_reason_gets_no_room_although_the_spec_names_a_number():
    with serve(ThinkingModel(thinks=lambda body: 0, counts=False)) as thinker:
        probed, response = await asked(thinker, "?reasoning_tokens=1000")
    assert (response.text, last(thinker)["max_tokens"]) == ("343", 16)
    assert "did not reason about a short question" in probed.info.server["reasoning"]["said"]


async def test_reasoning_that_the_server_neither_shows_nor_names_is_seen_by_its_tokens():
    with serve(ThinkingModel("hidden", counts=False)) as thinker:
        probed, response = await asked(thinker)
    assert (response.text, probed.info.server["reasoning"]["channel"]) == ("343", "hidden")


async def test_without_a_context_the_allowance_is_what_the_server_accepts():
    thinker = ThinkingModel(context=None)
    with serve(thinker):
        probed, _ = await asked(thinker)
    assert probed.info.identity[ALLOWANCE] == MOST_ALLOWANCE


async def test_the_allowance_that_a_server_accepts_is_found_in_any_language():
    with serve(SecretContext(context=4096)) as thinker:
        probed, response = await asked(thinker)
        assert (response.text, probed.info.identity[ALLOWANCE]) == ("343", 2048)
        with pytest.raises(RequestRejected, match=r"4096 Wörter\. The request had room for 2,048 tokens"):
            await asked(thinker, question="word " * 3000)


async def test_a_reply_that_was_cut_before_its_first_word_was_cut_inside_the_reasoning():
    """The server shows no reasoning, and counts no tokens."""
    with serve(Silent("hidden", lambda body: 0 if QUESTION in str(body) else 300)) as thinker:
        _, response = await asked(thinker)
    assert (response.text, response.notes) == ("343", (ASKED_AGAIN,))


async def test_reasoning_that_the_template_opened_may_be_empty_for_an_easy_question():
    thinker = ThinkingModel("template", lambda body: 0 if QUESTION in str(body) else 300, counts=False)
    thinker.answers = lambda body: "</think>343" if QUESTION in str(body) else "343"
    with serve(thinker):
        probed, response = await asked(thinker)
    assert probed.info.server["reasoning"]["channel"] == "template"
    assert (response.text, response.notes) == ("343", ())


async def test_a_long_prompt_shortens_the_room_and_says_so():
    with serve(ThinkingModel(context=2000, thinks=lambda body: 100)) as thinker:
        backend = load(f"openai:thinker@{thinker.url}")
        model = Model(backend, probed=await backend.probe(NEEDS))
        response = await model.generate("word " * 1500, max_tokens=16)
        await backend.close()
    assert (response.text, response.notes) == ("343", (SHORTENED,))
    assert last(thinker)["max_tokens"] == 16 + 250


async def test_stop_strings_end_the_answer_and_not_the_reasoning():
    """The server looks for them in all that it writes: in the reasoning, too."""
    answers = lambda body: "343 because The sum"  # noqa: E731
    with serve(ThinkingModel("think", answers=answers)) as thinker:
        _, response = await asked(thinker, stop=["The"])
    assert "stop" not in last(thinker)
    assert (response.text, response.finish_reason, response.notes) == ("343 because ", "stop", ())
    assert "The answer is B" in response.reasoning


@pytest.mark.parametrize("channel", ["reasoning_content", "reasoning", "reasoning_details"])
async def test_blank_lines_between_reasoning_and_answer_are_no_part_of_the_answer(channel):
    """As SGLang and vLLM split a reply of Qwen3; the stop string would end the answer before it begins."""
    with serve(ThinkingModel(channel, answers=lambda body: "343\nWhy? Because.")) as thinker:
        _, cut = await asked(thinker, stop=["\n"])
        _, whole = await asked(thinker)
    assert (cut.text, whole.text) == ("343", "343\nWhy? Because.")


@pytest.mark.parametrize(
    ("natural", "kept", "found"),
    [(300, True, "server"), (300, False, "max_tokens"), (20, True, "not known")],
)
async def test_whether_a_server_keeps_to_a_small_number_of_tokens_is_found_out(natural, kept, found):
    budget = "thinking_token_budget" if kept else None
    with serve(ThinkingModel(thinks=lambda body: natural, owned_by="vllm", budget=budget)) as thinker:
        probed, _ = await asked(thinker, "?reasoning_tokens=32")
    assert probed.info.server["reasoning"]["tokens"] == found


async def test_reasoning_that_the_template_opened_and_nothing_closed_is_no_answer():
    def thinks(body):
        return 50

    thinker = ThinkingModel("template", thinks)
    with serve(thinker):
        backend = load(f"openai:thinker@{thinker.url}")
        model = Model(backend, probed=await backend.probe(NEEDS))
        thinker.channel = "hidden"  # what it thinks is now its text, and no mark closes it
        thinker.answers, thinker.thinks = (lambda body: "The answer is B."), (lambda body: 0)
        response = await model.generate("Which?", max_tokens=16)
        await backend.close()
    assert (response.text, response.reasoning, response.notes) == ("", "The answer is B.", (UNFINISHED,))


async def test_marks_of_the_spec_are_read_in_the_probe_and_in_replies():
    marks = "?reasoning_marks={{plan,plan}}"
    with serve(ThinkingModel("own", counts=False)) as thinker:
        probed, response = await asked(thinker, marks)
        _, unread = await asked(thinker)
    assert (response.text, response.reasoning[:8]) == ("343", "maybe A.")
    assert probed.info.server["reasoning"]["channel"] == "marks"
    assert unread.finish_reason == "length"
    assert not unread.reasoning


async def test_a_constraint_leaves_no_room_where_it_begins_with_the_reply():
    schema = {"type": "object"}
    for channel, room in (("think", 0), ("reasoning_content", 20_480)):
        thinker = ThinkingModel(channel)
        with serve(thinker):
            backend = load(f"openai:thinker@{thinker.url}")
            model = Model(backend, probed=await backend.probe(NEEDS))
            thinker.thinks = lambda body: 0
            await model.generate("?", max_tokens=16, json_schema=schema)
            await backend.close()
        assert last(thinker)["max_tokens"] == 16 + room


# --- What a spec says --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "effort", "sent"),
    [
        (None, "low", {"reasoning_effort": "low"}),
        (
            "vllm",
            "high",
            {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}, "reasoning_effort": "high"},
        ),
        ("sglang", "none", {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        (
            "llamacpp",
            "low",
            {"chat_template_kwargs": {"enable_thinking": True, "thinking": True, "reasoning_effort": "low"}},
        ),
    ],
)
async def test_effort_goes_out_as_each_server_takes_it(owner, effort, sent):
    def thinks(body):
        kwargs = body.get("chat_template_kwargs", {})
        graded = body.get("reasoning_effort") or kwargs.get("reasoning_effort")
        return {"low": 60, "high": 200}.get(graded, 100)

    with serve(ThinkingModel(owned_by=owner, thinks=thinks, switch="enable_thinking")) as thinker:
        probed, response = await asked(thinker, f"?effort={effort}")
    assert sent.items() <= last(thinker).items()
    assert response.text == "343"
    assert probed.info.identity["effort"] == effort
    assert probed.info.server["reasoning"]["effort"] == "followed"
    assert probed.name == f"openai:thinker?effort={effort}"


async def test_the_tasks_own_variables_of_the_template_stay_beside_the_efforts():
    with serve(ThinkingModel(owned_by="vllm", switch="enable_thinking")) as thinker:
        await asked(thinker, "?effort=none", chat_template_kwargs={"date": "today"})
    kwargs = last(thinker)["chat_template_kwargs"]
    assert kwargs == {"enable_thinking": False, "thinking": False, "date": "today"}


@pytest.mark.parametrize(
    ("thinker", "options", "words"),
    [
        (
            ThinkingModel(owned_by="vllm"),
            "?effort=low",
            ["ignores effort=low", "effort=high", "Leave effort out"],
        ),
        (ThinkingModel(owned_by="vllm"), "?effort=none", ["reasons although effort=none"]),
        (
            ThinkingModel(owned_by="vllm", thinks=lambda body: 0, counts=False),
            "?effort=high",
            ["ignores effort=high"],
        ),
        (
            ThinkingModel(refuses=frozenset({"reasoning_effort"})),
            "?effort=low",
            ["refuses effort=low", "Unrecognized request argument supplied: reasoning_effort"],
        ),
        (
            ThinkingModel(owned_by="vllm", refuses=frozenset({"chat_template_kwargs"})),
            "?effort=low",
            ["refuses effort=low", "The spec's effort or reasoning_tokens is sent as chat_template_kwargs"],
        ),
        (
            SecretContext(context=4096),
            "?reasoning_tokens=8000",
            ["refuses a reply that may have reasoning_tokens=8000", "takes one with 4,000"],
        ),
        (ThinkingModel(context=4096), "?reasoning_tokens=8000", ["leaves no room", "4,096 tokens"]),
        (ThinkingModel(), "?effort=low&api=completions", ["effort=low", "api=completions"]),
    ],
)
async def test_what_a_server_cannot_do_is_refused_before_the_run(thinker, options, words):
    thinker.bodies.clear()
    with serve(thinker), pytest.raises(ProbeError) as caught:
        await asked(thinker, options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


async def test_an_effort_may_only_switch_reasoning_on():
    """As in DeepSeek's and Granite's templates, which think only when told."""
    with serve(ThinkingModel(owned_by="vllm", switch="thinking", off=True)) as thinker:
        probed, response = await asked(thinker, "?effort=high")
    assert "maybe A" in response.reasoning
    assert probed.info.server["reasoning"]["effort"] == "switched on"


async def test_what_cannot_be_told_is_said():
    """OpenAI counts reasoning and shows none; at an easy question each effort takes the same."""
    with serve(ThinkingModel("hidden")) as thinker:
        probed, response = await asked(thinker, "?effort=low")
    assert response.text == "343"
    assert probed.info.server["reasoning"]["effort"] == "not known"
    assert "whether effort=low is followed cannot be told" in probed.info.server["reasoning"]["said"]


@pytest.mark.parametrize(
    ("thinker", "keeps", "sent"),
    [
        (ThinkingModel(owned_by="vllm", budget="thinking_token_budget"), "server", "thinking_token_budget"),
        (ThinkingModel(owned_by="vllm"), "max_tokens", "thinking_token_budget"),
        (
            ThinkingModel(owned_by="llamacpp", budget="thinking_budget_tokens"),
            "server",
            "thinking_budget_tokens",
        ),
        (ThinkingModel(owned_by="vllm", refuses=frozenset({"thinking_token_budget"})), "max_tokens", None),
        (ThinkingModel(owned_by="sglang"), "max_tokens", None),
        (ThinkingModel(), "max_tokens", None),
        (ThinkingModel(owned_by="vllm", thinks=lambda body: 20), "not known", "thinking_token_budget"),
    ],
)
async def test_a_number_of_tokens_is_room_and_the_servers_limit_where_it_has_one(thinker, keeps, sent):
    with serve(thinker):
        probed, response = await asked(thinker, "?reasoning_tokens=1000")
    assert response.text == "343"
    assert last(thinker)["max_tokens"] == 1016
    assert sent is None or last(thinker)[sent] == 1000
    assert probed.info.server["reasoning"]["tokens"] == keeps
    assert probed.info.identity["reasoning_tokens"] == 1000
    assert ALLOWANCE not in probed.info.identity


@pytest.mark.parametrize(
    ("spec", "server", "kind", "parameters"),
    [
        (
            "openai:x@https://openrouter.ai/api/v1",
            {},
            "openrouter",
            {"reasoning": {"effort": "low", "max_tokens": 500}},
        ),
        ("openai:x@http://h:1", {"owned_by": "acme"}, "other", {"reasoning_effort": "low"}),
        (
            "sglang:x@http://h:1",
            {"enable_strict_thinking": True},
            "sglang, strict",
            {
                "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
                "reasoning_effort": "low",
                "custom_params": {"thinking_budget": 500},
            },
        ),
    ],
)
async def test_the_kind_of_server_says_how_it_is_told(spec, server, kind, parameters):
    backend = load(spec)
    assert server_kind(backend, ServerInfo(server=server)) == kind
    assert parameters_for(kind, "low", 500) == parameters
    await backend.close()


async def test_a_server_that_fails_at_the_probes_question_is_used_all_the_same():
    def thinks(body):
        return 1 // 0 if QUESTION in str(body) else 0

    with serve(ThinkingModel(thinks=thinks, counts=False)) as thinker:
        probed, response = await asked(thinker)
    assert response.text == "343"
    assert "reasoning" not in probed.info.server


async def test_plain_completions_have_room_once_a_reply_shows_reasoning():
    from evalkit.models.openai.reasoning import RoomToThink
    from evalkit.models.reasoning import Reasoning

    thinking, seen = RoomToThink(Reasoning()), []

    async def generate(url, request):
        seen.append(request.max_tokens)
        whole = "<think>" + "hm " * 50 + "</think>B"
        cut = request.max_tokens < 100
        return Response(text=whole[:30] if cut else whole, finish_reason="length" if cut else "stop"), {}

    request = Request(prompt="Q: Which?\nA:", max_tokens=16)
    for _ in range(2):
        response, _ = await thinking.ask(generate, "", request, chat=False)
        assert response.text.endswith("B")
    assert seen == [16, 16 + MOST_ALLOWANCE, 16 + MOST_ALLOWANCE]
    chat = Request(messages=(Message("user", "Which?"),), max_tokens=16)
    assert thinking.room(chat, chat=True) == 0
