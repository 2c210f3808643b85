"""A run with repeats, as its report, ``evalkit show`` and ``--json`` say it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.compare.repeat_stats import majority_at, pass_all, pass_at
from evalkit.compare.repeats import RepeatedMetric, ks, repeats_of
from evalkit.stats import estimate
from evalkit.store import open_store
from evalkit.store.records import MetricInfo, Run, RunSpec, SampleRecord
from evalkit.store.store import Store
from evalkit.types import Answer, Sample, Score, Status
from tests.servers.lengths import serve

TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match, length

def samples():
    for i in range(60):
        yield Sample(f"{i}", f"{i} + {7 * i % 13}", str(i + 7 * i % 13))

@task(samples, metrics=[exact_match(), length()])
async def sums(sample, model) -> Answer:
    return Answer(await model.generate(sample.input))
"""


@pytest.fixture
def run_repeats(evalkit: Any, tmp_path: Path) -> Iterator[Callable[[str, int], tuple[dict[str, Any], str]]]:
    """Run the sums against a model that is right in 7 of 10 draws: its document and the report."""
    (tmp_path / "task_sums.py").write_text(TASK)
    with serve(lambda drawn: 5, 0.7, 100) as server:

        def run(parameters: str, repeats: int) -> tuple[dict[str, Any], str]:
            model = f"openai:thinker@{server.url}?{parameters}"
            report = evalkit("run", "task_sums.py", "--model", model, "--repeat", str(repeats)).stdout
            return evalkit.json("show", "latest")["runs"][0], report

        yield run


def test_a_run_with_repeats_says_what_they_say(run_repeats: Any, evalkit: Any) -> None:
    run, report = run_repeats("temperature=0.7&seed=3", 5)
    mean, found = run["metrics"]["exact_match"], run["repeats"]
    assert (found["repeats"], list(found["metrics"]), found["voted_on"]) == (
        5,
        ["exact_match"],
        {"number": 300},
    )
    of_k = found["metrics"]["exact_match"]
    assert list(of_k["pass@k"]) == list(of_k["maj@k"]) == list(of_k["pass^k"]) == ["1", "2", "4", "5"]
    for name in ("pass@k", "maj@k", "pass^k"):  # of one answer, all three are the score
        assert of_k[name]["1"]["value"] == pytest.approx(mean["value"])
    for k in ("2", "4", "5"):  # every draw is right with the chance 0.7
        low, high = of_k["pass^k"][k]["ci"]
        assert low <= 0.7 ** int(k) <= high
        assert of_k["pass@k"][k]["value"] == pytest.approx(1 - 0.3 ** int(k), abs=0.03)
    assert of_k["variance"]["se"] == mean["se"]
    assert of_k["variance"]["share"] > 0.8  # no question is harder than another
    assert found["notes"][0] == "Each repeat had a seed of its own: 3, 4, 5 …"
    for text in (report, evalkit("show", "latest").stdout):
        assert "sums, openai:thinker: exact_match of 5 repeats" in text
        assert "maj@k is the vote on what was read of the replies: number (300)." in text
        assert "Each repeat had a seed of its own: 3, 4, 5 …" in text


def test_repeats_at_temperature_0_are_said_to_be_equal(run_repeats: Any) -> None:
    run, report = run_repeats("temperature=0", 3)
    assert run["repeats"]["notes"] == [
        "The temperature is 0, so that the repeats of a sample can be equal.",
        "The 3 replies are the same in 60 of 60 samples.",
    ]
    variance = run["repeats"]["metrics"]["exact_match"]["variance"]
    assert (variance["sampling"], variance["share"], variance["ci"]) == (0, 0, None)
    assert variance["se_of_endless"] == pytest.approx(variance["se"])
    assert "The 3 replies are the same in 60 of 60 samples." in report


def test_one_seed_for_all_repeats_is_said(run_repeats: Any) -> None:
    run, _ = run_repeats("temperature=0.7&extra.seed=3", 2)
    assert run["repeats"]["notes"][0] == (
        "The repeats of a sample had the same seed: a server that follows it gives the same reply each time."
    )


def test_of_answers_from_a_file_only_the_answers_tell(evalkit: Any, tmp_path: Path) -> None:
    (tmp_path / "task_sums.py").write_text(TASK)
    lines = [
        {"id": f"{i}", "repeat": n, "prediction": str(i + 7 * i % 13 + (n > 1))}
        for i in range(60)
        for n in range(4)
    ]
    (tmp_path / "said.jsonl").write_text("\n".join(map(json.dumps, lines)))
    evalkit("score", "task_sums.py", "said.jsonl")
    (run,) = evalkit.json("show", "latest")["runs"]
    assert run["repeats"]["notes"] == []
    assert run["repeats"]["metrics"]["exact_match"]["maj@k"]["4"]["value"] == 0.5  # two against two


def test_a_run_without_repeats_says_nothing(run_repeats: Any) -> None:
    run, report = run_repeats("temperature=0.7", 1)
    assert "repeats" not in run
    assert "pass@k" not in report


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "evalkit.db") as opened:
        yield opened


def add(store: Store, replies: list[list[tuple[str, float] | None]], n_samples: int, **infos: Any) -> Run:
    """Store a run: the replies and scores of each sample; None for a repeat that is missing."""
    info, repeats = MetricInfo("right", **infos), len(replies[0])
    n = n_samples * repeats
    spec = RunSpec(
        id="run", task="t", path="", model="m", model_spec="m", metrics=(info,), repeats=repeats, n_expected=n
    )
    store.runs.begin(spec)
    records = [
        SampleRecord(
            sequence=i * repeats + repeat,
            sample=Sample(str(i), "?", "a word"),
            repeat=repeat,
            status=Status.OK if reply[0] else Status.EMPTY,
            answer=Answer(text=reply[0]),
            scores=(Score("right", reply[1]),),
        )
        for i, of_sample in enumerate(replies)
        for repeat, reply in enumerate(of_sample)
        if reply is not None
    ]
    store.samples.write("run", records)
    status = "complete" if len(records) == n else "incomplete"
    values = [record.scores[0].value or 0.0 for record in records]
    clusters = [record.sample.id for record in records]
    store.runs.finish("run", status, {"right": estimate(values, clusters=clusters)}, 1.0)
    return store.runs.get("run")


def measured(store: Store, run: Run) -> RepeatedMetric:
    found = repeats_of(store, run)
    assert found is not None
    return found.metrics["right"]


def test_the_values_are_means_over_the_samples(store: Store) -> None:
    replies = [
        [("a", 1.0), ("b", 0.0), ("a", 1.0), ("", 0.0)],  # an empty reply has no vote
        [("b", 0.0), ("b", 0.0), ("a", 1.0), ("c", 0.0)],
        [("a", 1.0), ("a", 1.0), ("a", 1.0), ("a", 1.0)],
    ]
    found = measured(store, add(store, replies, 3))
    for k in (1, 2, 4):
        right = [2, 1, 4]
        assert found.pass_at[k].value == pytest.approx(sum(pass_at(k, 4, c) for c in right) / 3)
        assert found.pass_all[k].value == pytest.approx(sum(pass_all(k, 4, c) for c in right) / 3)
        votes = [([text or None for text, _ in one], [score for _, score in one]) for one in replies]
        assert found.majority_at[k].value == pytest.approx(sum(majority_at(k, *one) for one in votes) / 3)
    assert found.majority_at[4].value == pytest.approx(2 / 3)
    assert (found.pass_at[4].n, found.pass_at[4].method, found.pass_at[4].bounds) == (3, "wilson", None)


def test_a_sample_with_missing_repeats_counts_where_it_has_enough(store: Store) -> None:
    replies = [[("a", 1.0), ("b", 0.0)], [("a", 1.0), None]]
    found = measured(store, add(store, replies, 3))  # the third sample was never asked
    assert (found.pass_at[1].value, found.pass_at[1].n) == (0.75, 2)
    assert found.pass_at[1].bounds == pytest.approx((0.5, (1.5 + 1) / 3))
    assert (found.pass_at[2].n, found.pass_at[2].bounds) == (1, pytest.approx((1 / 3, 1)))


def test_a_graded_metric_has_only_its_variance(store: Store) -> None:
    replies = [[("a", 0.5), ("b", 0.25)], [("a", 1.0), ("c", 0.75)]]
    found = measured(store, add(store, replies, 2))
    assert (found.pass_at, found.majority_at, found.pass_all) == ({}, {}, {})
    assert found.variance is not None
    assert found.variance.sampling == pytest.approx(0.25**2 / 2)


def test_an_aggregate_has_no_repeats(store: Store) -> None:
    assert repeats_of(store, add(store, [[("a", 1.0), ("b", 0.0)]], 1, aggregated=True)) is None


def test_a_value_without_scores_of_samples_is_left_out(store: Store) -> None:
    run = add(store, [[("a", 1.0), ("b", 0.0)]], 1)
    store.samples.replace_scores("run", {0: [], 1: []})
    found = repeats_of(store, run)
    assert found is not None
    assert found.metrics == {}


def test_k_goes_in_powers_of_two_to_the_number_of_repeats() -> None:
    assert [ks(n) for n in (2, 3, 8, 10)] == [[1, 2], [1, 2, 3], [1, 2, 4, 8], [1, 2, 4, 8, 10]]
