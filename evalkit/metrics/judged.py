"""Metrics over a judge's verdicts (``evalkit.judge``): citations by BioGen and ALCE, claims by RAGChecker.

The verdicts stand in ``answer.metadata["judged"]``, recorded while the sample was answered. Where the task
asked no judge, these metrics do not apply; where the judge's reply could not be read, they are errors. A
failed reply has the worst score: nothing is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from evalkit.errors import MetricError
from evalkit.facts import CitedSentence, Claims, Reviewed, Support, Verdicts, read
from evalkit.metric import Kind, Metric, check_option
from evalkit.types import Answer, Sample

BioGen = Literal["coverage", "support", "contradict"]
Alce = Literal["recall", "precision"]
Looked = Literal["first_three", "all"]
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
    """Return a measure of citations of TREC BioGen, which judges each passage alone.

    ``biogen_coverage``: sentences with a citation that supports them / sentences. ``biogen_support`` and
    ``biogen_contradict``: citations that support, or contradict, their sentence / all citations; 0 without
    any. A mark that points to no passage is a citation that does neither.
    Source: Gupta et al., Overview of the TREC 2024 BioGen Track.
    """
    check_option("biogen", kind, get_args(BioGen))
    help_lines = {
        "coverage": "share of sentences with a citation that supports them",
        "support": "share of citations that support their sentence",
        "contradict": "share of citations that contradict their sentence",
    }
    return _metric(f"biogen_{kind}", kind, partial(_of_citations, partial(_biogen, kind)), help_lines[kind])


def alce(kind: Alce = "recall", citations: Looked = "first_three") -> Metric:
    """Return ALCE's citation recall or precision.

    ``alce_recall``: sentences entailed by their cited passages together / sentences. ``alce_precision``:
    citations that such an entailed sentence needs / all citations; 0 without any. A sentence does not need a
    passage that does not entail it alone while the other passages together do.
    The rule is that of ALCE's program (version 2): the first three citations of a sentence are looked at. A
    mark that points to no passage leaves its sentence unsupported, and none of the sentence's citations
    count in the precision. ``alce("precision", "all")``, named ``alce_precision[all]``, is stricter: all
    citations are looked at, and a mark that points to no passage is a wrong citation.
    Sentences and citations are found by evalkit's own rules: a passage counts once for each sentence, and
    ``[1, 2]`` cites two passages where ALCE's program reads the first alone.
    Source: Gao et al. 2023 and ALCE's ``eval.py`` (``--at_most_citations 3``).
    """
    check_option("alce", kind, get_args(Alce))
    check_option("alce", citations, get_args(Looked))
    help_lines = {
        "recall": "share of sentences that their citations entail",
        "precision": "share of citations that the sentence needs",
    }
    rule, name = (_alce_all, f"alce_{kind}[all]") if citations == "all" else (_alce, f"alce_{kind}")
    return _metric(name, kind, partial(_of_citations, partial(rule, kind)), help_lines[kind], version=2)


def ragchecker(kind: RagChecker = "f1") -> Metric:
    """Return one of RAGChecker's measures of claims: shares of claims by the texts that entail them.

    Of the reply as a whole: ``precision`` (claims of the reply that the reference entails), ``recall``
    (claims of the reference that the reply entails), ``f1``. Of the retriever: ``claim_recall`` (claims of
    the reference that a passage entails), ``context_precision`` (passages that entail such a claim). Of the
    generator: ``context_utilization`` (retrieved claims of the reference that the reply entails),
    ``faithfulness`` (claims of the reply that a passage entails), and shares of the reply's claims:
    ``noise_sensitivity_relevant`` (wrong, entailed by a relevant passage), ``noise_sensitivity_irrelevant``
    (wrong, entailed by irrelevant passages only), ``hallucination`` (wrong, entailed by no passage) and
    ``self_knowledge`` (right, entailed by no passage; not ranked). A share of nothing is 0.
    Where the retriever found no passage, ``self_knowledge`` is 0 too, as in RAGChecker's program (version 2).
    The program also gives 0, the best value, as ``hallucination`` there; here the claims are unfaithful.
    The first reference counts. No measure applies without a reference; where no passages were shown by
    design, only the first three apply. Source: Ru et al. 2024 and RAGChecker's ``computation.py``.
    """
    check_option("ragchecker", kind, get_args(RagChecker))
    retrieval = kind in ("claim_recall", "context_precision")
    return _metric(
        f"ragchecker_{kind}",
        kind,
        partial(_ragchecker, kind),
        f"RAGChecker's {kind.replace('_', ' ')}",
        kind="retrieval" if retrieval else "fact" if kind == "self_knowledge" else "output",
        version=2 if kind == "self_knowledge" else 1,
    )


def _metric(
    name: str,
    stat: str,
    fn: Callable[[Sample, Answer], float | None],
    told: str,
    kind: Kind = "output",
    version: int = 1,
) -> Metric:
    better = None if stat == "self_knowledge" else stat not in _WORSE_WHEN_HIGHER
    return Metric(name, fn, higher_is_better=better, kind=kind, help=told, version=version)


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
    looked = [
        Support(False, []) if None in sentence.cited else _first_three(sentence) for sentence in sentences
    ]
    if kind == "recall":
        return _share([float(support.together) for support in looked])
    return _share([float(support.together and needed) for support in looked for needed in support.needed])


def _first_three(sentence: CitedSentence) -> Support:
    if len(sentence.cited) <= 3:
        return Support(sentence.together, sentence.needed)
    if sentence.first_three is None:
        raise MetricError(
            "the stored verdicts do not say what the first three citations of a sentence support: an earlier "
            "version of evalkit recorded them; run the task again, or use alce(…, 'all')"
        )
    return sentence.first_three


def _alce_all(kind: Alce, sentences: Sentences) -> float:
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
    stated, expected = (np.array(table, dtype=bool).reshape(-1 if n else len(table), n) for table in tables)
    if kind in ("claim_recall", "context_precision", "context_utilization"):
        return _of_retrieved(kind, expected, found)
    return _of_reply(kind, stated, expected, right)


def _of_retrieved(kind: str, expected: Matrix, matched: Matrix) -> float:
    """Return a measure of the retriever. ``expected``: which passage entails which claim of the reference."""
    recalled = expected.any(axis=1)
    if kind == "context_precision":
        return _mean(expected.any(axis=0))
    return _mean(recalled) if kind == "claim_recall" else _mean(matched[recalled])


def _of_reply(kind: str, stated: Matrix, expected: Matrix, right: Matrix) -> float:
    """Return a measure of the reply's claims. ``stated``: which passage entails which claim of the reply."""
    if kind.startswith("noise") and not len(expected):
        return 0.0  # without a claim of the reference no passage is relevant or irrelevant
    if kind == "self_knowledge" and not stated.shape[1]:
        return 0.0  # RAGChecker's rule where no passage was found
    relevant = expected.any(axis=0)
    by_relevant = (stated & relevant).any(axis=1)
    by_irrelevant_only = (stated & ~relevant).any(axis=1) & ~by_relevant
    faithful = stated.any(axis=1)
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
