"""Every adapter through the command: a conversation with a tool, its report, and again from the cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.models.stage import strings
from tests.servers.dialects import DIALECTS, Dialect, Said, Tokens
from tests.servers.in_thread import in_thread

N = 3
TASK = f"""
from evalkit import Answer, Requirements, Sample, converse, task, tool
from evalkit.metrics import exact_match

@tool
def look_up(word: str) -> str:
    "Look a word up."
    return "found: yes"

@task([Sample(str(i), f"Question {{i}}?", "yes") for i in range({N})], metrics=[exact_match()],
      needs=Requirements(tools=True))
async def words(sample, model):
    return (await converse(model, sample.input, tools=[look_up], max_turns=4)).answer()
"""
TOKENS = Tokens(prompt=20, answer=5, thought=7)


CALLS = {
    "Question": ("c1", "look_up", {"word": "w"}),
    "Call the tool": ("c1", "record_number", {"number": 7}),
}


def said(body: Any) -> Said:
    """Think, call the tool once, then answer; a question of the probe gets a number."""
    texts = strings(body)
    if any(text in ("found: yes", "recorded") for text in texts):
        return Said("yes", thought="It is there.", tokens=TOKENS)
    for begin, call in CALLS.items():
        if any(text.startswith(begin) for text in texts):
            return Said(calls=(call,), thought="Look it up.", tokens=TOKENS)
    return Said("343", thought="17 times 23.", tokens=TOKENS)


@pytest.fixture(params=DIALECTS, ids=lambda d: d.name)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[Any]]]:
    """The spec of a model that thinks and calls tools, and what its server was asked for samples."""
    dialect: Dialect = request.param
    asked: list[Any] = []

    async def chat(http: web.Request) -> web.Response:
        body = await http.json()
        if any(text.startswith("Question") for text in strings(body)):
            asked.append(body)
        return web.json_response(dialect.reply(said(body)))

    async def page(http: web.Request) -> web.Response:
        found = dialect.pages.get(http.path)
        return web.json_response(found, status=200 if found else 404)

    with in_thread([web.post(dialect.path, chat), web.get("/{path:.*}", page)]) as url:
        yield dialect.spec.format(url=url), asked


def test_a_conversation_with_every_adapter(evalkit, tmp_path: Path, served) -> None:
    spec, asked = served
    (tmp_path / "task_words.py").write_text(TASK)
    printed = evalkit("run", "task_words.py", "--model", spec).stdout
    assert "1.000" in printed
    assert len(asked) == 2 * N
    (again,) = evalkit.json("run", "task_words.py", "--model", spec)["runs"]
    assert (again["status"], again["counts"], again["calls_from_cache"]) == ("complete", {"ok": N}, 2 * N)
