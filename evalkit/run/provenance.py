"""Provenance: the versions, code and machine behind a number. Never a secret."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from evalkit.collection.items import Item
from evalkit.run.code import code_sha256
from evalkit.store.records import MetricInfo

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
    """Return the installed versions of Python and of the packages that scores depend on."""
    installed = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


@cache
def git_revision(folder: Path) -> str | None:
    """Return the commit of the checkout around ``folder``, with ``+dirty`` where files differ; else None."""

    def git(*args: str) -> str | None:
        try:
            process = subprocess.run(  # noqa: S603 - fixed arguments
                ["git", "-C", str(folder), *args],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return process.stdout.strip() if process.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+dirty" if git("status", "--porcelain") else "")


def of_item(item: Item) -> dict[str, Any]:
    """Return the provenance of a task: version, hash of the file, commit, packages, machine."""
    facts: dict[str, Any] = {
        "task_version": item.task.version,
        "node_id": item.node_id,
        "packages": versions(),
        "platform": platform.platform(),
        **item.task.facts,
    }
    if item.task.path is not None:
        facts["task_sha256"] = hashlib.sha256(item.task.path.read_bytes()).hexdigest()
        facts["code_sha256"] = code_sha256(item.task.path.parent, item.task.fn)
        facts["git"] = git_revision(item.task.path.parent)
    return facts


def metric_infos(item: Item) -> tuple[MetricInfo, ...]:
    """Return the facts about the task's metrics that the store keeps."""
    folder = item.task.path.parent if item.task.path else None
    return tuple(
        MetricInfo(
            m.name,
            m.low,
            m.high,
            m.higher_is_better,
            m.kind,
            m.unit,
            m.help,
            m.version,
            code_sha256(folder, m.fn, m.aggregate) if folder else "",
            m.aggregate is not None,
        )
        for m in item.task.metrics
    )
