"""The arm ``agent`` in the report: evidence by search, and the gain over one search at equal tokens."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from evalkit.compare.rag import Report, reports, with_siblings
from evalkit.stats import estimate, paired
from evalkit.store.records import MetricInfo, Reproduction, RunSpec, SampleRecord, Tokens
from evalkit.store.store import Store
from evalkit.types import Answer, Passage, Response, Sample, Score, Status

F1 = MetricInfo("f1")
NAMES = "abcd"


def record(n: int, arm: str, score: float, tokens: int, found: Any = None) -> SampleRecord:
    name = NAMES[n]
    sample = Sample(name, f"{name}?", relevance={f"{name}1": 2, f"{name}2": 2, f"{name}3": 1})
    metadata = {} if found is None else {"searches": found}
    answer = Answer(Response(text="It is so [1]."), passages=(Passage("x", "text"),), metadata=metadata)
    return SampleRecord(
        sequence=n,
        sample=sample,
        status=Status.OK,
        answer=answer,
        scores=(Score("f1", score),),
        tokens=Tokens(prompt=tokens - 10, completion=10, cached=tokens - 20),
    )


def searches(*found: str) -> list[dict[str, Any]]:
    return [{"query": "?", "k": 2, "found": documents.split()} for documents in found]


def add(
    store: Store, arm: str, scores: list[float], tokens: int, found: Any = (None,) * 4, **params: Any
) -> str:
    given = {"arm": arm, "k": 5, "searches": 4, **params}
    run_id = "-".join(map(str, given.values()))
    spec = RunSpec(
        id=run_id,
        task=f"rag[arm={arm}]",
        path="task_rag.py",
        model="m",
        model_spec="m",
        params=given,
        metrics=(F1,),
        dataset="d",
        n_expected=4,
        reproduction=Reproduction(),
    )
    store.runs.begin(spec)
    rows = zip(scores, found, strict=True)
    store.samples.write(run_id, [record(n, arm, score, tokens, one) for n, (score, one) in enumerate(rows)])
    store.runs.finish(run_id, "complete", {"f1": estimate(scores, low=0, high=1)}, 1.0)
    return run_id


FOUND = (
    searches("a1 x", "a2"),  # both, in two searches
    searches("x", "y", "b1"),  # one, at the third
    searches("c1 c2"),  # both at once
    [],  # did not search
)


@pytest.fixture
def filled(store: Store) -> Store:
    add(store, "closed_book", [0, 0, 0, 0], 100)
    add(store, "retrieved", [1, 0, 0, 0], 600)
    add(store, "retrieved", [1, 1, 0, 0], 1900, k=18)
    add(store, "agent", [1, 1, 1, 0], 2000, FOUND)
    return store


def report(store: Store, run: str) -> Report:
    (made,) = reports(store, with_siblings(store, store.runs.get(run)))
    return made


def test_evidence_found_after_each_search(filled: Store) -> None:
    """Documents of the highest grade count; who stops early keeps what was found."""
    made = report(filled, "retrieved-5-4")
    points = {point.at: (point.estimate.value, point.estimate.n) for point in made.by_search}
    assert points == {"1": ((0.5 + 0 + 1 + 0) / 4, 4), "2": ((1 + 0 + 1) / 4, 4), "3": ((1 + 0.5 + 1) / 4, 4)}
    made_by = {point.at: point.estimate.value for point in made.searches}
    assert made_by == {"0": 0.25, "1": 0.25, "2": 0.25, "3": 0.25}


def test_the_gain_over_one_search_stands_beside_the_tokens_of_both(filled: Store) -> None:
    made = report(filled, "agent-5-4")
    rows = {gain.second: gain for gain in made.agent_gains}
    assert list(rows) == ["retrieved k=5", "retrieved k=18"]
    less, equal = rows.values()
    assert (less.first, less.first_tokens, less.second_tokens) == ("agent k=5 searches=4", 2000, 600)
    assert (less.a, less.b) == (0.75, 0.25)
    assert less.difference == paired([1, 1, 1, 0], [1, 0, 0, 0], low=0, high=1)
    assert equal.difference.value == pytest.approx(0.25)
    assert (less.equal_tokens, equal.equal_tokens) == (False, True)
    assert not any("equal tokens" in missing.what for missing in made.missing_runs)


def test_the_missing_run_has_as_many_passages_as_the_agents_tokens_pay_for(store: Store) -> None:
    """100 tokens without passages, 600 with five: a passage has 100, and 2,000 tokens pay for nineteen."""
    add(store, "closed_book", [0, 0, 0, 0], 100)
    add(store, "retrieved", [1, 0, 0, 0], 600)
    add(store, "agent", [1, 1, 1, 0], 2000, FOUND)
    (missing,) = [one for one in report(store, "agent-5-4").missing_runs if "equal tokens" in one.what]
    assert missing.what == "the gain of the agent at equal tokens, about 2,000 a sample"
    assert {"arm=retrieved", "k=19"} <= set(shlex.split(missing.command))


def test_one_run_alone_does_not_tell_the_tokens_of_a_passage(store: Store) -> None:
    add(store, "retrieved", [1, 0, 0, 0], 600)
    add(store, "agent", [1, 1, 1, 0], 2000, FOUND)
    assert not [one for one in report(store, "agent-5-4").missing_runs if "equal tokens" in one.what]


def test_other_numbers_of_searches_are_compared_with_the_same_retrieved_runs(filled: Store) -> None:
    add(filled, "agent", [1, 1, 1, 1], 900, FOUND, searches=2)
    made = report(filled, "agent-5-2")
    assert {gain.first for gain in made.agent_gains} == {"agent k=5 searches=4", "agent k=5 searches=2"}
    assert len(made.agent_gains) == 4
    assert set(made.params) == set()  # searches is swept: it is no setting of the whole report


def test_a_task_that_uses_the_name_otherwise_harms_nothing(store: Store) -> None:
    add(store, "retrieved", [1, 0, 0, 0], 600, ("seven", 7, [1], [{"query": 1}]))
    made = report(store, "retrieved-5-4")
    assert (made.by_search, made.searches, made.agent_gains) == ((), (), ())


def test_the_tables_of_the_command(filled: Store) -> None:
    from evalkit.cli.rag_report import tables

    shown = {title: rows for title, _, rows in tables(report(filled, "agent-5-4"))}
    against = shown["Agent against one search, paired by sample"]
    assert [row[2] for row in against] == ["2,000 against 600", "2,000 against 1,900 (about equal)"]
    assert [row[0] for row in shown["Evidence found (agent)"]] == ["1", "2", "3"]
    assert len(shown["Searches (agent)"]) == 4
