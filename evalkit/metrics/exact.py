"""Exact answers as BioASQ scores them: an entity (factoid), a list of entities, or a label (yes/no).

The task reads the answers out of the reply into ``answer.metadata["exact_answer"]``: a list of entities as
strings, best first. The sample's ``metadata["exact_answer"]`` has BioASQ's layout: a list of entities, each a
list of its synonyms; for yes/no a word. Names are compared without regard to case and white space.
Source: Tsatsaronis et al. 2015; BioASQ's Evaluation-Measures, ``QuestionAnswerEvaluator``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from evalkit.errors import MetricError, UsageError
from evalkit.metric import Metric, check_option
from evalkit.reading.answers import read_label
from evalkit.types import Answer, Sample

Factoid = Literal["strict", "lenient", "mrr"]
Stat = Literal["f", "precision", "recall"]

MOST = 5  # the number of answers to a factoid question that BioASQ scores


def factoid(kind: Factoid = "mrr") -> Metric:
    """Return ``factoid_strict``, ``factoid_lenient`` or ``factoid_mrr``.

    Strict: 1 if the first answer is right. Lenient: 1 if one of the first five is right. MRR: 1 / rank of the
    first right answer among the first five, else 0. Does not apply where the sample has no list of exact
    answers. Raises ``UsageError`` for another kind.
    """
    check_option("factoid", kind, get_args(Factoid))
    return Metric(f"factoid_{kind}", partial(_factoid, kind), help=f"BioASQ factoid answers ({kind})")


def list_answer(stat: Stat = "f") -> Metric:
    """Return ``list_f``, ``list_precision`` or ``list_recall`` of the named against the expected entities.

    An expected entity counts once: a second mention of the entity, or of a synonym, is a wrong entity. A name
    that two expected entities share counts for one of them, and the other is not missed (version 2). Does
    not apply where the sample has no list of exact answers. Raises ``UsageError`` for another stat.
    Source: ``calculatePRFforListQuestions`` of BioASQ's Evaluation-Measures.
    """
    check_option("list_answer", stat, get_args(Stat))
    return Metric(f"list_{stat}", partial(_list, stat), help=f"BioASQ list answers ({stat})", version=2)


def macro_f1(labels: Sequence[str] = ("yes", "no")) -> Metric:
    """Return ``macro_f1``: the mean over ``labels`` of their F1 over the whole run. BioASQ's yes/no measure.

    The right label is the sample's ``metadata["exact_answer"]``, or else its target; a sample whose right
    answer is not a label is left out. The predicted label is the label that the task has read, or else the
    label that ``read_label`` finds in the reply. A failed reply, or one without a label, is as wrong as a
    wrong label (version 2): it is missing for the right label, and counts against the others in equal parts.
    With two labels this is the rule of BioASQ's program; scikit-learn has no such rule, and without it
    silence would beat a wrong answer. A label that is neither right nor predicted in any sample has F1 0.
    A sample's own value is the index of (right, predicted) in the confusion matrix. Raises ``UsageError`` for
    fewer than two labels.
    """
    names = tuple(label.lower() for label in labels)
    if isinstance(labels, str) or len(set(names)) != len(names) or len(names) < 2:
        raise UsageError(f"macro_f1: labels is {labels!r}; give two or more different words")
    name = "macro_f1" if names == ("yes", "no") else f"macro_f1[{'|'.join(names)}]"
    return Metric(
        name,
        partial(_label_pair, names),
        help=f"macro F1 over {', '.join(names)}",
        aggregate=partial(_macro_f1, len(names)),
        version=2,
    )


def _factoid(kind: Factoid, sample: Sample, answer: Answer) -> float | None:
    expected = _expected(sample)
    if expected is None:
        return None
    ranks = [n for n, name in enumerate(_named(answer)[:MOST], 1) if any(name in e for e in expected)]
    if not ranks:
        return 0.0
    return {"strict": float(ranks[0] == 1), "lenient": 1.0, "mrr": 1 / ranks[0]}[kind]


def _list(stat: Stat, sample: Sample, answer: Answer) -> float | None:
    expected = _expected(sample)
    if expected is None:
        return None
    named, remaining = _named(answer), list(expected)
    for name in named:
        match = next((entity for entity in remaining if name in entity), None)
        if match is not None:
            remaining.remove(match)
    hits = len(expected) - len(remaining)
    missed = _missed(named, remaining)
    over = {"f": (len(named) + hits + missed) / 2, "precision": len(named), "recall": hits + missed}[stat]
    return hits / over if hits else 0.0


def _missed(named: Sequence[str], remaining: Sequence[set[str]]) -> int:
    """Count the expected entities that no name matches; each name matches one of them at most."""
    left, missed = list(named), 0
    for entity in remaining:
        match = next((name for name in left if name in entity), None)
        if match is None:
            missed += 1
        else:
            left.remove(match)
    return missed


def _expected(sample: Sample) -> list[set[str]] | None:
    """Return the expected entities, each as its folded synonyms; None where the sample lists none."""
    listed = sample.metadata.get("exact_answer")
    if listed is None or isinstance(listed, str):
        return None
    if not listed or not all(isinstance(entity, list | tuple) and entity for entity in listed):
        raise MetricError(f"sample {sample.id!r}: exact_answer {listed!r} is not a list of lists of synonyms")
    return [{_folded(name) for name in entity} for entity in listed]


def _named(answer: Answer) -> list[str]:
    listed: Any = answer.metadata.get("exact_answer")
    if listed is None:
        raise MetricError(
            "the task has read no exact answers: a task must write them to answer.metadata['exact_answer'], "
            "an empty list where the reply holds none"
        )
    return [_folded(name) for name in ([listed] if isinstance(listed, str) else listed)]


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())


def _label_pair(labels: tuple[str, ...], sample: Sample, answer: Answer) -> float | None:
    target = sample.metadata.get("exact_answer", sample.targets[0] if sample.targets else "")
    right = _folded(target) if isinstance(target, str) else ""
    if right not in labels:
        return None
    labels_read = answer.metadata.get("exact_answer")
    said = read_label(answer.reply, labels, sample.input) if labels_read is None else _only_one(labels_read)
    column = labels.index(said) if said in labels and not answer.failed else len(labels)
    return float(labels.index(right) * (len(labels) + 1) + column)


def _only_one(labels: Any) -> str | None:
    names = [labels] if isinstance(labels, str) else labels
    return _folded(names[0]) if len(names) == 1 else None


def _macro_f1(n: int, cells: Sequence[float]) -> float:
    """Return the mean F1 of ``n`` labels; the confusion matrix has one more column, for no label."""
    table = np.bincount(np.asarray(cells, dtype=int), minlength=n * (n + 1)).reshape(n, n + 1)
    hits, expected, predicted = np.diagonal(table), table.sum(axis=1), table.sum(axis=0)[:n].astype(float)
    silent = table[:, n]
    predicted += (silent.sum() - silent) / (n - 1)
    return float(np.mean(2 * hits / np.maximum(expected + predicted, 1)))
