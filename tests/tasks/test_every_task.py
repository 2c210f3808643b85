"""Every built-in task: gold scores full marks and garbage none, and what a model is shown is pinned.

A new task is found by itself. One that reads a data set has a line in ``QUICK``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evalkit import Image, Passage, Sample
from evalkit.collection.fixture_resolution import fixtures_for, resolve
from evalkit.collection.targets import collect, iter_tasks
from evalkit.media.pixels import plain_png
from evalkit.task import Task, parameters_of
from evalkit.testing import assert_prompt, check_task

PROMPTS = Path(__file__).parent / "prompts"
ROWS = Path(__file__).parent / "rows"  # three invented rows for each data set, in its local layout
TASKS = {task.name: task for task in iter_tasks(collect([]))}
# Parameters of a quick check; ``data`` is a folder below EVALKIT_DATA, or one of invented rows. A second word
# names a way to run the task.
QUICK: dict[str, dict[str, Any]] = {
    "fictional_trials": {"topics": 12, "search": "bm25"},
    "fictional_trials agent": {"topics": 12, "search": "bm25", "arm": "agent"},
    "pubmed_rag": {"data": "pubmedqa", "pool": "own", "search": "bm25", "arm": "oracle"},
    "mirage": {"data": "mirage", "arm": "closed_book"},
    "mirage likelihood": {"data": "mirage", "arm": "closed_book", "method": "likelihood"},
    "mirage constrained": {"data": "mirage", "arm": "closed_book", "method": "constrained"},
    "judge_kqa": {"data": "kqa"},
    "bioasq": {"data": ROWS / "bioasq", "search": "bm25", "arm": "oracle"},
    "bioasq_exact": {"data": ROWS / "bioasq", "search": "bm25", "arm": "oracle"},
    "aci_bench": {"data": ROWS / "aci_bench"},
    "mts_dialog": {"data": ROWS / "mts_dialog"},
    "rct_conclusions": {"data": ROWS / "rct_conclusions", "search": "bm25", "arm": "oracle"},
    "scifact": {"data": ROWS / "scifact", "search": "bm25", "arm": "oracle"},
    "scifact agent": {"data": ROWS / "scifact", "search": "bm25", "arm": "agent"},
    "biolaysumm": {"data": ROWS / "biolaysumm", "search": "bm25", "arm": "retrieved"},
    "mslr": {"data": ROWS / "mslr", "search": "bm25", "arm": "oracle"},
    "mslr agent": {"data": ROWS / "mslr", "search": "bm25", "arm": "agent"},
    "biogen": {"data": ROWS / "biogen", "search": "bm25", "arm": "oracle"},
    "biogen agent": {"data": ROWS / "biogen", "search": "bm25", "arm": "agent"},
    "meqsum": {"data": ROWS / "meqsum"},
    "mediqa_mas": {"data": ROWS / "mediqa_mas"},
    "vqa_rad": {"data": "vqa_rad"},
    "blood_cells": {"data": "bccd"},
    "math_vision": {"data": "math_v", "split": "test"},
}
NAMES = [*QUICK, *(name for name in TASKS if name not in QUICK)]
# Metrics that a perfect reply need not top: a reference may be hard to read.
APART = ("fkgl", "dcrs", "cli")

# What the prompts are pinned on, where a task does not make its own data: a sample and passages of ours.
SHOWN = Sample(
    "1",
    "By how much does zinc shorten colds?",
    "by a day",
    choices=("by a week", "by a day", "not at all"),
    relevance={"a": 1},
    slices={"answer_type": "number"},
)
PICTURES = (Image.of(plain_png(8, 8, (200, 30, 30))),)


class Shelf:
    """A retriever that finds its two passages in their order."""

    passages = (
        Passage("a", "Colds lasted four days with zinc, five without.", title="Zinc lozenges"),
        Passage("b", "Colds are caused by viruses."),
    )

    async def search(self, query: str, k: int) -> list[Passage]:
        return list(self.passages[:k])

    async def get(self, ids: list[str]) -> list[Passage]:
        return [passage for passage in self.passages if passage.id in ids]


def quick(name: str) -> tuple[Task, dict[str, Any]]:
    """A task, and the parameters of its quick check."""
    task = TASKS[name.partition(" ")[0]]
    if name not in QUICK and "data" in resolve(task, fixtures_for(task.path)).params:
        pytest.fail(f"{name} reads data: say in QUICK of {__file__} which folder below EVALKIT_DATA it takes")
    return task, dict(QUICK.get(name, {}))


@pytest.mark.parametrize("name", NAMES)
def test_gold_scores_full_marks_and_garbage_none(name: str, request: pytest.FixtureRequest) -> None:
    task, params = quick(name)
    if isinstance(params.get("data"), str):
        params["data"] = request.getfixturevalue("data") / params["data"]
    means = check_task(task, params=params, apart=APART)
    assert all({"gold", "other"} <= kinds.keys() for kinds in means.values())


@pytest.mark.parametrize("name", TASKS)
def test_the_length_of_replies_stands_beside_every_score_of_overlap(name: str) -> None:
    """Length alone agrees with human judgement of summaries, and overlap depends on it."""
    overlap = ("rouge", "bertscore", "meteor", "chrf", "summac", "alignscore", "delta_ei")
    metrics = [metric.name for metric in TASKS[name].metrics]
    assert "length" in metrics or not any(metric.startswith(overlap) for metric in metrics)


@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_is_pinned(name: str) -> None:
    """A changed prompt changes scores. On purpose: raise the task's version, then
    pytest --evalkit-update-snapshots."""
    task, params = quick(name)
    file = PROMPTS / f"{name.replace(' ', '_')}.txt"
    if not isinstance(params.get("data"), str):
        assert_prompt(task, file, **params)
        return
    ways = {key: value for key, value in params.items() if key in parameters_of(task.fn)[0] and key != "arm"}
    if "image" in task.axes:
        assert_prompt(task, file, replace(SHOWN, images=PICTURES), image="real", **ways)
    else:
        assert_prompt(task, file, SHOWN, fixtures={"retriever": Shelf()}, **ways)
