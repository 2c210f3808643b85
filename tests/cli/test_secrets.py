"""An API key goes to its server and nowhere else: not onto the screen, nor into store, cache or export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

KEY = "sk-canary/0123456789+ABC"
TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample(str(i), f"question {i}", "yes") for i in range(8)], metrics=[exact_match()])
async def quiz(sample, model) -> Answer:
    return Answer(await model.generate(sample.input))
"""


@pytest.fixture
def quiz(evalkit, scripted):
    """Run the quiz with a key; return what was printed, after a look into every file that was written."""
    (evalkit.folder / "task_quiz.py").write_text(TASK)

    def run(*options: str, key: str = KEY, code: int = 0, spec: str = "") -> str:
        evalkit.environment["OPENAI_API_KEY"] = key
        model = f"openai:tiny@{scripted.url}{spec}"
        done = evalkit("run", "task_quiz.py", "--model", model, *options, code=code)
        return done.stdout + done.stderr

    yield run
    for file in Path(evalkit.folder).rglob("*"):
        if file.is_file():
            assert b"canary" not in file.read_bytes(), f"the key is in {file}"


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {} ", "\ufeff{}", "{}\n\n"])
def test_blanks_and_line_ends_around_a_key_are_taken_off(quiz, scripted, around: str) -> None:
    said = quiz(key=around.format(KEY))
    assert scripted.keys == {f"Bearer {KEY}"}
    assert "canary" not in said


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("sk-canary\n0123", "line break"),
        ("sk-canary 0123", "blank"),
        ("sk-canary\x7f0123", "U+007F"),
        ("“sk-canary0123”", "U+201C"),
    ],
)
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(quiz, scripted, key: str, what: str) -> None:
    said = quiz(key=key, code=2)
    assert "OPENAI_API_KEY: character" in said
    assert what in said
    assert "canary" not in said
    assert not scripted.asked


def test_a_key_of_blanks_alone_is_none(quiz, scripted) -> None:
    quiz(key=" \n")
    assert scripted.keys == {None}


@pytest.mark.parametrize(
    "fault",
    [
        (307, {"Location": "http://127.0.0.1:1/?k=sk-canary%2F0123456789%2BABC"}, ""),
        (307, {"Location": f"http://127.0.0.1:1/{KEY}"}, ""),
        (400, {}, json.dumps({"error": {"message": f"no such key {KEY}"}})),
        (400, {}, json.dumps({"error": {"message": KEY}}).replace("/", "\\/")),
        (400, {}, f"plain {KEY}"),
        (400, {}, "x" * 490 + KEY),  # cut in its middle
        (200, {}, f"<html>{KEY}"),
        (200, {}, json.dumps({"error": {"message": KEY, "code": "400"}})),
        (200, {}, json.dumps({"choices": [{"message": KEY}]})),
        (200, {}, json.dumps({"choices": KEY})),
        (200, {}, json.dumps({"choices": [], "padding": "x" * 145, "key": KEY})),
    ],
)
def test_a_server_that_shows_the_key_in_an_error(quiz, scripted, evalkit, fault) -> None:
    scripted.fault = lambda n: fault
    said = quiz("--time-limit", "2s", code=None)
    said += evalkit("show", "latest", "--sample", "#0", code=None).stdout
    assert "canary" not in said


@pytest.mark.parametrize("stream", ["", "?stream=true"])
def test_a_model_that_repeats_the_key(quiz, scripted, evalkit, stream: str) -> None:
    scripted.reply = lambda question: f"Authorization: Bearer {KEY}"
    said = quiz()
    assert "8 replies repeat the secret in OPENAI_API_KEY" in said
    evalkit("export", "latest", "--out", "exported")
    assert "Bearer [secret " in evalkit("show", "latest", "--sample", "3").stdout
    cached = quiz("-q")
    assert "(8)" in cached
    assert "canary" not in said + cached


def test_a_task_that_answers_or_fails_with_the_key(quiz, evalkit) -> None:
    (evalkit.folder / "task_quiz.py").write_text(
        TASK.replace(
            "    return Answer(await model.generate(sample.input))",
            "    import os\n    key = os.environ['OPENAI_API_KEY']\n    if sample.id == '1':\n"
            "        raise ValueError(key)\n    return Answer(text=key, metadata={'key': [key]})",
        )
    )
    said = quiz(code=1)
    said += evalkit("show", "latest", "--samples", "--json").stdout
    said += evalkit("show", "latest", "--samples", "--format", "csv").stdout
    assert "canary" not in said


@pytest.mark.parametrize(
    "parameter",
    [
        f"?api_key={KEY}",
        f"?extra.api_key={KEY}",
        "?api_key_env=sk-canary",
        "?api_key_env=canary7d8f9a0b1c2d3e4f5a",
    ],
)
def test_a_key_that_was_pasted_into_the_spec_is_refused_and_not_shown(quiz, parameter: str) -> None:
    said = quiz(spec=parameter, code=2)
    assert "environment variable" in said
    assert "canary" not in said


def test_an_unexpected_error_is_printed_without_the_key(quiz, evalkit) -> None:
    """A fault of ours, or of a library: the traceback goes through the same door."""
    program = (
        "import sys, evalkit.cli as c\n"
        "def broken(*a, **k): raise RuntimeError('header ' + '" + KEY + "' + chr(27) + '[31m')\n"
        "c.cli = broken\nsys.argv = ['evalkit']\nc.main()\n"
    )
    import subprocess
    import sys

    environment = {**evalkit.environment, "OPENAI_API_KEY": KEY}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "RuntimeError: header [secret " in done.stderr
    assert "\x1b" not in done.stderr
    assert "sk-canary/0123456789+ABC'" not in done.stderr.partition("RuntimeError")[2]
