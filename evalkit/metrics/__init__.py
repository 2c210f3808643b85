"""Metrics: each factory returns a ``Metric``, whose name carries its parameters (``recall@5``).

Names are imported when first used, so that ``import evalkit.metrics`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_WHERE = {
    "Metric": "base",
    "abstained": "abstaining",
    "abstention": "abstaining",
    "accuracy": "choice",
    "alce": "judged",
    "alignscore": "faithfulness",
    "average_precision": "retrieval",
    "bertscore": "embedding",
    "biogen": "judged",
    "brier": "calibration",
    "chrf": "overlap",
    "citation_coverage": "citation",
    "citation_precision": "citation",
    "citation_recall": "citation",
    "closed_accuracy": "vision",
    "copy_rate": "sources",
    "count_within": "vision",
    "entity_overlap": "mentions",
    "evidence_direction": "direction",
    "exact_match": "text",
    "expected_calibration_error": "calibration",
    "factoid": "exact",
    "length": "text",
    "list_answer": "exact",
    "macro_f1": "exact",
    "math_answer": "vision",
    "meteor": "overlap",
    "metric": "base",
    "mrr": "retrieval",
    "ndcg": "retrieval",
    "only": "base",
    "precision": "retrieval",
    "ragchecker": "judged",
    "ranking_measure": "ranking",
    "readability": "grades",
    "recall": "retrieval",
    "rouge": "text",
    "summac": "faithfulness",
    "token_f1": "text",
    "token_recall": "vision",
    "unsupported_numbers": "mentions",
    "where_answerable": "abstaining",
}

__all__ = [*_WHERE]

if TYPE_CHECKING:
    from evalkit.metrics.abstaining import abstained as abstained
    from evalkit.metrics.abstaining import abstention as abstention
    from evalkit.metrics.abstaining import where_answerable as where_answerable
    from evalkit.metrics.base import Metric as Metric
    from evalkit.metrics.base import metric as metric
    from evalkit.metrics.base import only as only
    from evalkit.metrics.calibration import brier as brier
    from evalkit.metrics.calibration import expected_calibration_error as expected_calibration_error
    from evalkit.metrics.choice import accuracy as accuracy
    from evalkit.metrics.citation import citation_coverage as citation_coverage
    from evalkit.metrics.citation import citation_precision as citation_precision
    from evalkit.metrics.citation import citation_recall as citation_recall
    from evalkit.metrics.direction import evidence_direction as evidence_direction
    from evalkit.metrics.embedding import bertscore as bertscore
    from evalkit.metrics.exact import factoid as factoid
    from evalkit.metrics.exact import list_answer as list_answer
    from evalkit.metrics.exact import macro_f1 as macro_f1
    from evalkit.metrics.faithfulness import alignscore as alignscore
    from evalkit.metrics.faithfulness import summac as summac
    from evalkit.metrics.grades import readability as readability
    from evalkit.metrics.judged import alce as alce
    from evalkit.metrics.judged import biogen as biogen
    from evalkit.metrics.judged import ragchecker as ragchecker
    from evalkit.metrics.mentions import entity_overlap as entity_overlap
    from evalkit.metrics.mentions import unsupported_numbers as unsupported_numbers
    from evalkit.metrics.overlap import chrf as chrf
    from evalkit.metrics.overlap import meteor as meteor
    from evalkit.metrics.ranking import ranking_measure as ranking_measure
    from evalkit.metrics.retrieval import average_precision as average_precision
    from evalkit.metrics.retrieval import mrr as mrr
    from evalkit.metrics.retrieval import ndcg as ndcg
    from evalkit.metrics.retrieval import precision as precision
    from evalkit.metrics.retrieval import recall as recall
    from evalkit.metrics.sources import copy_rate as copy_rate
    from evalkit.metrics.text import exact_match as exact_match
    from evalkit.metrics.text import length as length
    from evalkit.metrics.text import rouge as rouge
    from evalkit.metrics.text import token_f1 as token_f1
    from evalkit.metrics.vision import closed_accuracy as closed_accuracy
    from evalkit.metrics.vision import count_within as count_within
    from evalkit.metrics.vision import math_answer as math_answer
    from evalkit.metrics.vision import token_recall as token_recall


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(f"evalkit.metrics.{_WHERE[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'evalkit.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
