"""Image ablation: the scores of a vision task with the real images against blank, shuffled and no images.

Runs of one task and model that differ only in the parameter ``image`` are compared, paired by sample. A model
that does not use the image scores the same in every arm, however high its score is.
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


class ArmDifference(Struct, frozen=True):
    """One metric: its difference between the real images and another arm, over the same samples.

    ``excludes_zero``: the scores with real images are better, and the interval excludes 0.
    ``excludes_zero_jointly``: the same for the interval with Bonferroni's correction for all differences.
    """

    metric: str
    arm: str
    real: float
    other: float
    difference: Estimate
    excludes_zero: bool
    excludes_zero_jointly: bool


class Reliance(Struct, frozen=True):
    """All differences of one task and model. ``runs`` are the run ids by arm."""

    task: str
    model: str
    runs: dict[str, str]
    differences: tuple[ArmDifference, ...]

    @property
    def uses_image(self) -> bool:
        """Whether a difference, corrected for their number, shows that the model uses the images."""
        return any(difference.excludes_zero_jointly for difference in self.differences)

    @property
    def warning(self) -> str:
        """The warning where no difference shows that the model uses the image; else empty."""
        if self.uses_image:
            return ""
        return (
            f"No evidence that {self.model} uses the image on {self.task}: "
            "no score is significantly better with the real image."
        )


def reliance(store: Store, runs: Iterable[Run]) -> list[Reliance]:
    """Return the reliance of every task and model with a complete real arm and another complete arm."""
    groups: dict[Any, dict[str, Run]] = {}
    for run in runs:
        arm = run.spec.params.get(PARAMETER)
        if run.is_complete and arm in ("real", *OTHERS):
            groups.setdefault(kind(run, [PARAMETER]), {}).setdefault(arm, run)
    return [_compare(store, arms) for arms in groups.values() if "real" in arms and len(arms) > 1]


def _compare(store: Store, arms: dict[str, Run]) -> Reliance:
    real = arms["real"]
    scores = {arm: RunScores(store, run) for arm, run in arms.items()}
    compared = [
        (info, arm)
        for info in real.spec.metrics
        if info.judges_output and is_mean(real, info.name)
        for arm in OTHERS
        if arm in arms
    ]
    differences = (
        _difference(info, arm, scores["real"], scores[arm], len(compared)) for info, arm in compared
    )
    return Reliance(
        real.spec.task_name,
        real.spec.model,
        {arm: run.id for arm, run in arms.items()},
        tuple(filter(None, differences)),
    )


def _difference(
    info: MetricInfo, arm: str, real: RunScores, other: RunScores, compared: int
) -> ArmDifference | None:
    if (pairs := real.pairs(other, info.name)) is None:
        return None
    difference, strict = (pairs.difference(info, 1 - error) for error in (ERROR, ERROR / compared))
    excludes_zero = (
        e.ci[1] < 0 if info.higher_is_better is False else e.ci[0] > 0 for e in (difference, strict)
    )
    return ArmDifference(info.name, arm, *pairs.means, difference, *excludes_zero)


def documents(results: Sequence[Reliance]) -> list[dict[str, Any]]:
    """Return the reliance as ``--json`` prints it."""
    return [
        {
            "task": result.task,
            "model": result.model,
            "runs": result.runs,
            "looks": result.uses_image,
            "gaps": [
                {
                    "metric": difference.metric,
                    "arm": difference.arm,
                    "real": difference.real,
                    "other": difference.other,
                    "difference": difference.difference.value,
                    "se": difference.difference.se,
                    "ci": list(difference.difference.ci),
                    "n": difference.difference.n,
                    "method": difference.difference.method,
                    "looks": difference.excludes_zero,
                }
                for difference in result.differences
            ],
        }
        for result in results
    ]
