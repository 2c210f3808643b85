"""Conversations in the store: each turn once, all of it back, and shown in its order."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalkit import Answer, Model, Sample, Status, ToolCall, converse, tool
from evalkit.requests import describe
from evalkit.store import open_store
from evalkit.store.records import RunSpec, SampleRecord
from evalkit.store.turns import compacted, expanded, talks
from evalkit.testing import scripted
from evalkit.types import Response

TOOLS = [{"name": "add", "description": "x" * 500, "parameters": {}}]


def message(n: int) -> dict[str, Any]:
    return {"role": ("user", "assistant", "tool")[n % 3], "content": f"turn {n} " + "x" * 50}


def conversation(start: int, turns: int, **also: Any) -> list[dict[str, Any]]:
    messages = [message(n) for n in range(start, start + 2 * turns)]
    return [{"messages": messages[: 2 * n + 1], "temperature": 0.0, **also} for n in range(turns)]


def test_any_requests_come_back_whole() -> None:
    rng = random.Random(7)
    for _ in range(200):
        kinds = [
            conversation(
                rng.randrange(4), rng.randint(1, 6), **({"tools": TOOLS} if rng.random() < 0.5 else {})
            )
            for _ in range(rng.randint(1, 3))
        ]
        kinds.append([{"prompt": "plain"}, {"continuation": "c", "prompt": "p"}])
        requests = [request for kind in kinds for request in kind]
        if rng.random() < 0.5:
            rng.shuffle(requests)
        assert list(expanded(compacted(requests))) == requests


def test_a_conversation_takes_the_room_of_its_turns() -> None:
    requests = conversation(0, 50, tools=TOOLS)
    size = len(msgspec.json.encode(compacted(requests)))
    once = len(msgspec.json.encode(requests[-1]))
    assert size < 2 * once
    assert len(msgspec.json.encode(requests)) > 20 * once


def test_requests_of_other_tools_or_other_beginnings_stand_alone() -> None:
    first, second = conversation(0, 2)
    assert "after" not in compacted([first, {**second, "tools": TOOLS}])[1]
    changed = {**second, "messages": [{"role": "user", "content": "other"}, *second["messages"][1:]]}
    assert compacted([first, changed]) == (first, changed)


def test_the_store_gives_conversations_back(tmp_path: Path, talked: SampleRecord) -> None:
    with open_store(tmp_path / "evalkit.db") as store:
        store.runs.begin(RunSpec(id="r", task="t", path="t.py", model="m", model_spec="m"))
        store.samples.write("r", [talked])
        assert store.samples.get("r", 0).requests == talked.requests


@pytest.mark.parametrize("after", [-1, 5, "x", None])
def test_a_damaged_store_is_no_crash(after) -> None:
    messages = [message(0)]
    (request,) = expanded([{"messages": messages, "after": after}])
    assert request["messages"] == messages


# --- As people read it -------------------------------------------------------------------------------------


def test_turns_have_their_calls_results_and_facts(talked: SampleRecord) -> None:
    (talk,) = talks(talked)
    assert talk.requests == (0, 1)
    assert [turn.role for turn in talk.turns] == ["user", "assistant", "tool", "tool", "assistant"]
    question, calling, result, unknown, answer = talk.turns
    assert question.text == "1+1?"
    assert calling.calls == (("add", {"a": 1, "b": 1}), ("nothing", {}))
    assert (calling.reasoning, calling.reply.prompt_tokens) == ("I need a sum.", 9)
    assert (result.tool, result.text, result.use.problem) == ("add", "2", None)
    assert (unknown.tool, unknown.use.problem) == ("nothing", "unknown")
    assert answer.text == "It is 2."


async def test_what_converse_does_is_stored_to_the_last_result(tmp_path: Path) -> None:
    from evalkit import Done

    @tool
    def end(value: str) -> Done:
        """End."""
        return Done(value)

    model = scripted("Let me see.", [ToolCall.of("end", value="two")])
    talking = await converse(model, "1+1?", tools=[end], user=lambda messages: "Go on.")
    record = recorded(model, talking.answer())
    (talk,) = talks(record)
    assert [turn.text for turn in talk.turns] == ["1+1?", "Let me see.", "Go on.", "", "two"]
    assert talk.turns[-1].tool == "end"
    assert (talk.facts.stopped, talk.facts.turns) == ("tool", 2)


def test_calls_that_do_not_continue_one_another_are_no_conversation() -> None:
    requests = ({"messages": [message(0)]}, {"messages": [message(3)]}, {"prompt": "x"})
    record = SampleRecord(sequence=0, sample=Sample("1", "?"), status=Status.OK, requests=requests)
    assert talks(record) == []


def test_a_task_may_use_the_name_for_facts_of_its_own() -> None:
    answer = Answer(Response(text="x"), metadata={"conversation": "a text of the task"})
    record = SampleRecord(
        sequence=0,
        sample=Sample("1", "?"),
        status=Status.OK,
        requests=({"messages": [message(0)]},),
        answer=answer,
    )
    assert talks(record) == []


def recorded(model: Model, answer: Answer) -> SampleRecord:
    requests = tuple(describe(call.request) for call in model.calls)
    return SampleRecord(
        sequence=0, sample=Sample("1", "1+1?", "2"), status=Status.OK, answer=answer, requests=requests
    )
