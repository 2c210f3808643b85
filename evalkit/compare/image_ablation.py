"""How much a vision task's scores rely on the picture: real against blank, shuffled and no pictures.

Runs of one task and model that differ in the parameter ``image`` only are compared sample by sample. A model
that does not look scores the same in every arm, whatever its score is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from evalkit.stats import paired
from evalkit.store.records import MetricInfo, Run
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.store.store import Store

PARAMETER = "image"
OTHERS = ("blank", "shuffled", "none")
ERROR = 0.05


class Gap(Struct, frozen=True):
    """A metric with the real pictures less the same metric in another arm, over the same samples."""

    metric: str
    arm: str
    real: float
    other: float
    difference: Estimate
    looks: bool  # the real pictures are better, and the interval excludes 0
    surely: bool  # as much, with the error shared among all gaps of the task (Bonferroni)


class Reliance(Struct, frozen=True):
    """All gaps of one task and model. ``runs`` are the run ids by arm."""

    task: str
    model: str
    runs: dict[str, str]
    gaps: tuple[Gap, ...]

    @property
    def looks(self) -> bool:
        """Whether any gap shows that the pictures are used; having many gaps does not help."""
        return any(gap.surely for gap in self.gaps)


def reliance(store: Store, runs: Iterable[Run]) -> list[Reliance]:
    """The reliance of every task and model among ``runs`` whose real arm and another one are complete."""
    groups: dict[Any, dict[str, Run]] = {}
    for run in runs:
        arm = run.spec.params.get(PARAMETER)
        if run.is_complete and arm in ("real", *OTHERS):
            groups.setdefault(_kind(run), {}).setdefault(arm, run)
    return [_compare(store, arms) for arms in groups.values() if "real" in arms and len(arms) > 1]


def with_siblings(store: Store, run: Run) -> list[Run]:
    """A run, and the newest complete ones of the same task, model and settings in the other arms."""
    others = store.runs(task=run.spec.task_name, model=run.spec.model, status="complete")
    return [run, *(other for other in others if _kind(other) == _kind(run))]


def _kind(run: Run) -> tuple[Any, ...]:
    """What is the same in all arms of one comparison."""
    spec = run.spec
    rest = sorted((name, repr(value)) for name, value in spec.params.items() if name != PARAMETER)
    return spec.path, spec.task_name, spec.model, spec.model_spec, spec.limit, spec.repeats, tuple(rest)


def _compare(store: Store, arms: dict[str, Run]) -> Reliance:
    real = arms["real"]
    scores = {arm: scored(store, run.id) for arm, run in arms.items()}
    asked = [
        (info, arm)
        for info in real.spec.metrics
        if info.kind == "output" and info.higher_is_better is not None and is_mean(real, info.name)
        for arm in OTHERS
        if arm in arms
    ]
    gaps = (_gap(info, arm, scores["real"], scores[arm], len(asked)) for info, arm in asked)
    return Reliance(
        real.spec.task_name,
        real.spec.model,
        {arm: run.id for arm, run in arms.items()},
        tuple(filter(None, gaps)),
    )


def is_mean(run: Run, metric: str) -> bool:
    """Whether a metric's value is the mean of its samples', so that their differences mean something."""
    return metric in run.metrics and run.metrics[metric].method != "bootstrap"


Scored = dict[str, dict[tuple[str, int], tuple[str, float]]]


def scored(store: Store, run_id: str, metrics: Collection[str] | None = None) -> Scored:
    """Cluster and value of each metric, or of ``metrics``, by sample and repeat: what pairs two runs."""
    names = store.names(run_id)
    return {
        metric: {names[n]: (cluster, value) for n, cluster, value in rows if value is not None}
        for metric, rows in store.scores(run_id, metrics).items()
    }


def _gap(info: MetricInfo, arm: str, real: Scored, other: Scored, gaps: int) -> Gap | None:
    here, there = real.get(info.name, {}), other.get(info.name, {})
    shared = [key for key in here if key in there]
    if not shared:
        return None
    clusters = [here[key][0] for key in shared]
    a, b = [here[key][1] for key in shared], [there[key][1] for key in shared]
    difference, strict = (
        paired(a, b, clusters=clusters, low=info.low, high=info.high, level=1 - error)
        for error in (ERROR, ERROR / gaps)
    )
    looks, surely = (
        e.ci[1] < 0 if info.higher_is_better is False else e.ci[0] > 0 for e in (difference, strict)
    )
    return Gap(info.name, arm, sum(a) / len(a), sum(b) / len(b), difference, looks, surely)


def documents(found: Sequence[Reliance]) -> list[dict[str, Any]]:
    """Reliance as ``--json`` shows it."""
    return [
        {
            "task": one.task,
            "model": one.model,
            "runs": one.runs,
            "looks": one.looks,
            "gaps": [
                {
                    "metric": g.metric,
                    "arm": g.arm,
                    "real": g.real,
                    "other": g.other,
                    "difference": g.difference.value,
                    "se": g.difference.se,
                    "ci": list(g.difference.ci),
                    "n": g.difference.n,
                    "method": g.difference.method,
                    "looks": g.looks,
                }
                for g in one.gaps
            ],
        }
        for one in found
    ]
