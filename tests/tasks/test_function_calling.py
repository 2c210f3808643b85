"""Function calling: generated calls fit their schemas and their words; every way to be wrong is wrong."""

from __future__ import annotations

import hashlib
import itertools
import re
from typing import Any

import jsonschema
import msgspec
import pytest
from evalkit_tasks.synthetic import call_scoring, calling
from evalkit_tasks.synthetic.call_details import MONTHS
from evalkit_tasks.synthetic.functions import FUNCTIONS

from evalkit import Answer, Response, Sample
from evalkit.collection.targets import collect, iter_tasks
from evalkit.run.scoring import score
from evalkit.status import classify_answer
from evalkit.testing import scripted
from evalkit.types import ToolCall

(TASK,) = [task for task in iter_tasks(collect([])) if task.name == "function_calling"]
SAMPLES = list(calling.samples(7, 210))


def test_the_same_seed_gives_the_same_bytes_and_a_small_benchmark_is_part_of_a_large_one() -> None:
    """A change of these bytes on purpose: raise ``calling.VERSION``."""
    assert SAMPLES[:35] == list(calling.samples(7, 35))
    assert list(calling.samples(8, 210)) != SAMPLES
    digest = hashlib.sha256(msgspec.json.encode(SAMPLES, order="sorted")).hexdigest()
    assert digest[:16] == "7892f0d20847cfe6"


def test_all_categories_are_equally_frequent_and_two_of_seven_need_no_call() -> None:
    counts = {name: sum(s.slices["category"] == name for s in SAMPLES) for name in calling.CATEGORIES}
    assert set(counts.values()) == {30}
    none = [s for s in SAMPLES if s.slices["expects"] == "no call"]
    assert {s.slices["category"] for s in none} == {"irrelevant", "missing"}
    assert len(none) * 7 == len(SAMPLES) * 2


def test_right_calls_name_offered_functions_and_fit_their_schemas() -> None:
    for sample in SAMPLES:
        for call in sample.metadata["calls"]:
            assert call["name"] in sample.metadata["functions"]
            jsonschema.validate(call["arguments"], FUNCTIONS[call["name"]].tool.parameters)
    for function in FUNCTIONS.values():
        jsonschema.Draft202012Validator.check_schema(function.tool.parameters)


def test_every_number_and_date_of_a_right_call_is_in_its_request() -> None:
    months = {name: number for number, name in enumerate(MONTHS, 1)}
    for sample in SAMPLES:
        numbers = set(map(float, re.findall(r"\d+(?:\.\d+)?", sample.input)))
        numbers |= {round(100 * number) for number in numbers if 1 < number < 2}  # metres
        numbers |= {
            place for place, word in enumerate(("one", "two", "three", "four"), 1) if word in sample.input
        }
        dates = {
            f"{year}-{months[month]:02d}-{int(day):02d}"
            for day, month, year in re.findall(r"(\d+) (\w+) (\d{4})", sample.input)
            if month in months
        }
        for call in sample.metadata["calls"]:
            for name, value in call["arguments"].items():
                if name.endswith("date"):
                    assert value in dates, sample
                elif isinstance(value, int | float) and not isinstance(value, bool):
                    assert float(value) in numbers, sample


def test_where_no_call_is_right_no_function_offered_could_be_called() -> None:
    for sample in SAMPLES:
        asked = [f for f in FUNCTIONS.values() if sample.input.startswith(f.ask + ":")]
        if sample.slices["category"] == "irrelevant":
            (right,) = asked
            families = {FUNCTIONS[name].family for name in sample.metadata["functions"]}
            assert right.family not in families
        elif sample.slices["category"] == "missing":
            (right,) = asked
            assert right.tool.name in sample.metadata["functions"]
            stated = sample.input.removeprefix(right.ask + ": ").count(",") + 1
            assert stated < sum(d.required for d in right.details) or "tests are" in sample.input


def mutated(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Arguments with one value left out, added, or replaced by one of another kind."""
    odd = (None, True, 3, 2.5, 4.0, "7", "kg", [], ["tsh"], ["tsh", "tsh"], [1], {})
    changed = [{**arguments, name: value} for name in arguments for value in odd]
    changed += [{k: v for k, v in arguments.items() if k != name} for name in arguments]
    return [arguments, {**arguments, "extra": 1}, *changed]


def test_the_check_of_schemas_agrees_with_jsonschema() -> None:
    """Apart from null for an optional argument and repeated items, which are let pass."""
    first = {call["name"]: call["arguments"] for s in SAMPLES for call in s.metadata["calls"]}
    assert set(first) == set(FUNCTIONS)
    checked = 0
    for name, arguments in first.items():
        schema = FUNCTIONS[name].tool.parameters
        for given in mutated(arguments):
            nulls = {k for k, v in given.items() if v is None and k not in schema["required"]}
            plain = {
                k: sorted(set(map(str, v))) if isinstance(v, list) and v == ["tsh", "tsh"] else v
                for k, v in given.items()
                if k not in nulls
            }
            expected = jsonschema.Draft202012Validator(schema).is_valid(plain)
            assert call_scoring.fits(ToolCall.of(name, **given), [name]) == expected, (name, given)
            checked += 1
    assert checked > 500


def answered(sample: Sample, *calls: ToolCall, text: str = "") -> dict[str, float]:
    answer = Answer(Response(text=text, tool_calls=calls))
    scored = score(TASK.metrics, sample, answer, classify_answer(answer))
    assert not [one.error for one in scored if one.error]
    return {one.metric: one.value for one in scored if one.value is not None}


def sample_of(*calls: dict[str, Any], offered: tuple[str, ...] = ()) -> Sample:
    names = [*(call["name"] for call in calls), *offered]
    return Sample("1", "?", metadata={"calls": list(calls), "functions": names})


QT = {"name": "corrected_qt", "arguments": {"qt_ms": 400, "heart_rate": 70}}
BMI = {"name": "body_mass_index", "arguments": {"height_cm": 170, "weight": 62.5, "weight_unit": "kg"}}
DRUGS = {"name": "drug_interactions", "arguments": {"drugs": ["warfarin", "lithium"]}}
TRIALS = {"name": "find_trials", "arguments": {"condition": "heart failure"}}


@pytest.mark.parametrize(
    ("right", "given", "is_right"),
    [
        (QT, {"qt_ms": 400, "heart_rate": 70}, True),
        (QT, {"qt_ms": 400.0, "heart_rate": 70}, True),
        (QT, {"qt_ms": 400, "heart_rate": 70, "formula": "bazett"}, True),  # the default
        (QT, {"qt_ms": 400, "heart_rate": 70, "formula": None}, True),
        (QT, {"qt_ms": 400, "heart_rate": 70, "formula": "fridericia"}, False),
        (QT, {"qt_ms": "400", "heart_rate": 70}, False),
        (QT, {"qt_ms": 400, "heart_rate": 71}, False),
        (QT, {"qt_ms": 400}, False),
        (QT, {"qt_ms": 400, "heart_rate": 70, "patient": "x"}, False),
        (BMI, {"height_cm": 170, "weight": 62.5, "weight_unit": "KG"}, False),  # a value of an enum
        (BMI, {"height_cm": True, "weight": 62.5, "weight_unit": "kg"}, False),
        (DRUGS, {"drugs": ["lithium", "Warfarin"]}, True),
        (DRUGS, {"drugs": ["lithium", "lithium"]}, False),
        (DRUGS, {"drugs": ["lithium", "warfarin", "apixaban"]}, False),
        (DRUGS, {"drugs": "warfarin, lithium"}, False),
        (TRIALS, {"condition": "Heart  failure"}, True),
        (TRIALS, {"condition": "heart failure", "country": "Japan"}, False),
    ],
)
def test_arguments_are_compared_by_value_and_type(right: Any, given: Any, is_right: bool) -> None:
    scores = answered(sample_of(right), ToolCall.of(right["name"], **given))
    assert scores["call_accuracy"] == float(is_right)
    assert (scores["argument_accuracy"] == 1) == is_right
    assert scores["name_accuracy"] == 1


def test_the_order_of_calls_does_not_matter_but_their_number_does() -> None:
    cases = [
        {"name": "corrected_qt", "arguments": {"qt_ms": n, "heart_rate": 60 + n % 7}} for n in (400, 410, 420)
    ]
    sample = sample_of(*cases, BMI)
    calls = [ToolCall.of(call["name"], **call["arguments"]) for call in (*cases, BMI)]
    for order in itertools.permutations(calls):
        assert answered(sample, *order)["call_accuracy"] == 1
    assert answered(sample, *calls[:3])["call_accuracy"] == 0
    assert answered(sample, *calls[:3])["name_accuracy"] == pytest.approx(3 / 4)
    assert answered(sample, *calls, calls[0])["call_accuracy"] == 0
    assert answered(sample, *calls, calls[0])["name_accuracy"] == pytest.approx(4 / 5)
    assert answered(sample, calls[0], calls[0], calls[2], calls[3])["argument_accuracy"] < 1


def test_broken_and_unknown_calls_are_wrong_and_harm_nothing() -> None:
    sample = sample_of(QT)
    hostile = [ToolCall("1", "corrected_qt", None, "{"), ToolCall.of("rm", path="/"), ToolCall.of("", x=[[]])]
    for call in hostile:
        scores = answered(sample, call)
        assert scores == {
            "call_accuracy": 0,
            "name_accuracy": float(call.name == "corrected_qt"),
            "argument_accuracy": 0,
            "schema_validity": 0,
            "makes_a_call": 1,
        }
    assert answered(sample, *hostile * 300)["call_accuracy"] == 0


def test_a_model_that_never_calls_or_always_calls_is_not_rewarded_for_it() -> None:
    """The base rates: NO CALL is right on 2 of 7 samples, and on none that needs a call."""
    never = [answered(sample, text="NO CALL") for sample in SAMPLES]
    always = [answered(s, ToolCall.of(s.metadata["functions"][0])) for s in SAMPLES]
    silent = [answered(sample) for sample in SAMPLES]
    unread = [answered(sample, text='{"name": "corrected_qt"}') for sample in SAMPLES]

    def mean(scores: list[dict[str, float]], name: str) -> float:
        values = [one[name] for one in scores if name in one]
        return sum(values) / len(values)

    assert mean(never, "call_accuracy") == mean(never, "name_accuracy") == 0
    assert mean(never, "no_call_accuracy") == 1
    assert mean(always, "no_call_accuracy") == 0
    assert mean(always, "call_accuracy") == 0
    for garbage in (silent, unread):  # a server that does not read its model's calls
        assert mean(garbage, "no_call_accuracy") == mean(garbage, "call_accuracy") == 0


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("NO CALL", 1),
        ("No call.", 1),
        ("**NO CALL**", 1),
        ("NO CALL: the weight is missing", 1),
        ("I cannot", 0),
    ],
)
def test_no_call_is_read_as_a_model_writes_it(text: str, right: int) -> None:
    sample = sample_of(offered=("corrected_qt",))
    assert answered(sample, text=text)["no_call_accuracy"] == right
    assert answered(sample, ToolCall.of("corrected_qt"), text=text)["no_call_accuracy"] == 0


async def test_the_model_is_asked_once_with_the_functions_of_its_sample() -> None:
    sample = SAMPLES[1]
    model = scripted([ToolCall.of("corrected_qt", qt_ms=1)]).for_sample(sample)
    answer = await TASK(sample=sample, model=model)
    (call,) = model.calls
    assert [tool.name for tool in call.request.tools] == sample.metadata["functions"]
    assert call.request.tool_choice == "auto"
    assert classify_answer(answer) == "ok"
