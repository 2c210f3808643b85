"""Retrieval metrics against trec_eval: its own fixtures, and its measures through pytrec_eval."""

import gzip
import json
import math
import os
import random
from collections import defaultdict
from pathlib import Path

import pytest
import pytrec_eval

from evalkit.errors import MetricError, UsageError
from evalkit.metrics import average_precision, mrr, ndcg, precision, recall
from evalkit.metrics.retrieval import trec_order
from evalkit.types import Answer, Passage, Sample

CUTOFFS = (5, 10, 15, 20, 30, 100, 200, 500, 1000)
OURS = {
    "map": average_precision(),
    "recip_rank": mrr(),
    "ndcg": ndcg(),
    **{f"P_{k}": precision(k) for k in CUTOFFS},
    **{f"recall_{k}": recall(k) for k in CUTOFFS},
    **{f"ndcg_cut_{k}": ndcg(k) for k in CUTOFFS},
    **{f"map_cut_{k}": average_precision(k) for k in CUTOFFS},
}


def data(*parts: str) -> Path:
    if "EVALKIT_DATA" not in os.environ:
        pytest.skip("EVALKIT_DATA is not set: it names the folder of real evaluation data")
    return Path(os.environ["EVALKIT_DATA"]).joinpath(*parts)


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    for query, _, doc, grade in map(str.split, path.read_text().splitlines()):
        qrels[query][doc] = int(grade)
    return dict(qrels)


def read_run(text: str) -> dict[str, dict[str, float]]:
    run: dict[str, dict[str, float]] = defaultdict(dict)
    for line in text.splitlines():
        query, _, doc, _, score, _ = line.split(maxsplit=5)  # trec_eval takes the rest as the run's name
        run[query][doc] = float(score)
    return dict(run)


def read_output(path: Path) -> dict[str, dict[str, str]]:
    """What trec_eval printed: {query or "all": {measure: value}}."""
    printed: dict[str, dict[str, str]] = defaultdict(dict)
    for measure, query, value in map(str.split, path.read_text().splitlines()):
        printed[query][measure] = value
    return printed


def score(relevance: dict[str, int], scores: dict[str, float]) -> dict[str, float]:
    sample = Sample("q", "q", relevance=relevance)
    answer = Answer(text="", ranking=tuple(trec_order(scores)))
    return {name: m(sample, answer) for name, m in OURS.items()}


@pytest.mark.parametrize(
    ("qrels", "run", "expected"),
    [
        ("qrels.test", "results.test", "out.test.aq"),
        ("qrels.test", "results.trunc", "out.test.aqc"),
    ],
)
def test_trec_evals_own_fixtures_to_the_printed_digits(qrels, run, expected):
    judged = read_qrels(data("trec_eval", qrels))
    retrieved = read_run(data("trec_eval", run).read_text())
    printed = read_output(data("trec_eval", expected))
    ours = {query: score(judged[query], retrieved.get(query, {})) for query in judged}
    ours["all"] = {name: sum(ours[q][name] for q in judged) / len(judged) for name in OURS}
    for query, values in ours.items():
        assert {name: f"{value:.4f}" for name, value in values.items()} == {
            name: printed[query][name] for name in OURS
        }


def test_trec_evals_default_and_all_output_agree_with_the_means():
    judged = read_qrels(data("trec_eval", "qrels.test"))
    retrieved = read_run(data("trec_eval", "results.test").read_text())
    ours = [score(judged[query], retrieved[query]) for query in judged]
    for file in ("out.test", "out.test.a"):
        printed = read_output(data("trec_eval", file))["all"]
        shared = sorted(set(OURS) & set(printed))
        assert len(shared) > 10
        assert {m: f"{sum(o[m] for o in ours) / len(ours):.4f}" for m in shared} == {
            m: printed[m] for m in shared
        }


def test_trec_evals_graded_fixture():
    judged = read_qrels(data("trec_eval", "qrels.rel_level"))
    retrieved = read_run(data("trec_eval", "results.test").read_text())
    printed = read_output(data("trec_eval", "out.test.aql"))
    assert max(max(grades.values()) for grades in judged.values()) == 4
    graded = [name for name in OURS if name.startswith("ndcg")]  # -l2 changes the binary measures only
    for query in judged:
        ours = score(judged[query], retrieved[query])
        assert {m: f"{ours[m]:.4f}" for m in graded} == {m: printed[query][m] for m in graded}


def test_scifact_run_gives_what_trec_eval_gives():
    expected = json.loads(data("scifact", "trec_eval_expected.json").read_text())
    run = read_run(gzip.decompress(data("scifact", "bm25.test.run.gz").read_bytes()).decode())
    judged: dict[str, dict[str, int]] = defaultdict(dict)
    for query, doc, grade in map(str.split, data("scifact", "qrels.test.tsv").read_text().splitlines()[1:]):
        judged[query][doc] = int(grade)
    ours = {query: score(judged[query], run.get(query, {})) for query in judged}
    assert len(ours) == expected["queries"]
    for query, values in expected["per_query"].items():
        assert {m: ours[query][m] for m in values} == pytest.approx(values, abs=1e-6)
    means = {m: value for m, value in expected["mean"].items() if m in OURS}
    assert len(means) == 12
    assert {m: sum(o[m] for o in ours.values()) / len(ours) for m in means} == pytest.approx(means, abs=1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_equal_to_pytrec_eval_on_random_graded_rankings_with_ties(seed):
    rng = random.Random(seed)
    docs = [f"{rng.choice(['d', 'D', 'é', '-', '10'])}{i}" for i in range(rng.choice([3, 30, 1200]))]
    judged = {doc: rng.choice([-1, 0, 0, 1, 1, 2, 3]) for doc in docs if rng.random() < 0.5}
    judged |= {"relevant but never retrieved": 2}
    # few distinct scores, and some that differ beyond single precision only
    levels = [1.0, 1.0 + 1e-9, 2.5, -3.0, 0.0, 1e-30, 16777216.0, 16777217.0]
    scores = {doc: rng.choice(levels) for doc in docs if rng.random() < 0.9} or {docs[0]: 1.0}
    measures = {"map", "recip_rank", "ndcg", "P", "recall", "ndcg_cut", "map_cut"}
    theirs = pytrec_eval.RelevanceEvaluator({"q": judged}, measures).evaluate({"q": scores})["q"]
    ours = score(judged, scores)
    assert ours == pytest.approx({name: theirs[name] for name in OURS}, abs=1e-12)


def test_cut_reciprocal_rank():
    sample, answer = Sample("q", "q", relevance={"c": 1}), Answer(ranking=("a", "b", "c"))
    assert mrr(2)(sample, answer) == 0.0
    assert mrr(3)(sample, answer) == pytest.approx(1 / 3)


def test_a_document_that_comes_twice_counts_once():
    sample = Sample("q", "q", relevance={"a": 1, "b": 1})
    twice, once = Answer(ranking=("a", "a", "b")), Answer(ranking=("a", "b"))
    for m in OURS.values():
        assert m(sample, twice) == m(sample, once)
    assert precision(2)(sample, twice) == 1.0


def test_chunks_of_one_document_are_one_document():
    chunks = (
        Passage("d1#0", "x", doc_id="d1"),
        Passage("d1#1", "y", doc_id="d1"),
        Passage("d2#0", "z", doc_id="d2"),
    )
    sample = Sample("q", "q", relevance={"d1": 1, "d2": 1})
    assert ndcg(10)(sample, Answer(text="", passages=chunks)) == 1.0


def test_not_applicable_by_design_and_by_data_but_not_by_failure():
    judged, unjudged = Sample("q", "q", relevance={"a": 1}), Sample("q", "q", relevance={"a": 0})
    for m in OURS.values():
        assert m(judged, Answer(text="x", passages=(Passage("a", "x"),), ranking=None)) is None
        assert m(judged, Answer(text="closed book")) is None
        assert m(unjudged, Answer(ranking=("a",))) is None
        assert m(judged, Answer(ranking=())) == 0.0, "a search that found nothing is a failure"


def test_names_carry_the_cutoff():
    made = [
        recall(5),
        precision(1),
        mrr(),
        mrr(10),
        ndcg(10),
        ndcg(),
        average_precision(),
        average_precision(3),
    ]
    assert [m.name for m in made] == [
        "recall@5",
        "precision@1",
        "mrr",
        "mrr@10",
        "ndcg@10",
        "ndcg",
        "average_precision",
        "average_precision@3",
    ]
    with pytest.raises(UsageError, match=r"recall\(0\): the cutoff must be at least 1"):
        recall(0)


def test_trec_order_breaks_ties_by_id_descending_in_single_precision():
    assert trec_order({"a": 1.0, "b": 1.0 + 1e-9, "c": 2.0, "d": -1e300, "e": 1e300}) == [
        "e",
        "c",
        "b",
        "a",
        "d",
    ]
    assert trec_order({}) == []
    with pytest.raises(MetricError, match="document 'x' is not a number"):
        trec_order({"y": 1.0, "x": math.nan})
