"""Other weights behind the same address and name: cached answers are not taken for theirs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

N = 30
TASK = f"""
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample(str(i), f"question {{i}}", "right") for i in range({N})], metrics=[exact_match()])
async def quiz(sample, model) -> Answer:
    return Answer(await model.generate(sample.input))
"""


@pytest.fixture
def quiz(evalkit, scripted) -> Any:
    """Run the quiz on the scripted server; return its run and what was said on stderr."""
    (evalkit.folder / "task_quiz.py").write_text(TASK)

    def run(*options: str, spec: str = "") -> tuple[dict[str, Any], str]:
        scripted.asked.clear()
        model = f"openai:tiny@{scripted.url}{spec}"
        process = evalkit("run", "task_quiz.py", "--model", model, "--json", "-q", *options)
        return json.loads(process.stdout)["runs"][0], process.stderr

    return run


def score(run: dict[str, Any]) -> float:
    return run["metrics"]["exact_match"]["value"]


def test_answers_of_other_weights_are_not_taken_from_the_cache(quiz, scripted) -> None:
    scripted.reply = lambda question: f"wrong, {question}"
    before, _ = quiz()
    scripted.reply = lambda question: "right"  # the same launch script, the next checkpoint
    after, said = quiz()
    assert (score(before), score(after)) == (0.0, 1.0)
    assert after["calls_from_cache"] == 0
    assert "were not used" in said
    assert "answers 5 of 5 of them differently" in said
    again, said = quiz()  # the new answers are in the cache now
    assert (score(again), again["calls_from_cache"], said) == (1.0, N, "")
    only, _ = quiz("--cache", "only")
    assert (score(only), sum(scripted.asked.values())) == (1.0, 0)


def test_a_restart_with_the_same_weights_keeps_the_cache(quiz, scripted, evalkit) -> None:
    quiz()
    run, said = quiz()
    assert run["calls_from_cache"] == N
    assert said == ""
    assert len(scripted.asked) == 5, "a few are asked again and compared"
    shown = evalkit("show", "latest").stdout
    assert f"{N} ({N})" in shown
    assert "oldest from the cache" in shown
    assert run["cached"]["tiny"]["answers"] == N
    assert run["cached"]["tiny"]["check"] == "same"


def test_weights_that_answer_a_part_of_the_questions_differently(quiz, scripted) -> None:
    scripted.reply = lambda question: "wrong"
    quiz()
    scripted.reply = lambda question: "right" if int(question.split()[1]) % 3 else "wrong"
    run, said = quiz()
    assert score(run) == pytest.approx(2 / 3)
    assert "were not used" in said


def test_sampled_answers_cannot_be_compared_and_the_run_says_so(quiz, scripted) -> None:
    quiz(spec="?temperature=1")
    run, said = quiz(spec="?temperature=1")
    assert run["calls_from_cache"] == N
    assert not scripted.asked
    assert f"all {N} answers of tiny are from the cache, the oldest from 20" in said
    assert "none is greedy" in said
    assert "--cache refresh" in said


def test_a_server_that_never_answers_twice_alike_is_said_and_not_called_changed(quiz, scripted) -> None:
    answers = iter(range(10_000))
    scripted.reply = lambda question: f"answer {next(answers)}"
    quiz()
    run, said = quiz()
    assert run["calls_from_cache"] == N
    assert "answers one request differently each time" in said


def test_one_answer_that_rounding_changed_does_not_throw_the_cache_away(quiz, scripted) -> None:
    quiz()
    asked_first = {}

    def reply(question: str) -> str:  # only the first of the compared answers differs
        asked_first.setdefault("question", question)
        return "almost" if question == asked_first["question"] else "yes"

    scripted.reply = reply
    run, said = quiz()
    assert run["calls_from_cache"] == N
    assert "1 of 20 of them differently" in said


def test_a_server_that_fails_while_it_is_compared_is_no_reason_to_lose_the_cache(quiz, scripted) -> None:
    quiz()
    scripted.fault = lambda n: (400, {}, '{"error": {"message": "no"}}')
    run, said = quiz()
    assert run["calls_from_cache"] == N
    assert "could not be compared" in said


def test_a_resumed_run_asks_nothing_of_its_own_again(evalkit, scripted) -> None:
    (evalkit.folder / "task_quiz.py").write_text(TASK)
    scripted.fault = lambda n: (400, {}, "no") if n > 20 else None
    evalkit("run", "task_quiz.py", "--model", f"openai:tiny@{scripted.url}", code=1)
    answered = {question for question, n in scripted.answered.items() if n}
    scripted.fault = lambda n: None
    scripted.asked.clear()
    (run,) = evalkit.json("resume", "latest")["runs"]
    assert run["status"] == "complete"
    assert len(answered) == 20
    assert not answered & set(scripted.asked)


@pytest.mark.parametrize("fact", ["root", "weight_version", "digest", "modified_at"])
def test_weights_that_the_server_tells_apart_are_two_models_for_the_cache(quiz, scripted, fact: str) -> None:
    """Also where no answer could be compared, because all are sampled."""
    scripted.entry = {fact: "checkpoint-1"}
    quiz(spec="?temperature=1")
    scripted.entry = {fact: "checkpoint-2"}
    run, said = quiz(spec="?temperature=1")
    assert (run["calls_from_cache"], said) == (0, "")
    scripted.entry = {fact: "checkpoint-1"}
    back, _ = quiz(spec="?temperature=1")
    assert back["calls_from_cache"] == N


def test_a_checkpoint_that_was_written_again_on_this_machine_is_another_model(
    quiz, scripted, tmp_path: Path
) -> None:
    weights = tmp_path / "latest"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"first")
    scripted.entry = {"root": str(weights)}
    quiz(spec="?temperature=1")
    same, _ = quiz(spec="?temperature=1")
    (weights / "model.safetensors").write_bytes(b"second")
    other, _ = quiz(spec="?temperature=1")
    assert (same["calls_from_cache"], other["calls_from_cache"]) == (N, 0)


def test_the_time_of_the_request_is_no_fact_of_the_model(quiz, scripted) -> None:
    """vLLM, SGLang and llama.cpp put it into their lists of models."""
    for created in (1_800_000_000, 1_800_000_777):
        scripted.entry = {"created": created}
        run, said = quiz()
    assert (run["calls_from_cache"], said) == (N, "")


def test_answers_from_before_the_servers_start_are_said_to_be_so(quiz, scripted) -> None:
    quiz(spec="?temperature=1")
    scripted.started = time.time() + 1
    _, said = quiz(spec="?temperature=1")
    assert (
        f"before this server started ({time.strftime('%Y-%m-%d', time.localtime(scripted.started))}" in said
    )


def test_a_server_that_was_started_again_before_a_run_was_resumed(quiz, scripted, evalkit) -> None:
    scripted.fault = lambda n: (400, {}, "no") if n > 20 else None
    (evalkit.folder / "task_quiz.py").write_text(TASK)
    evalkit("run", "task_quiz.py", "--model", f"openai:tiny@{scripted.url}", code=1)
    scripted.fault = lambda n: None
    scripted.started = time.time() + 1
    assert "the scores mix two models" in evalkit("resume", "latest").stderr
