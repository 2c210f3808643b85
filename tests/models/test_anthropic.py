"""What is Anthropic's alone: no temperature, ways to think by model, turns, aliases."""

from __future__ import annotations

import pytest

from evalkit.errors import ProbeError, RequestRejected, UsageError
from evalkit.models import load
from evalkit.models.anthropic import _EFFORTS, payload, read, thinking_of
from evalkit.models.reasoning import Reasoning
from evalkit.run.call_facts import left_out_note
from evalkit.store.records import RunSpec
from evalkit.types import Message, Request, Requirements
from tests.models.stage import ASK, Stage, answering
from tests.servers.dialects import ANTHROPIC_MODEL, DIALECTS, Said

ANTHROPIC = next(dialect for dialect in DIALECTS if dialect.name == "anthropic")


def able(**abilities: bool) -> dict:
    """Return the line of a model in Anthropic's list: of its ways to think and efforts, those given."""
    thinking = ("adaptive", "enabled", "disabled")
    types = {name: {"supported": abilities.get(name, False)} for name in thinking}
    efforts = {name: {"supported": abilities.get(name, False)} for name in _EFFORTS}
    thinks = any(abilities.get(name) for name in ("adaptive", "enabled"))
    capabilities = {
        "thinking": {"supported": thinks, "types": types},
        "effort": {"supported": any(abilities.get(name) for name in efforts), **efforts},
    }
    return {**ANTHROPIC_MODEL, "capabilities": capabilities}


def body(*messages: Message, **fields):
    return payload(Request(messages=messages, **fields), "claude")


@pytest.mark.parametrize("param", ["temperature=0.7", "top_p=0.9", "seed=1"])
def test_a_parameter_that_anthropic_lacks_is_refused(keys, param):
    name = param.partition("=")[0]
    with pytest.raises(UsageError, match=f"{name}: Anthropic's Messages interface has no {name}"):
        load(f"anthropic:claude?{param}")


def test_a_task_that_samples_is_refused_unless_the_user_lets_the_model_sample_as_it_does():
    with pytest.raises(RequestRejected, match=r"temperature=0.7.*\?temperature=unset"):
        body(*ASK.messages, temperature=0.7)
    sent = body(
        *ASK.messages, temperature=0.7, extra={"temperature": None, "cache_control": {"type": "ephemeral"}}
    )
    assert "temperature" not in sent
    assert sent["cache_control"] == {"type": "ephemeral"}


def test_neighbours_of_one_role_are_one_turn():
    sent = body(Message("user", "One."), Message("user", "Two."), Message("assistant", "Yes."))
    assert [(m["role"], len(m["content"])) for m in sent["messages"]] == [("user", 2), ("assistant", 1)]


def test_system_messages_at_the_beginning_are_the_system_and_later_ones_stay_in_place():
    turns = [("system", "A"), ("developer", "B"), ("user", "Hi"), ("system", "C"), ("user", "Go")]
    sent = body(*(Message(*turn) for turn in turns))
    assert sent["system"] == "A\n\nB"
    assert [message["role"] for message in sent["messages"]] == ["user", "system", "user"]


@pytest.mark.parametrize(
    ("turns", "why"),
    [
        ([("assistant", "Hi")], "begin with a message of role user"),
        ([], "begin with a message of role user"),
        ([("user", " \n")], "no message without content"),
        ([("user", "Hi"), ("assistant", ""), ("user", "Go")], "role assistant is empty"),
    ],
)
def test_turns_that_anthropic_refuses_are_refused_here_with_the_reason(turns, why):
    with pytest.raises(RequestRejected, match=why):
        body(*(Message(*turn) for turn in turns))


def test_a_blank_text_in_a_turn_of_its_own_is_not_sent_back_which_anthropic_would_refuse():
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "sealed"}
    call = {"type": "tool_use", "id": "c1", "name": "now", "input": {}}
    reply = {"content": [thought, {"type": "text", "text": "\n"}, call], "stop_reason": "tool_use"}
    response = read(reply, ASK, "claude")
    spoken = Message("assistant", response.text, response.tool_calls, native=response.native)
    sent = body(*ASK.messages, spoken, Message("tool", "Noon.", tool_call_id="c1"))
    assert sent["messages"][1]["content"] == [thought, call]


def test_blank_stop_strings_which_anthropic_refuses_are_left_to_evalkit():
    assert body(*ASK.messages, stop=("\n\n", "END"))["stop_sequences"] == ["END"]


@pytest.mark.parametrize(
    ("reasoning", "abilities", "thinking"),
    [
        (Reasoning("high"), {"adaptive": True, "high": True}, "adaptive"),
        (Reasoning(None, 2000), {"enabled": True, "adaptive": True}, "enabled"),
        (Reasoning(None, 2000), {"adaptive": True, "enabled": False}, "adaptive"),
        (Reasoning("high", 2000), {"enabled": True, "adaptive": False, "high": True}, "enabled"),
        (Reasoning("none"), {"disabled": True}, "disabled"),
    ],
)
def test_a_model_is_told_to_think_in_a_way_that_it_has(reasoning, abilities, thinking):
    assert thinking_of(reasoning, abilities).fields["thinking"]["type"] == thinking


@pytest.mark.parametrize(
    ("params", "abilities", "why"),
    [
        ("effort=max", {"adaptive": True, "low": True, "high": True}, "this model has none, low, high"),
        ("effort=none", {"adaptive": True}, "always thinks"),
        ("effort=low", {"enabled": True, "low": True}, r"needs \?reasoning_tokens=N beside it"),
        ("reasoning_tokens=2000", {}, "reasoning_tokens: this model does not think"),
    ],
)
async def test_a_way_to_think_that_the_model_lacks_is_refused(script, keys, params, abilities, why):
    stage = Stage(script, ANTHROPIC, params)
    script.replies["/v1/models/tiny"] = answering(200, able(**abilities))
    with pytest.raises(ProbeError, match=why):
        await stage.backend.probe(Requirements())
    await stage.backend.close()


def test_an_effort_that_anthropic_lacks_is_refused(keys):
    with pytest.raises(
        UsageError, match="effort=minimal: this model has none, low, medium, high, xhigh, max"
    ):
        load("anthropic:claude?effort=minimal")


def test_a_budget_below_anthropics_least_is_refused(keys):
    with pytest.raises(UsageError, match="reasoning_tokens=500: Anthropic takes 1024 or more"):
        load("anthropic:claude?reasoning_tokens=500")


def test_a_budget_that_leaves_no_room_for_the_answer_is_refused_and_an_effort_gets_what_there_is():
    budget = thinking_of(Reasoning(None, 60_000), most=64_000)
    with pytest.raises(RequestRejected, match="more than 64000, the most that the model writes"):
        payload(Request(messages=ASK.messages, max_tokens=5000), "claude", budget)
    room = thinking_of(Reasoning("high"), most=20_000)
    assert payload(ASK, "claude", room)["max_tokens"] == 20_000


async def test_what_anthropic_has_no_word_for_is_named_and_part_of_the_identity(script, keys):
    stage = Stage(script, ANTHROPIC)
    script.replies["/v1/models/tiny"] = answering(200, ANTHROPIC_MODEL)
    stage.answers(200, ANTHROPIC.reply(Said("343")))
    info = (await stage.backend.probe(Requirements())).info
    assert info.identity["left_out"] == ["temperature", "top_p"]  # cached answers are draws
    assert info.server["left_out"]["temperature"] == "Anthropic's Messages interface has no temperature"
    await stage.backend.close()


async def test_an_alias_is_the_model_that_it_stands_for(script, keys):
    stage = Stage(script, ANTHROPIC)
    script.replies["/v1/models/tiny"] = answering(200, {**ANTHROPIC_MODEL, "id": "tiny-20260101-v2"})
    stage.answers(200, {**ANTHROPIC.reply(Said("343")), "model": "tiny-20260101-v2"})
    probed = await stage.backend.probe(Requirements())
    assert (probed.info.identity["model"], probed.info.max_context) == ("tiny", 200_000)
    assert (await stage.backend.send(ASK)).notes == ()
    await stage.backend.close()


def test_a_length_cannot_be_left_out(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    with pytest.raises(UsageError, match=r"max_tokens=unset: Anthropic's interface needs a length"):
        load("anthropic:m?max_tokens=unset")


async def test_what_is_not_sent_is_part_of_the_identity_and_said(script, keys):
    stage = Stage(script, ANTHROPIC)
    stage.answers(200, ANTHROPIC.reply(Said("343")))
    info = (await stage.backend.probe(Requirements())).info
    await stage.backend.close()
    assert info.identity["left_out"] == ["temperature", "top_p"]  # so that cached answers count as drawn
    facts = {"model": {"server": info.server}}
    spec = RunSpec(id="r", task="t", path="p", model="m", model_spec="s", provenance=facts)
    assert left_out_note(spec).startswith(
        "sent without temperature, top_p, which the server does not take (A"
    )
