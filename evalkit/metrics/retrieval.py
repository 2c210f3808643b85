"""Retrieval metrics: the usual ones, as trec_eval computes them, and all others by ``ranking_measure``.

A ranking is a list of document ids, best first; an id that comes twice counts at its first rank only.
Relevance maps document ids to grades: a document is relevant from grade 1 on; one without a grade is not
relevant. Every function needs at least one relevant document: the metrics do not apply (None) to a sample
without any.

Sources: NIST's trec_eval (github.com/usnistgov/trec_eval), whose names are given with each function.
MacAvaney, Macdonald and Ounis, "Streamlining Evaluation with ir-measures", ECIR 2022; for the usual measures
ir_measures calls trec_eval through pytrec_eval.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from evalkit.errors import MetricError, UsageError, did_you_mean
from evalkit.extras import load
from evalkit.metric import Metric
from evalkit.types import Answer, Sample

Ranking = Sequence[str]
Relevance = Mapping[str, int]
Measure = Callable[[Ranking, Relevance, int | None], float]

# Measures of ir_measures whose highest value is 1. Others may count documents.
_SHARES = {
    "AP",
    "Bpref",
    "ERR",
    "IPrec",
    "Judged",
    "nDCG",
    "P",
    "R",
    "RR",
    "Rprec",
    "SetP",
    "SetR",
    "Success",
}


def trec_order(scores: Mapping[str, float]) -> list[str]:
    """Rank documents by score as trec_eval does: score descending, ties by document id descending.

    Scores are compared in single precision, as in trec_eval: scores that differ only after about seven digits
    are a tie. Raises ``MetricError`` for a score that is not a number.
    """
    for doc, score in scores.items():
        if math.isnan(score):
            raise MetricError(f"the score of document {doc!r} is not a number: it cannot be ranked")
    single = array("f", scores.values())
    return [doc for _, doc in sorted(zip(single, scores, strict=True), reverse=True)]


def recall_at(ranking: Ranking, relevance: Relevance, k: int | None = None) -> float:
    """Return the share of the relevant documents that are among the first ``k`` (``recall_k``)."""
    return sum(_hits(ranking, relevance, k)) / _count(relevance)


def precision_at(ranking: Ranking, relevance: Relevance, k: int | None = None) -> float:
    """Return the share of the first ``k`` that are relevant; always divided by ``k`` (``P_k``)."""
    hits = _hits(ranking, relevance, k)
    return sum(hits) / (k or len(hits) or 1)


def reciprocal_rank(ranking: Ranking, relevance: Relevance, k: int | None = None) -> float:
    """Return 1 / rank of the first relevant document, 0 without one (``recip_rank``)."""
    return next((1 / rank for rank, hit in enumerate(_hits(ranking, relevance, k), 1) if hit), 0.0)


def average_precision_at(ranking: Ranking, relevance: Relevance, k: int | None = None) -> float:
    """Return the precisions at each retrieved relevant document / all relevant (``map``, ``map_cut_k``)."""
    hits, total = 0, 0.0
    for rank, hit in enumerate(_hits(ranking, relevance, k), 1):
        if hit:
            hits += 1
            total += hits / rank
    return total / _count(relevance)


def ndcg_at(ranking: Ranking, relevance: Relevance, k: int | None = None) -> float:
    """Return the normalized discounted cumulative gain (``ndcg``, ``ndcg_cut_k``).

    The gain is the grade and the discount is log2(rank + 1). The ideal ranking holds all relevant documents,
    best grade first, and is also cut at ``k``.
    """
    gains = [max(relevance.get(doc, 0), 0) for doc in _top(ranking, k)]
    ideal = sorted((grade for grade in relevance.values() if grade > 0), reverse=True)[:k]
    return _discounted(gains) / _discounted(ideal)


def _top(ranking: Ranking, k: int | None) -> list[str]:
    return list(dict.fromkeys(ranking))[:k]


def _hits(ranking: Ranking, relevance: Relevance, k: int | None) -> list[bool]:
    return [relevance.get(doc, 0) > 0 for doc in _top(ranking, k)]


def _count(relevance: Relevance) -> int:
    return sum(grade > 0 for grade in relevance.values())


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def recall(k: int) -> Metric:
    """Return ``recall@k``: the share of the relevant documents that are among the first ``k`` retrieved."""
    return _metric("recall", recall_at, k)


def precision(k: int) -> Metric:
    """Return ``precision@k``: the share of the first ``k`` retrieved documents that are relevant."""
    return _metric("precision", precision_at, k)


def mrr(k: int | None = None) -> Metric:
    """Return ``mrr`` or ``mrr@k``: 1 / rank of the first relevant document (the mean is the MRR)."""
    return _metric("mrr", reciprocal_rank, k)


def ndcg(k: int | None = None) -> Metric:
    """Return ``ndcg@k`` or ``ndcg``: discounted cumulative gain / that of the ideal ranking."""
    return _metric("ndcg", ndcg_at, k)


def average_precision(k: int | None = None) -> Metric:
    """Return ``average_precision`` or ``average_precision@k`` (the mean over questions is the MAP)."""
    return _metric("average_precision", average_precision_at, k)


def _metric(name: str, measure: Measure, k: int | None) -> Metric:
    if k is not None and k < 1:
        raise UsageError(f"{name}({k}): the cutoff must be at least 1")
    help_line = (measure.__doc__ or "").split("\n")[0]
    full_name = name if k is None else f"{name}@{k}"
    return Metric(full_name, partial(_measured, measure, k), kind="retrieval", help=help_line)


def _measured(measure: Measure, k: int | None, sample: Sample, answer: Answer) -> float | None:
    if answer.ranked is None or _count(sample.relevance) == 0:
        return None
    return measure(answer.ranked, sample.relevance, k)


def ranking_measure(name: str) -> Metric:
    """Return a measure of the package ``ir-measures`` as a metric, by the package's name for it.

    The metric does not apply to a sample without a relevant document. Raises ``UsageError`` for an unknown
    name or a measure that no installed package can compute.
    """
    measure = _parsed(name)
    if measure.params.get("cutoff", 1) < 1:
        raise UsageError(f"measure {name!r}: the cutoff must be at least 1")
    help_line = " ".join((measure.__doc__ or "").split()).partition(". ")[0]
    return Metric(
        str(measure),
        partial(_measured_by_ir_measures, str(measure)),
        high=1.0 if measure.NAME in _SHARES else None,
        kind="retrieval",
        help=help_line,
    )


@cache
def _parsed(name: str) -> Any:
    ir_measures = load("ir_measures", "measuring rankings")
    try:
        measure = ir_measures.parse_measure(name)
        list(ir_measures.iter_calc([measure], [ir_measures.Qrel("1", "1", 1)], []))
    except (NameError, ValueError, AssertionError) as error:
        known = sorted(ir_measures.measures.registry)
        near = did_you_mean(name.partition("@")[0], known)
        raise UsageError(
            f"no measure {name!r} ({error}).{near} Measures are written as nDCG@10, AP@100, R@100, P@10, "
            "RR@10; all of them: ir-measur.es"
        ) from None
    return measure


def _measured_by_ir_measures(name: str, sample: Sample, answer: Answer) -> float | None:
    import ir_measures

    if answer.ranked is None or _count(sample.relevance) == 0:
        return None
    qrels = [ir_measures.Qrel("1", document, grade) for document, grade in sample.relevance.items()]
    ranked = dict.fromkeys(answer.ranked)
    run = [ir_measures.ScoredDoc("1", document, -float(n)) for n, document in enumerate(ranked)]
    values = [result.value for result in ir_measures.iter_calc([_parsed(name)], qrels, run)]
    return float(values[0]) if values else None
