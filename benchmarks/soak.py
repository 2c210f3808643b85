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
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.simserver.evaluate import TASK, evaluate, right, serving, within_budget
from benchmarks.simserver.faults import KINDS

N = 100
IN_FLIGHT = 8
RESUME = ["resume", "latest"]
ROOT = Path(__file__).resolve().parent.parent
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


async def kill_trial(instant_s: float) -> tuple[str, int]:
    """One run, killed and resumed: what went wrong, or an empty string, and the samples stored by then."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "task_asked.py").write_text(TASK)
        async with serving({}, scale=10.0) as (live, port):
            start = ["run", "task_asked.py", "-p", f"n={N}", "--model", f"openai:sim@http://127.0.0.1:{port}"]
            first = await _start(folder, *start)
            await asyncio.sleep(instant_s)
            if first.returncode is None:
                os.kill(first.pid, signal.SIGKILL)
            await first.wait()
            answered, stored = set(live.answered), _stored(folder)
            if stored is None or stored < N:
                code = await (await _start(folder, *(start if stored is None else RESUME))).wait()
                if code:
                    return f"killed after {instant_s:.2f} s: exit code {code}", stored or 0
        return _checked(folder, live.asked, answered, instant_s), stored or 0


async def _start(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    quiet = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "evalkit", *arguments, "--max-inflight", str(IN_FLIGHT), "-q",
        cwd=folder, stdout=quiet, stderr=quiet, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def _stored(folder: Path) -> int | None:
    """Samples in the store; None where it has no run yet."""
    file = folder / ".evalkit" / "evalkit.db"
    if not file.exists():
        return None
    with sqlite3.connect(file) as db:
        try:
            runs = db.execute("SELECT count(*) FROM run").fetchone()[0]
            return db.execute("SELECT count(*) FROM sample").fetchone()[0] if runs else None
        except sqlite3.OperationalError:  # died while the tables were made
            return None


def _checked(folder: Path, asked: Mapping[str, int], answered: set[str], instant_s: float) -> str:
    """What is wrong after the resume: a call repeated, a sample lost or twice, a file that is not sound."""
    # What was at the server when the process died was answered to nobody: that much may be asked again.
    twice = [question for question in answered if asked[question] > 1]
    problems = [] if len(twice) <= IN_FLIGHT else [f"{len(twice)} answered calls repeated"]
    for name in ("evalkit.db", "responses.db"):
        with sqlite3.connect(folder / ".evalkit" / name) as db:
            if db.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                problems.append(f"{name} is not sound")
    with sqlite3.connect(folder / ".evalkit" / "evalkit.db") as db:
        counts = db.execute("SELECT count(*), count(DISTINCT sequence) FROM sample").fetchone()
    if counts != (N, N):
        problems.append(f"{counts} samples, not {N}")
    return f"killed after {instant_s:.2f} s: {'; '.join(problems)}" if problems else ""


async def soak(kills: int, seed: int) -> list[str]:
    """All trials; what went wrong."""
    print("| fault | share | tries again | seconds |\n|---|---|---|---|")
    mixes = [{kind: share} for kind in PASSING for share in (0.05, 0.3)]
    mixes += [dict.fromkeys(PASSING, share / len(PASSING)) for share in (0.05, 0.3)]
    problems = [await fault_trial(mix) for mix in mixes]
    draw = random.Random(seed)
    deaths = []
    for _ in range(kills):
        problem, stored = await kill_trial(draw.uniform(0.3, 3.0))
        problems.append(problem)
        deaths.append(stored)
    between = sum(0 < stored < N for stored in deaths)
    print(f"\n{kills} runs killed, {between} of them with some of the samples stored and not all.")
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
