"""Install the wheel in a fresh environment outside the checkout, and run the demo's task from it.

    python tests/check_wheel.py dist

Exits with 1 where ``baseline:gold`` does not score full marks in every arm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TASK = ["run", "fictional_trials", "-p", "topics=6", "--model", "baseline:gold", "--json", "--quiet"]
FULL = {"fact_recall": 1.0, "evidence_direction": 1.0, "unsupported_numbers": 0.0, "rougeLsum": 1.0}
CITED = {"citation_precision": 1.0, "citation_recall": 1.0}
ARMS = {"closed_book": FULL, "retrieved": FULL | CITED, "oracle": FULL | CITED}


def scores(wheel: Path, home: Path) -> dict[str, dict[str, float]]:
    """Return the metrics of each arm, from a command that knows nothing of the checkout."""
    venv.create(home / "environment", with_pip=True)
    binaries = home / "environment" / "bin"
    constraints = ROOT / "constraints.txt"
    install = [binaries / "pip", "install", "-q", "-c", constraints, f"{wheel.resolve()}[rag,encoder]"]
    subprocess.run(install, cwd=home, check=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("EVALKIT_", "PYTHON"))}
    environment["EVALKIT_CACHE"] = str(home / "cache")
    done = subprocess.run(
        [binaries / "evalkit", *TASK], cwd=home, env=environment, stdout=subprocess.PIPE, check=True
    )
    runs: list[dict[str, Any]] = json.loads(done.stdout)["runs"]
    return {
        arm: {name: metric["value"] for name, metric in run["metrics"].items()}
        for run in runs
        for arm in ARMS
        if f"[arm={arm}," in run["task"] and run["status"] == "complete"
    }


def main(folder: str) -> int:
    """Print what was scored; return the exit code."""
    (wheel,) = Path(folder).glob("*.whl")
    with tempfile.TemporaryDirectory() as home:
        found = scores(wheel, Path(home))
    wrong = [
        f"{arm}: {name} is {found.get(arm, {}).get(name)}, not {value}"
        for arm, full in ARMS.items()
        for name, value in full.items()
        if found.get(arm, {}).get(name) != value
    ]
    print("\n".join(wrong) or f"{wheel.name}: baseline:gold scores full marks in {', '.join(found)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
