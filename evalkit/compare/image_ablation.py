"""How much a vision task's scores rely on the picture: real against blank, shuffled and no pictures.

Runs of one task and model that differ in the parameter ``image`` only are compared sample by sample. A model
that does not look scores the same in every arm, whatever its score is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from evalkit.compare.paired import RunScores, is_mean
from evalkit.compare.siblings import kind
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
        if run.ranked and arm in ("real", *OTHERS):
            groups.setdefault(kind(run, [PARAMETER]), {}).setdefault(arm, run)
    return [_compare(store, arms) for arms in groups.values() if "real" in arms and len(arms) > 1]


def _compare(store: Store, arms: dict[str, Run]) -> Reliance:
    real = arms["real"]
    scores = {arm: RunScores(store, run) for arm, run in arms.items()}
    asked = [
        (info, arm)
        for info in real.spec.metrics
        if info.judges_output and is_mean(real, info.name)
        for arm in OTHERS
        if arm in arms
    ]
    gaps = (_gap(info, arm, scores["real"], scores[arm], len(asked)) for info, arm in asked)
    name = str(real.spec.target.get("task") or real.spec.task)
    return Reliance(
        name, real.spec.model, {arm: run.id for arm, run in arms.items()}, tuple(filter(None, gaps))
    )


def _gap(info: MetricInfo, arm: str, real: RunScores, other: RunScores, gaps: int) -> Gap | None:
    if (pairs := real.pairs(other, info.name)) is None:
        return None
    difference, strict = (pairs.difference(info, 1 - error) for error in (ERROR, ERROR / gaps))
    looks, surely = (
        e.ci[1] < 0 if info.higher_is_better is False else e.ci[0] > 0 for e in (difference, strict)
    )
    return Gap(info.name, arm, *pairs.means, difference, looks, surely)


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
