"""The first pass over a task's samples: what it counts, and what it refuses."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from evalkit import Answer, Metric, Sample, task
from evalkit.collection.items import items_of
from evalkit.errors import SetupError
from evalkit.metrics import accuracy, brier, only
from evalkit.run.fingerprint import survey
from evalkit.run.samples import samples_of
from evalkit.run.session import Session
from evalkit.util.progress import Silent


async def of(samples: list[object], limit: int | None = None, metrics: Sequence[Metric] = ()):
    @task(samples, metrics=metrics)
    async def any_task(sample: Sample) -> Answer:
        return Answer(text="")

    (item,) = items_of(any_task)
    return await survey(item, await samples_of(item, Session(Silent())), limit)


async def test_the_fingerprint_is_that_of_all_samples_in_their_order() -> None:
    some = [Sample(str(i), f"q{i}") for i in range(5)]
    found = await of(some)
    assert found.n == 5
    assert found == await of(list(some))
    assert found.fingerprint != (await of(some[::-1])).fingerprint
    assert (await of(some, limit=3)) == await of(some[:3])


async def test_a_repeated_id_is_named() -> None:
    some = [Sample(str(i), f"q{i}") for i in range(1000)]
    with pytest.raises(SetupError, match="two samples have the id '417'"):
        await of([*some, Sample("417", "another question")])
    assert (await of([*some, Sample("417", "another question")], limit=1000)).n == 1000


async def test_ids_that_only_hash_alike_are_no_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.run.fingerprint.hash", lambda text: len(text), raising=False)
    some = [Sample(f"id {i}", "q") for i in range(20)]
    assert (await of(some)).n == 20
    with pytest.raises(SetupError, match="two samples have the id 'id 3'"):
        await of([*some, Sample("id 3", "q")])


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (
            Sample("q7", "?", "A", choices=("B", "A")),
            "sample 'q7': the target 'A' can mean choice 0 or choice 1",
        ),
        (Sample("q7", "?", "2", choices=("1", "2", "3")), "the target '2' can mean choice 1 or choice 2"),
        (Sample("q7", "?", "x", choices=("x", "y", "x")), "the target 'x' can mean choice 0 or choice 2"),
        (Sample("q7", "?", "zinc", choices=("x", "y")), "the target 'zinc' is not one of its choices"),
        (Sample("q7", "?", choices=("x", "y")), "the target '' is not one of its choices"),
        (
            Sample("q7", "?", choices=("x", "y"), answer=2),
            "answer=2 is no index of its 2 choices; the first is 0",
        ),
        (Sample("q7", "?", "x", choices=("x",)), "sample 'q7' has one choice, 'x'; give at least two"),
    ],
)
async def test_a_choice_that_cannot_be_scored_is_refused_before_the_run(sample: Sample, message: str) -> None:
    clear = Sample("q1", "?", choices=("x", "y"), answer=0)
    with pytest.raises(SetupError, match=f"any_task: .*{re.escape(message)}"):
        await of([clear, sample], metrics=[accuracy()])
    with pytest.raises(SetupError, match=re.escape(message)):
        await of([clear, sample], metrics=[brier()])
    assert (await of([clear, sample])).n == 2, "only a metric that reads the target refuses it"
    only_some = only(accuracy(), kind="choice")
    assert (await of([sample], metrics=[only_some])).n == 1
    with pytest.raises(SetupError, match=re.escape(message)):
        await of([replace(sample, slices={"kind": "choice"})], metrics=[only_some])


async def test_samples_without_an_answer_keep_their_fingerprint() -> None:
    """So runs that an earlier evalkit stored are still runs over the same samples."""
    some = [Sample("1", "q", "t", slices={"a": "b"})]
    plain = '{"choices":[],"cluster":null,"id":"1","images":[],"input":"q","metadata":{},"relevance":{},'
    plain += '"slices":{"a":"b"},"target":"t"}'
    assert (await of(some)).fingerprint == hashlib.sha256(plain.encode()).hexdigest()


async def test_nothing_and_what_is_no_sample_are_refused() -> None:
    with pytest.raises(SetupError, match="the data set is empty"):
        await of([])
    with pytest.raises(SetupError, match="must yield Sample, not dict"):
        await of([Sample("a", "q"), {"id": "b"}])
