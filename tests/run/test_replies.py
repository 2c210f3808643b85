"""What a run, its report and a rescore make of replies that are not what was asked for."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from evalkit.store import open_store
from evalkit.types import Answer, Response

TASK = r"""
from evalkit import Answer, Sample, task
from evalkit.choices import answer_choice
from evalkit.metrics import accuracy, exact_match

@task([Sample(f"q{i}", f"Question {i}?", "yes") for i in range(4)], metrics=[exact_match()])
async def words(sample, model):
    return Answer(await model.generate(sample.input, max_tokens=20, stop=["\n\n"]))

@task([Sample("q", "Question?", "yes")], metrics=[exact_match()])
async def twice(sample, model):
    await model.generate("Think first: " + sample.input)
    return Answer(await model.generate(sample.input))

OPTIONS = ("aspirin", "insulin", "metformin")

@task([Sample(n, "Which is a hormone?", "insulin", choices=OPTIONS) for n in "abc"], metrics=[accuracy()])
async def choice(sample, model):
    return await answer_choice(sample, model)

@task([Sample(f"s\ud83d{n}", f"Half \ud83d or \x00?", "yes", metadata={"x": ["\ud83d"]}) for n in "ab"],
      metrics=[exact_match()])
async def halves(sample, model):
    return Answer(await model.generate(sample.input + " \ude00", max_tokens=20))
"""


@pytest.fixture
def run(evalkit: Any, scripted: Any) -> Any:
    (evalkit.folder / "task_it.py").write_text(TASK)

    def start(item: str, *arguments: str, code: int = 0) -> Any:
        model = ("--model", f"openai:tiny@{scripted.url}")
        return evalkit("run", f"task_it.py::{item}", *model, "--cache", "off", *arguments, code=code)

    return start


def whole(text: str, finish: str = "stop", model: str = "tiny", **more: Any) -> tuple[int, dict, str]:
    choice = {"index": 0, "message": {"content": text}, "finish_reason": finish}
    return 200, {}, json.dumps({"model": model, "choices": [choice], **more})


def test_a_gateways_other_model_is_named_with_the_run_its_report_and_its_samples(
    run: Any, evalkit: Any, scripted: Any
) -> None:
    scripted.fault = lambda n: whole("yes", model="some/other-8b") if n % 2 else None
    line = "2 of 4 replies: another model answered: some/other-8b"
    assert line in run("words").stdout
    assert line in evalkit("show", "latest").stdout
    (shown,) = evalkit.json("show", "latest")["runs"]
    assert shown["notes"] == {"another model answered: some/other-8b": 2}
    samples = [evalkit("show", "latest", "--sample", f"#{n}").stdout for n in range(4)]
    assert sum("another model answered: some/other-8b" in sample for sample in samples) == 2


def test_a_sample_keeps_what_is_to_be_said_of_each_of_its_calls(
    run: Any, evalkit: Any, scripted: Any
) -> None:
    scripted.fault = lambda n: whole("hm", model="some/other-8b") if n == 1 else None
    run("twice")
    assert "another model answered: some/other-8b" in evalkit("show", "latest", "--sample", "#0").stdout


def test_a_parameter_that_only_the_task_sets_and_the_server_refuses_stops_the_run(
    run: Any, evalkit: Any, scripted: Any
) -> None:
    body = json.dumps({"error": {"message": "Argument not supported on this model: stop"}})
    scripted.fault = lambda n: (400, {}, body)
    assert "add ?stop=unset to the model's spec" in run("words", code=2).stderr


def test_a_value_of_the_spec_that_the_task_overrules_is_said(run: Any, evalkit: Any, scripted: Any) -> None:
    evalkit("run", "task_it.py::words", "--model", f"openai:tiny@{scripted.url}?max_tokens=8000&top_p=0.5")
    assert {(body["max_tokens"], body["top_p"]) for body in scripted.bodies} == {(20, 0.5)}
    said = "the task sets max_tokens=20, so max_tokens=8000 of the model's spec is not used"
    assert f"4 of 4 replies: {said}" in " ".join(evalkit("show", "latest").stdout.split())
    (stored,) = evalkit.json("show", "latest")["runs"]
    assert stored["notes"] == {said: 4}


@pytest.mark.parametrize("query", ["?max_tokens=20", "?max_tokens=unset", "?temperature=0.5", "?seed=1"])
def test_where_the_task_overrules_nothing_nothing_is_said(
    run: Any, evalkit: Any, scripted: Any, query: str
) -> None:
    evalkit("run", "task_it.py::words", "--model", f"openai:tiny@{scripted.url}{query}")
    (stored,) = evalkit.json("show", "latest")["runs"]
    assert "notes" not in stored
    assert scripted.bodies[-1].get("max_tokens") == (None if "unset" in query else 20)


def test_an_unknown_finish_reason_is_said_once_and_earns_nothing(
    run: Any, evalkit: Any, scripted: Any
) -> None:
    scripted.fault = lambda n: whole("yes", "perhaps")
    shown = run("words").stdout
    assert shown.count("4 of 4 replies: finish_reason 'perhaps' is not known") == 1
    (stored,) = evalkit.json("show", "latest")["runs"]
    assert (stored["counts"], stored["metrics"]["exact_match"]["value"]) == ({"truncated": 4}, 0.0)


def test_a_reply_given_up_half_way_is_asked_again(run: Any, evalkit: Any, scripted: Any) -> None:
    scripted.fault = lambda n: whole("ye", "error") if n % 2 else None
    run("words")
    (stored,) = evalkit.json("show", "latest")["runs"]
    assert (stored["counts"], stored["metrics"]["exact_match"]["value"]) == ({"ok": 4}, 1.0)
    assert sum(scripted.asked.values()) > 4


def test_a_filtered_prompt_is_refused_and_the_run_complete(run: Any, evalkit: Any, scripted: Any) -> None:
    error = json.dumps({"error": {"message": "filtered", "code": "content_filter"}})
    scripted.fault = lambda n: (400, {}, error) if n == 1 else None
    run("words")
    (stored,) = evalkit.json("show", "latest")["runs"]
    assert (stored["status"], stored["counts"]) == ("complete", {"ok": 3, "refused": 1})
    assert stored["notes"] == {"the server's content filter refused the request": 1}


def test_a_server_that_ignores_stop_is_cut_and_said(run: Any, evalkit: Any, scripted: Any) -> None:
    scripted.reply = lambda question: "yes\n\nQuestion: next?"
    assert r"4 of 4 replies: the server ignored the stop string '\n\n': cut there" in run("words").stdout
    (stored,) = evalkit.json("show", "latest")["runs"]
    assert stored["metrics"]["exact_match"]["value"] == 1.0


@pytest.mark.parametrize("nonsense", [-1_000_000, 2**62, 10**23])
def test_nonsense_in_a_usage_leaves_the_run_and_its_totals_alone(
    run: Any, evalkit: Any, scripted: Any, nonsense: int
) -> None:
    usage = {"prompt_tokens": nonsense, "completion_tokens": 2}
    scripted.fault = lambda n: whole("yes", usage=usage) if n == 2 else None
    run("words")
    (stored,) = evalkit.json("show", "latest")["runs"]
    assert (stored["counts"], stored["tokens"]["prompt"], stored["tokens"]["completion"]) == (
        {"ok": 4},
        21,
        8,
    )


def test_samples_with_half_an_emoji_run_and_are_shown(run: Any, evalkit: Any, scripted: Any) -> None:
    scripted.reply = lambda question: "yes" if question == "Half \ufffd or \x00? \ufffd" else question
    run("halves")
    page = evalkit.json("show", "latest", "--samples")["samples"]
    assert [row["document"] for row in page] == ["s\ufffda", "s\ufffdb"]
    (stored,) = evalkit.json("show", "latest")["runs"]
    assert stored["metrics"]["exact_match"]["value"] == 1.0
    assert "Half" in evalkit("show", "latest", "--sample", "#0").stdout


def test_a_rescore_reads_stored_answers_behind_their_reasoning(run: Any, evalkit: Any, scripted: Any) -> None:
    """An older evalkit stored replies with their reasoning, and options that it read in there."""
    scripted.reply = lambda question: "Answer: B"
    run("choice")
    texts = ("[THINK]A or B[/THINK]Answer: B", "[THINK]Answer: B, or", "analysisA?assistantfinalAnswer: B")
    with open_store(str(evalkit.folder / ".evalkit" / "evalkit.db")) as store:
        run_id = store.runs.get("latest").id
        old = []
        for record, text, choice in zip(store.samples.records(run_id), texts, (0, 1, 0), strict=True):
            assert isinstance(record.answer, Answer)
            answer = msgspec.structs.replace(
                record.answer, response=Response(text=text), text=text, choice=choice
            )
            old.append(msgspec.structs.replace(record, answer=answer))
        store.samples.write(run_id, old)
    (again,) = evalkit.json("rescore", run_id)["runs"]
    assert again["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert again["counts"] == {"ok": 2, "empty": 1}
    shown = evalkit.json("show", run_id, "--sample", "#2")["answer"]
    assert (shown["text"], shown["choice"], shown["response"]["reasoning"]) == ("Answer: B", 1, "A?")


def test_predictions_are_read_behind_their_reasoning_and_cut_at_stop_strings(evalkit: Any) -> None:
    (evalkit.folder / "task_it.py").write_text(TASK)
    replies = ("<think>no</think>yes", "no?</think>\n\nyes", "yes\n\nQuestion: next?", "<think>yes")
    lines = [json.dumps({"id": f"q{n}", "prediction": text}) for n, text in enumerate(replies)]
    (evalkit.folder / "mine.jsonl").write_text("\n".join(lines))
    (run,) = evalkit.json("score", "task_it.py::words", "mine.jsonl")["runs"]
    assert (run["counts"], run["metrics"]["exact_match"]["value"]) == ({"empty": 1, "ok": 3}, 0.75)


PLANNED = (
    "{{plan yes}}no",
    "{{plan no}}yes",
    "no?}}yes",
    "{{plan yes",
)  # two right, one wrong, one unfinished
MARKS = ("--reasoning-marks", "{{plan,}}")


def test_marks_that_only_the_user_knows_are_read_by_run_score_and_rescore(
    run: Any, evalkit: Any, scripted: Any
) -> None:
    expected = ({"empty": 1, "ok": 3}, 0.5)

    def read(document: Any) -> tuple[dict, float]:
        (one,) = document["runs"]
        return one["counts"], one["metrics"]["exact_match"]["value"]

    scripted.reply = lambda question: PLANNED[int(question[9])]
    (evalkit.folder / "task_it.py").write_text(TASK)
    model = f"openai:tiny@{scripted.url}"
    marked = f"{model}?reasoning_marks={{{{plan,}}}}"
    assert read(evalkit.json("run", "task_it.py::words", "--model", marked)) == expected
    assert read(evalkit.json("rescore", "latest")) == expected  # by the marks of the run
    unread = evalkit.json("run", "task_it.py::words", "--model", model)
    assert read(unread) == ({"ok": 4}, 0.0)
    assert unread["runs"][0]["calls_from_cache"] == 4  # marks change how replies are read, and no reply
    assert read(evalkit.json("rescore", "latest", *MARKS)) == expected
    assert read(evalkit.json("rescore", "latest")) == expected  # they are kept
    lines = [json.dumps({"id": f"q{n}", "prediction": text}) for n, text in enumerate(PLANNED)]
    (evalkit.folder / "mine.jsonl").write_text("\n".join(lines))
    assert read(evalkit.json("score", "task_it.py::words", "mine.jsonl", *MARKS)) == expected
    assert read(evalkit.json("rescore", "latest")) == expected


def test_marks_that_are_none_are_refused(evalkit: Any) -> None:
    refused = evalkit("rescore", "latest", "--reasoning-marks", "<plan>", code=2)
    assert "two different marks with a comma between them" in refused.stderr


def test_a_prediction_with_half_an_emoji_is_scored(evalkit: Any) -> None:
    (evalkit.folder / "task_it.py").write_text(TASK)
    lines = [json.dumps({"id": f"q{n}", "prediction": "yes\ud83d"}) for n in range(4)]
    (evalkit.folder / "mine.jsonl").write_text("\n".join(lines))
    (run,) = evalkit.json("score", "task_it.py::words", "mine.jsonl")["runs"]
    assert run["counts"] == {"ok": 4}
    assert evalkit.json("show", run["id"], "--sample", "#0")["answer"]["text"] == "yes\ufffd"
