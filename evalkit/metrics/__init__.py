"""Metrics. Each factory returns a ``Metric``, whose name carries its parameters (``recall@5``).

A name's module is imported at first use, so that ``import evalkit.metrics`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalkit.util.lazy import lazy_names

_WHERE = {
    "Metric": "evalkit.metric",
    "abstained": "evalkit.metrics.abstaining",
    "abstention": "evalkit.metrics.abstaining",
    "accuracy": "evalkit.metrics.choice",
    "alce": "evalkit.metrics.judged",
    "alignscore": "evalkit.metrics.faithfulness",
    "average_precision": "evalkit.metrics.retrieval",
    "bertscore": "evalkit.metrics.embedding",
    "biogen": "evalkit.metrics.judged",
    "brier": "evalkit.metrics.calibration",
    "chrf": "evalkit.metrics.overlap",
    "citation_coverage": "evalkit.metrics.citation",
    "citation_precision": "evalkit.metrics.citation",
    "citation_recall": "evalkit.metrics.citation",
    "closed_accuracy": "evalkit.metrics.vision",
    "copy_rate": "evalkit.metrics.sources",
    "count_within": "evalkit.metrics.vision",
    "entity_overlap": "evalkit.metrics.mentions",
    "evidence_direction": "evalkit.metrics.direction",
    "exact_match": "evalkit.metrics.text",
    "expected_calibration_error": "evalkit.metrics.calibration",
    "factoid": "evalkit.metrics.exact",
    "length": "evalkit.metrics.text",
    "list_answer": "evalkit.metrics.exact",
    "llava_med_recall": "evalkit.metrics.llava_med",
    "macro_f1": "evalkit.metrics.exact",
    "math_answer": "evalkit.metrics.vision",
    "math_vision_official": "evalkit.metrics.math_vision",
    "meteor": "evalkit.metrics.overlap",
    "metric": "evalkit.metric",
    "mrr": "evalkit.metrics.retrieval",
    "ndcg": "evalkit.metrics.retrieval",
    "only": "evalkit.metric",
    "precision": "evalkit.metrics.retrieval",
    "ragchecker": "evalkit.metrics.judged",
    "ranking_measure": "evalkit.metrics.retrieval",
    "readability": "evalkit.metrics.grades",
    "recall": "evalkit.metrics.retrieval",
    "rouge": "evalkit.metrics.text",
    "summac": "evalkit.metrics.faithfulness",
    "token_f1": "evalkit.metrics.text",
    "token_recall": "evalkit.metrics.vision",
    "unsupported_numbers": "evalkit.metrics.mentions",
    "where_answerable": "evalkit.metrics.abstaining",
}

__all__ = [*_WHERE]

if TYPE_CHECKING:
    from evalkit.metric import Metric as Metric
    from evalkit.metric import metric as metric
    from evalkit.metric import only as only
    from evalkit.metrics.abstaining import abstained as abstained
    from evalkit.metrics.abstaining import abstention as abstention
    from evalkit.metrics.abstaining import where_answerable as where_answerable
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
    from evalkit.metrics.llava_med import llava_med_recall as llava_med_recall
    from evalkit.metrics.math_vision import math_vision_official as math_vision_official
    from evalkit.metrics.mentions import entity_overlap as entity_overlap
    from evalkit.metrics.mentions import unsupported_numbers as unsupported_numbers
    from evalkit.metrics.overlap import chrf as chrf
    from evalkit.metrics.overlap import meteor as meteor
    from evalkit.metrics.retrieval import average_precision as average_precision
    from evalkit.metrics.retrieval import mrr as mrr
    from evalkit.metrics.retrieval import ndcg as ndcg
    from evalkit.metrics.retrieval import precision as precision
    from evalkit.metrics.retrieval import ranking_measure as ranking_measure
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


__getattr__, __dir__ = lazy_names(__name__, _WHERE)
