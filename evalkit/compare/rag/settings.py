"""Comparison of settings (retriever, chunking, query): reports of one task and model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from evalkit.compare.paired import RunScores
from evalkit.compare.rag.records import Report
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.store.store import Store


class Setting(Struct, frozen=True):
    """One metric of the arm ``retrieved`` under ``settings``, which name only what differs between reports.

    ``difference`` is the difference to the first settings, paired by sample; None for the first settings, and
    where no sample is shared.
    """

    task: str
    model: str
    settings: str
    run: str
    metric: str
    estimate: Estimate
    difference: Estimate | None


def settings(store: Store, reports: Sequence[Report]) -> list[Setting]:
    """Return the retrieved arms of each task and model that has two or more reports, for comparison."""
    groups: dict[tuple[str, str], list[Report]] = {}
    for report in reports:
        if _retrieved(report):
            groups.setdefault((report.task, report.model), []).append(report)
    return [row for same in groups.values() if len(same) > 1 for row in _compared(store, same)]


def _compared(store: Store, reports: Sequence[Report]) -> Iterator[Setting]:
    names = dict.fromkeys(name for report in reports for name in report.params)
    varied = [name for name in names if len({report.params.get(name) for report in reports}) > 1]
    labels = {_label(report) for report in reports}
    first = RunScores(store, store.runs.get(_retrieved(reports[0])))
    for report in reports:
        run = store.runs.get(_retrieved(report))
        scores = RunScores(store, run)
        text = ", ".join(f"{name}={report.params.get(name, '–')}" for name in varied) or run.id
        if len(labels) > 1:  # the reports differ in k
            text += _label(report).removeprefix("retrieved")
        for info in run.spec.metrics:
            if info.name not in (*report.retrieval, report.metric):
                continue
            pairs = None if report is reports[0] else scores.pairs(first, info.name)
            difference = pairs and pairs.difference(info)
            estimate = run.metrics[info.name]
            yield Setting(report.task, report.model, text, run.id, info.name, estimate, difference)


def _retrieved(report: Report) -> str:
    """Return the id of the run that represents the arm ``retrieved``; empty where there is none."""
    return report.runs.get(_label(report), "")


def _label(report: Report) -> str:
    return next((name for name in report.arms if name.partition(" ")[0] == "retrieved"), "")
