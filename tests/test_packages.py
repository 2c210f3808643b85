"""A package from elsewhere with tasks, a model and a retriever, installed as pip installs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FILES = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "evalkit-parrot"
version = "1.0"

[tool.setuptools]
packages = ["parrot"]

[project.entry-points."evalkit.tasks"]
parrot = "parrot"

[project.entry-points."evalkit.models"]
parrot = "parrot.model:Parrot"

[project.entry-points."evalkit.retrievers"]
first = "parrot.search:First"
""",
    "parrot/__init__.py": "",
    "parrot/model.py": '''
from evalkit.models.fake import FakeBackend


class Parrot(FakeBackend):
    """Says the last word of the prompt, so many times."""

    def __init__(self, spec):
        times = int(spec.extra.get("times", 1))
        super().__init__(
            lambda request: " ".join([request.messages[0].content.split()[-1]] * times),
            name=spec.display, cacheable=False,
        )
''',
    "parrot/search.py": '''
from pathlib import Path

from evalkit.protocols import Retriever
from evalkit.types import Passage


class First(Retriever):
    """Finds the first passages of a corpus, whatever is asked."""

    def __init__(self, corpus, directory, *, progress):
        super().__init__(corpus, directory, progress=progress)
        self.texts = Path(corpus).read_text().splitlines()

    async def search(self, query, k):
        return [Passage(str(i), text) for i, text in enumerate(self.texts[:k])]

    async def get(self, ids):
        return [Passage(i, self.texts[int(i)]) for i in ids]
''',
    "parrot/words.py": 'WORDS = ["zinc", "iron"]\n',
    "parrot/task_parrot.py": '''
"""Repeat a word."""
from evalkit import Answer, Sample, fixture, task
from evalkit.metrics import exact_match

from .words import WORDS


@fixture
def corpus(cache_dir):
    file = cache_dir / "words.txt"
    file.write_text("\\n".join(WORDS))
    return file


@task([Sample(word, f"Say {word}", word) for word in WORDS], metrics=[exact_match()])
async def repeat_word(sample, model, retriever) -> Answer:
    found = await retriever.search(sample.input, 1)
    assert found[0].text == "zinc"
    return Answer(await model.generate(sample.input), passages=found)
''',
}


def test_an_installed_package_brings_tasks_a_model_and_a_retriever(evalkit, tmp_path: Path) -> None:
    for name, text in FILES.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--no-build-isolation",
            "--no-deps",
            "--no-index",
            "--target",
            str(tmp_path / "site"),
            str(tmp_path / "source"),
        ],
        check=True,
        capture_output=True,
    )
    evalkit.environment["PYTHONPATH"] = str(tmp_path / "site")
    listed = evalkit.json("list", "-k", "repeat_word")["tasks"]
    assert [t["id"] for t in listed] == ["repeat_word"]
    arguments = ("run", "repeat_word", "-p", "search=first", "--model")
    (run,) = evalkit.json(*arguments, "parrot:grey?extra.times=1")["runs"]
    assert (run["model"], run["metrics"]["exact_match"]["value"]) == ("parrot:grey", 1.0)
    (run,) = evalkit.json(*arguments, "parrot:grey?extra.times=2")["runs"]
    assert run["metrics"]["exact_match"]["value"] == 0.0
