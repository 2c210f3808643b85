"""lm-eval's own run, as a process: ``python reference.py PLAN.json`` prints its results as JSON.

The plan is ``{"include_path", "output", "bootstrap_iters", "runs"}``; a run holds the arguments of
``lm_eval.simple_evaluate``: ``model``, ``model_args``, ``tasks`` and others.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Evaluate all runs of the plan, and write their results."""
    import lm_eval
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import handle_non_serializable

    import evalkit.lm_eval.lm  # noqa: F401 - for the model called evalkit

    logging.disable(logging.WARNING)
    plan: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    manager = TaskManager(include_path=plan["include_path"], include_defaults=False)
    results = []
    for run in plan["runs"]:
        made = lm_eval.simple_evaluate(task_manager=manager, bootstrap_iters=plan["bootstrap_iters"], **run)
        results.append({key: made[key] for key in ("results", "n-samples", "samples")})
    text = json.dumps(results, default=handle_non_serializable)
    Path(plan["output"]).write_text(text)


if __name__ == "__main__":
    main()
