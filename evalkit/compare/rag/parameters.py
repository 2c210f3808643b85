"""What a run's task takes today: the arms that it has, and the defaults of what older runs do not name."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from evalkit.collection.files import load_file
from evalkit.collection.fixture_resolution import closure, fixtures_for
from evalkit.collection.items import plain
from evalkit.errors import EvalkitError
from evalkit.store.records import Run
from evalkit.task import Parameter


def arms_of(run: Run) -> tuple[str, ...] | None:
    """The arms that a run's task takes; None where its file is gone, or where it lists none."""
    arm = _of(run).get("arm")
    return typing.get_args(arm.hint) or None if arm else None


def completed(run: Run) -> Run:
    """The run with the present default for each parameter that its task has got since."""
    lacking = {
        name: plain(parameter.default) for name, parameter in _of(run).items() if name not in run.spec.params
    }
    return replace(run, spec=replace(run.spec, params=run.spec.params | lacking)) if lacking else run


def _of(run: Run) -> Mapping[str, Parameter]:
    path, name = run.spec.target.get("path"), run.spec.target.get("task")
    return _parameters(path, name) if path and name else {}


@cache
def _parameters(path: str, name: str) -> Mapping[str, Parameter]:
    """Those of a task; none where it is no longer there."""
    try:
        for task in load_file(Path(path)) if Path(path).is_file() else ():
            if task.name == name:
                return closure(task, fixtures_for(task.path))
    except EvalkitError:
        return {}
    return {}
