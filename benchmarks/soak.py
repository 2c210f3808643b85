"""Runs of the command under faults: ``make soak``, about seven minutes.

The runs use the simulated server with each fault at 10 % of the requests, with all transient faults at 5, 15
and 30 %, with a server that refuses connections for 20 s and with one that always fails; then come 100 kills
by ``kill -9``. Prints a table, and ends with exit code 1 where a run lost, changed or repeated something.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.kill import TASK, killed_run, start, wait_for
from benchmarks.servers import free_port
from benchmarks.simserver.faults import FINAL, HARMLESS, KINDS
from benchmarks.simserver.process import asked, simulated

N = 400
RIGHT = sum(i % 3 > 0 for i in range(N)) / N
PASSING = [kind for kind in KINDS if kind not in {*FINAL, "empty"}]
LIMITS = "timeout=3&stall_timeout=2&max_inflight=32"
REFUSES_S, DOWN_S = 20, 10


@dataclass
class Row:
    """A line of the table. ``good``: the run behaved as documented."""

    what: str
    requests: int
    counts: dict[str, int]
    seconds: float
    good: bool

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {status}" for status, n in self.counts.items())
        verdict = "as it should be" if self.good else "WRONG"
        return f"| {self.what} | {self.requests / N:.2f} | {counts} | {self.seconds:.0f} | {verdict} |"


def main() -> int:
    """Print the table and return 1 where a line is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="seed of the instants of the kills")
    options = parser.parse_args()
    print(f"{N} samples a run\n\n| fault | requests a sample | samples | seconds | |\n|---|---|---|---|---|")
    bad = 0
    for row in rows():
        print(row, flush=True)
        bad += not row.good
    print()
    return 1 if not deaths(options.kills, options.seed) or bad else 0


def rows() -> Iterator[Row]:
    """Yield the lines of the table."""
    yield from faults()
    yield refusing()
    yield dead()


def faults() -> Iterator[Row]:
    """Yield each fault alone, then the transient faults together."""
    for kind in KINDS:
        share = 0.01 if kind == "gigantic" else 0.1
        yield with_faults(f"{kind}, {share:.0%}", f"{kind}={share}", kind)
    for share in (0.05, 0.15, 0.3):
        for way in ("", "&stream=true"):
            mixed = ",".join(f"{kind}={share / len(PASSING)}" for kind in PASSING)
            name = f"all that pass, {share:.0%}{', streamed' if way else ''}"
            yield with_faults(name, mixed, "all", way)


def with_faults(name: str, mixed: str, kind: str, way: str = "") -> Row:
    """Run on a server with faults and return the line of the table."""
    limits = LIMITS.replace("timeout=3", "timeout=60", 1) if kind == "gigantic" else LIMITS
    with simulated(free_port(), scale=100, faults=mixed) as url, tempfile.TemporaryDirectory() as home:
        run, seconds = evaluated(Path(home), f"{url}?{limits}{way}")
        requests = asked(url).total()
    counts, value = run["counts"], run["metrics"]["exact_match"]["value"]
    if kind in FINAL:
        good = counts.get("error", 0) > 0 and counts["error"] + counts["ok"] == requests == N
    elif kind == "empty":
        good = (
            counts.get("empty", 0) > 0 and counts["empty"] + counts["ok"] == requests == N and value < RIGHT
        )
    else:
        again = 0 if kind in HARMLESS else N
        good = (counts, value) == ({"ok": N}, RIGHT) and N <= requests <= N + again
    return Row(name, requests, counts, seconds, good)


def refusing() -> Row:
    """Run on a server that stops in the middle of the run and is back on its port after 20 s."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        began = time.perf_counter()
        with simulated(port, scale=20) as url:
            process = start(Path(home), *command(f"{url}?{LIMITS}"))
            wait_for(process, url, N // 4)
            before = asked(url).total()
        time.sleep(REFUSES_S)
        with simulated(port, scale=100) as url:
            out, _ = process.communicate()
            requests = before + asked(url).total()
    run = json.loads(out)["runs"][0]
    good = (run["counts"], run["metrics"]["exact_match"]["value"]) == ({"ok": N}, RIGHT)
    name = f"connections refused for {REFUSES_S} s"
    return Row(name, requests, run["counts"], time.perf_counter() - began, good and requests <= N + 64)


def dead() -> Row:
    """Run on a server that only answers 500: the run must stop by itself, after few requests."""
    with simulated(free_port(), scale=100, faults="500=1") as url, tempfile.TemporaryDirectory() as home:
        run, seconds = evaluated(Path(home), f"{url}?{LIMITS}&down_timeout={DOWN_S}")
        requests = asked(url).total()
    good = "ok" not in run["counts"] and run["status"] == "incomplete" and requests <= N / 2
    return Row(f"500 at every request, down_timeout={DOWN_S}", requests, run["counts"], seconds, good)


def deaths(wanted: int, seed: int) -> bool:
    """Kill runs by ``kill -9`` until the wanted number of kills, and return whether all runs ended well."""
    kills = asked_in_all = again = runs = 0
    while kills < wanted:
        with simulated(free_port(), scale=20) as url, tempfile.TemporaryDirectory() as home:
            try:
                killed = killed_run(Path(home), url, seed + runs, most=min(8, wanted - kills))
            except AssertionError as problem:
                print(f"kill -9, run {runs}: WRONG: {problem}")
                return False
        kills, again, runs = kills + killed.kills, again + killed.again, runs + 1
        asked_in_all += killed.asked
        print(f"kill -9: {kills} of {wanted}", file=sys.stderr)
    print(
        f"kill -9 at {kills} random instants of {runs} runs: every sample once, no completed call repeated, "
        f"databases sound; {again} of {asked_in_all} requests, under way at a death, were sent again"
    )
    return True


def evaluated(home: Path, spec: str) -> tuple[dict[str, Any], float]:
    """Run the command once and return its JSON of the run, and the seconds."""
    began = time.perf_counter()
    out, err = start(home, *command(spec)).communicate()
    runs = json.loads(out)["runs"]
    if not runs:
        raise SystemExit(f"the run did not begin: {err}")
    return runs[0], time.perf_counter() - began


def command(spec: str) -> list[str]:
    """Return the command of a run of the task."""
    return ["run", str(TASK), "-p", f"n={N}", "--model", f"openai:sim@{spec}", "--json"]


if __name__ == "__main__":
    sys.exit(main())
