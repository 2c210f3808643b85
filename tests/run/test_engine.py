"""The engine: bounded, honest about every sample, and stopped by what would fail every sample."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from evalkit import Answer, Model, Request, Response, Sample, Status, task
from evalkit.errors import IndexMismatch, ServerFailed, SetupError, StoreError
from evalkit.metric import metric
from evalkit.metrics import exact_match
from evalkit.models.fake import FakeBackend
from evalkit.run import engine
from evalkit.run.engine import Stopped, Work
from evalkit.run.scoring import Scorer
from evalkit.status import classify_answer
from evalkit.store.records import SampleRecord
from evalkit.util.progress import Silent


def samples_of(n: int) -> list[Sample]:
    return [Sample(str(i), f"q{i}", "yes") for i in range(n)]


async def ask(sample: Sample, model: Model) -> Answer:
    return Answer(await model.generate(sample.input))


async def run(
    reply: Callable[[Request], object], n: int = 10, *, metrics=None, write=None, fn=ask, **options
) -> dict[int, SampleRecord]:
    """Run ``n`` samples against a fake model; the stored records by sequence."""
    stored: dict[int, SampleRecord] = {}

    def keep(batch: list[SampleRecord]) -> None:
        stored.update({record.sequence: record for record in batch})

    async def source():
        for sample in samples_of(n):
            yield sample

    made = task(samples_of(n), metrics=metrics or [exact_match()])(fn)
    with Scorer(made) as scorer, Silent().bar("", n) as bar:
        work = Work(
            fn=fn,
            arguments={},
            model=Model(FakeBackend(reply)),
            samples=source,
            scorer=scorer,
            bar=bar,
            **{"repeats": 1, "done": set(), "write": write or keep, **options},
        )
        try:
            await engine.run(work)
        finally:
            run.stored = stored
    return stored


async def test_every_sample_is_stored_once_with_its_score() -> None:
    stored = await run(lambda r: "yes" if r.sample.id in "13579" else "no")
    assert sorted(stored) == list(range(10))
    assert {s: r.scores[0].value for s, r in stored.items()} == {i: float(i % 2) for i in range(10)}
    assert stored[3].requests[0]["messages"] == [{"role": "user", "content": "q3"}]


async def test_never_more_samples_in_work_than_the_window() -> None:
    now = most = 0

    async def reply(request: Request) -> str:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return "yes"

    stored = await run(reply, 200, window=7)
    assert len(stored) == 200
    assert most == 7


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (Response(text="Aspirin helps."), Status.OK),
        (Response(text="Aspirin he", finish_reason="length"), Status.TRUNCATED),
        (Response(text="", finish_reason="refusal"), Status.REFUSED),
        (Response(text="I'm sorry, but I can't assist with that."), Status.REFUSED),
        (Response(text="I cannot provide medical advice."), Status.REFUSED),
        (Response(text="I cannot rule out benefit; aspirin reduced events in two trials."), Status.OK),
        (Response(text=" \n "), Status.EMPTY),
    ],
)
def test_how_a_reply_ended(response: Response, status: Status) -> None:
    assert classify_answer(Answer(response)) is status


async def test_what_the_model_did_wrong_scores_as_wrong_even_if_the_text_would_match() -> None:
    reply = {
        "0": Response(text="yes", finish_reason="length"),
        "1": Response(text="yes", finish_reason="refusal"),
        "2": Response(text="yes"),
        "3": Response(text=""),
    }
    stored = await run(lambda r: reply[r.sample.id], 4)
    assert [stored[i].scores[0].value for i in range(4)] == [0.0, 0.0, 1.0, 0.0]


async def test_a_task_can_say_that_a_reply_was_not_parsed() -> None:
    async def unparsed(sample: Sample, model: Model) -> Answer:
        return Answer(await model.generate(sample.input), status=Status.UNPARSED)

    stored = await run(lambda r: "yes", 1, fn=unparsed)
    assert (stored[0].status, stored[0].scores[0].value) == (Status.UNPARSED, 0.0)


async def test_a_failing_call_is_an_error_of_that_sample_and_has_no_score() -> None:
    def reply(request: Request) -> str:
        if request.sample.id == "4":
            raise ServerFailed("connection reset", status=502)
        return "yes"

    stored = await run(reply)
    assert stored[4].status is Status.ERROR
    assert stored[4].scores == ()
    assert stored[4].error == "ServerFailed: connection reset"
    assert [r.status for s, r in stored.items() if s != 4] == [Status.OK] * 9


async def test_a_task_that_returns_no_answer_is_an_error_that_says_so() -> None:
    async def forgot(sample: Sample, model: Model): ...

    stored = await run(lambda r: "yes", 1, fn=forgot)
    assert stored[0].error == "TypeError: the task returned NoneType, not an Answer"


async def test_a_metric_that_raises_leaves_the_other_scores() -> None:
    @metric
    def fragile(sample, answer) -> float:
        return 1 / 0

    stored = await run(lambda r: "yes", 2, metrics=[fragile, exact_match()])
    assert [(s.metric, s.value, s.error) for s in stored[0].scores] == [
        ("fragile", None, "ZeroDivisionError: division by zero"),
        ("exact_match", 1.0, None),
    ]


async def test_a_setup_error_stops_the_run_and_keeps_what_ended() -> None:
    def reply(request: Request) -> str:
        if request.sample.id == "6":
            raise IndexMismatch("built for another corpus")
        return "yes"

    with pytest.raises(SetupError, match="another corpus"):
        await run(reply, 500, window=1)
    assert sorted(run.stored) == list(range(6))


async def test_a_server_that_is_down_does_not_fail_ten_thousand_samples() -> None:
    asked = 0

    def reply(request: Request) -> str:
        nonlocal asked
        asked += 1
        raise ServerFailed("connection refused")

    with pytest.raises(SetupError, match="20 samples in a row failed at the server"):
        await run(reply, 10_000, window=4)
    assert asked < 40


async def test_resuming_asks_only_for_what_is_missing() -> None:
    asked: list[str] = []

    def reply(request: Request) -> str:
        asked.append(request.sample.id)
        return "yes"

    stored = await run(reply, 5, done={0, 2, 3})
    assert sorted(asked) == ["1", "4"]
    assert sorted(stored) == [1, 4]


async def test_repeats_are_samples_of_their_own() -> None:
    stored = await run(lambda r: str(r.repeat), 3, repeats=2)
    assert [(r.sample.id, r.repeat, r.answer.reply) for _, r in sorted(stored.items())] == [
        ("0", 0, "0"),
        ("0", 1, "1"),
        ("1", 0, "0"),
        ("1", 1, "1"),
        ("2", 0, "0"),
        ("2", 1, "1"),
    ]


async def test_asked_to_stop_it_finishes_what_is_in_flight_and_no_more() -> None:
    stop = asyncio.Event()

    async def reply(request: Request) -> str:
        if request.sample.id == "5":
            stop.set()
        await asyncio.sleep(0.02)
        return "yes"

    with pytest.raises(Stopped):
        await run(reply, 1000, window=3, stop=stop)
    assert 5 in run.stored
    assert len(run.stored) < 12


async def test_asked_to_stop_when_every_sample_ends_all_the_same_the_run_is_whole() -> None:
    stop = asyncio.Event()

    async def reply(request: Request) -> str:
        stop.set()
        return "yes"

    await run(reply, 20, stop=stop)
    assert len(run.stored) == 20


async def test_asked_to_stop_it_does_not_wait_for_a_reply_that_never_comes() -> None:
    stop = asyncio.Event()

    async def reply(request: Request) -> str:
        if request.sample.id == "2":
            stop.set()
            await asyncio.Event().wait()
        return "yes"

    with pytest.raises(Stopped):
        await asyncio.wait_for(run(reply, 1000, window=3, stop=stop, grace_s=0.05), timeout=30)
    assert 2 not in run.stored


async def test_a_full_disk_stops_the_run() -> None:
    written = 0

    def full(batch: list[SampleRecord]) -> None:
        nonlocal written
        written += 1
        raise StoreError("database or disk is full")

    with pytest.raises(StoreError, match="disk is full"):
        await run(lambda r: "yes", 5000, write=full, window=50)
    assert written < 10
