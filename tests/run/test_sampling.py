"""``--sample``: which samples a run takes, the same for every model, and what cannot be stratified."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evalkit import Answer, Sample, task
from evalkit.collection.items import items_of
from evalkit.errors import UsageError
from evalkit.run.samples import samples_of
from evalkit.run.sampling import selected
from evalkit.run.session import Session
from evalkit.store.records import Sampling
from evalkit.util.progress import Silent
from tests.servers.scripted import Scripted

SORTED = [Sample(f"s{i}", f"q{i}", "yes" if i < 75 else "no") for i in range(100)]


async def chosen(samples: list[Sample], limit: int, how: str, seed: int = 0) -> list[Sample]:
    @task(samples, metrics=[])
    async def any_task(sample: Sample) -> Answer:
        return Answer(text="")

    (item,) = items_of(any_task)
    every = await samples_of(item, Session(Silent()))
    take = await selected(item, every, limit, Sampling(how, seed))  # type: ignore[arg-type]
    first = [sample async for sample in take()]
    assert [sample async for sample in take()] == first  # a second pass yields the same
    return first


async def test_a_random_part_has_its_size_keeps_the_order_and_depends_on_the_seed_alone() -> None:
    some = await chosen(SORTED, 20, "random")
    assert len(some) == 20
    assert [SORTED.index(sample) for sample in some] == sorted(SORTED.index(sample) for sample in some)
    assert {sample.target for sample in some} == {"yes", "no"}  # the first 20 are all "yes"
    assert {s.id for s in await chosen(SORTED[::-1], 20, "random")} == {s.id for s in some}
    assert await chosen(SORTED, 20, "random", seed=1) != some
    assert await chosen(SORTED, 500, "random") == SORTED


async def test_every_sample_is_as_likely_as_any() -> None:
    drawn = [sample for seed in range(400) for sample in await chosen(SORTED[:10], 3, "random", seed)]
    counts = Counter(sample.id for sample in drawn)
    assert all(80 <= counts[sample.id] <= 160 for sample in SORTED[:10])  # 120 expected, sd 9


async def test_strata_are_targets_or_slices_in_proportion() -> None:
    by_target = Counter(sample.target for sample in await chosen(SORTED, 20, "stratified"))
    assert by_target == {"yes": 15, "no": 5}
    sliced = [
        Sample(f"s{i}", "q", str(i), slices={"organ": "heart" if i % 10 else "lung"}) for i in range(100)
    ]
    by_slice = Counter(sample.slices["organ"] for sample in await chosen(sliced, 25, "stratified"))
    assert sum(by_slice.values()) == 25
    assert by_slice["lung"] in (2, 3)  # 2.5 is its share


async def test_samples_without_groups_cannot_be_stratified() -> None:
    different = [Sample(f"s{i}", "q", f"a summary {i}") for i in range(50)]
    with pytest.raises(
        UsageError, match=r"50 samples have 50 different slices or targets\. Use --sample random"
    ):
        await chosen(different, 10, "stratified")


TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample(f"s{i}", f"question {i}", "yes") for i in range(60)], metrics=[exact_match()])
async def many(sample, model):
    return Answer(await model.generate(sample.input))
"""


def test_a_random_run_is_recorded_paired_and_resumed(
    evalkit: Any, scripted: Scripted, tmp_path: Path
) -> None:
    (tmp_path / "task_many.py").write_text(TASK)
    model = ["--model", f"openai:tiny@{scripted.url}"]
    some = ["run", "task_many.py", "--limit", "10", "--sample", "random", "--seed", "7"]
    scripted.fault = lambda n: (400, {}, "no") if n == 4 else None
    (broken,) = evalkit.json(*some, *model, code=1)["runs"]
    assert broken["sampling"] == {"how": "random", "seed": 7}
    scripted.fault = lambda n: None
    (whole,) = evalkit.json("resume", broken["id"])["runs"]
    assert (whole["status"], whole["n"]) == ("complete", 10)
    asked = {question for question in scripted.asked if question.startswith("question")}
    evalkit(*some, "--model", "baseline:gold")
    found = evalkit.json("show", "latest", whole["id"])["against_first"]
    assert (found[0]["besides_model"], found[0]["difference"]["n"]) == ([], 10)
    assert len(asked) == 10
    assert asked != {f"question {i}" for i in range(10)}


def test_options_that_would_do_nothing_are_refused(evalkit: Any, tmp_path: Path) -> None:
    (tmp_path / "task_many.py").write_text(TASK)
    run = ["run", "task_many.py", "--model", "baseline:gold"]
    assert "add --limit" in evalkit(*run, "--sample", "random", code=2).stderr
    assert "--seed 3 goes with --sample" in evalkit(*run, "--limit", "5", "--seed", "3", code=2).stderr
