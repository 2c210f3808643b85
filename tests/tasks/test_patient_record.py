"""The patient record agent: exact scores of answers and entries, and tools that models misuse."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from typing import Any

import msgspec
import pytest
from evalkit_tasks.synthetic import fhir, patients, record_questions, record_scoring
from evalkit_tasks.synthetic.task_patient_record import SYSTEM

from evalkit import Answer, Response, Sample
from evalkit.collection.targets import collect, iter_tasks
from evalkit.run.scoring import score
from evalkit.status import classify_answer
from evalkit.testing import scripted
from evalkit.types import Status, ToolCall

(TASK,) = [task for task in iter_tasks(collect([])) if task.name == "patient_record"]
SAMPLES = list(record_questions.samples(7, 480, 60))


def test_the_same_seed_gives_the_same_bytes_and_a_small_benchmark_is_part_of_a_large_one() -> None:
    """A change of these bytes on purpose: raise ``record_questions.VERSION``."""
    assert SAMPLES[:24] == list(record_questions.samples(7, 24, 60))
    both = [SAMPLES[:120], patients.records(7, 60)]
    assert hashlib.sha256(msgspec.json.encode(both, order="sorted")).hexdigest()[:16] == "85d547bdbd7b6c23"


def test_the_prompt_names_the_time_at_which_the_records_stand() -> None:
    assert fhir.instant(patients.NOW) in SYSTEM


def asked(kind: str) -> list[Sample]:
    chosen = [sample for sample in SAMPLES if sample.slices["kind"] == kind]
    assert len(chosen) == 40
    return chosen


def of(sample: Sample) -> str:
    (patient,) = re.findall(r"\bS\d{7}\b", sample.input)
    return str(patient)


def written(sample: Sample) -> list[dict[str, Any]]:
    return sample.metadata["due"]


def scores_of(sample: Sample, answer: Answer) -> dict[str, float]:
    scored = score(TASK.metrics, sample, answer, classify_answer(answer))
    assert not [one.error for one in scored if one.error]
    return {one.metric: one.value for one in scored if one.value is not None}


async def play(sample: Sample, *turns: Any, **params: Any) -> tuple[dict[str, float], Answer]:
    answer = await TASK(sample=sample, model=scripted(*turns).for_sample(sample), **params)
    return scores_of(sample, answer), answer


def with_due(kind: str) -> tuple[Sample, list[ToolCall]]:
    sample = next(one for one in asked(kind) if written(one))
    return sample, [ToolCall.of(call["name"], **call["arguments"]) for call in sample.metadata["writes"]]


async def test_entries_may_come_in_any_order_and_in_other_words() -> None:
    sample, writes = with_due("potassium")
    scores, _ = await play(sample, writes[::-1], f"It is low.\n\n**Answer:** {sample.target} mmol/L")
    assert scores["success"] == 1
    medicine, test = writes
    other = ToolCall.of(
        "order_medication",
        **{**medicine.arguments, "unit": "mEq", "dose": 10 * 1.0 * (medicine.arguments["dose"] / 10)},
    )
    later = ToolCall.of("order_service", **{**test.arguments, "occurrence": "2024-03-16T09:00:00+01:00"})
    scores, _ = await play(sample, [other, later], f"Answer: {sample.target}")
    assert scores["success"] == 1


async def test_what_is_written_twice_or_wrongly_is_no_success() -> None:
    sample, (write,) = with_due("vital sign")
    done = "Answer: done"
    twice, _ = await play(sample, [write], [write], done)
    both, _ = await play(sample, [write, write], done)
    wrong, _ = await play(sample, [ToolCall.of(write.name, **{**write.arguments, "value": 1})], done)
    nothing, _ = await play(sample, done)
    more, _ = await play(
        sample, [write], [ToolCall.of("order_service", patient=of(sample), code="LAB-K")], done
    )
    for scores in (twice, both, wrong, nothing, more):
        assert (scores["success"], scores["entries_accuracy"], scores["answer_accuracy"]) == (0, 0, 1)


async def test_what_is_written_where_nothing_is_due_spoils_a_right_answer() -> None:
    sample = asked("age")[0]
    write = ToolCall.of("order_service", patient=of(sample), code="LAB-K")
    scores, _ = await play(sample, [write], f"Answer: {sample.target}")
    assert scores == {"success": 0, "answer_accuracy": 1, "wrote_undue": 1, "says_none": 0, "tool_calls": 1}
    clean, _ = await play(sample, f"Answer: {sample.target} years")
    assert (clean["success"], clean["wrote_undue"]) == (1, 0)


async def test_hostile_calls_are_told_and_write_nothing() -> None:
    sample, (write,) = with_due("vital sign")
    hostile = [
        ToolCall.of("drop_table", name="Patient"),
        ToolCall("", "search", None, "{broken"),
        ToolCall.of("search", resource="Patient", evil="1"),
        ToolCall.of("search", resource="Observation", date_from="0000-99-99"),
        ToolCall.of("search", resource="Observation", date_to="9999-12-31T23:00:00-23:00", count=10**30),
        ToolCall.of("read", resource="Patient", id="../../etc/passwd"),
        ToolCall.of("order_service", patient="S0000000", code="LAB-K"),
        ToolCall.of(write.name, **{**write.arguments, "effective": "noon"}),
        ToolCall.of(write.name, **{**write.arguments, "value": "NaN"}),
    ]
    scores, answer = await play(sample, hostile, [write], "Answer: done")
    assert scores["success"] == 1
    problems = [use.get("problem") for use in answer.metadata["conversation"]["tool_calls"]]
    assert problems[0] == "unknown"
    assert problems[1:3] == ["arguments", "arguments"]
    assert [place for place, problem in enumerate(problems) if not problem] == [4, 9]  # searches of all time


async def test_a_model_that_never_stops_has_no_answer() -> None:
    sample = asked("age")[0]
    scores, answer = await play(sample, [ToolCall.of("search", resource="Patient")], max_turns=3)
    assert classify_answer(answer) is Status.TRUNCATED
    assert scores["success"] == scores["answer_accuracy"] == 0
    assert scores["tool_calls"] == 3


async def test_every_sample_begins_with_the_store_as_generated() -> None:
    before = copy.deepcopy(patients.records(7, 60))
    sample, (write,) = with_due("vital sign")
    for _ in range(2):
        scores, answer = await play(sample, [write], "Answer: done")
        assert scores["success"] == 1
        assert len(answer.metadata["written"]) == 1
    assert patients.records(7, 60) == before


async def test_the_model_finds_what_it_wrote() -> None:
    sample, (write,) = with_due("vital sign")
    look = ToolCall.of("search", resource="Observation", patient=of(sample), code=write.arguments["code"])
    model = scripted([write], [look], "Answer: done").for_sample(sample)
    await TASK(sample=sample, model=model)
    told = model.calls[-1].request.messages[-1].content
    assert json.loads(told)["total"] == 1


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Answer: 5.3", "5.3"),
        ("I looked.\n**Answer: 5.3 mg/dL**", "5.3 mg/dL"),
        ("Answer: 1\nAnswer: 2", "2"),
        ("> answer : `none`", "none"),
        ("The answer is 5.3", None),
        ("Answer:", None),
    ],
)
def test_the_answer_is_on_the_last_line_that_says_so(reply: str, answer: str | None) -> None:
    assert record_scoring.read_answer(reply) == answer


@pytest.mark.parametrize(
    ("answer", "expected", "equal"),
    [
        ("5.30 mg/dL", "5.3", True),
        ("7 %", "7.0", True),
        ("5.3 (low)", "5.3", False),
        ("5.3 or 5.4", "5.3", False),
        ("53", "5.3", False),
        ("None.", "none", True),
        ("not found", "none", False),
        ("2019-01-20", "2019-01-20", True),
        ("20 January 2019", "2019-01-20", False),
    ],
)
def test_answers_are_compared_by_value(answer: str, expected: str, equal: bool) -> None:
    assert record_scoring.same_answer(answer, expected) is equal


def test_a_constant_answer_is_worth_little() -> None:
    """The floor: the best constant answer, with nothing written."""
    worth = {
        constant: sum(scores_of(s, Answer(Response(text=constant)))["success"] for s in SAMPLES[:120]) / 120
        for constant in ("none", "done", "not found", "0")
    }
    assert worth["done"] == worth["0"] == 0
    assert 0.05 < worth["none"] < 0.2
    assert 0.05 < worth["not found"] < 0.2


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ("Answer: 5", Status.OK),
        ("He is 50 years old.", Status.UNPARSED),
        ("", Status.EMPTY),
        ("I'm sorry, but I can't help with that.", Status.REFUSED),
    ],
)
async def test_how_a_reply_ends(reply: str, status: Status) -> None:
    _, answer = await play(asked("age")[0], reply)
    assert classify_answer(answer) is status
