"""The page of a run: its metrics, tokens, repeats, what it says of an unfinished or failed run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from evalkit_leaderboard import text

from evalkit.compare.budget import Budgets, cut_replies
from evalkit.compare.repeats import repeats_of
from evalkit.store import open_store
from evalkit.store.records import MetricInfo, RunSpec, SampleRecord
from evalkit.types import Answer, Estimate, Response, Sample, Score, Status
from tests.leaderboard.conftest import add_run
from tests.leaderboard.visits import plain, texts, visit


def test_the_run_page_shows_every_metric_with_its_interval(filled: Path) -> None:
    app = visit(filled, "run", run="aur-ret-7f3a")
    with open_store(filled) as store:
        expected = store.runs.get("aur-ret-7f3a")
    table = app.dataframe[0].value
    assert list(table["metric"]) == [info.name for info in expected.spec.metrics]
    assert list(table["interval"]) == [text.interval(expected.metrics[name]) for name in table["metric"]]
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures["Samples"] == "60"
    assert figures["Prompt tokens"] == f"{expected.tokens.prompt:,}"
    facts = {row["name"]: row["value"] for frame in app.dataframe[1:] for _, row in frame.value.iterrows()}
    assert facts["git.revision"] == "3f9c2ab"
    assert facts["params.arm"] == "retrieved"


def test_the_run_page_shows_the_score_at_smaller_limits_of_tokens(filled: Path) -> None:
    app = visit(filled, "run", run="dri-ret-51c0")
    with open_store(filled) as store:
        run = store.runs.get("dri-ret-51c0")
        budgets = Budgets(store, run)
        cut = cut_replies(store, run)
    assert cut is not None
    assert f"{cut.sentence}." in texts(app)
    assert budgets.sentence("rougeLsum") in texts(app)
    other = visit(filled, "run", run="dri-ret-51c0", curve="rouge1")
    assert budgets.sentence("rouge1") in texts(other)


def test_tokens_of_reasoning_are_shown_with_the_run_and_its_sample(filled: Path, tmp_path: Path) -> None:
    assert "Of them reasoning" not in [
        metric.label for metric in visit(filled, "run", run="aur-ret-7f3a").metric
    ]
    path = tmp_path / "evalkit.db"
    with open_store(path) as store:
        add_run(store, "thinks", "m", 0.5, n=2, reasoning=50)
    figures = {metric.label: metric.value for metric in visit(path, "run", run="thinks").metric}
    assert figures["Of them reasoning"] == "100"
    assert "tokens (50 reasoning)" in plain(texts(visit(path, "samples", run="thinks", sample="0")))


def test_without_counts_of_tokens_the_run_page_has_no_curve(tmp_path: Path) -> None:
    path = tmp_path / "evalkit.db"
    with open_store(path) as store:
        store.runs.begin(RunSpec(id="r", task="t", path="", model="m", model_spec="m", n_expected=0))
        store.runs.finish("r", "complete", {}, 1.0)
    assert "Score against tokens" not in texts(visit(path, "run", run="r"))


def test_the_run_page_shows_what_repeats_say(tmp_path: Path) -> None:
    path, info = tmp_path / "evalkit.db", MetricInfo("right")
    spec = RunSpec(
        id="r", task="t", path="", model="m", model_spec="m", metrics=(info,), repeats=2, n_expected=40
    )
    rows = [
        SampleRecord(
            sequence=i,
            sample=Sample(str(i // 2), "?", "a"),
            repeat=i % 2,
            status=Status.OK,
            answer=Answer(text=f"{i}"),
            scores=(Score("right", float(i % 3 == 0)),),
        )
        for i in range(40)
    ]
    with open_store(path) as store:
        store.runs.begin(spec)
        store.samples.write("r", rows)
        store.runs.finish("r", "complete", {"right": Estimate(14 / 40, 0.05, (0.2, 0.5), 40)}, 1.0)
        repeats = repeats_of(store, store.runs.get("r"))
    assert repeats is not None
    split = repeats.metrics["right"].variance
    assert split is not None
    app = visit(path, "run", run="r")
    assert "Repeats" in [heading.value for heading in app.subheader]
    assert "maj@k is the vote on what was read of the replies: text (40)." in texts(app)
    (table,) = [one.value for one in app.dataframe if "of sampling" in one.value]
    assert list(table["with ∞"]) == [pytest.approx(split.se_of_endless)]
    assert table["share of sampling"][0].startswith(f"{split.share:.0%} [")


def test_an_incomplete_run_says_how_to_complete_it(filled: Path) -> None:
    app = visit(filled, "run", run="dri-ret-51c0")
    assert "evalkit resume dri-ret-51c0" in texts(app)
    assert "bounds" in app.dataframe[0].value


def test_a_run_that_goes_on_shows_how_far_it_is(tmp_path: Path, invent_run: Callable[..., None]) -> None:
    with open_store(tmp_path / "evalkit.db") as store:
        invent_run(store, "now", "borealis-8b", 0.6, n=30, expected=90, status="running")
    app = visit(tmp_path / "evalkit.db", "run", run="now")
    assert app.get("progress")[0].proto.value == 33
    assert "No run of this task has ended yet" in texts(visit(tmp_path / "evalkit.db"))


def test_a_run_whose_samples_all_failed_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "evalkit.db"
    with open_store(path) as store:
        add_run(store, "r", "m", 0.5, n=20)
        store.samples.write(
            "r",
            [
                SampleRecord(sequence=i, sample=Sample(str(i), "q"), status=Status.ERROR, error="no")
                for i in range(20)
            ],
        )
        store.runs.finish("r", "incomplete", {}, 1.0)
    said = texts(visit(path))
    assert "20 of 20 failed" in said
    assert "has ended yet" not in said


def test_another_models_replies_and_what_was_left_out_are_shown_with_the_run_and_its_sample(
    tmp_path: Path,
) -> None:
    path, note = tmp_path / "evalkit.db", "another model answered: *other*/model-8b"
    server = {"left_out": {"temperature": "temperature is not supported"}}
    facts = {"model": {"server": server}, "notes": {note: 1}}
    named = {"task": "quiz", "path": "task_quiz.py", "model": "asked", "model_spec": "asked"}
    spec = RunSpec(id="1-run", **named, n_expected=1, provenance=facts)
    response = Response(text="yes", model="*other*/model-8b", notes=(note,))
    with open_store(path) as store:
        store.runs.begin(spec)
        sample = Sample("q", "Is it?", "yes")
        record = SampleRecord(sequence=0, sample=sample, status=Status.OK, answer=Answer(response), calls=1)
        store.samples.write("1-run", [record])
        store.runs.finish("1-run", "complete", {}, 1.0)
    run = [str(warning.value) for warning in visit(path, "run", run="1-run").warning]
    assert any("sent without temperature, which the server does not take" in plain(line) for line in run)
    assert any("1 of 1 replies: another model answered: *other*/model-8b" in plain(line) for line in run)
    (said,) = visit(path, "samples", run="1-run", sample="0").warning
    assert plain(str(said.value)) == note
    assert str(said.value) != note  # escaped: nothing in it is markup
