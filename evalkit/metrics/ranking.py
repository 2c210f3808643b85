"""Any measure of a ranking that ir_measures knows, computed by it: ``nDCG@10``, ``AP``, ``R@100``, ``Bpref``.

Source: MacAvaney, Macdonald and Ounis, "Streamlining Evaluation with ir-measures", ECIR 2022; for the usual
measures it calls NIST's trec_eval through pytrec_eval. The plain functions that tasks use for the same
measures are in ``retrieval.py``.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from evalkit.errors import UsageError, did_you_mean
from evalkit.metric import Metric
from evalkit.types import Answer, Sample

# Of these 1 is the most that can be had; others may count documents.
_SHARES = (
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
)


def ranking_measure(name: str) -> Metric:
    """The measure as a metric under ir_measures' name for it. It needs the package ``ir-measures``.

    It does not apply to a sample without any relevant document. Raises ``UsageError`` for a name that is not
    known, or a measure that nothing installed can compute.
    """
    measure = _parsed(name)
    if measure.params.get("cutoff", 1) < 1:
        raise UsageError(f"measure {name!r}: the cutoff must be at least 1")
    described = " ".join((measure.__doc__ or "").split()).partition(". ")[0]
    return Metric(
        str(measure),
        partial(_measured, str(measure)),
        high=1.0 if measure.NAME in _SHARES else None,
        kind="retrieval",
        help=described,
    )


@cache
def _parsed(name: str) -> Any:
    try:
        import ir_measures
    except ModuleNotFoundError:
        raise UsageError(
            "measuring rankings needs the package ir-measures: pip install 'evalkit[rag]'"
        ) from None
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


def _measured(name: str, sample: Sample, answer: Answer) -> float | None:
    import ir_measures

    if answer.ranked is None or not any(grade > 0 for grade in sample.relevance.values()):
        return None
    qrels = [ir_measures.Qrel("1", document, grade) for document, grade in sample.relevance.items()]
    ranked = dict.fromkeys(answer.ranked)
    run = [ir_measures.ScoredDoc("1", document, -float(n)) for n, document in enumerate(ranked)]
    values = [one.value for one in ir_measures.iter_calc([_parsed(name)], qrels, run)]
    return float(values[0]) if values else None
