"""What a run comes to, from a store that was written by hand: whole, by slice, with failures and clusters."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evalkit import Answer, Sample, Status, task
from evalkit.collection.items import items_of
from evalkit.metric import metric
from evalkit.run.aggregate import aggregate_run
from evalkit.stats import bootstrap, estimate
from evalkit.store import open_store
from evalkit.store.records import MetricInfo, Run, RunSpec, SampleRecord
from evalkit.store.store import Store
from evalkit.types import Score


@metric
def kept(sample: Sample, answer: Answer) -> float:
    return 1.0


@task([Sample("a", "q")], metrics=[kept])
async def any_task(sample: Sample) -> Answer:
    return Answer(text="")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "s.db")
    yield opened
    opened.close()


def made(store: Store, samples: list[tuple[Sample, Score | None]], missing: int = 0) -> Run:
    """A run of these samples and scores, two repeats of none; what ``aggregate_run`` makes of it."""
    (item,) = items_of(any_task)
    spec = RunSpec(
        id="r",
        task="t",
        path="t.py",
        model="m",
        model_spec="baseline:m",
        metrics=(MetricInfo("kept"),),
        n_expected=len(samples) + missing,
    )
    store.runs.begin(spec)
    store.samples.write(
        "r",
        [
            SampleRecord(
                sequence=n,
                sample=one,
                status=Status.OK,
                answer=Answer(text="x"),
                scores=(score,) if score else (),
            )
            for n, (one, score) in enumerate(samples)
        ],
    )
    aggregate_run(store, item, spec, "complete", 1.0)
    return store.runs.get("r")


def test_columns_are_the_scores_as_numbers(store: Store) -> None:
    draw = random.Random(1)
    samples = [
        (
            Sample(str(i), "q", cluster=draw.choice(["x", "y", None])),
            draw.choice([Score("kept", i / 50), Score("kept", None, "broke"), None]),
        )
        for i in range(50)
    ]
    made(store, samples)
    rows, column = store.samples.scores("r")["kept"], store.samples.columns("r")["kept"]
    assert list(column.sequences) == [sequence for sequence, _, _ in rows]
    assert [None if math.isnan(v) else v for v in column.values] == [value for _, _, value in rows]
    for i, (_, a, _) in enumerate(rows):
        for j, (_, b, _) in enumerate(rows):
            assert (a == b) == (column.clusters[i] == column.clusters[j])


def test_a_run_and_its_slices_are_estimated_over_their_own_samples(store: Store) -> None:
    draw = random.Random(2)
    samples, values, clusters = [], [], []
    for i in range(300):
        value, cluster = draw.random(), f"patient {i % 70}"
        slices = {"organ": ("heart", "lung")[i % 2], "id": str(i)} | ({"rare": "yes"} if i % 90 == 0 else {})
        samples.append((Sample(str(i), "q", cluster=cluster, slices=slices), Score("kept", value)))
        values.append(value)
        clusters.append(cluster)
    run = made(store, samples)
    assert run.status == "complete"
    assert run.metrics["kept"] == estimate(values, clusters=clusters, low=0, high=1)
    assert set(run.slices) == {"organ=heart", "organ=lung", "rare=yes"}  # 300 values of id are no grouping
    for part, where in {"organ=heart": slice(0, None, 2), "rare=yes": slice(0, None, 90)}.items():
        expected = estimate(values[where], clusters=clusters[where], low=0, high=1)
        assert run.slices[part]["kept"] == expected


def test_a_metric_that_failed_and_samples_that_are_missing_leave_bounds(store: Store) -> None:
    samples = [(Sample(str(i), "q"), Score("kept", 1.0)) for i in range(8)]
    samples += [(Sample("broken", "q", slices={"organ": "lung"}), Score("kept", None, "broke"))]
    run = made(store, samples, missing=1)
    assert run.status == "incomplete"
    assert (run.metrics["kept"].n, run.metrics["kept"].bounds) == (8, (0.8, 1.0))
    assert run.slices == {}


def test_clusters_may_be_names_or_any_numbers() -> None:
    draw = np.random.default_rng(3)
    values, names = draw.random(500), [f"c{i}" for i in draw.integers(90, size=500)]
    numbers = np.asarray([hash(name) for name in names])
    assert estimate(values, clusters=numbers) == estimate(values, clusters=names)
    assert bootstrap(values, max, clusters=numbers) == bootstrap(values, max, clusters=names)
    alone = np.arange(500) * 17
    assert estimate(values, clusters=alone) == estimate(values)
    assert bootstrap(values, max, clusters=alone) == bootstrap(values, max)
