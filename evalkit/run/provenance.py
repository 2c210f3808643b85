"""Where a number comes from: versions, code, machine. Facts only, never a secret."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from evalkit.collection.items import Item

_PACKAGES = (
    "evalkit",
    "faiss-cpu",
    "bm25s",
    "sentence-transformers",
    "torch",
    "rouge-score",
    "rouge-score-rs",
    "numpy",
    "lm-eval",
    "sacrebleu",
    "datasets",
)


@cache
def versions() -> dict[str, str]:
    """Installed versions of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def git_revision(folder: Path) -> str | None:
    """Commit of the checkout that ``folder`` is in, with ``+dirty`` where files differ; None outside one."""

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(  # noqa: S603 - fixed arguments
                ["git", "-C", str(folder), *args],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+dirty" if git("status", "--porcelain") else "")


def of_item(item: Item) -> dict[str, Any]:
    """Provenance of a task: its version, its file's hash, the code's revision, packages, machine."""
    facts: dict[str, Any] = {
        "task_version": item.task.version,
        "node_id": item.node_id,
        "packages": versions(),
        "platform": platform.platform(),
        **item.task.facts,
    }
    if item.task.path is not None:
        facts["task_sha256"] = hashlib.sha256(item.task.path.read_bytes()).hexdigest()
        facts["git"] = git_revision(item.task.path.parent)
    return facts
