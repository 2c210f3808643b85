"""The vendors' own interfaces from the command line: run, the cache, repeats, what stands in the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.batch_server import BatchServer, serve

TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample(str(i), f"question {i}", "yes") for i in range(4)], metrics=[exact_match()])
async def quiz(sample, model):
    return Answer(await model.generate(sample.input, max_tokens=9))
"""
SPECS = {
    "anthropic": "anthropic:tiny@{}",
    "gemini": "gemini:tiny@{}/v1beta",
    "responses": "openai:tiny@{}?api=responses",
}
LACKS = "sent without temperature, top_p, which the server does not take (Anthropic's Messages"


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with serve() as server:
        yield server


@pytest.mark.parametrize("vendor", SPECS)
def test_a_run_its_report_and_its_cached_answers(vendor: str, evalkit: Any, server: BatchServer) -> None:
    (evalkit.folder / "task_quiz.py").write_text(TASK)
    command = ("run", "task_quiz.py", "--model", SPECS[vendor].format(server.url))
    lacks = vendor == "anthropic"
    said = evalkit(*command)
    assert ((LACKS in said.stdout) and (LACKS in said.stderr)) == lacks
    assert (LACKS in evalkit("show", "latest").stdout) == lacks
    (run,) = evalkit.json("show", "latest")["runs"]
    assert (run["status"], run["metrics"]["exact_match"]["value"]) == ("complete", 1)
    assert list(run.get("left_out", {})) == (["temperature", "top_p"] if lacks else [])
    evalkit(*command)
    (again,) = evalkit.json("show", "latest")["runs"]
    assert again["calls_from_cache"] == 4
    # Answers that the vendor draws by chance say nothing about its weights.
    assert again["cached"]["tiny"]["check"] == ("unsure" if lacks else "same")


def test_repeats_of_a_vendor_without_a_temperature_are_draws(evalkit: Any, server: BatchServer) -> None:
    (evalkit.folder / "task_quiz.py").write_text(TASK)
    model = SPECS["anthropic"].format(server.url)
    (run,) = evalkit.json("run", "task_quiz.py", "--repeat", "2", "--model", model)["runs"]
    assert run["repeats"]["notes"][0] == "No seed was sent: each repeat is a draw of the server's own."
