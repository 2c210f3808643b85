"""``kill -9`` at random instants, a few of those of ``make soak``: nothing lost, nothing paid for twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kill import killed_run
from benchmarks.servers import free_port
from benchmarks.simserver.process import simulated


@pytest.mark.parametrize("seed", [0, 1], ids=["cache on", "cache off"])
def test_a_run_that_is_killed_again_and_again_ends_whole(tmp_path: Path, seed: int) -> None:
    with simulated(free_port(), scale=20) as url:
        killed = killed_run(tmp_path, url, seed, most=3, n=400)
    assert killed.kills > 0
