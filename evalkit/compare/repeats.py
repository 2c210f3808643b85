"""A run with ``--repeat N``: pass@k, maj@k and pass^k, and how much of the variance is sampling.

pass@k is the chance that one of k answers is right, pass^k that all are, maj@k the score of the answer that
most of the k give (``evalkit.compare.votes``). All three are means over the samples, with the interval of the
score, and apply to metrics whose scores are 0 or 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Struct

from evalkit.compare.paired import is_mean
from evalkit.compare.repeat_stats import VarianceSplit, majority_at, pass_all, pass_at, split_variance
from evalkit.compare.votes import vote
from evalkit.stats import estimate, incomplete_bounds
from evalkit.store.records import Column, Run
from evalkit.types import Answer, Estimate, Sample

if TYPE_CHECKING:
    from evalkit.store.store import Store


Votes = Sequence[str | None]
Statistic = Callable[[int, Votes, Sequence[float]], float]
"""A number of one sample: of k of its answers, by the votes and the scores of all."""


_NAMES = {"pass_at": "pass@k", "majority_at": "maj@k", "pass_all": "pass^k"}


class RepeatedMetric(Struct, frozen=True, rename=_NAMES):
    """One metric over the repeats: estimates by k, empty unless all scores are 0 or 1, and the variance."""

    pass_at: dict[int, Estimate]
    majority_at: dict[int, Estimate]
    pass_all: dict[int, Estimate]
    variance: VarianceSplit | None


class Repeats(Struct, frozen=True):
    """All metrics of a run that judge the output, over its ``repeats`` of each sample.

    ``voted_on`` counts the answers by what was read of them; ``notes`` say how far the repeats are
    independent draws.
    """

    repeats: int
    metrics: dict[str, RepeatedMetric]
    voted_on: dict[str, int]
    notes: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """The notes, after what maj@k is the vote on."""
        kinds = ", ".join(f"{kind} ({n:,})" for kind, n in self.voted_on.items())
        voted = any(metric.majority_at for metric in self.metrics.values())
        return [f"maj@k is the vote on what was read of the replies: {kinds or 'none'}."] * voted + [
            *self.notes
        ]


class _Request(Struct):
    """The fields of a stored request that decide whether two draws can differ."""

    temperature: Any = None
    seed: Any = None
    extra: dict[str, Any] = {}


class _Draw(Struct):
    """The fields of a stored sample that are read here."""

    answer: Answer | None = None
    requests: tuple[_Request, ...] = ()


def repeats_of(store: Store, run: Run) -> Repeats | None:
    """Return what the repeats of a run say; None for a run without repeats or without any score."""
    n = run.spec.repeats
    infos = [m for m in run.spec.metrics if m.judges_output and is_mean(run, m.name)]
    if n < 2 or not infos:
        return None
    columns = store.samples.columns(run.id, [info.name for info in infos])
    draws = _Draws(store, run)
    expected = (run.spec.n_expected or run.n) // n
    metrics = {}
    for info in infos:
        if info.name not in columns:  # a value of the task's own, without scores of samples
            continue
        scored = _Scored(columns[info.name], draws, n)
        passed, voted, all_passed = {}, {}, {}
        if info.higher_is_better and (info.low, info.high) == (0, 1) and scored.are_binary:
            passed = scored.by_k(_passed, expected)
            voted = scored.by_k(majority_at, expected)
            all_passed = scored.by_k(_all_passed, expected)
        variance = split_variance(scored.values, scored.samples, scored.clusters, run.metrics[info.name].se)
        metrics[info.name] = RepeatedMetric(passed, voted, all_passed, variance)
    return Repeats(
        n,
        metrics,
        dict(draws.kinds.most_common()),
        tuple(draws.notes(n, asked=not run.spec.reproduction.given)),
    )


class _Scored:
    """The scores of one metric: in arrays, with the number of the sample of each, and by sample."""

    def __init__(self, column: Column, draws: _Draws, repeats: int) -> None:
        values, sequences = np.asarray(column.values), np.asarray(column.sequences)
        kept = ~np.isnan(values)
        self.values, self.samples = values[kept], sequences[kept] // repeats
        self.clusters = np.asarray(column.clusters)[kept]
        self.inapplicable = len(np.setdiff1d(draws.ended // repeats, sequences // repeats))
        self._starts = np.flatnonzero(np.diff(self.samples, prepend=-1))
        ends = [*self._starts.tolist(), len(self.values)][1:]
        names = [draws.names.get(sequence) for sequence in sequences[kept].tolist()]
        scores = self.values.tolist()
        spans = list(zip(self._starts.tolist(), ends, strict=True))
        self._by_sample = [(names[start:end], scores[start:end]) for start, end in spans]

    @property
    def are_binary(self) -> bool:
        """Whether each score is 0 or 1."""
        return bool(len(self.values)) and bool(np.isin(self.values, (0.0, 1.0)).all())

    def by_k(self, statistic: Statistic, expected: int) -> dict[int, Estimate]:
        """Return the mean of a statistic over the samples with at least k scores, by k.

        Where fewer than the ``expected`` samples of the run have them, it has bounds.
        """
        most = max(len(scores) for _, scores in self._by_sample)
        return {k: self._mean(k, statistic, expected) for k in ks(most)}

    def _mean(self, k: int, statistic: Statistic, expected: int) -> Estimate:
        enough = [i for i, (_, scores) in enumerate(self._by_sample) if len(scores) >= k]
        values = [statistic(k, *self._by_sample[i]) for i in enough]
        estimated = estimate(values, clusters=self.clusters[self._starts[enough]], low=0, high=1)
        if (lost := expected - self.inapplicable - len(enough)) <= 0:
            return estimated
        return msgspec.structs.replace(estimated, bounds=incomplete_bounds(values, lost, 0, 1))


def _passed(k: int, votes: Votes, scores: Sequence[float]) -> float:
    return pass_at(k, len(scores), round(sum(scores)))


def _all_passed(k: int, votes: Votes, scores: Sequence[float]) -> float:
    return pass_all(k, len(scores), round(sum(scores)))


def ks(n: int) -> list[int]:
    """Return the numbers k for which a run with ``n`` repeats is shown: the powers of two, and ``n``."""
    return sorted({2**power for power in range(n.bit_length()) if 2**power <= n} | {n})


class _Draws:
    """The answers of a run: their votes by sequence, and what tells whether they are independent draws."""

    def __init__(self, store: Store, run: Run) -> None:
        endings = store.samples.endings(run.id)
        failed = {n for n, is_failed in zip(endings.sequences, endings.failed, strict=True) if is_failed}
        self.ended = np.asarray(endings.sequences)
        self.names: dict[int, str] = {}  # of what an answer says, by sequence; a failed reply has none
        self.kinds: Counter[str] = Counter()
        self.texts: dict[str, list[int]] = {}  # hashes of the replies by sample
        self.seeds: dict[str, list[Any]] = {}
        self.temperatures: set[Any] = set()
        self.has_temperature = "temperature" not in run.spec.left_out
        for sequence, (sample_id, _), sample, draw in store.samples.parts(run.id, Sample, _Draw):
            if sequence not in failed and (named := vote(sample, draw.answer)):
                self.names[sequence] = named.name
                self.kinds[named.kind] += 1
            if draw.answer is not None:
                self.texts.setdefault(sample_id, []).append(hash(draw.answer.reply))
            if draw.requests:
                first = draw.requests[0]
                self.temperatures.update(r.extra.get("temperature", r.temperature) for r in draw.requests)
                self.seeds.setdefault(sample_id, []).append(first.extra.get("seed", first.seed))

    def notes(self, n: int, *, asked: bool) -> list[str]:
        """Say whether the repeats are draws of their own, from what was sent and what came back.

        ``asked`` is False where the answers came from a file, so that nothing was sent.
        """
        notes = []
        if asked and self.has_temperature and self.temperatures == {0}:
            notes.append("The temperature is 0, so that the repeats of a sample can be equal.")
        elif asked and self.seeds:
            notes.append(_on_seeds(list(self.seeds.values())))
        whole = [texts for texts in self.texts.values() if len(texts) == n]
        if equal := sum(len(set(texts)) == 1 for texts in whole):
            notes.append(f"The {n} replies are the same in {equal:,} of {len(whole):,} samples.")
        return notes


def _on_seeds(by_sample: Sequence[Sequence[Any]]) -> str:
    """Say which seeds the repeats had."""
    repeated = [seeds for seeds in by_sample if len(seeds) > 1 and None not in seeds]
    if not repeated:
        return "No seed was sent: each repeat is a draw of the server's own."
    if all(len(set(seeds)) == len(seeds) for seeds in repeated):
        return f"Each repeat had a seed of its own: {', '.join(map(str, repeated[0][:3]))} …"
    return (
        "The repeats of a sample had the same seed: a server that follows it gives the same reply each time."
    )
