"""The figures of a RAG report, computed from the samples. Pure functions: no store, no files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from evalkit.compare.paired import Pairs
from evalkit.compare.rag.records import Cause, Gain, Point
from evalkit.compare.rag.seen import Key, Seen
from evalkit.stats import estimate
from evalkit.store.records import MetricInfo
from evalkit.types import Estimate

SeenSamples = Mapping[Key, Seen]

PAIRS = (
    ("retrieved", "closed_book", "what retrieval gains"),
    ("oracle", "retrieved", "what perfect retrieval would still gain"),
    ("oracle", "closed_book", "what the evidence is worth"),
    ("hidden", "oracle", "what noise around the evidence changes"),
    ("distractors", "closed_book", "what passages that do not answer change"),
    ("contradicting", "oracle", "what contradicting evidence changes"),
    ("agent", "retrieved", "what searching itself changes, at more tokens"),
    ("agent", "oracle", "how far its evidence is from the best"),
)
CAUSES = {
    "right with evidence": "right, and cites what answers",
    "right": "right, and what answers was shown",
    "right without evidence": "right, though what answers was not shown, or not cited",
    "not retrieved": "wrong, and nothing that answers was shown",
    "partly retrieved": "wrong, and not all that answers was shown",
    "retrieved but not used": "wrong; what answers was shown and is not cited",
    "used but wrong": "wrong; what answers was shown and is cited",
    "retrieved but wrong": "wrong, though what answers was shown",
}
_BY_CITATION = ("right with evidence", "retrieved but not used", "used but wrong")
_WITHOUT = ("right", "retrieved but wrong")  # where the task scores no citations


class Rule(NamedTuple):
    """The worst score at which a sample is right, the direction of the metric, and the reason."""

    right: float
    higher: bool
    why: str

    def __call__(self, score: float) -> bool:
        return score >= self.right - 1e-9 if self.higher else score <= self.right + 1e-9


UNSAID = "say from which score on a reply is right: --right SCORE"


def rule(
    info: MetricInfo, chosen: float | None, oracle: SeenSamples | None, retrieved: SeenSamples | None
) -> Rule | None:
    """Return the rule for a right sample: ``chosen``, if any; else the best value, if all are best or worst.

    None for a graded metric without ``chosen``: no score of the run itself says what is right.
    """
    higher = info.higher_is_better is not False
    if chosen is not None:
        return Rule(chosen, higher, "as asked for")
    scores = {seen.score for samples in (oracle, retrieved) for seen in (samples or {}).values()}
    high = 1.0 if info.high is None else info.high
    return (
        Rule(high if higher else info.low, higher, "the best value") if scores <= {info.low, high} else None
    )


def gain(info: MetricInfo, names: tuple[str, str, str], pairs: Pairs) -> Gain:
    """Return the difference of two arms; ``names`` are the two arms and what their difference means."""
    higher = info.higher_is_better is not False
    return Gain(info.name, higher, *names, *pairs.means, pairs.difference(info))


def causes(samples: SeenSamples, right: Rule) -> tuple[Cause, ...]:
    """Return the causes of right and wrong replies in the arm ``retrieved``; the shares add up to 1.

    Only samples with a gold document count, each with one cause. Without citations, nobody knows whether the
    reply used a document.
    """
    counted = [seen for seen in samples.values() if seen.needed]
    if not counted:
        return ()
    names = [_cause(seen, right(seen.score)) for seen in counted]
    clusters = [seen.cluster for seen in counted]
    left_out = _BY_CITATION if all(seen.used is None for seen in counted) else _WITHOUT
    return tuple(
        Cause(
            name,
            CAUSES[name],
            names.count(name),
            estimate([float(n == name) for n in names], clusters=clusters, low=0, high=1),
        )
        for name in CAUSES
        if name not in left_out
    )


def _cause(seen: Seen, right: bool) -> str:
    if right:
        if seen.shown and seen.used is None:
            return "right"
        return "right with evidence" if seen.shown and seen.used else "right without evidence"
    if not seen.shown:
        return "not retrieved"
    if seen.shown < seen.needed:
        return "partly retrieved"
    if seen.used is None:
        return "retrieved but wrong"
    return "used but wrong" if seen.used else "retrieved but not used"


def by_rank(samples: SeenSamples, info: MetricInfo) -> tuple[Point, ...]:
    """Return the score by the rank of the first gold document, with points for not shown and not found."""

    def rank(seen: Seen) -> str:
        if seen.rank is None:
            return "not found"
        return str(seen.rank) if seen.shown else "not shown"

    order = [*map(str, sorted({s.rank for s in samples.values() if s.rank})), "not shown", "not found"]
    return curve(((rank(seen), key, seen) for key, seen in samples.items()), info, order)


def by_position(runs: Sequence[SeenSamples], info: MetricInfo) -> tuple[Point, ...]:
    """Return the score by the position of the first gold passage, over the runs of the arm ``hidden``."""
    placed = [(s.position, key, s) for run in runs for key, s in run.items() if s.position is not None]
    order = list(map(str, sorted({position for position, _, _ in placed})))
    return curve(((str(position), key, seen) for position, key, seen in placed), info, order)


def curve(
    placed: Iterable[tuple[str, Key, Seen]],
    info: MetricInfo | None,
    order: Sequence[str],
    value: Callable[[Seen], float] = lambda seen: seen.score,
) -> tuple[Point, ...]:
    """Return the mean score at each place of ``order``. At each place a sample counts once, with its mean.

    ``info`` gives the range of the values; None: 0 to 1.
    """
    at: dict[str, dict[Key, list[Seen]]] = {}
    for place, key, seen in placed:
        at.setdefault(place, {}).setdefault(key, []).append(seen)
    low, high = (0.0, 1.0) if info is None else (info.low, info.high)

    def mean(samples: Mapping[Key, Sequence[Seen]]) -> Estimate:
        values = [sum(map(value, repeats)) / len(repeats) for repeats in samples.values()]
        clusters = [repeats[0].cluster for repeats in samples.values()]
        return estimate(values, clusters=clusters, low=low, high=high)

    return tuple(Point(place, mean(at[place])) for place in order if place in at)


def evidence_shown(seen: Seen) -> float:
    """Return the share of the gold documents that the prompt contained, of those that it had room for."""
    return seen.shown / seen.needed if seen.needed else 0.0


def by_search(samples: SeenSamples) -> tuple[Point, ...]:
    """Return the share of the gold documents found after each search, of samples that have some.

    A sample that made fewer searches counts with what it had found by then.
    """
    counted = [seen for seen in samples.values() if seen.gold and seen.found is not None]
    clusters = [seen.cluster for seen in counted]
    most = max((len(seen.found or ()) for seen in counted), default=0)

    def share(seen: Seen, searches: int) -> float:
        found = (seen.found or ())[:searches]
        return found[-1] / seen.gold if found else 0.0

    return tuple(
        Point(str(n), estimate([share(seen, n) for seen in counted], clusters=clusters, low=0, high=1))
        for n in range(1, most + 1)
    )


def searches(samples: SeenSamples) -> tuple[Point, ...]:
    """Return the share of the samples that made each number of searches."""
    counted = [seen for seen in samples.values() if seen.found is not None]
    made = [len(seen.found or ()) for seen in counted]
    clusters = [seen.cluster for seen in counted]
    return tuple(
        Point(str(n), estimate([float(one == n) for one in made], clusters=clusters, low=0, high=1))
        for n in range(max(made, default=-1) + 1)
    )
