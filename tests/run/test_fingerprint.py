"""The first pass over a task's samples: what it counts, and what it refuses."""

from __future__ import annotations

import pytest

from evalkit import Answer, Sample, task
from evalkit.collection.items import items_of
from evalkit.errors import SetupError
from evalkit.run.fingerprint import survey
from evalkit.run.samples import samples_of
from evalkit.run.session import Session
from evalkit.util.progress import Silent


async def of(samples: list[object], limit: int | None = None):
    @task(samples, metrics=[])
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


async def test_nothing_and_what_is_no_sample_are_refused() -> None:
    with pytest.raises(SetupError, match="the data set is empty"):
        await of([])
    with pytest.raises(SetupError, match="must yield Sample, not dict"):
        await of([Sample("a", "q"), {"id": "b"}])
