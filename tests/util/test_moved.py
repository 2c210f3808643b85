"""Task files that were written for an earlier evalkit go on working."""

from __future__ import annotations

import importlib
import sys

import pytest

from evalkit.store import open_store
from evalkit.util import moved

OLD = """
from evalkit import Answer, Needs, Sample, task
from evalkit.choices import answer_choice
from evalkit.extract import letter
from evalkit.metrics import exact_match
from evalkit.metrics.base import metric
from evalkit.sentences import split_sentences


@metric
def short(sample, answer):
    return float(len(split_sentences(answer.reply)) == 1)


@task([Sample("1", "Say yes.", "yes")], metrics=[exact_match(), short], needs=Needs())
async def old(sample, model):
    return Answer(await model.generate(sample.input))
"""


def test_a_task_file_with_former_imports_runs(evalkit) -> None:
    (evalkit.folder / "task_old.py").write_text(OLD)
    (run,) = evalkit.json("run", "task_old.py", "--model", "baseline:gold")["runs"]
    assert {name: m["value"] for name, m in run["metrics"].items()} == {"exact_match": 1.0, "short": 1.0}


@pytest.mark.parametrize("former", moved.MODULES)
def test_a_former_path_leads_to_the_present_one_and_says_so(former: str) -> None:
    sys.modules.pop(former, None)
    with pytest.warns(DeprecationWarning, match=f"{former} is now {moved.MODULES[former]}"):
        module = importlib.import_module(former)
    present = importlib.import_module(moved.MODULES[former])
    public = next(name for name in vars(present) if not name.startswith("_") and name != "annotations")
    assert getattr(module, public) is getattr(present, public)
    with pytest.raises(AttributeError):
        _ = module.no_such_name


@pytest.mark.parametrize(("package", "names"), moved.NAMES.items())
def test_a_former_name_of_a_package(package: str, names: dict[str, str]) -> None:
    module = importlib.import_module(package)
    for former, now in names.items():
        with pytest.warns(DeprecationWarning, match=f"{package}.{former} is now {package}.{now}"):
            assert getattr(module, former) is getattr(module, now)


def test_former_methods_of_a_store(evalkit) -> None:
    (evalkit.folder / "task_old.py").write_text(OLD)
    evalkit("run", "task_old.py", "--model", "baseline:gold")
    with open_store(evalkit.folder / ".evalkit" / "evalkit.db", create=False) as store:
        with pytest.warns(DeprecationWarning, match=r"store.run is now store.runs.get"):
            run = store.run("latest")
        with pytest.warns(DeprecationWarning, match=r"store.page is now store.board.page"):
            assert store.page(run.id, text="yes").total == 1
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = store.nothing
