"""Nothing that a server, a model, a data set or a plug-in writes can steer the terminal."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path

import pytest

from evalkit.util.printable import one_line, printable, printable_json
from evalkit.util.progress import Lines, Rich
from evalkit.util.terminal import Console

ROOT = Path(__file__).parents[2]
# A title, a colour, an 8-bit control sequence, a direction override, a bell, a carriage return.
EVIL = "\x1b]0;pwned\x07\x1b[31mRED\x9b2J\u202egnp\a\rDONE [bold]loud[/bold]"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
TASK = f"""
from evalkit import Answer, Sample, metric, task
from evalkit.metrics import exact_match
EVIL = {EVIL!r}

@metric
def moody(sample, answer):
    if sample.id == "m":
        raise ValueError(EVIL)
    return 1.0

SAMPLES = [Sample(EVIL, EVIL, EVIL), Sample("m", "metric", EVIL), Sample("t", "task", "x")]

@task(SAMPLES, metrics=[moody, exact_match()])
async def hostile(sample, model) -> Answer:
    if sample.id == "t":
        raise RuntimeError(EVIL)
    return Answer(await model.generate(sample.input))
"""


@pytest.fixture
def hostile(evalkit, scripted):
    """A task, a data set and a model that all write control sequences."""
    (evalkit.folder / "task_hostile.py").write_text(TASK)
    scripted.reply = lambda question: EVIL
    return ("task_hostile.py", "--model", f"openai:tiny@{scripted.url}")


def test_no_command_prints_a_control_character(evalkit, hostile) -> None:
    commands = [
        ("run", *hostile),
        ("show",),
        ("show", "latest"),
        ("show", "latest", "--samples"),
        ("show", "latest", "--sample", "#0"),
        ("show", "latest", "--sample", "m"),
        ("show", "latest", "--samples", "--format", "csv"),
        ("show", "--format", "csv"),
        ("show", "--format", "markdown"),
        ("list", "task_hostile.py"),
    ]
    said = ""
    for command in commands:
        process = evalkit(*command, code=None)
        assert process.returncode < 2, process.stderr
        for text in (process.stdout, process.stderr):
            assert not CONTROLS.search(text), (command, text)
        said += process.stdout + process.stderr
    assert "\\x1b]0;pwned\\x07\\x1b[31mRED\\x9b2J\\u202egnp" in said
    assert "[bold]loud[/bold]" in said


def test_json_has_the_same_text_and_no_control_character(evalkit, hostile) -> None:
    evalkit("run", *hostile, code=1)
    shown = evalkit("show", "latest", "--sample", "#0", "--json").stdout
    assert not CONTROLS.search(shown)
    assert json.loads(shown)["answer"]["response"]["text"] == EVIL


def test_a_server_that_writes_control_sequences_into_errors_and_names(evalkit, scripted) -> None:
    (evalkit.folder / "task_hostile.py").write_text(TASK)
    scripted.fault = lambda n: (401, {}, json.dumps({"error": {"message": EVIL}}))
    refused = evalkit("run", "task_hostile.py", "--model", f"openai:tiny@{scripted.url}", code=1)
    scripted.entry = {"id": EVIL}
    unknown = evalkit("run", "task_hostile.py", "--model", f"openai:tiny@{scripted.url}", code=2)
    named = evalkit("run", "task_hostile.py", "--model", f"openai:@{scripted.url}", code=1)
    for process in (refused, unknown, named):
        assert not CONTROLS.search(process.stdout + process.stderr)
        assert "\\x1b]0;pwned" in process.stdout + process.stderr


def test_pytest_prints_no_control_character_of_a_task(evalkit, hostile) -> None:
    import subprocess
    import sys

    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--evalkit-model",
        hostile[-1],
        hostile[0],
    ]
    done = subprocess.run(
        command, cwd=evalkit.folder, env=evalkit.environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "\\x1b[31mRED" in done.stdout
    assert not CONTROLS.search(done.stdout.replace("\r\n", "\n") + done.stderr)


@pytest.mark.parametrize(
    "character", ["\x1b", "\x9b", "\x07", "\r", "\x7f", "\u202e", "\u2066", "\u200f", "\ud83d"]
)
def test_each_control_character_is_escaped(character: str) -> None:
    escaped = character.encode("unicode_escape").decode()
    assert printable(f"a{character}b") == f"a{escaped}b"


def test_ordinary_text_of_any_script_stays_as_it_is() -> None:
    text = "5\u202f000\u00a0mg·L⁻¹ β-blocker\n\t👩\u200d⚕️ الرازي 漢方 naïve co\u00adoperate"
    assert printable(text) == text
    assert printable("two\r\nlines") == "two\nlines"
    assert one_line("a name\nok 54 of 54") == "a name\\nok 54 of 54"


def test_json_keeps_its_content() -> None:
    value = {"text": "\x7f\x9b\u202e\U000e0041 é 漢 \u00a0"}
    raw = printable_json(json.dumps(value, ensure_ascii=False).encode())
    assert json.loads(raw) == value
    assert not CONTROLS.search(raw.decode())
    assert "é 漢".encode() in raw


def test_a_password_in_a_url_is_not_printed() -> None:
    assert printable("postgresql://me:sesame@db/x failed") == "postgresql://me:***@db/x failed"


def test_a_key_in_the_query_of_a_url_is_not_printed() -> None:
    asked = printable("openai:m@http://h?api_key=canary&extra.access_token=canary&max_tokens=5&api_key_env=X")
    assert asked == "openai:m@http://h?api_key=***&extra.access_token=***&max_tokens=5&api_key_env=X"


def test_progress_shows_names_and_notes_without_control_characters() -> None:
    log, screen = io.StringIO(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, color_system=None)
    for progress, stream in ((Lines(log, every_s=0), log), (Rich(console), screen)):
        with progress.bar(EVIL, 1) as bar:
            bar.note(EVIL)
            bar.advance()
        assert "RED" in stream.getvalue()
        assert "]0;pwned\x07" not in stream.getvalue()
        assert not re.search("\x1b\\[31m|\x9b|\u202e", stream.getvalue())


def test_a_table_reads_no_markup_and_escapes_its_cells() -> None:
    from evalkit.cli.terminal import Text, new_table

    screen = io.StringIO()
    table = new_table(EVIL)
    table.add_column(Text(EVIL))
    table.add_row("[bold]plain[/bold] :smile:")
    table.add_row(Text(EVIL))
    Console(file=screen, force_terminal=True, width=300, color_system=None).print(table)
    shown = re.sub("\x1b\\[[0-9;]*m", "", screen.getvalue().replace("\x1b[31mRED", "OPEN"))
    assert not CONTROLS.search(shown)
    assert "OPEN" not in shown
    assert "[bold]plain[/bold] :smile:" in shown


DOORS = {
    "cli/output.py",
    "util/progress.py",
    "util/printable.py",
    "util/terminal.py",
    "cli/__init__.py",
    "launch.py",
}


def _prints(tree: ast.AST) -> list[int]:
    """Return the lines of a module that print by themselves."""
    names = ("print", "echo", "secho", "Console")
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "rich.console":
            lines.append(node.lineno)
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name("print"):
                    lines.append(node.lineno)
                case ast.Attribute(ast.Name("click"), name) if name in names:
                    lines.append(node.lineno)
                case ast.Attribute(ast.Attribute(ast.Name("sys"), "stdout" | "stderr"), "write"):
                    lines.append(node.lineno)
    return lines


def test_all_that_is_printed_goes_through_one_door() -> None:
    files = [f for room in ("evalkit", "retrievers", "leaderboard") for f in (ROOT / room).rglob("*.py")]
    assert len(files) > 200
    for file in files:
        if file.as_posix().endswith(tuple(DOORS)):
            continue
        lines = _prints(ast.parse(file.read_text(encoding="utf-8")))
        assert not lines, (
            f"{file}:{lines[0]} prints by itself: use echo of evalkit.cli.output, or say of util.printable"
        )
