"""Long trials of what must never be lost: ``make soak``, some minutes; ends with an error where one fails.

Each fault of the simulated server alone at 5 and at 30 % of the requests, then all together: every sample
must end with the score that it has without faults, within the budget of retries. Then a run with cache and
store is killed at random instants (SIGKILL) and resumed: each sample must be stored once and no answered call
repeated.
``--kills N`` says how many instants, ``--seed N`` which.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.kill import killed_run
from benchmarks.simserver.evaluate import evaluate, right, serving, within_budget
from benchmarks.simserver.faults import KINDS
from benchmarks.simserver.process import free_port, simulated

N = 100
KILLS_EACH = 10
# After these a run has the scores of one without.
PASSING = [kind for kind in KINDS if kind not in ("gigantic", "redirect", "empty")]


async def fault_trial(shares: dict[str, float]) -> str:
    """One run under faults: what went wrong, or an empty string. Prints its line of the table."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        async with serving(shares) as (live, port):
            outcome = await evaluate(Path(folder), port, N, "&stream=true" if "stall" in shares else "")
    again = sum(live.asked.values()) - len(live.asked)
    name = next(iter(shares)) if len(shares) == 1 else "all together"
    line = f"{name} | {sum(shares.values()):.0%}"
    print(f"| {line} | {again} | {time.monotonic() - began:.1f} |", flush=True)
    lost = sum(a != b for a, b in zip(outcome.samples, right(N), strict=True))
    return "" if not lost and within_budget(live) else f"{line}: {lost} samples differ, {again} tries again"


async def soak(kills: int, seed: int) -> list[str]:
    """All trials; what went wrong."""
    print("| fault | share | tries again | seconds |\n|---|---|---|---|")
    mixes = [{kind: share} for kind in PASSING for share in (0.05, 0.3)]
    mixes += [dict.fromkeys(PASSING, share / len(PASSING)) for share in (0.05, 0.3)]
    problems = [await fault_trial(mix) for mix in mixes]
    with simulated(free_port(), scale=20) as url:
        for i in range(kills // KILLS_EACH):
            with tempfile.TemporaryDirectory() as folder:
                killed = await asyncio.to_thread(killed_run, Path(folder), url, seed + i, most=KILLS_EACH)
            print(f"killed {killed.kills} times: {killed.asked} requests, {killed.again} of them again")
    return [problem for problem in problems if problem]


def main() -> None:
    """Run the trials; exit code 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # clients that are killed hang up
    problems = asyncio.run(soak(options.kills, options.seed))
    print("\n".join(problems) or "Nothing was lost.")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
