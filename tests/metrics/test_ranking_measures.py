"""Measures through ir_measures: trec_eval's printed figures, and our own functions for the same measures."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.metrics import average_precision, mrr, ndcg, precision, recall
from evalkit.metrics.retrieval import ranking_measure, trec_order
from evalkit.retrieval.trec import read_qrels, read_run
from evalkit.types import Answer, Sample

PRINTED = {
    "map": "AP",
    "Rprec": "Rprec",
    "bpref": "Bpref",
    "recip_rank": "RR",
    "ndcg": "nDCG",
    "P_5": "P@5",
    "P_100": "P@100",
    "recall_100": "R@100",
    "ndcg_cut_10": "nDCG@10",
    "map_cut_100": "AP@100",
    "success_1": "Success@1",
    "num_ret": "NumRet",
}


def test_trec_evals_printed_figures_query_by_query(data: Path) -> None:
    qrels = read_qrels(data / "trec_eval" / "qrels.test")
    _, run = read_run(data / "trec_eval" / "results.test")
    printed: dict[tuple[str, str], str] = {}
    for line in (data / "trec_eval" / "out.test.aq").read_text().splitlines():
        measure, query, value = line.split()
        printed[query, measure] = value
    for query, relevance in qrels.items():
        answer = Answer(text="", ranking=tuple(trec_order(run[query])))
        for theirs, name in PRINTED.items():
            value = ranking_measure(name)(Sample(query, "q", relevance=relevance), answer)
            expected = float(printed[query, theirs])
            assert value == pytest.approx(expected, abs=5e-5), (query, name)


def test_they_agree_with_the_functions_that_tasks_use() -> None:
    pairs = [
        ("nDCG@10", ndcg(10)),
        ("AP@5", average_precision(5)),
        ("R@3", recall(3)),
        ("P@4", precision(4)),
        ("RR@10", mrr(10)),
        ("AP", average_precision()),
    ]
    chance = random.Random(5)
    for _ in range(50):
        documents = [f"d{n}" for n in range(12)]
        relevance = {d: chance.choice([0, 1, 2]) for d in chance.sample(documents, 6)} | {"elsewhere": 1}
        answer = Answer(text="", ranking=tuple(chance.sample(documents, chance.randint(0, 12))))
        sample = Sample("q", "q", relevance=relevance)
        for name, ours in pairs:
            assert ranking_measure(name)(sample, answer) == pytest.approx(ours(sample, answer), abs=1e-9), (
                name
            )


def test_what_a_measure_says_of_itself_and_where_it_does_not_apply() -> None:
    made = ranking_measure("MRR@10")
    assert (made.name, made.high, made.kind) == ("RR@10", 1.0, "retrieval")
    assert ranking_measure("NumRet").high is None
    answer = Answer(text="", ranking=("a",))
    assert made(Sample("q", "q", relevance={"a": 0}), answer) is None
    assert made(Sample("q", "q", relevance={"a": 1}), Answer(text="", ranking=None)) is None
    assert made(Sample("q", "q", relevance={"a": 1}), Answer(text="", ranking=())) == 0


@pytest.mark.parametrize("name", ["ndgc@10", "nDCG@ten", "nDCG@0", "R", ""])
def test_unknown_measures_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="measure"):
        ranking_measure(name)
