"""Two runs are paired by sample and repeat; differences are compared with those worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from evalkit.compare.paired import Pairs, RunScores
from evalkit.store import open_store
from evalkit.store.records import MetricInfo, Run, RunSpec, SampleRecord
from evalkit.store.store import Store
from evalkit.types import Sample, Score, Status

ACC = MetricInfo("acc")
Values = Mapping[tuple[str, int], float | None]
"""Scores by sample and repeat; None where the metric failed."""


def add(store: Store, run_id: str, values: Values, dataset: str, repeats: int = 1) -> Run:
    store.runs.begin(
        RunSpec(
            id=run_id,
            task="toy",
            path="task_toy.py",
            model=run_id,
            model_spec=run_id,
            metrics=(ACC,),
            dataset=dataset,
            repeats=repeats,
            n_expected=len(values),
        )
    )
    records = [
        SampleRecord(
            sequence=sequence,
            sample=Sample(name, f"{name}?", cluster=name[0]),
            repeat=repeat,
            status=Status.OK,
            scores=(Score("acc", value, error=None if value is not None else "no score"),),
        )
        for sequence, ((name, repeat), value) in enumerate(values.items())
    ]
    store.samples.write(run_id, records)
    store.runs.finish(run_id, "complete", {}, 1.0)
    return store.runs.get(run_id)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "evalkit.db") as opened:
        yield opened


def paired(store: Store, first: Run, second: Run) -> Pairs | None:
    return RunScores(store, first).pairs(RunScores(store, second), "acc")


def test_samples_pair_by_name_and_repeat_wherever_they_stand(store: Store) -> None:
    one = {("a1", 0): 1.0, ("a1", 1): 0.5, ("a2", 0): 1.0, ("b1", 0): 0.25, ("c1", 0): 1.0, ("d1", 0): None}
    two = {("d1", 0): 1.0, ("b1", 0): 0.75, ("a2", 0): 0.0, ("a1", 1): 0.5, ("a1", 0): 0.0, ("e1", 0): 0.5}
    pairs = paired(store, add(store, "one", one, "all"), add(store, "two", two, "others"))
    assert pairs is not None
    assert list(zip(pairs.first, pairs.second, strict=True)) == [(1, 0), (0.5, 0.5), (1, 0), (0.25, 0.75)]
    assert pairs.means == (2.75 / 4, 1.25 / 4)
    assert pairs.unpaired == 3  # c1 of the first run; d1, which the first run could not score, and e1
    made = pairs.difference(ACC)
    # differences 1, 0, 1 in the cluster a, -0.5 in the cluster b, around 0.375
    se = np.sqrt(2 / 1 * ((2 - 3 * 0.375) ** 2 + (-0.5 - 0.375) ** 2)) / 4
    assert (made.value, made.n, made.clusters) == (0.375, 4, 2)
    assert made.se == pytest.approx(se)
    assert made.ci == (-1, 1)  # t with one degree of freedom reaches beyond the range
    strict = pairs.difference(MetricInfo("acc", low=-100, high=100), level=0.99)
    assert strict.ci == pytest.approx((0.375 - t.ppf(0.995, 1) * se, 0.375 + t.ppf(0.995, 1) * se))


def test_the_same_data_pairs_by_place(store: Store) -> None:
    one = add(store, "one", {("a1", 0): 1.0, ("b1", 0): None, ("c1", 0): 1.0}, "same")
    two = add(store, "two", {("a1", 0): 0.0, ("b1", 0): 1.0, ("c1", 0): 1.0}, "same")
    pairs = paired(store, one, two)
    assert pairs is not None
    assert (pairs.first.tolist(), pairs.second.tolist(), pairs.unpaired) == ([1, 1], [0, 1], 1)


def test_runs_without_a_shared_score_have_no_difference(store: Store) -> None:
    one = add(store, "one", {("a1", 0): 1.0, ("b1", 0): None}, "one")
    two = add(store, "two", {("a1", 1): 1.0, ("b1", 0): 1.0}, "two")
    assert paired(store, one, two) is None
    assert RunScores(store, one).pairs(RunScores(store, two), "f1") is None
