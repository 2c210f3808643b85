"""The RAG report: is the retriever or the generator the weak part of a RAG task?

``reports`` groups runs by task and model and pairs their samples. It estimates the gain of retrieval, the
further gain of perfect retrieval, the causes of errors, and how the score depends on rank, position, k and
noise. docs/rag-report.md explains every figure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from evalkit.compare.paired import RunScores
from evalkit.compare.rag import agent, measure
from evalkit.compare.rag.comparison import (
    SWEPT,
    Comparison,
    comparisons,
    label,
    missing_runs,
    output_metrics,
    sort_key,
    with_siblings,
)
from evalkit.compare.rag.records import AgentGain, Cause, Gain, MissingRun, Point, Report
from evalkit.compare.rag.seen import read_seen
from evalkit.compare.rag.settings import Setting, settings
from evalkit.errors import UsageError, did_you_mean
from evalkit.store.records import MetricInfo, Run
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.store.store import Store

__all__ = [
    "AgentGain",
    "Cause",
    "Gain",
    "MissingRun",
    "Point",
    "Report",
    "Setting",
    "reports",
    "settings",
    "with_siblings",
]


def reports(
    store: Store,
    runs: Iterable[Run],
    metric: str | None = None,
    right: float | None = None,
) -> list[Report]:
    """Return a report for each task and model among the complete ``runs``; of equal runs, the first counts.

    ``metric`` is used for the curves and causes, by default the task's first output metric. A sample is
    right if its score is ``right`` or better; by default, of a metric with two values, if it is the best one.
    A graded metric has no default, and without ``right`` a report has no causes. Raises ``UsageError`` for a
    metric that a task does not have.
    """
    return [_Reporter(store, compared, metric, right).report() for compared in comparisons(runs)]


class _Reporter:
    """Makes one report; reads the samples of each run once."""

    def __init__(self, store: Store, compared: Comparison, metric: str | None, right: float | None) -> None:
        self.store, self.compared, self.chosen = store, compared, right
        self.info = _main_metric(compared, metric)
        self.seen_samples: dict[str, measure.SeenSamples] = {}

    def report(self) -> Report:
        compared, info = self.compared, self.info
        first = compared.runs[0].spec
        retrieved, oracle = (self.samples(compared.arm(name)) for name in ("retrieved", "oracle"))
        rule = measure.rule(info, self.chosen, oracle, retrieved)
        hidden = [self.seen(run) for run in self._of_the_same_k("hidden")]
        source = compared.arm("retrieved")
        searched = self.samples(compared.arm("agent")) or {}
        params = {k: str(v) for k, v in first.params.items() if k not in SWEPT and v is not None}
        return Report(
            task=first.task_name,
            model=first.model,
            params=params,
            metric=info.name,
            higher_is_better=info.higher_is_better is not False,
            right=rule.right if rule else None,
            rule=rule.why if rule else measure.UNSAID,
            runs={label(run): run.id for run in sorted(compared.runs, key=sort_key)},
            arms={label(run): dict(run.metrics) for run in compared.arms.values()},
            retrieval=_retrieval(source),
            gains=tuple(self._gains()),
            causes=measure.causes(retrieved, rule) if retrieved and rule else (),
            by_rank=measure.by_rank(retrieved, info) if retrieved else (),
            by_position=measure.by_position(hidden, info),
            by_k=self._over_k("retrieved"),
            shown_by_k=self._over_k("retrieved", evidence=True),
            by_noise=self._over_noise(),
            abstained={
                n: r.metrics["abstained"] for n, r in compared.arms.items() if "abstained" in r.metrics
            },
            by_search=measure.by_search(searched),
            searches=measure.searches(searched),
            agent_gains=tuple(agent.gains(self.store, compared, info)),
            missing_runs=(*missing_runs(compared), *agent.missing_run(compared)),
        )

    def seen(self, run: Run) -> measure.SeenSamples:
        if run.id not in self.seen_samples:
            self.seen_samples[run.id] = read_seen(self.store, run, self.info.name)
        return self.seen_samples[run.id]

    def samples(self, run: Run | None) -> measure.SeenSamples | None:
        return (self.seen(run) if run else None) or None

    def _gains(self) -> Iterable[Gain]:
        arms = self.compared.arms
        named = [names for names in measure.PAIRS if names[0] in arms and names[1] in arms]
        infos = {info.name: info for first, _, _ in named for info in output_metrics(arms[first])}
        paired = {arm for names in named for arm in names[:2]}
        scores = {arm: RunScores(self.store, arms[arm], infos) for arm in paired}
        for info in sorted(infos.values(), key=lambda info: info.name != self.info.name):
            for names in named:
                first, second, _ = names
                if pairs := scores[first].pairs(scores[second], info.name):
                    yield measure.gain(info, names, pairs)

    def _of_the_same_k(self, arm: str) -> list[Run]:
        """Return the runs of an arm with as many passages as the run that represents the arm."""
        first = self.compared.arm(arm)
        k = first.spec.params.get("k") if first else None
        return [run for run in self.compared.sweep(arm) if run.spec.params.get("k") == k]

    def _over_k(self, arm: str, evidence: bool = False) -> tuple[Point, ...]:
        runs = sorted(self.compared.sweep(arm), key=lambda run: int(run.spec.params.get("k") or 0))
        placed = [(str(r.spec.params.get("k")), key, s) for r in runs for key, s in self.seen(r).items()]
        order = list(dict.fromkeys(k for k, _, _ in placed))
        if evidence:
            return measure.curve(placed, None, order, measure.evidence_shown)
        return measure.curve(placed, self.info, order)

    def _over_noise(self) -> tuple[Point, ...]:
        """Return the curve over noise: the evidence alone (0 distractors), then among k distractors."""
        hidden, oracle = self._over_k("hidden"), self.samples(self.compared.arm("oracle"))
        if not oracle:
            return hidden
        alone = measure.curve((("0", key, seen) for key, seen in oracle.items()), self.info, ["0"])
        return alone + hidden


def _main_metric(compared: Comparison, metric: str | None) -> MetricInfo:
    """Return the metric of the curves and causes."""
    names: dict[str, MetricInfo] = {}
    for run in (compared.arm("retrieved"), *compared.runs):
        for info in output_metrics(run) if run else ():
            names.setdefault(info.name, info)
    if metric is None and names:
        return next(iter(names.values()))
    if metric in names:
        return names[metric]
    task = compared.runs[0].spec.task
    raise UsageError(
        f"{task} has no output metric {metric or ''!r}.{did_you_mean(metric or '', names)} "
        f"Known: {', '.join(names)}"
    )


def _retrieval(run: Run | None) -> dict[str, Estimate]:
    infos = run.spec.metrics if run else ()
    return {
        info.name: run.metrics[info.name]
        for info in infos
        if run and info.kind == "retrieval" and info.name in run.metrics
    }
