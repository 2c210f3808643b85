"""Image ablation: the scores of a vision task with the real images against blank, shuffled and no images.

Runs of one task and model that differ only in the parameter ``image`` are compared, paired by sample. A model
that does not use the image scores the same in every arm, however high its score is. Where it gives no answer
in an arm without the real image ("I cannot see a picture"), its lower score there is no proof that it used
the real one: such samples are counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from evalkit.compare.paired import RunScores, is_mean
from evalkit.compare.siblings import kind
from evalkit.reading.fold import fold
from evalkit.reading.no_picture import no_picture
from evalkit.store import conditions
from evalkit.store.records import MetricInfo, Run
from evalkit.types import Estimate, Status

if TYPE_CHECKING:
    from evalkit.store.store import Store

PARAMETER = "image"
OTHERS = ("blank", "shuffled", "none")
ERROR = 0.05


class ArmDifference(Struct, frozen=True):
    """One metric: its difference between the real images and another arm, over the same samples.

    ``refused`` is the number of samples without an answer in the other arm; they are left out of all figures
    here. Where none is left, the means are NaN and the difference is undetermined.
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
    refused: int = 0


class Reliance(Struct, frozen=True):
    """All differences of one task and model. ``runs`` are the run ids by arm.

    ``left_out`` says by arm in what its newest run differs from the real arm's besides the images.
    """

    task: str
    model: str
    runs: dict[str, str]
    differences: tuple[ArmDifference, ...]
    left_out: dict[str, str] = {}

    @property
    def uses_image(self) -> bool:
        """Whether a difference, corrected for their number, shows that the model uses the images."""
        return any(difference.excludes_zero_jointly for difference in self.differences)

    @property
    def warning(self) -> str:
        """The warning where no difference shows that the model uses the image; else empty."""
        if self.uses_image:
            return ""
        refused = max((one.refused for one in self.differences), default=0)
        apart = f" Replies without an answer in another arm ({refused:,} at most) prove nothing." * bool(
            refused
        )
        return (
            f"No evidence that {self.model} uses the image on {self.task}: "
            f"no score is significantly better with the real image.{apart}"
        )


def reliance(store: Store, runs: Iterable[Run]) -> list[Reliance]:
    """Return the reliance of every task and model with a complete real arm and another complete arm.

    Of several runs in an arm the first counts that differs from the real arm's first run in the images only.
    """
    groups: dict[Any, dict[str, list[Run]]] = {}
    for run in runs:
        arm = run.spec.params.get(PARAMETER)
        if run.is_complete and arm in ("real", *OTHERS):
            groups.setdefault(kind(run, [PARAMETER]), {}).setdefault(arm, []).append(run)
    return [_compare(store, arms) for arms in groups.values() if "real" in arms and len(arms) > 1]


def _compare(store: Store, runs: dict[str, list[Run]]) -> Reliance:
    arms, left_out = {"real": runs["real"][0]}, {}
    for arm in (arm for arm in OTHERS if arm in runs):
        unlike = {run.id: _unlike(arms["real"], run) for run in runs[arm]}
        alike = next((run for run in runs[arm] if not unlike[run.id]), None)
        if alike:
            arms[arm] = alike
        else:
            left_out[arm] = unlike[runs[arm][0].id]
    real = arms.pop("real")
    scores = RunScores(store, real)
    compared = [
        (info, arm)
        for info in real.spec.metrics
        if info.judges_output and is_mean(real, info.name)
        for arm in arms
    ]
    others = {arm: (RunScores(store, run), _refused(store, run)) for arm, run in arms.items()}
    differences = (_difference(info, arm, scores, *others[arm], len(compared)) for info, arm in compared)
    return Reliance(
        real.spec.task_name,
        real.spec.model,
        {"real": real.id, **{arm: run.id for arm, run in arms.items()}},
        tuple(filter(None, differences)),
        left_out,
    )


def _unlike(real: Run, other: Run) -> str:
    """Return what two arms differ in besides the images, which make the samples differ."""
    found = conditions.differences(real, other, [PARAMETER])
    return conditions.listed([difference for difference in found if not difference.of_samples])


def _refused(store: Store, run: Run) -> set[int]:
    """Return the sequences of the samples on which the model gave no answer."""
    none = (Status.REFUSED, Status.EMPTY)
    replies = store.samples.replies(run.id)
    return {n for n, (status, reply) in replies.items() if status in none or no_picture(fold(reply))}


def _difference(
    info: MetricInfo, arm: str, real: RunScores, other: RunScores, refused: Collection[int], compared: int
) -> ArmDifference | None:
    if (every := real.pairs(other, info.name)) is None:
        return None
    if (pairs := real.pairs(other, info.name, without=refused)) is None:
        reach = math.inf if info.high is None else info.high - info.low
        unknown = Estimate(math.nan, math.inf, (-reach, reach), 0, "undetermined")
        return ArmDifference(info.name, arm, math.nan, math.nan, unknown, False, False, len(every.first))
    difference, strict = (pairs.difference(info, 1 - error) for error in (ERROR, ERROR / compared))
    down = info.higher_is_better is False
    alone, jointly = (e.ci[1] < 0 if down else e.ci[0] > 0 for e in (difference, strict))
    left_out = len(every.first) - len(pairs.first)
    return ArmDifference(info.name, arm, *pairs.means, difference, alone, jointly, left_out)


def documents(results: Sequence[Reliance]) -> list[dict[str, Any]]:
    """Return the reliance as ``--json`` prints it."""
    return [
        {
            "task": result.task,
            "model": result.model,
            "runs": result.runs,
            "looks": result.uses_image,
            **({"left_out": result.left_out} if result.left_out else {}),
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
                    "refused": difference.refused,
                }
                for difference in result.differences
            ],
        }
        for result in results
    ]
