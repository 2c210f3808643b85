"""Whether a model uses the pictures: what its answers in arms without them show, and what refusals do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evalkit.compare.image_ablation import Reliance, reliance
from evalkit.stats import estimate
from evalkit.store import open_store
from evalkit.store.records import MetricInfo, Run, RunSpec, SampleRecord
from evalkit.store.store import Store
from evalkit.types import Answer, Sample, Score, Status

REFUSAL = "I'm sorry, I cannot see a picture."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "evalkit.db") as opened:
        yield opened


def add(store: Store, arm: str, replies: list[str], right: Callable[[int], bool], **facts: str) -> Run:
    scores = [float(right(n)) for n in range(len(replies))]
    spec = RunSpec(
        id=f"{arm}-{len(store.runs.find())}",
        task=f"look[image={arm}]",
        path="task_look.py",
        model="m",
        model_spec="m",
        params={"image": arm},
        metrics=(MetricInfo("accuracy"),),
        dataset=arm,  # the pictures of an arm are other pictures
        n_expected=len(replies),
        provenance={"code_sha256": "aa", **facts},
    )
    store.runs.begin(spec)
    rows = [
        SampleRecord(
            sequence=n,
            sample=Sample(str(n), "What is it?"),
            status=Status.OK,
            answer=Answer(text=reply),
            scores=(Score("accuracy", score),),
        )
        for n, (reply, score) in enumerate(zip(replies, scores, strict=True))
    ]
    store.samples.write(spec.id, rows)
    store.runs.finish(spec.id, "complete", {"accuracy": estimate(scores, low=0, high=1)}, 1.0)
    return store.runs.get(spec.id)


def measured(store: Store) -> Reliance:
    (one,) = reliance(store, store.runs.find())
    return one


def test_answers_that_are_worse_without_the_picture_are_evidence(store: Store) -> None:
    add(store, "real", ["red"] * 40, lambda n: n < 36)
    add(store, "none", ["blue"] * 40, lambda n: n < 8)
    one = measured(store)
    assert one.uses_image
    assert (one.warning, one.differences[0].refused) == ("", 0)


def test_refusals_without_a_picture_are_no_evidence_and_are_counted(store: Store) -> None:
    add(store, "real", ["red"] * 40, lambda n: n < 36)
    add(store, "none", [REFUSAL] * 40, lambda n: False)
    one = measured(store)
    (difference,) = one.differences
    assert not one.uses_image
    assert (difference.refused, difference.difference.n, difference.excludes_zero) == (40, 0, False)
    assert "No evidence" in one.warning
    assert "40 at most) prove nothing" in one.warning


def test_the_difference_is_that_of_the_samples_with_an_answer(store: Store) -> None:
    add(store, "real", ["red"] * 40, lambda n: n < 30)
    add(store, "blank", [REFUSAL] * 20 + ["red"] * 20, lambda n: 20 <= n < 30)
    (difference,) = measured(store).differences
    assert (difference.refused, difference.difference.n) == (20, 20)
    assert (difference.real, difference.other, difference.difference.value) == (0.5, 0.5, 0.0)


def test_an_arm_of_another_version_of_the_task_is_left_out_with_the_reason(store: Store) -> None:
    add(store, "real", ["red"] * 10, lambda n: True)
    add(store, "none", ["blue"] * 10, lambda n: False, code_sha256="edited")
    one = measured(store)
    assert (one.left_out, one.differences) == ({"none": "the task code"}, ())
    add(store, "none", ["blue"] * 10, lambda n: False)
    assert measured(store).left_out == {}
