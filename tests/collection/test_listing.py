"""Listing: what is remembered of task files that did not change, and what is seen of those that did."""

from __future__ import annotations

from pathlib import Path

TASK = """
from evalkit import Sample, parametrize, task
from evalkit.metrics import exact_match
from .helper import WORD
print("imported", __file__, file=__import__("sys").stderr)

@task([Sample("1", "q", "a")], metrics=[exact_match()], tags=[WORD])
@parametrize(k=[1, 5])
async def NAME(sample, model, k: int = 1):
    \"\"\"A task.\"\"\"
"""


def project(folder: Path) -> Path:
    evals = folder / "evals"
    evals.mkdir()
    (folder / "pyproject.toml").write_text("")
    (evals / "helper.py").write_text("WORD = 'old'\n")
    for name in ("one", "two"):
        (evals / f"task_{name}.py").write_text(TASK.replace("NAME", name))
    return evals


def names(document) -> list[str]:
    return [f"{t['id']} {t['tags'][0]}" for t in document["tasks"]]


def imported(done) -> set[str]:
    return {
        Path(line.removeprefix("imported ")).name
        for line in done.stderr.splitlines()
        if line.startswith("imported")
    }


def test_only_files_that_changed_are_imported_again(evalkit) -> None:
    evals = project(evalkit.folder)
    first = evalkit("list", "evals")
    assert imported(first) == {"task_one.py", "task_two.py"}
    again = evalkit("list", "evals")
    assert (imported(again), again.stdout) == (set(), first.stdout)
    (evals / "task_one.py").write_text(TASK.replace("NAME", "changed"))
    changed = evalkit("list", "evals")
    assert imported(changed) == {"task_one.py"}
    assert changed.stdout == first.stdout.replace("one", "changed").replace("task_changed", "task_one")
    (evals / "task_two.py").unlink()
    (evals / "task_three.py").write_text(TASK.replace("NAME", "three"))
    assert names(evalkit.json("list", "evals", "-k", "k=1")) == ["changed[k=1] old", "three[k=1] old"]
    assert imported(evalkit("list", "evals", "--fresh")) == {"task_one.py", "task_three.py"}


def test_a_changed_helper_and_a_new_evalconf_are_seen(evalkit) -> None:
    evals = project(evalkit.folder)
    assert names(evalkit.json("list", "evals"))[0] == "one[k=1] old"
    (evals / "helper.py").write_text("WORD = 'newer'\n")
    assert names(evalkit.json("list", "evals"))[0] == "one[k=1] newer"
    (evals / "evalconf.py").write_text("from evalkit import fixture\n@fixture\ndef x(): ...\n")
    assert imported(evalkit("list", "evals")) == {"task_one.py", "task_two.py"}
    (evals / "evalconf.py").write_text("raise RuntimeError('no conf')\n")
    assert "no conf" in evalkit("list", "evals", code=2).stderr


def test_a_broken_file_is_named_every_time_and_the_others_are_listed(evalkit) -> None:
    evals = project(evalkit.folder)
    (evals / "task_broken.py").write_text("def f(:\n")
    (evals / "task_lost.py").write_text(TASK.replace("NAME", "lost").replace("model, k", "model, nowhere, k"))
    for _ in range(2):
        document = evalkit.json("list", "evals", code=2)
        assert len(document["tasks"]) == 4
        assert [Path(b["path"]).name for b in document["broken"]] == ["task_broken.py", "task_lost.py"]


def test_a_file_that_uses_another_task_file_follows_it(evalkit) -> None:
    evals = project(evalkit.folder)
    (evals / "task_user.py").write_text("from .task_one import one as renamed\n")
    assert len(names(evalkit.json("list", "evals"))) == 6
    (evals / "task_one.py").write_text(TASK.replace("NAME", "one").replace("[1, 5]", "[7]"))
    assert names(evalkit.json("list", "evals", "-k", "user")) == ["one[k=7] old"]


def test_a_damaged_memory_is_no_harm(evalkit) -> None:
    project(evalkit.folder)
    first = evalkit("list", "evals").stdout
    (remembered,) = (evalkit.folder / "cache" / "listings").iterdir()
    remembered.write_bytes(b"\x93junk")
    assert evalkit("list", "evals").stdout == first
