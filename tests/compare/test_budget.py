"""The score at smaller limits of tokens: against a known law of lengths, and against runs with that limit."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.compare.budget import Budgets, cut_replies
from evalkit.errors import UsageError
from evalkit.stats import estimate
from evalkit.store import open_store
from evalkit.store.records import MetricInfo, Run, RunSpec, SampleRecord, Tokens
from evalkit.store.store import Store
from evalkit.types import Answer, Sample, Score, Status
from tests.servers.lengths import Lengths, serve

TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match, length, token_f1

def samples():
    for i in range(800):
        yield Sample(f"{i}", f"{i} + {7 * i % 13}", str(i + 7 * i % 13))

@task(samples, metrics=[exact_match(), token_f1(), length()])
async def sums(sample, model) -> Answer:
    return Answer(await model.generate(sample.input))
"""
SEED = 1  # of replies whose curve lies near the law everywhere, as in two of three cases
RIGHT, MEAN, MOST = 0.8, 300.0, 2000  # chance of a right answer; tokens thought, on average and at most


def geometric(drawn: random.Random) -> float:
    return math.ceil(math.log(1 - drawn.random()) / math.log(1 - 1 / MEAN))


def share_ended(tokens: int) -> float:
    """The share of the replies that end within some tokens, by the law: the answer has one of them."""
    return 1 - (1 - 1 / MEAN) ** (tokens - 1)


def test_the_curve_of_a_thinking_model_is_the_law_of_its_lengths(evalkit: Any, tmp_path: Path) -> None:
    (tmp_path / "task_sums.py").write_text(TASK)
    with serve(geometric, RIGHT, MOST, seed=SEED) as server:
        model = f"openai:thinker@{server.url}?max_tokens={MOST}"
        (run,) = evalkit.json("run", "task_sums.py", "--model", model)["runs"]
        cached = evalkit.json("run", "task_sums.py", "--model", model)["runs"][0]
        assert cached["calls_from_cache"] == cached["calls"] == 800
        (curve,) = evalkit.json("show", run["id"], "--budget")["budget"]
        assert evalkit.json("show", cached["id"], "--budget")["budget"][0]["points"] == curve["points"]
        assert curve["points"][-1]["scores"]["exact_match"]["value"] == run["metrics"]["exact_match"]["value"]
        assert len(curve["points"]) > 90
        for point in curve["points"]:
            scored, ended = point["scores"]["exact_match"], share_ended(point["tokens"])
            assert scored["ci"][0] <= RIGHT * ended <= scored["ci"][1], point["tokens"]
            if point["tokens"] < MOST:
                assert abs(1 - ended - point["cut"]) < 4 * math.sqrt(ended * (1 - ended) / 800) + 1 / 800
        # A run with the smaller limit gives the point of the curve, not only on average.
        point = curve["points"][60]
        server.most = point["tokens"]
        small = evalkit.json("run", "task_sums.py", "--model", model, "--cache", "off")["runs"][0]
        assert small["counts"]["truncated"] == pytest.approx(800 * point["cut"])
        for name in ("value", "se", "ci"):
            assert small["metrics"]["exact_match"][name] == point["scores"]["exact_match"][name]
    text = evalkit("show", run["id"], "--budget").stdout
    assert "With at most 1,000 tokens a reply, half of the longest, exact_match would have been 0.7" in text
    assert "length (it does not judge the output)" in text
    assert text.count("●") == 10  # of the first metric: the others share one table
    assert re.search(r"limit +token_f1 ", text)


def test_nineteen_of_twenty_intervals_hold_the_law() -> None:
    """A curve's points depend on each other, so that one run can be off at many; here are 100 runs."""
    limits, covered = [30, 100, 300, 1000], 0
    for seed in range(100):
        server = Lengths(geometric, RIGHT, MOST, seed)
        replies = [server.reply(f"{i} + 1", None) for i in range(300)]
        for limit in limits:
            scores = [float(n <= limit and text == str(i + 1)) for i, (n, text) in enumerate(replies)]
            low, high = estimate(scores, low=0, high=1).ci
            covered += low <= RIGHT * share_ended(limit) <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_report_says_how_many_replies_were_cut_and_what_that_leaves_open(
    evalkit: Any, tmp_path: Path
) -> None:
    (tmp_path / "task_sums.py").write_text(TASK)
    with serve(geometric, RIGHT, 400) as server:
        model = f"openai:thinker@{server.url}?max_tokens=400"
        report = evalkit("run", "task_sums.py", "--model", model).stdout
    (run,) = evalkit.json("show", "latest")["runs"]
    n, score = run["counts"]["truncated"], run["metrics"]["exact_match"]["value"]
    assert 150 < n < 300
    cut = {"n": n, "of": 800, "in_reasoning": n, "bounds": {"exact_match": [score, score + n / 800]}}
    assert run["cut"]["bounds"]["exact_match"] == pytest.approx(cut["bounds"]["exact_match"])
    assert run["cut"] | {"bounds": 0} == cut | {"bounds": 0}
    sentence = (
        f"{n} of 800 replies were cut off (truncated), all inside the reasoning; exact_match between "
        f"{score:.3f} and {score + n / 800:.3f} if all of them were wrong or all right"
    )
    assert sentence in report
    assert sentence in evalkit("show", "latest").stdout


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "evalkit.db") as opened:
        yield opened


def add(
    store: Store,
    rows: list[dict[str, Any]],
    missing: int = 0,
    facts: dict[str, Any] | None = None,
    **infos: Any,
) -> Run:
    """Store a run whose samples have these fields; a score is one of the metric ``right``."""
    info = MetricInfo("right", **infos)
    n = len(rows) + missing
    store.runs.begin(
        RunSpec(
            id="run",
            task="t",
            path="",
            model="m",
            model_spec="m",
            metrics=(info,),
            n_expected=n,
            provenance=facts or {},
        )
    )
    records = [
        SampleRecord(
            sequence=number,
            sample=Sample(str(row.get("id", number)), "?"),
            repeat=row.get("repeat", 0),
            status=Status(row.get("status", "ok")),
            answer=Answer(text="a"),
            scores=(Score("right", row["score"]),),
            tokens=Tokens(5, row["tokens"]),
            calls=row.get("calls", 1),
            cut=row.get("cut", ""),
        )
        for number, row in enumerate(rows)
    ]
    store.samples.write("run", records)
    store.runs.finish("run", "incomplete" if missing else "complete", {"right": estimate([0.5])}, 1.0)
    return store.runs.get("run")


def test_a_longer_reply_scores_as_wrong_and_a_shorter_one_as_in_the_run(store: Store) -> None:
    rows = [
        {"score": 0.9, "tokens": 10},
        {"score": 0.4, "tokens": 30},
        {"score": 0.0, "tokens": 20, "status": "truncated"},  # a context that was full: cut at any limit
        {"score": 0.7, "tokens": 40},
    ]
    budgets = Budgets(store, add(store, rows))
    values = {point.tokens: (point.cut, point.scores["right"].value) for point in budgets.points()}
    expected = {10: (0.75, 0.225), 20: (0.75, 0.225), 30: (0.5, 0.325), 40: (0.25, 0.5)}
    assert values == {tokens: pytest.approx(pair) for tokens, pair in expected.items()}
    assert budgets.at(39).scores["right"] == estimate([0.9, 0.4, 0, 0], low=0, high=1)
    assert budgets.at(9).cut == 1
    assert budgets.steps()[-1] == 40


def test_the_worst_score_of_an_error_rate_is_its_highest(store: Store) -> None:
    rows = [{"score": 0.1, "tokens": 10}, {"score": 0.2, "tokens": 30}]
    run = add(store, rows, higher_is_better=False)
    assert Budgets(store, run).at(20).scores["right"].value == pytest.approx((0.1 + 1) / 2)


def test_repeats_of_a_sample_are_one_cluster(store: Store) -> None:
    rows = [
        {"id": i // 4, "repeat": i % 4, "score": float(i // 4 % 2), "tokens": 10 + i // 4} for i in range(40)
    ]
    point = Budgets(store, add(store, rows)).at(18).scores["right"]
    assert (point.method, point.clusters, point.n) == ("clustered t", 10, 40)


def test_what_is_not_known_makes_bounds(store: Store) -> None:
    rows = [
        {"score": 1.0, "tokens": 10},
        {"score": 1.0, "tokens": 30},
        {"score": 1.0, "tokens": 0},  # the server did not count it
        {"score": 0.0, "tokens": 0, "status": "empty"},  # wrong at any limit
    ]
    budgets = Budgets(store, add(store, rows, missing=1))
    assert budgets.at(20).scores["right"].bounds == pytest.approx((1 / 5, 3 / 5))
    assert budgets.at(30).scores["right"].bounds == pytest.approx((2 / 5, 4 / 5))
    assert budgets.notes == ["Replies without a count of tokens: 1. Each could have any score here."]


def test_a_sample_with_several_calls_is_one_budget(store: Store) -> None:
    rows = [{"score": 1.0, "tokens": 10, "calls": 3}, {"score": 1.0, "tokens": 30, "calls": 1}]
    budgets = Budgets(store, add(store, rows))
    (note,) = budgets.notes
    assert note == "A sample has up to 3 calls here: its tokens are those of all calls together."
    assert budgets.sentence("right").startswith("With at most 15 tokens a sample, half of the longest")


def test_bounds_of_cut_replies_cover_only_these(store: Store) -> None:
    rows = [
        {"score": 1.0, "tokens": 10},
        {"score": 0.0, "tokens": 0},
        {"score": 0.0, "tokens": 40, "status": "truncated", "cut": "reasoning"},
        {"score": 0.0, "tokens": 40, "status": "truncated", "cut": "answer"},
    ]
    run = add(store, rows, missing=4)
    found = cut_replies(store, run)
    assert found is not None
    assert found.bounds == {"right": pytest.approx((0.25, 0.75))}
    assert found.sentence == (
        "2 of 4 replies were cut off (truncated), 1 of them inside the reasoning; "
        "right between 0.250 and 0.750 if all of them were wrong or all right"
    )


def test_a_metric_without_an_upper_end_has_no_bounds(store: Store) -> None:
    rows = [{"score": 1.0, "tokens": 10}, {"score": 0.0, "tokens": 40, "status": "truncated"}]
    found = cut_replies(store, add(store, rows, high=None))
    assert found is not None
    assert found.sentence == "1 of 2 replies was cut off (truncated)"


def test_without_counts_of_tokens_there_is_no_curve(store: Store) -> None:
    run = add(store, [{"score": 1.0, "tokens": 0}])
    assert cut_replies(store, run) is None
    with pytest.raises(UsageError, match="run run has no number of tokens for any reply"):
        Budgets(store, run)


def test_a_value_without_scores_of_samples_has_no_curve(store: Store) -> None:
    run = add(store, [{"score": 1.0, "tokens": 9}])
    store.samples.replace_scores("run", {0: []})
    with pytest.raises(UsageError, match="has no score that a limit of tokens changes"):
        Budgets(store, run)


def test_lm_eval_scores_the_text_of_cut_replies(store: Store) -> None:
    run = add(store, [{"score": 1.0, "tokens": 9}], facts={"lm_eval": {"version": "0.4"}})
    with pytest.raises(UsageError, match="which scores the text of a reply that was cut off"):
        Budgets(store, run)


def test_an_aggregate_has_no_curve(store: Store) -> None:
    run = add(store, [{"score": 1.0, "tokens": 9}], aggregated=True)
    with pytest.raises(UsageError, match="right: its value is not a mean over the samples"):
        Budgets(store, run)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--budget"], "--budget needs a run: evalkit show RUN --budget"),
        (
            ["latest", "--budget", "--format", "csv"],
            "--budget has no --format csv: leave it out, or use --json",
        ),
    ],
)
def test_bad_uses_of_budget_say_what_to_write(
    evalkit: Any, store: Store, words: list[str], message: str
) -> None:
    add(store, [{"score": 1.0, "tokens": 9}])
    assert message in evalkit("show", *words, "--store", store.name, code=2).stderr
