"""The start-up time of the command line, compared with bare Python: ``python benchmarks/startup.py``.

Prints medians of 15 runs each. The commands run in turn, so that a slow moment affects all of them.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

EVALKIT = str(Path(sys.executable).parent / "evalkit")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "evalkit --help": [EVALKIT, "--help"],
    "evalkit list": [EVALKIT, "list"],
}
RUNS = 15


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(RUNS + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            if turn:  # the first turn warms the file cache
                times[name].append(1000 * (time.perf_counter() - start))
    bare = statistics.median(times["python -c pass"])
    print("| command | median | over bare Python | times bare Python |\n|---|---|---|---|")
    for name, seen in times.items():
        middle = statistics.median(seen)
        print(f"| `{name}` | {middle:.0f} ms | {middle - bare:.0f} ms | {middle / bare:.1f} |")


if __name__ == "__main__":
    main()
