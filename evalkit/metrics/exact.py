"""Exact answers as BioASQ scores them: one entity (factoid), a list of entities, a label (yes/no).

The task reads them out of the reply into ``answer.metadata["exact_answer"]``: a list of strings, best first,
each one entity. The sample's own ``metadata["exact_answer"]`` has BioASQ's layout: a list of entities, each a
list of its synonyms; for yes/no a word. Two names are the same without regard to case and white space.
Source: Tsatsaronis et al. 2015; BioASQ's Evaluation-Measures, ``QuestionAnswerEvaluator``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from evalkit.errors import MetricError, UsageError, did_you_mean
from evalkit.metric import Metric
from evalkit.metrics.vision import read_label
from evalkit.types import Answer, Sample

Factoid = Literal["strict", "lenient", "mrr"]
Stat = Literal["f", "precision", "recall"]

MOST = 5  # answers to a factoid question that BioASQ looks at


def factoid(kind: Factoid = "mrr") -> Metric:
    """``factoid_strict``: 1 if the first answer is right; ``factoid_lenient``: if one of the first five is;
    ``factoid_mrr``: 1 / rank of the first right one among five, else 0.

    Does not apply where the sample has no list of exact answers. Raises ``UsageError`` for another kind.
    """
    if kind not in get_args(Factoid):
        names = get_args(Factoid)
        raise UsageError(f"factoid: {kind!r} is none of {', '.join(names)}.{did_you_mean(kind, names)}")
    return Metric(f"factoid_{kind}", partial(_factoid, kind), help=f"BioASQ factoid answers ({kind})")


def list_answer(stat: Stat = "f") -> Metric:
    """``list_f``, ``list_precision``, ``list_recall`` of the entities named against those wanted.

    A wanted entity is found once: naming it again, or a synonym of it, is one wrong entity more. Does not
    apply where the sample has no list of exact answers. Raises ``UsageError`` for another stat.
    """
    if stat not in get_args(Stat):
        names = get_args(Stat)
        raise UsageError(f"list_answer: {stat!r} is none of {', '.join(names)}.{did_you_mean(stat, names)}")
    return Metric(f"list_{stat}", partial(_list, stat), help=f"BioASQ list answers ({stat})")


def macro_f1(labels: Sequence[str] = ("yes", "no")) -> Metric:
    """``macro_f1``: the mean over ``labels`` of their F1 over the whole run. BioASQ's measure of yes/no.

    The right label is the sample's ``metadata["exact_answer"]``, or else its target; a sample whose right
    answer is no label is left out. The label said is what the task has read, or else the one that
    ``read_label`` finds in the reply: none, where it finds none or the reply failed. None is wrong: it costs
    the right label recall. A label that is neither wanted nor said has F1 0.
    A sample's own value is the place of (right, said) in the table of both. Raises ``UsageError`` for fewer
    than two labels.
    """
    known = tuple(label.lower() for label in labels)
    if isinstance(labels, str) or len(set(known)) != len(known) or len(known) < 2:
        raise UsageError(f"macro_f1: labels is {labels!r}, two or more different words are wanted")
    name = "macro_f1" if known == ("yes", "no") else f"macro_f1[{'|'.join(known)}]"
    return Metric(
        name,
        partial(_label_pair, known),
        help=f"macro F1 over {', '.join(known)}",
        aggregate=partial(_macro_f1, len(known)),
    )


def _factoid(kind: Factoid, sample: Sample, answer: Answer) -> float | None:
    wanted = _wanted(sample)
    if wanted is None:
        return None
    ranks = [n for n, name in enumerate(_named(answer)[:MOST], 1) if any(name in e for e in wanted)]
    if not ranks:
        return 0.0
    return {"strict": float(ranks[0] == 1), "lenient": 1.0, "mrr": 1 / ranks[0]}[kind]


def _list(stat: Stat, sample: Sample, answer: Answer) -> float | None:
    wanted = _wanted(sample)
    if wanted is None:
        return None
    named, left = _named(answer), list(wanted)
    for name in named:
        found = next((entity for entity in left if name in entity), None)
        if found is not None:
            left.remove(found)
    hits = len(wanted) - len(left)
    over = {"f": (len(named) + len(wanted)) / 2, "precision": len(named), "recall": len(wanted)}[stat]
    return hits / over if hits else 0.0


def _wanted(sample: Sample) -> list[set[str]] | None:
    """The entities, each as its folded synonyms; None where the question has no list of them."""
    given = sample.metadata.get("exact_answer")
    if given is None or isinstance(given, str):
        return None
    if not given or not all(isinstance(entity, list | tuple) and entity for entity in given):
        raise MetricError(f"sample {sample.id!r}: exact_answer {given!r} is no list of lists of synonyms")
    return [{_folded(name) for name in entity} for entity in given]


def _named(answer: Answer) -> list[str]:
    given: Any = answer.metadata.get("exact_answer")
    if given is None:
        raise MetricError(
            "the task has read no exact answers: it puts them into answer.metadata['exact_answer'], "
            "an empty list where it finds none"
        )
    return [_folded(name) for name in ([given] if isinstance(given, str) else given)]


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())


def _label_pair(labels: tuple[str, ...], sample: Sample, answer: Answer) -> float | None:
    given = sample.metadata.get("exact_answer", sample.targets[0] if sample.targets else "")
    right = _folded(given) if isinstance(given, str) else ""
    if right not in labels:
        return None
    read = answer.metadata.get("exact_answer")
    said = read_label(answer.reply, labels) if read is None else _only_one(read)
    place = labels.index(said) if said in labels and not answer.failed else len(labels)
    return float(labels.index(right) * (len(labels) + 1) + place)


def _only_one(read: Any) -> str | None:
    names = [read] if isinstance(read, str) else read
    return _folded(names[0]) if len(names) == 1 else None


def _macro_f1(n: int, places: Sequence[float]) -> float:
    table = np.bincount(np.asarray(places, dtype=int), minlength=n * (n + 1)).reshape(n, n + 1)
    hits, wanted, said = np.diagonal(table), table.sum(axis=1), table.sum(axis=0)[:n]
    return float(np.mean(2 * hits / np.maximum(wanted + said, 1)))
