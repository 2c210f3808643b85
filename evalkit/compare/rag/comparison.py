"""The runs of one RAG report: one task, model and data set; several arms, k, positions and searches."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from evalkit.compare import siblings
from evalkit.compare.paired import is_mean
from evalkit.compare.rag.records import MissingRun
from evalkit.compare.siblings import kind
from evalkit.errors import UsageError, did_you_mean
from evalkit.store import conditions
from evalkit.store.records import MetricInfo, ParameterInfo, Run

if TYPE_CHECKING:
    from evalkit.store.store import Store

SWEPT = ("arm", "k", "position", "searches")
_WITHOUT_K = ("closed_book", "oracle", "contradicting")
OTHER_ANSWERS = ("contradicting",)  # arms whose samples have another right answer by design
WANTED = {
    "closed_book": "what retrieval gains",
    "retrieved": "retrieval quality and the causes of errors",
    "oracle": "what perfect retrieval would still gain",
    "hidden": "noise, and lost in the middle",
    "distractors": "the harm of passages that are no help",
    "missing": "whether it abstains where the evidence is missing",
    "agent": "what a model gains that searches itself",
}


class Comparison(Struct, frozen=True):
    """Complete runs that differ only in what is swept: one run for each combination."""

    runs: tuple[Run, ...]

    @property
    def k(self) -> Any:
        """The number of passages of most arms; in a tie, that of the first run."""
        arms: dict[Any, set[str]] = {}
        for run in self.runs:
            if run.spec.params["arm"] not in _WITHOUT_K:
                arms.setdefault(run.spec.params.get("k"), set()).add(run.spec.params["arm"])
        return max(arms, key=lambda k: len(arms[k]), default=None)

    def arm(self, name: str) -> Run | None:
        """Return the run that represents an arm, or None; best with ``k`` passages, no fixed position."""

        def distance(run: Run) -> tuple[bool, bool]:
            params = run.spec.params
            return params.get("k") != k, params.get("position") is not None

        k = self.k
        return min(self.sweep(name), key=distance, default=None)

    def sweep(self, name: str) -> list[Run]:
        """Return all runs of an arm."""
        return [run for run in self.runs if run.spec.params["arm"] == name]

    @property
    def arms(self) -> dict[str, Run]:
        """One run for each arm."""
        names = dict.fromkeys(str(run.spec.params["arm"]) for run in sorted(self.runs, key=sort_key))
        return {name: run for name in names if (run := self.arm(name))}


def comparisons(runs: Iterable[Run]) -> list[Comparison]:
    """Return the comparisons among ``runs``; of runs with equal swept values, the first counts.

    Incomplete runs are left out, and runs that differ from the first of their kind in more than these: in
    samples, task code, index, judge. Where a run lacks a parameter, the default counts that the newest run of
    its task recorded.
    """
    groups: dict[Any, dict[Any, Run]] = {}
    for run in completed(runs):
        if run.is_complete and "arm" in run.spec.params:
            groups.setdefault(kind(run, SWEPT), {}).setdefault(_swept_values(run), run)
    return [Comparison(tuple(kept.values())) for kept in map(_over_the_same, groups.values())]


def with_siblings(store: Store, run: Run, by: Collection[str] = ()) -> list[Run]:
    """Return a run and the complete runs of its task, model and settings in all arms, newest first.

    The settings named in ``by`` may differ. Raises ``UsageError`` for a setting that the task does not have.
    """
    runs = siblings.with_siblings(store, run, (*SWEPT, *by), completed)
    parameters = [name for name in runs[0].spec.params if name not in SWEPT]
    for name in by:
        if name not in parameters:
            raise UsageError(
                f"{run.spec.task} has no setting {name!r} to compare.{did_you_mean(name, parameters)} "
                f"Known: {', '.join(parameters)}"
            )
    return runs


def completed(runs: Iterable[Run]) -> list[Run]:
    """Return the runs, each with the recorded defaults of the parameters that it lacks.

    The newest run of the same task file recorded the defaults. The task file itself is never read.
    """
    listed = list(runs)
    newest = {_file(run): run for run in sorted(listed, key=_recorded)}
    return [_with_defaults(run, newest[_file(run)].spec.reproduction.parameters) for run in listed]


def _with_defaults(run: Run, parameters: Mapping[str, ParameterInfo]) -> Run:
    lacking = {name: p.default for name, p in parameters.items() if name not in run.spec.params}
    return replace(run, spec=replace(run.spec, params=run.spec.params | lacking)) if lacking else run


def _file(run: Run) -> tuple[str, str]:
    return run.spec.path, run.spec.task_name


def _recorded(run: Run) -> tuple[bool, float]:
    """Return a sort key: the newest run that recorded its task's parameters comes last."""
    return bool(run.spec.reproduction.parameters), run.started


def _arms(runs: Iterable[Run]) -> tuple[str, ...]:
    """Return the arms of the task as the newest run recorded them; all arms where no run did."""
    arm = max(runs, key=_recorded).spec.reproduction.parameters.get("arm")
    return arm.choices if arm and arm.choices else tuple(WANTED)


def label(run: Run) -> str:
    """Return a run's name in a report: ``oracle``, ``retrieved k=5``, ``hidden k=5 position=1``."""
    params = run.spec.params
    parts = [str(params["arm"])]
    parts += [f"{name}={value}" for name, value in _acting(run).items() if value is not None]
    return " ".join(parts)


def _acting(run: Run) -> dict[str, Any]:
    """Return the swept parameters that act in the arm of a run."""
    params = run.spec.params
    names = ("k", "searches") if params["arm"] == "agent" else ("k", "position")
    return {} if params["arm"] in _WITHOUT_K else {name: params.get(name) for name in names}


def sort_key(run: Run) -> tuple[int, int, int, int]:
    """Return the key by which runs are listed: arm, k, position and searches."""
    order, params = list(WANTED), run.spec.params
    arm = order.index(params["arm"]) if params["arm"] in order else len(order)
    return arm, params.get("k") or 0, params.get("position") or 0, params.get("searches") or 0


def missing_runs(compared: Comparison) -> Iterator[MissingRun]:
    """Yield the missing runs, in arms that the task has, each with its command."""
    base = compared.runs[0]
    arms = _arms(compared.runs)
    for name, what in WANTED.items():
        if compared.arm(name) is None and name in arms:
            yield MissingRun(what, command(base, arm=[name]))
    values = [k for k in (1, 3, 5, 10) if k != base.spec.params.get("k")]
    for name, what in (("retrieved", "the curve over k"), ("hidden", "the curve over noise")):
        if len({run.spec.params.get("k") for run in compared.sweep(name)}) == 1:
            yield MissingRun(what, command(base, arm=[name], k=values))


def command(run: Run, **swept: Iterable[Any]) -> str:
    """Return the command that runs the same task and model with the ``swept`` values."""
    spec = run.spec
    name = spec.task_name
    words = ["evalkit", "run", f"{spec.path}::{name}" if Path(spec.path).is_file() else name]
    stored, named = spec.reproduction.params or spec.params, spec.reproduction.named
    kept = {
        name: [value]
        for name, value in stored.items()
        if name not in swept
        and name not in SWEPT
        and value is not None
        and (name in named or (isinstance(value, str) and Path(value).is_absolute()))
    }
    for name, values in {**swept, **kept}.items():
        words += [word for value in values for word in ("-p", f"{name}={value}")]
    words += ["--limit", str(spec.limit)] if spec.limit else []
    words += ["--sample", spec.sampling.how, "--seed", str(spec.sampling.seed)] if spec.sampling else []
    words += ["--repeat", str(spec.repeats)] if spec.repeats > 1 else []
    return shlex.join([*words, "--model", spec.model_spec])


def output_metrics(run: Run) -> list[MetricInfo]:
    """Return the metrics that judge the output and are means of the samples' scores, in the task's order."""
    return [info for info in run.spec.metrics if info.judges_output and is_mean(run, info.name)]


def _swept_values(run: Run) -> tuple[Any, ...]:
    """Return the arm, and the swept parameters where the arm has them."""
    acting = _acting(run)
    return run.spec.params["arm"], *(acting.get(name) for name in SWEPT[1:])


def _over_the_same(runs: dict[Any, Run]) -> dict[Any, Run]:
    """Return the runs that differ from the first run in the swept parameters only."""
    first = next((run for run in runs.values() if run.spec.params["arm"] not in OTHER_ANSWERS), None)
    if first is None:
        return runs
    return {values: run for values, run in runs.items() if not unlike(run, first)}


def unlike(run: Run, other: Run) -> list[conditions.Difference]:
    """Return what two runs of a report differ in besides the swept parameters.

    In an arm with other answers by design, other samples are no difference.
    """
    found = conditions.differences(run, other, SWEPT)
    if run.spec.params["arm"] in OTHER_ANSWERS or run.spec.dataset == other.spec.dataset:
        return [difference for difference in found if not difference.of_samples]
    return found


def why_left_out(run: Run, used: Iterable[Run]) -> str:
    """Return what a complete run differs in from the runs that a report used; empty where it is in none."""
    for other in used:
        if kind(run, SWEPT) == kind(other, SWEPT) and (found := unlike(run, other)):
            return conditions.listed(found)
    return ""
