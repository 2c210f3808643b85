"""What a run shows while it goes on, by a clock of the test's own."""

from __future__ import annotations

import asyncio
import io
import re
import time

from rich.console import Console

from evalkit.errors import Overloaded, ServerFailed
from evalkit.models import wrap
from evalkit.models.fake import FakeBackend
from evalkit.models.middleware.call_stats import JobProgress
from evalkit.run.display import RunDisplay, batch_text
from evalkit.types import Request, Response, Usage
from evalkit.util.progress import Lines, Rich


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Board:
    """Keeps what is noted."""

    done = 0
    text = ""

    def advance(self, n: int = 1) -> None:
        self.done += n

    def note(self, text: str) -> None:
        self.text = text


def test_rates_are_those_of_the_last_seconds_and_troubles_stand_on_a_line_of_their_own() -> None:
    clock, board = Clock(), Board()
    live = RunDisplay(board, clock)
    traffic = live.traffic
    live.refresh()
    assert board.text == "0 in flight"
    for second in range(1, 41):  # ten samples and 500 tokens a second, then nothing
        clock.now = second
        if second <= 20:
            live.advance(10)
            traffic.tokens += 500
        traffic.in_flight = 64
        live.refresh()
        if second == 20:
            assert board.text == "10.0 samples/s · 500 tokens/s · 64 in flight"
        if second == 30:  # five busy seconds of the last fifteen
            assert board.text == "3.3 samples/s · 167 tokens/s · 64 in flight"
    assert board.done == 200
    traffic.hits, traffic.retries = 1_200, 14
    traffic.failed(Overloaded("", status=429))
    traffic.failed(Overloaded("", status=429))
    traffic.failed(ServerFailed("broke"))
    live.note("3 × truncated")
    live.refresh()
    assert board.text.splitlines() == [
        "0.00 samples/s · 0.00 tokens/s · 64 in flight · 1,200 from the cache · 14 retries",
        "failed calls: 2 × 429, 1 × ServerFailed · samples: 3 × truncated",
    ]


def test_batch_jobs_show_the_vendors_state_and_those_that_run() -> None:
    hour_ago = time.time() - 3_600
    one = JobProgress(2_000, 1_200, "in_progress", since=hour_ago)
    other = JobProgress(48, 0, "validating", since=hour_ago + 600)
    ended = JobProgress(500, 500, "completed", ended=True)
    assert batch_text({"a": one}) == "batch: 1 job, in_progress, 1,200 of 2,000 lines done, 60 min"
    assert batch_text({"a": one, "b": other, "c": ended}) == (
        "batch: 2 jobs, 1 × in_progress, 1 × validating, 1,200 of 2,048 lines done, 60 min"
    )
    assert batch_text({"c": ended}) == "batch: 1 job, completed, 500 of 500 lines done"
    board = Board()
    live = RunDisplay(board, Clock())
    live.traffic.jobs["a"] = one
    live.refresh()
    assert board.text.splitlines()[1].startswith("batch: 1 job, in_progress")


async def test_it_ends_with_the_figures_of_the_whole() -> None:
    clock, board = Clock(), Board()
    async with RunDisplay(board, clock) as live:
        live.advance(10)
        live.traffic.tokens += 500
        clock.now = 100
    assert board.text == "0.10 samples/s · 5.0 tokens/s · 0 in flight"


async def test_every_layer_counts_where_it_happens() -> None:
    replies = [Overloaded("slow down", status=503, retry_after=0.0), "fine"]

    def answer(request: Request) -> Response:
        reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return Response(text=reply, usage=Usage(completion_tokens=5))

    model = wrap(FakeBackend(answer))
    judge = wrap(FakeBackend(lambda request: Response(text="yes", usage=Usage(completion_tokens=2))))
    async with RunDisplay(Board()) as before:
        await judge.send(Request(prompt="b"))
    async with RunDisplay(Board()) as live:
        await asyncio.gather(model.send(Request(prompt="a")), judge.send(Request(prompt="a")))
    assert before.traffic.tokens == 2
    traffic = live.traffic
    assert (traffic.tokens, traffic.retries, traffic.in_flight) == (7, 1, 0)
    assert traffic.failures == {"503": 1}


def test_a_log_gets_a_line_every_ten_seconds_even_where_nothing_moves() -> None:
    clock, stream = Clock(), io.StringIO()
    with Lines(stream, clock=clock).bar("m · task", 100) as bar:
        bar.advance(20)  # done before
        for quarter in range(1, 121):
            clock.now = quarter / 4
            if clock.now in (5, 10):
                bar.advance(10)
            bar.note("1 in flight\nfailed calls: 1 × 500")
        clock.now = 200
        bar.advance(60)
    lines = stream.getvalue().splitlines()
    rest = " · 1 in flight · failed calls: 1 × 500"
    assert lines == [
        f"m · task: 40/100 in 10 s · 30 s left{rest}",
        f"m · task: 40/100 in 20 s · 1:00 left{rest}",
        f"m · task: 40/100 in 30 s · 1:30 left{rest}",
        f"m · task: 100/100 in 3:20{rest}",
    ]


def test_on_a_terminal_of_eighty_columns_every_line_fits() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, _environ={"TERM": "xterm"})
    with Rich(console).bar("openai:a/very-long-model-name@http://127.0.0.1 · some_task[k=5]", 20_000) as bar:
        bar.advance(12_345)
        bar.note(
            "1.2k samples/s · 34.5k tokens/s · 256 in flight · 12,345 from the cache · 1,234 retries\n[b]x"
        )
    drawn = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line) for line in stream.getvalue().splitlines()]
    shown = [line for line in drawn if line.strip()]
    assert max(map(len, shown)) <= 80
    assert "12345/20000" in shown[-3]
    assert shown[-2].startswith("  1.2k samples/s")
    assert shown[-1].rstrip() == "  [b]x"  # what a server says is no markup
