"""The time to list a folder of many task files: python benchmarks/listing.py [FILES]

Prints the seconds of the first listing, of the next one, of one after an edit, and of one with a broken file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TASK = """from evalkit import Answer, Sample, parametrize, task
from evalkit.metrics import exact_match


def samples(n: int = 2):
    for i in range(n):
        yield Sample(str(i), f"question {i}", "yes")


@task(samples, metrics=[exact_match()], tags=["mine"])
@parametrize(k=[1, 5])
async def mine_NUMBER(sample, model, k: int = 1) -> Answer:
    \"\"\"Answer yes.\"\"\"
    return Answer(await model.generate(sample.input))
"""


def listed(folder: Path, what: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """List the folder by the command line, and print the time."""
    environment = {**os.environ, "EVALKIT_CACHE": str(folder / "cache")}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "evalkit", "list", str(folder / "evals")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    print(
        f"{what:>20}: {time.perf_counter() - start:6.2f} s, {len(done.stdout.splitlines())} lines", flush=True
    )
    if done.returncode != code:
        raise SystemExit(done.stderr)
    return done


def main() -> None:
    """Make the files and list them four times."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "evals").mkdir()
        for number in range(n):
            (folder / "evals" / f"task_{number:05}.py").write_text(TASK.replace("NUMBER", str(number)))
        first = listed(folder, "first time")
        if listed(folder, "after").stdout != first.stdout:
            raise SystemExit("the second listing differs from the first")
        (folder / "evals" / "task_00001.py").write_text(TASK.replace("mine_NUMBER", "edited"))
        if "edited" not in listed(folder, "one file edited").stdout:
            raise SystemExit("an edit was not seen")
        (folder / "evals" / "task_00002.py").write_text("def broken(:\n")
        if "task_00002.py:1: syntax error" not in listed(folder, "one file broken", code=2).stderr:
            raise SystemExit("the broken file was not named")


if __name__ == "__main__":
    main()
