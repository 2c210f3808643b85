"""The test kit: it passes sound tasks, names what is wrong with unsound ones, and pins prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit import Answer, Image, Message, Sample, Status, Text, fixture, metric, parametrize, task
from evalkit.errors import UsageError
from evalkit.metrics import exact_match, length, token_f1
from evalkit.testing import assert_prompt, check_task, load_task, render

QUESTIONS = [Sample("1", "Is zinc a metal?", "yes"), Sample("2", "Is sulphur a metal?", "no")]


@fixture
def manner() -> str:
    return "Answer yes or no. "


@task(QUESTIONS, metrics=[exact_match(), length()])
@parametrize(polite=[False, True])
async def sound(sample, model, manner, polite: bool = False) -> Answer:
    prompt = f"Please. {manner}{sample.input}" if polite else f"{manner}{sample.input}"
    return Answer(await model.generate(prompt, max_tokens=5))


def test_a_sound_task_passes_in_every_arm() -> None:
    means = check_task(sound)
    assert means.keys() == {"sound[polite=false]", "sound[polite=true]"}
    made = means["sound[polite=true]"]
    assert {kind: made[kind]["exact_match"] for kind in made} == {
        "gold": 1,
        "empty": 0,
        "refusal": 0,
        "letters": 0,
        "other": 0,
    }


async def test_it_works_inside_an_async_test() -> None:
    assert "gold" in check_task(sound, params={"polite": True})["sound[polite=true]"]


@metric
def kind(sample: Sample, answer: Answer) -> float:
    """Gives everybody full marks."""
    return 1.0


@task(QUESTIONS, metrics=[kind])
async def generous(sample, model) -> Answer:
    return Answer(await model.generate(sample.input))


@task(QUESTIONS, metrics=[token_f1()])
async def forgets(sample, model) -> Answer:
    return Answer(await model.generate(sample.input), text="maybe")


@task(QUESTIONS, metrics=[exact_match()])
async def shrugs(sample, model) -> Answer:
    """Takes any reply that it cannot read for the last sample's answer."""
    response = await model.generate(sample.input)
    return Answer(response, text=response.text if response.text in ("yes", "no") else sample.target)


def test_a_metric_that_rewards_garbage_is_named() -> None:
    with pytest.raises(AssertionError) as raised:
        check_task(generous)
    assert "random letters score 1 on kind; its worst is 0" in str(raised.value)
    assert "the answers to other samples get the best scores: {'kind': 1.0}" in str(raised.value)


def test_a_metric_can_be_set_apart() -> None:
    assert set(check_task(generous, apart=["kind"])["generous"]["gold"]) == set()


def test_a_task_that_loses_the_right_reply_is_named_with_sample_and_reply() -> None:
    with pytest.raises(AssertionError, match=r"gold on sample '1': token_f1 is 0, not 1; the reply: 'maybe'"):
        check_task(forgets)


def test_a_task_that_guesses_where_it_cannot_read_is_named() -> None:
    with pytest.raises(AssertionError, match=r"empty on sample '1': exact_match is 1, not 0"):
        check_task(shrugs)


@task(QUESTIONS, metrics=[exact_match()])
async def ranks(sample, model) -> Answer:
    responses = await model.loglikelihood(sample.input, [" yes", " no"])
    best = max(range(2), key=lambda i: responses[i].logprob)
    return Answer(responses[best], text=("yes", "no")[best])


@task(QUESTIONS, metrics=[exact_match()])
async def ranks_nothing(sample, model) -> Answer:
    responses = await model.loglikelihood(sample.input, [" yes", " no"])
    return Answer(responses[0], text="yes")


def test_comparisons_of_likelihoods_are_checked_with_a_preference_for_the_wrong() -> None:
    assert check_task(ranks)["ranks"]["other"]["exact_match"] == 0
    with pytest.raises(AssertionError, match="gold on sample '2'"):
        check_task(ranks_nothing)


@task(QUESTIONS, metrics=[exact_match()])
async def looks(sample, model, tool) -> Answer:
    picture = Image.of(b"not really a picture")
    shown = (Text(tool.upper()), picture, Text(sample.input))
    response = await model.generate([Message("system", "Be brief."), Message("user", shown)])
    if response.text not in ("yes", "no"):
        return Answer(response, status=Status.UNPARSED)
    return Answer(response)


def test_a_prompt_is_rendered_as_a_model_sees_it() -> None:
    text = render(looks, QUESTIONS[1], fixtures={"tool": "look:"})
    digest = Image.of(b"not really a picture").sha256
    assert text == (
        f"--- system\nBe brief.\n--- user\nLOOK:\n[image {digest} image/png]\nIs sulphur a metal?\n"
        '--- {"max_tokens":512,"repeat":0,"temperature":0.0,"top_p":1.0}\n'
    )


def test_a_snapshot_is_written_once_compared_after_and_renewed_on_demand(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "prompts" / "sound.txt"
    assert_prompt(sound, file, polite=True)
    assert "Please. Answer yes or no. Is zinc a metal?" in file.read_text()
    assert_prompt(sound, file, polite=True)
    with pytest.raises(AssertionError, match=r"the prompt differs from .*sound\.txt"):
        assert_prompt(sound, file, polite=False)
    monkeypatch.setenv("EVALKIT_UPDATE_SNAPSHOTS", "1")
    assert_prompt(sound, file, polite=False)
    assert "Please" not in file.read_text()


def test_several_items_are_rendered_under_their_ids() -> None:
    plain, polite = render(sound, polite=False), render(sound, polite=True)
    assert render(sound) == f"=== sound[polite=false]\n{plain}\n=== sound[polite=true]\n{polite}"


def test_a_file_with_several_tasks_wants_a_name(tmp_path: Path) -> None:
    file = tmp_path / "task_two.py"
    text = "from evalkit import Sample, task\n"
    for name in ("first", "second"):
        text += f"@task([Sample('1', 'q')], metrics=[])\nasync def {name}(sample, model): ...\n"
    file.write_text(text)
    assert load_task(file, "second").name == "second"
    with pytest.raises(UsageError, match=r"Did you mean 'first'.*Its tasks: first, second"):
        load_task(file, "frist")
