"""The pytest plug-in: task files as tests, the fixture ``evaluate``, prompts pinned by snapshot.

    pytest --evalkit-model sglang:NAME@http://127.0.0.1:30000 evals/

Every pytest run in an environment with evalkit loads this module. So the module imports evalkit's other
modules only when one of the options or fixtures is used, and changes nothing otherwise.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from evalkit.pytest_plugin.items import EvalFile, Evaluate


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("evalkit", "evaluation of models")
    add = group.addoption
    add(
        "--evalkit-model",
        action="append",
        default=[],
        metavar="SPEC",
        dest="evalkit_models",
        help="run task_*.py files as tests of this model; repeat for more models",
    )
    add(
        "--evalkit-param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="evalkit_params",
        help="set a parameter of the tasks; repeat to sweep",
    )
    add("--evalkit-limit", type=int, metavar="N", help="only the first N samples of each task")
    add(
        "--evalkit-min",
        action="append",
        default=[],
        metavar="METRIC=VALUE",
        dest="evalkit_min",
        help="threshold; takes precedence over the task's own min=",
    )
    add(
        "--evalkit-whole-interval",
        action="store_true",
        help="compare the worse end of the interval with the threshold, not the mean",
    )
    add(
        "--evalkit-baseline",
        action="append",
        default=[],
        metavar="RUN",
        dest="evalkit_baselines",
        help="stored run to compare with by a paired test: fail if worse; one for each task",
    )
    add(
        "--evalkit-margin",
        type=float,
        default=0.02,
        metavar="D",
        help="largest difference to the baseline that still passes [0.02]",
    )
    add("--evalkit-store", metavar="URL", help="score store [.evalkit/evalkit.db]")
    add(
        "--evalkit-update-snapshots",
        action="store_true",
        help="rewrite the prompt snapshots of assert_prompt",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("evalkit_update_snapshots"):
        os.environ["EVALKIT_UPDATE_SNAPSHOTS"] = "1"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> EvalFile | None:
    if not parent.config.getoption("evalkit_models") or not file_path.match("task_*.py"):
        return None
    from evalkit.pytest_plugin.items import EvalFile

    return EvalFile.from_parent(parent, path=file_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("evalkit_models") and config.getoption("evalkit_params"):
        from evalkit.pytest_plugin.items import check_params

        check_params(config, items)


@pytest.fixture
def evaluate(request: pytest.FixtureRequest) -> Evaluate:
    """``evaluate(task, model, limit=…, **parameters)`` runs a task and returns the stored run."""
    from evalkit.pytest_plugin.items import loop_of

    return loop_of(request.config).evaluate


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tear the tasks' fixtures down; where that fails, the session fails."""
    if failed := _close(session.config):
        session.config.stash[_FAILED] = failed
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for failure in config.stash.get(_FAILED, []):
        terminalreporter.write_line(f"evalkit: {failure}", red=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    _close(config)


_FAILED = pytest.StashKey[list[str]]()


def _close(config: pytest.Config) -> list[str]:
    """End the loop that ran evaluations, if one was started; return the teardowns that failed."""
    if "evalkit.pytest_plugin.items" not in sys.modules:
        return []
    failed: list[str] = sys.modules["evalkit.pytest_plugin.items"].close_loop(config)
    return failed
