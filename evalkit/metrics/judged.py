"""Metrics over a judge's verdicts (see ``evalkit.judge``): citations as BioGen and ALCE score them, claims as
RAGChecker does.

The verdicts stand in ``answer.metadata["judged"]``, put there while the sample was answered. Where the task
asked no judge, these metrics do not apply; where the judge's word could not be read, they are errors. A reply
that is no answer has the worst score: nothing is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from evalkit.errors import MetricError, UsageError, did_you_mean
from evalkit.facts import CitedSentence, Claims, Reviewed, Verdicts, read
from evalkit.metric import Kind, Metric
from evalkit.types import Answer, Sample

BioGen = Literal["coverage", "support", "contradict"]
Alce = Literal["recall", "precision"]
RagChecker = Literal[
    "precision",
    "recall",
    "f1",
    "claim_recall",
    "context_precision",
    "context_utilization",
    "noise_sensitivity_relevant",
    "noise_sensitivity_irrelevant",
    "hallucination",
    "self_knowledge",
    "faithfulness",
]
Sentences = list[CitedSentence]
Matrix = Any  # of bool: claims × passages

_WORSE_WHEN_HIGHER = (
    "contradict",
    "noise_sensitivity_relevant",
    "noise_sensitivity_irrelevant",
    "hallucination",
)


def biogen(kind: BioGen = "coverage") -> Metric:
    """TREC BioGen's measures of citations, each passage judged by itself.

    ``biogen_coverage``: sentences with a citation that supports them / sentences. ``biogen_support`` and
    ``biogen_contradict``: citations that support, or contradict, their sentence / all citations, 0 without
    any. A mark that points to no passage is a citation that does neither.
    Source: Gupta et al., Overview of the TREC 2024 BioGen Track.
    """
    _check("biogen", kind, get_args(BioGen))
    told = {
        "coverage": "share of sentences with a citation that supports them",
        "support": "share of citations that support their sentence",
        "contradict": "share of citations that contradict their sentence",
    }
    return _metric(f"biogen_{kind}", kind, partial(_of_citations, partial(_biogen, kind)), told[kind])


def alce(kind: Alce = "recall") -> Metric:
    """ALCE's citation recall and precision.

    ``alce_recall``: sentences that the passages which they cite entail together / sentences.
    ``alce_precision``: citations that a sentence so entailed needs / all citations, 0 without any. It does
    not need a passage that does not entail it alone, while the others still do together.
    A mark that points to no passage leaves its sentence unsupported, as in ALCE, and is a wrong citation,
    which ALCE does not count. Source: Gao et al. 2023.
    """
    _check("alce", kind, get_args(Alce))
    told = {
        "recall": "share of sentences that their citations entail",
        "precision": "share of citations that the sentence needs",
    }
    return _metric(f"alce_{kind}", kind, partial(_of_citations, partial(_alce, kind)), told[kind])


def ragchecker(kind: RagChecker = "f1") -> Metric:
    """RAGChecker's measures of claims, from which text and which passage entails which claim.

    Of the reply as a whole: ``precision`` (claims of the reply that the reference entails), ``recall``
    (claims of the reference that the reply entails), ``f1``. Of the retriever: ``claim_recall`` (claims of
    the reference that some passage entails), ``context_precision`` (passages that entail one of them). Of the
    generator: ``context_utilization`` (retrieved claims of the reference that the reply entails),
    ``faithfulness`` (claims of the reply that some passage entails), and the shares of the reply's claims
    that are wrong and entailed by a relevant passage (``noise_sensitivity_relevant``), wrong and entailed by
    irrelevant ones only (``noise_sensitivity_irrelevant``), wrong and by none (``hallucination``), right and
    by none (``self_knowledge``, not ranked). Each is 0 where there is nothing to divide by.
    The first reference counts. Does not apply without a reference; all but the first three not where no
    passages were shown by design. Source: Ru et al. 2024 and RAGChecker's ``computation.py``.
    """
    _check("ragchecker", kind, get_args(RagChecker))
    retrieval = kind in ("claim_recall", "context_precision")
    return _metric(
        f"ragchecker_{kind}",
        kind,
        partial(_ragchecker, kind),
        f"RAGChecker's {kind.replace('_', ' ')}",
        kind="retrieval" if retrieval else "fact" if kind == "self_knowledge" else "output",
    )


def _check(factory: str, kind: str, known: tuple[str, ...]) -> None:
    if kind not in known:
        raise UsageError(f"{factory}: {kind!r} is none of {', '.join(known)}.{did_you_mean(kind, known)}")


def _metric(
    name: str,
    stat: str,
    fn: Callable[[Sample, Answer], float | None],
    told: str,
    kind: Kind = "output",
) -> Metric:
    better = None if stat == "self_knowledge" else stat not in _WORSE_WHEN_HIGHER
    return Metric(name, fn, higher_is_better=better, kind=kind, help=told)


def _verdicts(answer: Answer) -> Verdicts:
    """What the judge said, empty where none was asked. Raises ``MetricError`` where it could not be read."""
    verdicts = read(answer, Reviewed).judged or Verdicts()
    if verdicts.error:
        raise MetricError(f"no verdicts: {verdicts.error}")
    return verdicts


def _of_citations(compute: Callable[[Sentences], float], sample: Sample, answer: Answer) -> float | None:
    sentences = _verdicts(answer).citations
    return compute(sentences) if isinstance(sentences, list) else None


def _biogen(kind: BioGen, sentences: Sentences) -> float:
    verdicts = [verdict for sentence in sentences for verdict in sentence.alone]
    if kind == "coverage":
        return _share([float("entails" in sentence.alone) for sentence in sentences])
    wanted = "entails" if kind == "support" else "contradicts"
    return _share([float(verdict == wanted) for verdict in verdicts])


def _alce(kind: Alce, sentences: Sentences) -> float:
    entailed = [sentence.together and None not in sentence.cited for sentence in sentences]
    if kind == "recall":
        return _share([float(one) for one in entailed])
    return _share(
        [
            float(whole and needed)
            for sentence, whole in zip(sentences, entailed, strict=True)
            for needed in sentence.needed
        ]
    )


def _share(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _ragchecker(kind: RagChecker, sample: Sample, answer: Answer) -> float | None:
    claims = _verdicts(answer).claims
    if not isinstance(claims, Claims) or not any(target.strip() for target in sample.targets):
        return None
    right = np.array(claims.reply_by_reference, dtype=bool)
    found = np.array(claims.reference_by_reply, dtype=bool)
    if kind in ("precision", "recall", "f1"):
        precision, recall = _mean(right), _mean(found)
        f1 = 2 * precision * recall / (precision + recall) if precision and recall else 0.0
        return {"precision": precision, "recall": recall, "f1": f1}[kind]
    if claims.reply_by_passages is None or claims.reference_by_passages is None:
        return None
    tables = claims.reply_by_passages, claims.reference_by_passages
    n = max((len(row) for table in tables for row in table), default=0)
    said, wanted = (np.array(table, dtype=bool).reshape(-1 if n else len(table), n) for table in tables)
    if kind in ("claim_recall", "context_precision", "context_utilization"):
        return _of_retrieved(kind, wanted, found)
    return _of_reply(kind, said, wanted, right)


def _of_retrieved(kind: str, wanted: Matrix, found: Matrix) -> float:
    """``wanted``: which claim of the reference is entailed by which passage."""
    recalled = wanted.any(axis=1)
    if kind == "context_precision":
        return _mean(wanted.any(axis=0))
    return _mean(recalled) if kind == "claim_recall" else _mean(found[recalled])


def _of_reply(kind: str, said: Matrix, wanted: Matrix, right: Matrix) -> float:
    """``said``: which claim of the reply is entailed by which passage."""
    if kind.startswith("noise") and not len(wanted):
        return 0.0  # without a claim of the reference no passage is relevant or irrelevant
    relevant = wanted.any(axis=0)
    by_relevant = (said & relevant).any(axis=1)
    by_irrelevant_only = (said & ~relevant).any(axis=1) & ~by_relevant
    faithful = said.any(axis=1)
    shares = {
        "faithfulness": faithful,
        "hallucination": ~faithful & ~right,
        "self_knowledge": ~faithful & right,
        "noise_sensitivity_relevant": by_relevant & ~right,
        "noise_sensitivity_irrelevant": by_irrelevant_only & ~right,
    }
    return _mean(shares[kind])


def _mean(values: Matrix) -> float:
    return float(np.mean(values)) if len(values) else 0.0
