"""CPU time and memory over a long run: ``python -m benchmarks.long_run``, some minutes.

The run is ``evalkit run`` on short samples, with ``baseline:gold`` and with a server that answers at once.
Every second, CPU time, memory, open files and the number of stored samples are read from outside. The table
compares the second and the last fifth of the samples. ``--write`` puts it into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.instant import running
from benchmarks.pages import write_part

TASK = '''
"""Say the last word."""
from evalkit import Answer, Model, Sample, task
from evalkit.metrics import exact_match


def samples(n: int = 1000):
    for i in range(n):
        yield Sample(id=str(i), input=f"Question {i}: say the word w{i}", target=f"w{i}")


@task(samples, metrics=[exact_match()])
async def words(sample: Sample, model: Model) -> Answer:
    """Say the last word."""
    return Answer(await model.generate(sample.input, max_tokens=16))
'''
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Look:
    """A moment of a run: samples stored, seconds of CPU, memory in MB, open files."""

    stored: int
    cpu_s: float
    mb: float
    files: int


def look(pid: int, store: Path) -> Look | None:
    """Return the present state of the run; None before its first sample and after its end."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        files = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a number is enough
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=5)) as db, db:
            (last,) = db.execute("SELECT max(sequence) FROM sample").fetchone()
    except (OSError, sqlite3.OperationalError, IndexError):
        return None
    if last is None:
        return None
    cpu = (int(fields[11]) + int(fields[12])) / TICKS
    return Look(last + 1, cpu, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files)


def watch(model: str, count: int) -> list[Look]:
    """Run and record the states of the run. Raises ``RuntimeError`` where the run fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "task_words.py").write_text(TASK)
        script = str(Path(sys.executable).with_name("evalkit"))
        command = [script, "run", "task_words.py", "-p", f"n={count}", "--model", model, "-q"]
        looks = []
        with (folder / "log.txt").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            while process.poll() is None:
                time.sleep(1)
                if found := look(process.pid, folder / ".evalkit" / "evalkit.db"):
                    looks.append(found)
        if process.returncode != 0:
            raise RuntimeError((folder / "log.txt").read_text()[-2000:])
        return looks


def cost(looks: list[Look], begin: float, end: float) -> float:
    """Return CPU milliseconds per sample between two fractions of the run."""
    total = looks[-1].stored
    some = [one for one in looks if begin * total <= one.stored <= end * total]
    return 1000 * (some[-1].cpu_s - some[0].cpu_s) / (some[-1].stored - some[0].stored)


def row(name: str, looks: list[Look]) -> str:
    """Return a line of the table, without the end of the run, when estimates are computed."""
    total = looks[-1].stored
    early, last = cost(looks, 0.2, 0.4), cost(looks, 0.8, 0.99)
    fifth = next(one for one in looks if one.stored >= total / 5)
    late = next(one for one in looks if one.stored >= 0.95 * total)
    return (
        f"| {name} | {total:,} | {early:.3f} | {last:.3f} | {last / early:.2f} "
        f"| {fifth.mb:.0f} MB | {late.mb:.0f} MB | {fifth.files} | {late.files} |"
    )


def main() -> None:
    """Measure both runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines = [
        "| model | samples | CPU-ms a sample, second fifth | last fifth | ratio | memory at a fifth "
        "| at 95 % | open files at a fifth | at 95 % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines.append(row("`baseline:gold`", watch("baseline:gold", options.samples)))
    print(lines[-1], flush=True)
    with running() as url:
        lines.append(row("a server that answers at once", watch(f"openai:instant@{url}", options.samples)))
    print(lines[-1], flush=True)
    if options.write:
        write_part("long run", "\n".join(lines))


if __name__ == "__main__":
    main()
