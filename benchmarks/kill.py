"""``kill -9`` at random instants of runs on the simulated server, with cache and store; then ``resume``.

After each kill both databases must be sound, and no cached call may be repeated. At the end the store holds
each sample once, with the score of an undisturbed run. Part of ``make soak``.
"""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import ROOT
from benchmarks.simserver.process import asked

TASK = ROOT / "benchmarks" / "task_soak.py"
INFLIGHT = 8
# One kill of five comes within the first number of seconds after the start, perhaps before a store exists.
# The others come within the second number of seconds after a random number of further requests.
EARLY_S, LATER_S = 1.0, 0.05


@dataclass
class Killed:
    """A run that was killed ``kills`` times; ``again`` requests, none of them cached, were sent once more."""

    kills: int
    asked: int
    again: int


def killed_run(folder: Path, url: str, seed: int, *, most: int, n: int = 600) -> Killed:
    """Kill one run up to ``most`` times, then let the run end.

    Raises ``AssertionError`` where the run lost or repeated something.
    """
    rng, name = random.Random(seed), f"run {seed}"
    cache = ("on", "off")[seed % 2]
    first = [
        "run",
        str(TASK),
        "-p",
        f"n={n}",
        "-p",
        f"name={name}",
        "--cache",
        cache,
        "--model",
        f"openai:sim@{url}",
        "--max-inflight",
        str(INFLIGHT),
    ]
    begun = Counter(asked(url))
    kills = 0
    while kills < most:
        filed, before = filed_replies(folder), asked(url)
        process = start(folder, *next_command(folder, first))
        if rng.random() < 0.2:
            time.sleep(rng.uniform(0, EARLY_S))
        else:
            wait_for(process, url, before.total() + rng.randint(1, n // most))
            time.sleep(rng.uniform(0, LATER_S))
        if process.poll() is not None:
            break  # the run ended before the kill
        process.kill()
        process.communicate()
        kills += 1
        check_not_repeated(filed, before, asked(url))
        check_sound(folder)
    filed, before = filed_replies(folder), asked(url)
    process = start(folder, *next_command(folder, first), "--json")
    out, err = process.communicate()
    assert process.returncode == 0, err
    check_not_repeated(filed, before, asked(url))
    check_sound(folder)
    (run,) = json.loads(out)["runs"]
    assert (run["status"], run["counts"]) == ("complete", {"ok": n})
    assert run["metrics"]["exact_match"]["value"] == sum(i % 3 > 0 for i in range(n)) / n
    with closing(sqlite3.connect(folder / ".evalkit" / "evalkit.db")) as store:
        assert store.execute("SELECT count(*), count(DISTINCT sequence) FROM sample").fetchone() == (n, n)
    assert len(filed_replies(folder)) == n
    mine = asked(url) - begun
    again = mine.total() - n
    assert len(mine) == n
    lost = f"{again} requests sent again after {kills} deaths"
    assert again <= kills * INFLIGHT, lost  # requests in flight when the process died
    return Killed(kills, mine.total(), again)


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start the ``evalkit`` command in ``folder``."""
    environment = {**os.environ, "EVALKIT_CACHE": str(folder / "cache")}
    environment.pop("EVALKIT_STORE", None)
    return subprocess.Popen(
        [sys.executable, "-m", "evalkit", *words, "-q"],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(process: subprocess.Popen[str], url: str, requests: int) -> None:
    """Wait until the server has received a number of requests, or the process has ended."""
    while process.poll() is None and asked(url).total() < requests:
        time.sleep(0.01)


def next_command(folder: Path, first: list[str]) -> list[str]:
    """Return the command ``resume`` if the store holds a run, else the first command."""
    path = folder / ".evalkit" / "evalkit.db"
    if not path.exists():
        return first
    with closing(sqlite3.connect(path)) as store:
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}
        begun = "run" in tables and store.execute("SELECT count(*) FROM run").fetchone()[0]
    return ["resume", "latest"] if begun else first


def filed_replies(folder: Path) -> set[str]:
    """Return the replies in the response cache: the completed calls."""
    path = folder / ".evalkit" / "responses.db"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as cache:
        if not cache.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:  # not made yet
            return set()
        values = [value for (value,) in cache.execute("SELECT value FROM answer")]
    return {found.decode() for value in values for found in re.findall(rb"reply \d+", value)}


def check_not_repeated(filed: set[str], before: Counter[str], after: Counter[str]) -> None:
    """Check that no cached call was repeated."""
    repeated = {reply for reply in filed if after[reply] != before[reply]}
    assert not repeated, f"{len(repeated)} completed calls were repeated"


def check_sound(folder: Path) -> None:
    """Check both databases by SQLite's own integrity check."""
    for path in (folder / ".evalkit").glob("*.db"):
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",), path
