"""The guides for writers of tasks: every file in them is written, every command run, in their order."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from tests.servers.in_thread import in_thread

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SERVER = "sglang:NAME@http://127.0.0.1:30000"


@pytest.mark.parametrize("page", ["write-a-task.md", "agents.md", "pytest.md", "judges.md"])
def test_every_file_and_command_of_the_guides_works(page: str, tmp_path: Path) -> None:
    environment = {**os.environ, "EVALKIT_CACHE": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    (tmp_path / "pyproject.toml").write_text("")
    ran = 0
    for language, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        named = re.match(r"# (\w+\.\w+)\n", text)
        if named and language in ("python", "csv", "json"):
            body = text if language == "python" else text[named.end() :]
            (tmp_path / named[1]).write_text(body, encoding="utf-8")
        for line in text.splitlines() if language == "sh" else []:
            if SERVER in line:
                continue
            words = shlex.split(line)
            options = ["-p", "no:asyncio", "-p", "no:cacheprovider"] if words[0] == "pytest" else []
            done = subprocess.run(
                [sys.executable, "-W", "error", "-m", *words, *options],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            assert "incomplete" not in done.stdout
            ran += 1
    assert ran >= 1


JUDGED = """
from evalkit import Answer, Passage, Sample, task
from evalkit.metrics import citation_precision
from evalkit.metrics import alce

ZINC = (Passage("z", "Zinc shortens the common cold."),)


@task([Sample("1", "Does zinc help?", "Zinc shortens the common cold [1].")], metrics=[alce("precision")])
async def judged(sample, model, review):
    response = await model.generate(sample.input)
    return await review(sample, Answer(response, passages=ZINC))
"""


async def say(request: web.Request) -> web.Response:
    asked = await request.json()
    return web.json_response({"a": f"{asked['q']} Yes."})


def test_the_plug_ins_of_the_guide_keep_their_contracts_and_work(evalkit, tmp_path: Path) -> None:
    """The adapter, the retriever and the judge as a reader copies them, registered by their entry points."""
    points = []
    for language, text in BLOCK.findall((DOCS / "plug-ins.md").read_text(encoding="utf-8")):
        named = re.match(r"# (\w+\.\w+)\n", text)
        if language == "python" and named:
            (tmp_path / named[1]).write_text(text, encoding="utf-8")
        elif language == "toml":
            points.append(text.replace("project.entry-points.", "").replace('"', ""))
    points[0] += "say = evalkit_say:Say\n"
    package = tmp_path / "guide-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: guide\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("\n".join(points))
    (tmp_path / "task_judged.py").write_text(JUDGED)
    evalkit.environment["PYTHONPATH"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-p", "no:asyncio", "test_plug_ins.py"],
        cwd=tmp_path,
        env=evalkit.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout
    with in_thread([web.post("/say", say)]) as url:
        models = ("--model", "baseline:gold", "--model", "shout:loud", "--model", f"say:low@{url}")
        run = evalkit.json("run", "task_judged.py", *models)["runs"]
    assert [(r["status"], r["counts"]) for r in run] == [("complete", {"ok": 1})] * 3
    assert run[0]["metrics"]["alce_precision"]["value"] == 1.0


def test_the_page_of_built_in_tasks_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_tasks", DOCS / "make_tasks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / "tasks.md").read_text(encoding="utf-8")
    assert module.page() == page, "run: python docs/make_tasks.py"
