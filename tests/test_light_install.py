"""Without extras: what needs none runs; the rest names the extra to install, and leaves no run behind.

The command runs in this environment with every package hidden that ``pip install evalkit`` does not bring.
"""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from evalkit.errors import NotInstalled
from evalkit.extras import EXTRAS, load

HIDE = """
import sys
from importlib.machinery import PathFinder

class Light(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {hidden!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Light
"""
TRIALS = ["run", "fictional_trials", "-p", "topics=3", "--model", "baseline:gold"]
BROKEN = ("Traceback", "No module named", "ModuleNotFoundError")


def required(name: str, extra: str = "") -> set[str]:
    """The distributions that installing ``name[extra]`` brings, itself left out."""
    found: set[str] = set()
    waiting = [Requirement(f"{name}[{extra}]" if extra else name)]
    while waiting:
        wanted = waiting.pop()
        for text in importlib.metadata.requires(wanted.name) or []:
            one = Requirement(text)
            applies = [
                one.marker is None or one.marker.evaluate({"extra": x}) for x in (wanted.extras or {""})
            ]
            if any(applies) and (key := canonicalize_name(one.name)) not in found:
                found.add(key)
                waiting.append(one)
    return found


@pytest.fixture
def light(evalkit, tmp_path: Path):
    """The command as it is after ``pip install evalkit``, with no extra and no network."""
    core = required("evalkit") | {"evalkit"}
    hidden = {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not any(canonicalize_name(owner) in core for owner in owners)
    }
    assert {"faiss", "torch", "PIL", "streamlit"} <= hidden
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(HIDE.format(hidden=hidden))
    evalkit.environment |= {"PYTHONPATH": str(tmp_path / "hidden"), "HF_HUB_OFFLINE": "1"}
    return evalkit


def runs(command) -> dict[str, str]:
    """The stored runs: task and status."""
    return {run["task"]: run["status"] for run in command.json("show", code=None)["runs"]}


def test_arms_that_search_nothing_run_and_the_others_name_the_extra(light) -> None:
    said = light(*TRIALS, code=1).stderr
    assert said.count("pip install 'evalkit[rag]'") == 1
    assert not any(word in said for word in (*BROKEN, "evalkit resume"))
    arms = {f"fictional_trials[arm={arm},topics=3]": "complete" for arm in ("closed_book", "oracle")}
    assert runs(light) == arms


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ([*TRIALS, "-p", "arm=retrieved"], "rag"),
        ([*TRIALS, "-p", "arm=retrieved", "-p", "search=bm25"], "rag"),
        ([*TRIALS, "-p", "arm=missing", "-p", "search=hybrid"], "rag"),
        ([*TRIALS, "-p", "arm=oracle", "-p", "judge=nli:ANY"], "metrics"),
        ([*TRIALS, "-p", "arm=oracle", "--metric", "chrf()"], "metrics"),
        (["run", "pubmed_rag", "--model", "baseline:gold"], "data"),
        (["run", "lm_eval/arc_easy", "--model", "baseline:gold"], "lm-eval"),
        ([*TRIALS[:-1], "lm_eval:hf", "-p", "arm=closed_book"], "lm-eval"),
        (["lm-eval", "ls", "tasks"], "lm-eval"),
        (["index", "build", "corpus.jsonl", "--out", "index"], "rag"),
        (["index", "build", "corpus.jsonl", "--out", "index", "--retriever", "bm25"], "rag"),
        (["index", "build", "hf:ANY", "--out", "index"], "data"),
        (["retrieve", "."], "rag"),
        (["leaderboard"], "leaderboard"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_needs_an_extra_names_it_and_leaves_no_run(light, arguments: list[str], extra: str) -> None:
    (light.folder / "corpus.jsonl").write_text('{"_id": "1", "id": "1", "text": "Zinc shortens colds."}\n')
    (light.folder / "queries.jsonl").write_text('{"_id": "q", "text": "zinc"}\n')
    (light.folder / "qrels").mkdir()
    (light.folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t1\t1\n")
    said = light(*arguments, code=2).stderr
    assert f"pip install 'evalkit[{extra}]'" in said
    assert not any(word in said for word in (*BROKEN, "evalkit resume"))
    assert runs(light) == {}


def test_errors_under_json_name_the_extra_too(light) -> None:
    (light.folder / "corpus.jsonl").write_text('{"id": "1", "text": "Zinc shortens colds."}\n')
    document = light.json("index", "build", "corpus.jsonl", "--out", "index", code=2)
    assert "pip install 'evalkit[rag]'" in document["errors"][0]


def test_scores_are_shown_and_scored_again(light) -> None:
    light(*TRIALS, "-p", "arm=oracle")
    for arguments in (["show", "latest", "--format", "latex"], ["rescore", "latest", "--metric", "chrf()"]):
        assert re.search(r"pip install 'evalkit\[(leaderboard|metrics)\]'", light(*arguments, code=2).stderr)
    light("rescore", "latest", "--metric", "rouge('rouge2')")
    assert list(runs(light).values()) == ["complete"]


def test_an_index_that_lies_there_needs_no_extra_before_it_is_searched(light) -> None:
    hidden = light.environment.pop("PYTHONPATH")
    light(*TRIALS, "-p", "arm=retrieved")
    light.environment["PYTHONPATH"] = hidden
    light(*TRIALS, "-p", "arm=closed_book")
    assert "pip install 'evalkit[rag]'" in light(*TRIALS, "-p", "arm=retrieved", code=2).stderr


LATE = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample(str(n), "?", "yes") for n in range(3)], metrics=[exact_match()])
async def late(sample, model) -> Answer:
    if sample.id == "2":
        import faiss
    return Answer(await model.generate(sample.input))
"""


def test_what_was_answered_before_is_kept(light) -> None:
    (light.folder / "task_late.py").write_text(LATE)
    said = light("run", "task_late.py", "--model", "baseline:gold", "--window", "1", code=1).stderr
    assert "pip install 'evalkit[rag]'" in said
    assert "evalkit resume" in said
    (run,) = light.json("show")["runs"]
    assert (run["status"], run["counts"]) == ("incomplete", {"ok": 2})


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_package_of_an_extra_is_in_the_table(extra: str) -> None:
    owners = importlib.metadata.packages_distributions()
    packages = [package for names in EXTRAS.values() for package in names]
    known = {canonicalize_name(owner) for package in packages for owner in owners.get(package, ())}
    wanted = [Requirement(text) for text in importlib.metadata.requires("evalkit") or []]
    mine = {canonicalize_name(r.name) for r in wanted if r.marker and r.marker.evaluate({"extra": extra})}
    assert mine - required("evalkit") <= known


def test_a_package_in_another_version_is_told_with_the_reason() -> None:
    with pytest.raises(NotInstalled, match=r"x needs the package nothing: pip install 'evalkit\[data\]'"):
        load("nothing", "x", "data")
    with pytest.raises(ModuleNotFoundError):
        load("nothing", "x")
