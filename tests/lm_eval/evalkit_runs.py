"""Several ``evalkit run`` in one process: ``python evalkit_runs.py PLAN.json`` with ``{"output", "runs"}``.

Each run is a list of arguments, as a user types them. transformers and lm-eval are imported only once.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Run all, and write the JSON documents that they print."""
    from evalkit.cli import cli

    plan = json.loads(Path(sys.argv[1]).read_text())
    documents = []
    for arguments in plan["runs"]:
        with tempfile.TemporaryFile() as out:
            os.dup2(out.fileno(), 1)  # the document goes to the file descriptor, not to sys.stdout
            try:
                cli(["run", *arguments, "--json", "-q"])
            except SystemExit as ended:
                if ended.code:
                    sys.exit(f"{arguments}: exit {ended.code}")
            out.seek(0)
            documents.append(json.load(out))
    Path(plan["output"]).write_text(json.dumps(documents))


if __name__ == "__main__":
    main()
