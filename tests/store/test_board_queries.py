"""Paging and ranking, against plain Python over the same rows."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from evalkit.errors import UsageError
from evalkit.store import open_store
from evalkit.store.board import Page
from evalkit.store.records import MetricInfo, ParameterInfo, Reproduction, RunSpec, SampleRecord
from evalkit.store.store import Store
from evalkit.types import Answer, Estimate, Response, Sample, Score, Status

F1, LENGTH = MetricInfo("f1"), MetricInfo("words", high=None, higher_is_better=None)
LOSS = MetricInfo("loss", high=None, higher_is_better=False)


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory):
    random.seed(4)
    words = ["Aspirin", "placebo", "50%", "under_score", "trial"]
    rows = [
        SampleRecord(
            sequence=i,
            sample=Sample(f"doc-{i}", f"About {random.choice(words)}?"),
            status=random.choice(list(Status)),
            answer=Answer(Response(text=f"It is {random.choice(words)}.")),
            scores=(Score("f1", round(random.random(), 2) if random.random() > 0.1 else None),),
        )
        for i in random.sample(range(3000), 1000)
    ]
    with open_store(tmp_path_factory.mktemp("board") / "evalkit.db") as store:
        store.runs.begin(RunSpec(id="r", task="t", path="p", model="m", model_spec="s", metrics=(F1,)))
        store.samples.write("r", rows)
        yield store, sorted(rows, key=lambda r: r.sequence)


@pytest.mark.parametrize("order", ["lowest", "highest"])
@pytest.mark.parametrize("filters", [{}, {"status": "ok"}, {"at_most": 0.5}])
def test_pages_in_the_order_of_a_score_are_a_plain_sort(thousand, order, filters) -> None:
    """Many samples share a value: those stand in the order in which they ran."""
    store, rows = thousand
    sign = -1 if order == "highest" else 1
    kept = [
        r for r in rows if r.scores[0].value is not None and r.scores[0].value <= filters.get("at_most", 1)
    ]
    kept = [r for r in kept if filters.get("status") in (None, r.status)]
    wanted = [r.sequence for r in sorted(kept, key=lambda r: (sign * r.scores[0].value, r.sequence))]
    pages = walk(store, metric="f1", order=order, **filters)
    assert [row.sequence for page in pages for row in page.rows] == wanted
    for earlier, later in itertools.pairwise(pages):
        before = {"metric": "f1", "order": order, "before": later.before, **filters}
        assert store.board.page("r", limit=37, **before) == earlier


@pytest.mark.parametrize(
    "typed", ["ÉTUDE", "étude", "Ärzte", "ärzte", "ΣΊΓΜΑ", "σίγμα", "ИССЛЕДОВАНИЕ", "study"]
)
def test_a_search_ignores_case_in_every_alphabet(tmp_path: Path, typed: str) -> None:
    text = "Study, Étude, Ärzte, ΣΊΓΜΑ, Исследование: 100 %"
    with open_store(tmp_path / "evalkit.db") as store:
        store.runs.begin(RunSpec(id="r", task="t", path="p", model="m", model_spec="s"))
        answers = [Answer(text=text.lower()), Answer(text="other"), None]
        questions = ["q", text.upper(), "other"]
        rows = [
            SampleRecord(sequence=i, sample=Sample(str(i), question), status=Status.OK, answer=answer)
            for i, (question, answer) in enumerate(zip(questions, answers, strict=True))
        ]
        store.samples.write("r", rows)
        assert [row.sequence for row in store.board.page("r", text=typed).rows] == [0, 1]


def walk(store: Store, **filters: object) -> list[Page]:
    pages = [store.board.page("r", limit=37, **filters)]  # type: ignore[arg-type]
    while pages[-1].after is not None:
        pages.append(store.board.page("r", limit=37, after=pages[-1].after, **filters))  # type: ignore[arg-type]
    return pages


@pytest.mark.parametrize(
    ("filters", "keep"),
    [
        ({}, lambda r: True),
        ({"status": "ok"}, lambda r: r.status == "ok"),
        ({"status": ["error", "empty"]}, lambda r: r.status in ("error", "empty")),
        ({"metric": "f1"}, lambda r: r.scores[0].value is not None),
        (
            {"metric": "f1", "at_most": 0.25},
            lambda r: r.scores[0].value is not None and r.scores[0].value <= 0.25,
        ),
        (
            {"metric": "f1", "at_least": 0.2, "at_most": 0.25, "status": "ok"},
            lambda r: r.status == "ok" and r.scores[0].value is not None and 0.2 <= r.scores[0].value <= 0.25,
        ),
        ({"text": "ASPIRIN"}, lambda r: "aspirin" in (r.sample.input + r.answer.reply).lower()),
        ({"text": "50%"}, lambda r: "50%" in r.sample.input + r.answer.reply),
        ({"text": "r_s"}, lambda r: "r_s" in r.sample.input + r.answer.reply),
        ({"text": "doc-17"}, lambda r: "doc-17" in r.sample.id),
        ({"text": "nowhere"}, lambda r: False),
    ],
)
def test_pages_put_together_are_a_plain_filter(thousand, filters, keep) -> None:
    store, rows = thousand
    pages = walk(store, **filters)
    wanted = [r.sequence for r in rows if keep(r)]
    assert [row.sequence for page in pages for row in page.rows] == wanted
    assert {page.total for page in pages} == {len(wanted)}
    assert pages[0].before is None
    for earlier, later in itertools.pairwise(pages):
        assert store.board.page("r", limit=37, before=later.before, **filters) == earlier


def test_a_row_of_a_page_shows_the_sample(thousand) -> None:
    store, rows = thousand
    row, record = store.board.page("r", limit=1).rows[0], rows[0]
    assert (row.sequence, row.sample_id, row.status) == (record.sequence, record.sample.id, record.status)
    assert (row.question, row.reply) == (record.sample.input, record.answer.reply)
    assert row.scores == {"f1": record.scores[0].value}


def finished(
    store: Store, run_id: str, model: str, status: str, value: float, *, n: int = 3, dataset: str = "d"
) -> None:
    store.runs.begin(
        RunSpec(
            id=run_id,
            task="t[k=1]",
            path="p",
            model=model,
            model_spec="s",
            metrics=(F1, LENGTH, LOSS),
            n_expected=3,
            dataset=dataset,
        )
    )
    states = [Status.OK] * (n - 1) + [Status.ERROR if status == "incomplete" else Status.OK]
    rows = [SampleRecord(sequence=i, sample=Sample(f"d{i}", "q"), status=s) for i, s in enumerate(states)]
    store.samples.write(run_id, rows)
    bounds = (value - 0.1, value + 0.1) if status != "complete" else None
    estimate = Estimate(value, 0.1, (value - 0.2, value + 0.2), n, bounds=bounds)
    store.runs.finish(run_id, status, {"f1": estimate, "words": estimate, "loss": estimate}, 1.0)  # type: ignore[arg-type]


@pytest.fixture
def board(tmp_path: Path):
    with open_store(tmp_path / "evalkit.db") as store:
        finished(store, "1", "old and new", "complete", 0.9)
        finished(store, "2", "old and new", "complete", 0.5)
        finished(store, "3", "tied", "complete", 0.5)
        finished(store, "4", "best", "complete", 0.8)
        finished(store, "5", "best", "interrupted", 0.99)
        finished(store, "6", "broken", "incomplete", 0.95)
        finished(store, "7", "few", "complete", 1.0, n=1, dataset="limited")
        yield store


def test_a_chosen_run_stands_in_place_of_the_newest(board: Store) -> None:
    rows = board.board.ranking("t[k=1]", "f1", ["1"])
    assert [(row.rank, row.run.id) for row in rows[:3]] == [(1, "1"), (2, "4"), (3, "3")]
    both = board.board.ranking("t[k=1]", "f1", ["1", "2"])
    assert {"1", "2"} <= {row.run.id for row in both if row.rank}


def test_a_hidden_run_is_in_no_ranking_until_it_is_asked_for(board: Store) -> None:
    board.runs.annotate("4", hidden=True, label="a wrong prompt")
    assert "4" not in {row.run.id for row in board.board.ranking("t[k=1]", "f1")}
    assert "4" in {row.run.id for row in board.board.ranking("t[k=1]", "f1", ["4"])}
    board.runs.annotate("4", hidden=False)
    run = next(row.run for row in board.board.ranking("t[k=1]", "f1") if row.run.id == "4")
    assert run.spec.label == "a wrong prompt"
    for run_id in "1234567":
        board.runs.annotate(run_id, hidden=True)
    assert board.board.tasks() == []


def test_only_complete_runs_on_the_same_samples_are_ranked(board: Store) -> None:
    rows = board.board.ranking("t[k=1]", "f1")
    assert [(row.rank, row.run.id) for row in rows[:3]] == [(1, "4"), (2, "2"), (2, "3")]
    apart = {row.run.id: row for row in rows[3:]}
    assert set(apart) == {"5", "6", "7"}
    assert all(row.rank is None for row in apart.values())
    assert apart["6"].reason == "incomplete: 1 of 3 failed"
    assert apart["6"].estimate is not None
    assert apart["6"].estimate.bounds == pytest.approx((0.85, 1.05))
    assert "other samples" in apart["7"].reason


def unlike(store: Store, run_id: str, model: str, value: float, **changes: object) -> None:
    """A complete run that differs from the others in its spec or provenance."""
    facts = {"code_sha256": "aa", **changes.pop("provenance", {})}  # type: ignore[dict-item]
    spec = RunSpec(
        id=run_id,
        task="t[k=1]",
        path="p",
        model=model,
        model_spec="s",
        metrics=changes.pop("metrics", (F1,)),  # type: ignore[arg-type]
        n_expected=1,
        dataset="d",
        provenance=facts,
        **changes,  # type: ignore[arg-type]
    )
    store.runs.begin(spec)
    row = SampleRecord(sequence=0, sample=Sample("d0", "q"), status=Status.OK)
    store.samples.write(run_id, [row])
    store.runs.finish(run_id, "complete", {"f1": Estimate(value, 0.1, (0, 1), 1)}, 1.0)


def test_runs_that_differ_in_more_than_the_model_are_kept_apart_with_the_reason(tmp_path: Path) -> None:
    with open_store(tmp_path / "evalkit.db") as store:
        unlike(store, "1", "a", 0.5)
        unlike(store, "2", "b", 0.4)
        unlike(store, "7", "c", 0.3)
        unlike(store, "3", "code", 0.9, provenance={"code_sha256": "bb"})
        unlike(store, "4", "rule", 0.9, metrics=(MetricInfo("f1", version=2),))
        unlike(store, "5", "mix", 0.9, provenance={"mixed": ["the prompt"]})
        unlike(store, "6", "a", 0.8, provenance={"code_sha256": "bb"})
        rows = store.board.ranking("t[k=1]", "f1")
        assert [(row.rank, row.run.id) for row in rows if row.rank] == [(1, "1"), (2, "2"), (3, "7")]
        assert {row.run.id: row.reason for row in rows if row.rank is None} == {
            "3": "differs from the ranked runs in the task code",
            "4": "differs from the ranked runs in f1's rule (version 2 and 1)",
            "5": "a mix: resumed after a change of the prompt",
            "6": "differs from the ranked runs in the task code",
        }
        assert all(row.estimate for row in rows)  # the comparison is offered all the same


def test_of_two_prompts_the_one_that_most_models_answered_is_ranked(tmp_path: Path) -> None:
    with open_store(tmp_path / "evalkit.db") as store:
        for run_id, model, code in (
            ("1", "a", "old"),
            ("2", "a", "new"),
            ("3", "b", "new"),
            ("4", "c", "old"),
        ):
            unlike(store, run_id, model, 0.5, provenance={"code_sha256": code})
        unlike(store, "5", "d", 0.5, provenance={"code_sha256": "new"})
        ranked = [row.run.id for row in store.board.ranking("t[k=1]", "f1") if row.rank]
        assert sorted(ranked) == ["2", "3", "5"]


def test_a_task_opens_in_its_main_arm_whichever_ran_last(tmp_path: Path) -> None:
    arms = Reproduction(parameters={"image": ParameterInfo("real", ("real", "none")), "k": ParameterInfo(5)})
    with open_store(tmp_path / "evalkit.db") as store:
        for arm in ("real", "none"):
            params = {"image": arm, "k": 10}
            spec = RunSpec(id=arm, task=f"v[image={arm}]", path="p", model="m", model_spec="s", params=params)
            store.runs.begin(replace(spec, reproduction=arms))
        assert {info.name: info.side_arms for info in store.board.tasks()} == {
            "v[image=real]": 0,
            "v[image=none]": 1,
        }


def test_the_metric_says_which_end_is_good(board: Store) -> None:
    assert [row.run.id for row in board.board.ranking("t[k=1]", "loss") if row.rank] == ["2", "3", "4"]
    assert [row.rank for row in board.board.ranking("t[k=1]", "words")] == [None] * 6


def test_unknown_names_are_answered_with_the_nearest(board: Store) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 't\[k=1\]'"):
        board.board.ranking("t[k=2]", "f1")
    with pytest.raises(UsageError, match="Did you mean 'f1'"):
        board.board.ranking("t[k=1]", "f2")


def test_tasks(board: Store) -> None:
    (info,) = board.board.tasks()
    assert (info.name, info.base, info.runs, info.models) == ("t[k=1]", "t", 7, 5)
    assert [m.name for m in info.metrics] == ["f1", "words", "loss"]
