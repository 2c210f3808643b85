"""The hash of a task's code: it changes with what the task does, and not with comments or its neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.collection.files import load_task
from evalkit.run.code import code_sha256

TASK = '''
from evalkit import Answer, Sample, metric, task
from .helper import clean
from . import texts

PROMPT = "Say yes: {q}"

@metric
def right(sample, answer):
    return float(answer.reply == sample.target)

@task([Sample("1", "q", "yes")], metrics=[right], tags=["a"])
async def first(sample, model):
    """Ask."""
    return Answer(await model.generate(ask(sample) + texts.END), text=clean("x"))

def ask(sample):
    return PROMPT.format(q=sample.input)

@task([Sample("1", "q", "yes")], metrics=[right])
async def second(sample, model):
    return Answer(await model.generate("other"))
'''
HELPER = "def clean(text):\n    return text.strip()\n\ndef unused():\n    return 1\n"


def sha(folder: Path, task: str = TASK, helper: str = HELPER, texts: str = 'END = "."\n') -> str:
    folder.mkdir()
    for name, text in (("task_a.py", task), ("helper.py", helper), ("texts.py", texts)):
        (folder / name).write_text(text)
    return code_sha256(folder, load_task(folder / "task_a.py", "first").fn)


@pytest.fixture
def base(tmp_path: Path) -> str:
    return sha(tmp_path / "base")


@pytest.mark.parametrize(
    "changes",
    [
        {"task": TASK.replace('"""Ask."""', '"""Ask, in other words."""  # and a comment\n')},
        {"task": TASK.replace('tags=["a"]', 'tags=["a", "b"]')},
        {"task": TASK.replace('generate("other")', 'generate("another")')},
        {"task": TASK.replace("answer.reply ==", "answer.reply.strip() ==")},  # has a hash of its own
        {"helper": HELPER.replace("return 1", "return 2")},
    ],
)
def test_comments_decorators_and_what_the_task_does_not_use_change_nothing(
    base: str, tmp_path: Path, changes: dict[str, str]
) -> None:
    assert sha(tmp_path / "edited", **changes) == base


@pytest.mark.parametrize(
    "changes",
    [
        {"task": TASK.replace("ask(sample) +", '"Think. " + ask(sample) +')},
        {"task": TASK.replace("Say yes", "Say no")},
        {"task": TASK.replace("q=sample.input", "q=sample.input.upper()")},
        {"helper": HELPER.replace("text.strip()", "text.lower()")},
        {"texts": 'END = "!"\n'},
    ],
)
def test_what_the_task_asks_and_reads_changes_it_also_in_other_files(
    base: str, tmp_path: Path, changes: dict[str, str]
) -> None:
    assert sha(tmp_path / "edited", **changes) != base


def test_modules_without_a_file_and_foreign_objects_are_passed_over(tmp_path: Path) -> None:
    """``sys`` has no file; a lazy module imports what is asked for; a proxy answers anything."""
    imports = (
        "import sys\nfrom . import texts, lazy\nfrom unittest.mock import MagicMock\n\nproxy = MagicMock()"
    )
    used = "PROMPT.format(q=sample.input, v=sys.argv, p=proxy, z=lazy.heavy)"
    task = TASK.replace("from . import texts", imports).replace("PROMPT.format(q=sample.input)", used)
    folder = tmp_path / "strange"
    folder.mkdir()
    (folder / "lazy.py").write_text("def __getattr__(name):\n    raise RuntimeError(f'imported {name}')\n")
    for name, text in (("task_a.py", task), ("helper.py", HELPER), ("texts.py", 'END = "."\n')):
        (folder / name).write_text(text)
    assert len(code_sha256(folder, load_task(folder / "task_a.py", "first").fn)) == 64


def test_an_environment_in_the_folder_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    monkeypatch.syspath_prepend(packages)
    task = TASK.replace("from .helper", "from installed_helper")

    def written(helper: str) -> str:
        (packages / "installed_helper.py").write_text(helper)
        for name, text in (("task_a.py", task), ("texts.py", 'END = "."\n')):
            (tmp_path / name).write_text(text)
        return code_sha256(tmp_path, load_task(tmp_path / "task_a.py", "first").fn)

    assert written(HELPER) == written(HELPER.replace("text.strip()", "text.lower()"))
