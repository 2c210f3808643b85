"""The documentation is true: its commands run, its files are there, nothing that exists is left out."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from evalkit.cli import COMMANDS, cli
from evalkit.collection.targets import collect, iter_tasks

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Stand-ins for servers and files that a reader has and a test has not.
SERVED = re.compile(r"(?:sglang|openai|anthropic|gemini):(?:NAME|tiny)(?:@http://127\.0\.0\.1:\d+)?")


def commands(page: Path) -> list[list[str]]:
    """The ``evalkit`` commands of a page's shell blocks, as words."""
    found = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["evalkit"]:
                found.append(words[1:])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_and_option_exists(page: Path) -> None:
    for words in commands(page):
        group: click.Command = cli
        rest = list(words)
        while isinstance(group, click.Group):
            found = group.get_command(click.Context(group), rest[0])
            assert found is not None, f"evalkit {' '.join(words)}: no such command"
            group, rest = found, rest[1:]
        if "--help" not in rest:
            group.make_context("evalkit", rest)  # raises for an unknown option or a missing argument


def test_the_commands_of_the_readme_run(evalkit, scripted, tmp_path: Path) -> None:
    """All but serving the board: as written, with a server and files of the test's own."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert example is not None
    (tmp_path / "task_mine.py").write_text(example[1])
    folder = tmp_path / "pubmedqa"
    folder.mkdir()
    question = {
        "id": "1",
        "question": "Does zinc shorten colds?",
        "long_answer": "It does.",
        "decision": "yes",
        "gold_doc_ids": ["pmid:1"],
    }
    (folder / "questions.jsonl").write_text(json.dumps(question) + "\n")
    (folder / "docs.jsonl").write_text('{"doc_id": "pmid:1", "text": "Zinc lozenges shortened colds."}\n')
    ran = 0
    for words in commands(ROOT / "README.md"):
        if words[0] == "leaderboard":
            continue
        words = [SERVED.sub(f"openai:tiny@{scripted.url}", word) for word in words]
        if "pubmed_rag" in words:
            words += ["-p", f"data={folder}", "-p", "search=bm25"]
        evalkit(*words)
        ran += 1
    assert ran >= 4
    runs = evalkit.json("show", "--limit", "100")["runs"]
    assert {r["status"] for r in runs} == {"complete"}
    gold = [r for r in runs if r["model"] == "baseline:gold" and r["task"].startswith("drug_class")]
    assert [r["metrics"]["exact_match"]["value"] for r in gold] == [1.0, 1.0]


def test_the_shell_completes_as_the_readme_says() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    wanted = re.search(r"_EVALKIT_COMPLETE=(\w+) evalkit", text)
    assert wanted is not None
    script = Path(sys.executable).parent / "evalkit"
    typed = f"""
        evalkit() {{ {shlex.quote(str(script))} "$@"; }}
        eval "$(env _EVALKIT_COMPLETE={wanted[1]} {shlex.quote(str(script))})"
        COMP_WORDS=(evalkit ra); COMP_CWORD=1
        _evalkit_completion {shlex.quote(str(script))} && echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rag-report"]


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`evalkit {name}" not in text] == []


def test_every_built_in_task_is_documented() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [t.name for t in iter_tasks(collect([])) if t.name not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [t.split("#")[0] for t in re.findall(r"\]\(([^)]+)\)", text) if not t.startswith("http")]
    assert [t for t in targets if t and not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_every_target_of_make_exists(page: Path) -> None:
    named = set(re.findall(r"(?:^|`)make (?:\w+=\S+ )*(\w+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert named
    assert named <= set(targets)


def test_every_path_that_contributors_are_told_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:evalkit|tests|tasks|retrievers|leaderboard|docs)/[\w./]*)`", text)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_pre_commit_has_the_checks_of_make_lint() -> None:
    recipe = re.search(
        r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert recipe is not None
    checks = re.findall(r"^\t\$\(BIN\)/(.+)$", recipe[1], re.MULTILINE)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert len(checks) >= 4
    assert re.findall(r"entry: \.venv/bin/(.+)", hooks) == checks
