"""The overlap of the stages of a run: ``python -m benchmarks.overlap``, about four minutes.

A RAG run on simulated servers (``benchmarks/task_overlap.py``): retrieval, image encoding, generation,
judging and scoring are slow one at a time, then all together. With full overlap, the run takes as long as its
slowest stage.
``--write`` puts the table into docs/scheduling.md between its markers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.pages import write_part
from benchmarks.servers import ROOT
from benchmarks.simserver.process import simulated
from evalkit.media.pixels import plain_png

SENT, LARGE = 256, 320  # pixels of a picture's side: accepted by the model, and too large without conversion
# Ports of the model and the judge, each slow and fast, with the factors that speed up their time.
SERVERS = {
    "model": (18171, 2.0),
    "model at once": (18172, 500),
    "judge": (18173, 1.2),
    "judge at once": (18174, 500),
}
SLOW = {
    "retrieval": {"OVERLAP_FIND_S": "0.014"},
    "image encoding": {},
    "generation": {},
    "judging": {},
    "scoring": {"OVERLAP_SCORE_S": "0.025"},
}


def seconds(slow: set[str], n: int) -> float:
    """Return the wall time of a run in which these stages are slow."""
    task = ROOT / "benchmarks" / "task_overlap.py"
    settings = {name: value for stage in slow for name, value in SLOW[stage].items()}
    ports = {
        who: SERVERS[who if stage in slow else f"{who} at once"][0]
        for who, stage in (("model", "generation"), ("judge", "judging"))
    }
    with tempfile.TemporaryDirectory() as home:
        command = [
            sys.executable,
            "-m",
            "evalkit",
            "run",
            str(task),
            "-q",
            "--json",
            "--model",
            f"openai:sim@http://127.0.0.1:{ports['model']}?max_side={SENT}&max_inflight=64",
            "-p",
            f"judge_spec=openai:sim@http://127.0.0.1:{ports['judge']}?max_inflight=64",
            "-p",
            f"n={n}",
            "--store",
            f"{home}/evalkit.db",
        ]
        write_pictures(Path(home) / "pictures", n, LARGE if "image encoding" in slow else SENT)
        environment = {**os.environ, **settings, "EVALKIT_CACHE": f"{home}/cache"}
        done = subprocess.run(command, cwd=home, env=environment, stdout=subprocess.PIPE, check=True)
    (run,) = json.loads(done.stdout)["runs"]
    if run["counts"] != {"ok": n}:
        raise SystemExit(f"the run did not end well: {run['counts']}")
    return float(run["wall_s"])


def write_pictures(folder: Path, n: int, side: int) -> None:
    """Write plain pictures, each in another colour."""
    folder.mkdir()
    for i in range(n):
        (folder / f"{i}.png").write_bytes(plain_png(side, side, (i % 256, i // 256, 99)))


def report(n: int) -> str:
    """Return the table."""
    with ExitStack() as stack:
        for port, scale in SERVERS.values():
            stack.enter_context(simulated(port, scale=scale))
        nothing = seconds(set(), n)
        alone = {stage: seconds({stage}, n) for stage in SLOW}
        together = seconds(set(SLOW), n)
    slowest = max(alone.values())
    lines = ["| slow is | seconds |", "|---|---|", f"| nothing | {nothing:.1f} |"]
    lines += [f"| {stage} | {wall:.1f} |" for stage, wall in alone.items()]
    lines += [f"| all of them | {together:.1f} |"]
    return (
        f"{n:,} samples on {os.cpu_count()} cores. All together take {together / slowest:.2f} × the slowest "
        f"stage alone; one after another they would take {sum(alone.values()) / slowest:.1f} ×.\n\n"
        + "\n".join(lines)
    )


def main() -> None:
    """Print the table; with ``--write`` put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1_500)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    text = report(options.n)
    print(text)
    if options.write:
        write_part("overlap", text, "scheduling.md")


if __name__ == "__main__":
    main()
