"""Whole runs under faults: a server that comes back, one that does not, and any mix of what can go wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simserver.evaluate import evaluate, right, serving, within_budget
from benchmarks.simserver.faults import KINDS
from benchmarks.simserver.rates import Bucket
from evalkit.errors import SetupError

N = 40
# Slow to try, or, an empty reply, no failure of the infrastructure: tests/models/openai/test_faults.py has
# them one by one.
LEFT_OUT = {"hang", "stall", "gigantic", "empty"}


async def test_a_server_that_is_away_for_seconds_costs_nothing(tmp_path: Path) -> None:
    async with serving({}, scale=5.0) as (live, port):
        run = asyncio.create_task(evaluate(tmp_path, port, N, "&max_inflight=4"))
        while sum(live.answered.values()) < 8 and not run.done():
            await asyncio.sleep(0.01)
    await asyncio.sleep(3)  # nobody listens
    async with serving({}, port=port) as (later, _):
        outcome = await run
    assert outcome.samples == right(N)
    assert 0 < sum(later.asked.values()) < N
    # Those under way were broken off, and three answers are compared with those from before.
    assert sum((live.asked + later.asked).values()) <= N + 4 + 3


async def test_a_dead_server_is_not_hammered_and_the_run_stops(tmp_path: Path) -> None:
    async with serving({"500": 1.0}) as (live, port):
        with pytest.raises(SetupError, match=r"no answer for .*resume the run"):
            await evaluate(tmp_path, port, 1_000, "&down_timeout=2&max_inflight=8")
    assert sum(live.asked.values()) <= 3 * 8  # those under way, one more try of each, then one at a time


@pytest.mark.parametrize("evenly", [False, True])
async def test_a_server_that_tells_what_is_left_of_its_rate_need_not_refuse(tmp_path, evenly: bool) -> None:
    refused = {}
    for tells in (True, False):
        bucket = Bucket(20, 0.5, evenly=evenly, tells=tells)
        folder = tmp_path / str(tells)
        folder.mkdir()
        async with serving({}, bucket=bucket) as (_, port):
            outcome = await evaluate(folder, port, 3 * N, "&max_inflight=10")
        assert outcome.samples == right(3 * N)
        refused[tells] = bucket.refused
    assert refused[True] <= 2 < 10 < refused[False]


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.sampled_from([kind for kind in KINDS if kind not in LEFT_OUT]), st.floats(0.05, 0.15), max_size=4
    )
)
def test_no_mix_of_faults_loses_a_sample_or_scores_a_failure(tmp_path_factory, shares) -> None:
    async def one():
        async with serving(shares) as (live, port):
            return live, await evaluate(tmp_path_factory.mktemp("faults"), port, N)

    live, outcome = asyncio.run(one())
    assert len(outcome.samples) == N
    for sample, expected in zip(outcome.samples, right(N), strict=True):
        status, score, error = sample
        if status == "error":  # never a score, always a reason
            assert score is None
            assert error
        else:
            assert sample == expected
    assert outcome.run.is_complete == all(status == "ok" for status, _, _ in outcome.samples)
    assert "redirect" in shares or outcome.run.is_complete
    assert within_budget(live)
