"""The pytest plug-in as a user runs it: collection, thresholds, baselines, reports, xdist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from evalkit.collection.targets import collect
from evalkit.compare.acceptance import smallest_detectable
from evalkit.run import runner
from evalkit.run.session import Session
from evalkit.stats import estimate
from evalkit.store import open_store
from evalkit.util.progress import Silent

EVALS = """
from evalkit import Answer, Sample, parametrize, skip, task, xfail
from evalkit.metrics import exact_match, length

SAMPLES = [Sample(str(i), f"question {i}", "yes" if i % 3 else "no") for i in range(60)]

@task(SAMPLES, metrics=[exact_match(), length()], tags=["yes-no"], min={"exact_match": 0.6})
@parametrize(say=["yes", "no"])
async def says(sample, model, say) -> Answer:
    return Answer(await model.generate(sample.input), text=say)

@task(SAMPLES, metrics=[exact_match()])
@skip(reason="no licence")
async def left_out(sample, model): ...

@task(SAMPLES, metrics=[exact_match()])
@xfail(reason="known")
async def fails(sample, model): raise ValueError("boom")
"""


class Project:
    """A folder with evals, where pytest is run as a command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "evals").mkdir()
        (folder / "evals" / "task_says.py").write_text(EVALS)
        (folder / "pytest.ini").write_text(
            "[pytest]\naddopts = --strict-markers -p no:cacheprovider -p no:asyncio -p no:hypothesispytest\n"
            "filterwarnings = error\n"
        )

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env={**os.environ, "EVALKIT_CACHE": str(self.folder / "cache"), "COLUMNS": "160"},
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def runs(self):
        with open_store(self.folder / ".evalkit" / "evalkit.db") as store:
            return store.runs.find()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_without_its_options_the_plug_in_collects_nothing_and_imports_nothing(project: Project) -> None:
    (project.folder / "test_light.py").write_text(
        "import sys\ndef test_light():\n"
        "    heavy = {'msgspec', 'numpy', 'sqlalchemy', 'evalkit.types', 'evalkit.pytest_plugin.items'}\n"
        "    assert heavy.isdisjoint(sys.modules)\n"
    )
    assert "1 passed" in project("evals", "test_light.py")
    assert not (project.folder / ".evalkit").exists()


def test_items_become_tests_judged_by_the_tasks_own_thresholds(project: Project) -> None:
    out = project("evals", "--evalkit-model", "baseline:echo", "--junitxml=j.xml", "-rsx", code=1)
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed" in out
    assert "no licence" in out
    assert "known" in out
    assert re.search(
        r"exact_match 0\.3333 \[0\.2273, 0\.4594\] \(n=60\): must be at least 0\.6\n"
        r"  the smallest difference in its true mean that 60 samples detect with 80 % power is 0\.172",
        out,
    )
    cases = {case.get("name"): case for case in ET.parse(project.folder / "j.xml").iter("testcase")}
    passed = cases["says[say=yes-baseline:echo]"]
    properties = {p.get("name"): p.get("value") for p in passed.iter("property")}
    assert float(properties["exact_match"]) == pytest.approx(2 / 3)
    assert float(properties["exact_match.low"]) < 2 / 3 < float(properties["exact_match.high"])
    stored = {run.id for run in project.runs() if run.is_complete}
    assert properties["evalkit.run"] in stored


def test_thresholds_of_the_command_line_go_first_and_may_ask_for_the_whole_interval(project: Project) -> None:
    says = "evals/task_says.py::says[say=yes-baseline:echo]"
    model = ("--evalkit-model", "baseline:echo")
    project(says, *model, "--evalkit-min", "exact_match=0.65")
    out = project(says, *model, "--evalkit-whole-interval", code=1)
    assert "0.6667 [0.5406, 0.7727] (n=60): its interval must be at least 0.6" in out
    out = project(says, *model, "--evalkit-min", "exact_mach=0.5", code=1)
    assert "has no metric 'exact_mach'. Did you mean 'exact_match'?" in out
    out = project(says, *model, "--evalkit-min", "length=1", code=1)
    assert "length only describes" in out


def test_items_are_chosen_by_name_tag_parameter_and_limit(project: Project) -> None:
    model = ("--evalkit-model", "baseline:gold")
    out = project("evals", *model, "--collect-only", "-q", "-m", "yes-no")
    assert [line for line in out.splitlines() if "::" in line] == [
        "evals/task_says.py::says[say=yes-baseline:gold]",
        "evals/task_says.py::says[say=no-baseline:gold]",
    ]
    project("evals", *model, "-k", "says and not fails", "--evalkit-param", "say=yes", "--evalkit-limit", "3")
    assert [(r.spec.task, r.n) for r in project.runs()] == [("says[say=yes]", 3)]
    done = project("evals", *model, "--evalkit-param", "sya=yes", code=4)
    assert done


def test_a_broken_task_file_is_an_error_of_that_file(project: Project) -> None:
    (project.folder / "evals" / "task_broken.py").write_text("import nothing_here\n")
    out = project("evals", "--evalkit-model", "baseline:gold", code=2)
    assert "task_broken.py:1: ModuleNotFoundError: No module named 'nothing_here'" in out
    assert "Traceback" not in out


def test_no_worse_than_a_baseline_run_is_tested_in_pairs(project: Project) -> None:
    says = "evals/task_says.py::says[say=yes-baseline:echo]"
    changing = EVALS.replace("text=say)", 'text=say if int(sample.id) >= WRONG else "?")')
    file = project.folder / "evals" / "task_says.py"
    model = ("--evalkit-model", "baseline:echo")
    project(says, *model)
    (base,) = project.runs()
    against = (*model, "--evalkit-min", "exact_match=0", "--evalkit-baseline", base.id)
    file.write_text("WRONG = 2\n" + changing)
    out = project(says, *against, "--evalkit-margin", "0.02", code=1)
    # By hand: one of the 60 pairs differs by −1, so d̄ = −1/60, se = 1/60, t(59) = 2.001.
    assert "exact_match, difference to the baseline: -0.01667 [-0.05002, 0.01668] (n=60): must be no" in out
    assert f"0.65 here, 0.6667 in run {base.id} (baseline:echo)" in out
    assert "60 samples detect with 80 % power is 0.0467; to detect 0.02 takes about 328 samples" in out
    assert "not of the model alone: the runs also differ in the task code" in out
    assert "PASSED" in project(says, *against, "--evalkit-margin", "0.06", "-rp")


def test_a_baseline_of_other_samples_or_none_at_all_is_an_error(project: Project) -> None:
    says = "evals/task_says.py::says[say=yes-baseline:echo]"
    model = ("--evalkit-model", "baseline:echo")
    project(says, *model, "--evalkit-limit", "30")
    (base,) = project.runs()
    assert "has other samples (30, this one 60)" in project(
        says, *model, "--evalkit-baseline", base.id, code=1
    )
    no = says.replace("=yes", "=no")
    assert "no baseline for says[say=no]" in project(no, *model, "--evalkit-baseline", base.id, code=1)
    assert "needs a run's id" in project(says, *model, "--evalkit-baseline", "latest", code=1)
    assert "has no metric 'exact'" in project(says, *model, "--evalkit-min", "exact=1", code=1)
    assert [run.id for run in project.runs()] == [base.id], "nothing was paid for in vain"


def test_an_incomplete_run_fails_with_its_first_error(project: Project) -> None:
    (project.folder / "evals" / "task_says.py").write_text(EVALS.replace('@xfail(reason="known")\n', ""))
    out = project("evals", "--evalkit-model", "baseline:gold", "-k", "fails", code=1)
    assert "is incomplete: 60 of 60 samples ended (60 error)\n  the first error: ValueError: boom" in out


CACHED = "-o", "addopts=-p no:asyncio -p no:hypothesispytest", "--strict-markers", "-p", "cacheprovider"
MODEL = "--evalkit-model", "baseline:echo"


def test_the_last_failed_tests_run_again_alone_or_first_or_step_by_step(project: Project) -> None:
    failed = "says[say=no-baseline:echo]"
    assert "1 failed, 1 passed" in project(*CACHED, "evals", *MODEL, code=1)
    again = project(*CACHED, "evals", *MODEL, "--lf", "-v", code=1)
    assert "1 failed in" in again
    assert failed in again
    first = project(*CACHED, "evals", *MODEL, "--ff", "-v", code=1)
    assert first.index(f"{failed} FAILED") < first.index("says[say=yes-baseline:echo] PASSED")
    stepping = (*CACHED, "evals", *MODEL, "--sw")
    assert "1 failed, 1 passed" in project(*stepping, code=2)
    assert "1 failed, 1 deselected" in project(*stepping, code=2)
    (project.folder / "evals" / "task_says.py").write_text(EVALS.replace("0.6", "0"))
    assert "1 passed" in project(*CACHED, "evals", *MODEL, "--lf")


def test_the_first_failure_ends_the_session_where_it_is_asked_for(project: Project) -> None:
    turned = EVALS.replace('say=["yes", "no"]', 'say=["no", "yes"]')
    (project.folder / "evals" / "task_says.py").write_text(turned)
    assert "stopping after 1 failures" in project("evals", *MODEL, "-x", code=1)
    assert len(project.runs()) == 1


@pytest.mark.parametrize("tag", ["lang:en", "split(dev)", "_private", "a b"])
def test_any_tag_is_a_marker(project: Project, tag: str) -> None:
    (project.folder / "evals" / "task_says.py").write_text(EVALS.replace('"yes-no"', repr(tag)))
    out = project("evals", *MODEL, "--evalkit-min", "exact_match=0", "--strict-markers")
    assert "2 passed" in out
    if option := {"lang:en": "-k", "_private": "-m"}.get(tag):
        chosen = project("evals", *MODEL, "--collect-only", "-q", option, tag)
        assert chosen.count("says[say=") == 2


ENDS = """
import os, sys
from evalkit import Answer, Sample, fixture, task
from evalkit.metrics import exact_match

SAMPLES = [Sample(str(i), "q", "yes") for i in range(4)]

@fixture
def closing():
    yield ""
    sys.exit(0)

@task(SAMPLES, metrics=[exact_match()])
async def ends(sample, model):
    if sample.id == "2":
        END
    return Answer(await model.generate(sample.input))

@task(SAMPLES, metrics=[exact_match()])
async def fine(sample, model): return Answer(await model.generate(sample.input))
"""


@pytest.mark.parametrize(
    "end", ["sys.exit(0)", "os._exit(0)", "raise KeyboardInterrupt", "raise GeneratorExit"]
)
def test_a_task_that_exits_or_interrupts_fails_its_test_and_no_other(project: Project, end: str) -> None:
    (project.folder / "evals" / "task_says.py").write_text(ENDS.replace("END", end))
    out = project("evals", "--evalkit-model", "baseline:gold", code=1)
    assert "1 failed, 1 passed" in out
    assert "4 of 4 samples ended (1 error, 3 ok)" in out


def test_a_task_file_that_exits_is_an_error_of_that_file(project: Project) -> None:
    (project.folder / "evals" / "task_exits.py").write_text("import sys\nsys.exit(0)\n")
    out = project("evals", "--evalkit-model", "baseline:gold", code=2)
    assert "task_exits.py:2: SystemExit: 0" in out
    assert "Traceback" not in out


def test_a_fixture_that_fails_in_its_teardown_fails_the_session(project: Project) -> None:
    text = ENDS.replace("        END", "        pass").replace(
        "fine(sample, model)", "fine(sample, model, closing)"
    )
    (project.folder / "evals" / "task_says.py").write_text(text)
    out = project("evals", "--evalkit-model", "baseline:gold", code=1)
    assert "2 passed" in out
    assert "evalkit: evals/task_says.py:11: teardown of fixture closing: SystemExit: 0" in out


def test_tests_that_change_directory_share_the_store_of_the_folder_where_pytest_began(
    project: Project,
) -> None:
    (project.folder / "test_own.py").write_text("""
import pytest

@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

@pytest.mark.parametrize("say", ["yes", "no"])
def test_own(evaluate, request, say):
    task = request.config.rootpath / "evals" / "task_says.py"
    assert evaluate(f"{task}::says", "baseline:echo", say=say).n == 60
""")
    project("test_own.py")
    assert len(project.runs()) == 2


def test_under_xdist_every_item_is_run_once_and_stored(project: Project) -> None:
    many = EVALS.replace('say=["yes", "no"]', 'say=["yes", "no", "a", "b", "c", "d"]').replace("0.6", "0")
    (project.folder / "evals" / "task_says.py").write_text(many)
    models = ("--evalkit-model", "baseline:echo", "--evalkit-model", "baseline:lead")
    out = project("evals", *models, "-n", "2", "--junitxml=j.xml")
    assert "12 passed" in out
    done = [(r.spec.task, r.spec.model) for r in project.runs() if r.is_complete]
    assert len(done) == len(set(done)) == 12
    assert len(list(ET.parse(project.folder / "j.xml").iter("property"))) > 12


def test_the_fixture_evaluate_runs_tasks_in_peoples_own_tests(project: Project) -> None:
    (project.folder / "test_own.py").write_text("""
import asyncio
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match
import pytest

@task([Sample("1", "q", "a"), Sample("2", "q", "b")], metrics=[exact_match()])
async def mine(sample, model, helper) -> Answer:
    return Answer(await model.generate(helper + sample.input))

def test_spec(evaluate):
    run = evaluate("evals/task_says.py::says", "baseline:echo", say="yes", limit=3)
    assert run.metrics["exact_match"].value == pytest.approx(2 / 3) and run.n == 3

def test_a_function_as_model_and_a_value_as_fixture(evaluate):
    seen = []
    def model(request):
        seen.append(request.messages[0].content)
        return request.sample.target
    assert evaluate(mine, model, fixtures={"helper": "Say: "}).metrics["exact_match"].value == 1
    assert evaluate(mine, lambda request: "b", fixtures={"helper": ""}).metrics["exact_match"].value == 0.5
    assert sorted(seen) == ["Say: q", "Say: q"]

def test_in_a_running_loop(evaluate):
    async def inside():
        return evaluate("evals/task_says.py::says[say=no]", "baseline:echo", limit=3)
    assert asyncio.run(inside()).is_complete

def test_several_items(evaluate):
    with pytest.raises(Exception, match="2 items match instead of one"):
        evaluate("evals/task_says.py::says", "baseline:echo")
""")
    assert "4 passed" in project("test_own.py")


def test_snapshots_are_renewed_by_the_option(project: Project) -> None:
    (project.folder / "test_prompt.py").write_text("""
from pathlib import Path
from evalkit.testing import assert_prompt, load_task

def test_prompt():
    task = load_task("evals/task_says.py", "says")
    assert_prompt(task, Path(__file__).with_name("says.txt"), say="yes")
""")
    project("test_prompt.py")
    (project.folder / "says.txt").write_text("old")
    assert "Changed on purpose?" in project("test_prompt.py", code=1)
    project("test_prompt.py", "--evalkit-update-snapshots")
    assert "question 0" in (project.folder / "says.txt").read_text()


def test_the_smallest_detectable_difference_is_that_of_the_power_formula() -> None:
    """Miller 2024: σ = 0.5, ρ = 0.5, so sd(differences) = 0.5: 5.6 points at n = 618, 6.3 at n = 500."""
    for n, points in ((618, 0.0563), (500, 0.0626)):
        differences = [0.5, -0.5] * (n // 2)
        assert smallest_detectable(estimate(differences)) == pytest.approx(points, abs=2e-4)
    assert smallest_detectable(estimate([1.0])) == float("inf")
    assert smallest_detectable(estimate([1.0] * 100)) > 0.02, "no variance is not certainty"


async def test_a_metric_where_lower_is_better_is_judged_the_other_way(tmp_path: Path) -> None:
    from evalkit.compare.acceptance import check_baseline, check_threshold

    (tmp_path / "task_low.py").write_text(
        "from evalkit import Answer, Sample, metric, parametrize, task\n"
        "@metric(higher_is_better=False)\n"
        "def wrong(sample, answer): return float(answer.text)\n"
        "@task([Sample(str(i), 'q') for i in range(40)], metrics=[wrong])\n"
        "@parametrize(worse=[0.0, 0.1])\n"
        "async def low(sample, model, worse):\n"
        "    return Answer(text=str(0.2 + worse + int(sample.id) % 4 * 0.05 * worse))\n"
    )
    with open_store(tmp_path / "e.db") as store:
        async with Session(Silent()) as session:
            base, run = [
                await runner.start(item, "baseline:empty", store, session, runner.Options())
                for item in collect([str(tmp_path / "task_low.py")]).items
            ]
        (info,) = run.spec.metrics
        assert not check_threshold(run, info, 0.25, False).passed
        assert check_threshold(base, info, 0.25, False).passed
        assert "must be at most 0.25" in check_threshold(run, info, 0.25, False).text
        assert not check_baseline(store, run, base, info, 0.02).passed
        assert check_baseline(store, run, base, info, 0.2).passed
        assert check_baseline(store, base, run, info, 0.0).passed, "better is never worse"
