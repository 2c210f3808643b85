"""Models beside the one under test, a judge and a simulated user: connected before a run begins."""

from __future__ import annotations

import pytest

from benchmarks.servers import free_port

TASK = """
from evalkit import Answer, Sample, task

@task([Sample("1", "How are you?")], metrics=[])
async def talk(sample, model, {fixture}):
    return Answer(await model.generate(sample.input))
"""


@pytest.mark.parametrize(
    ("fixture", "parameter", "role"),
    [("user_model", "user=", "the simulated user"), ("review", "judge=llm:", "the judge")],
)
def test_a_second_model_that_is_down_is_named_by_its_role_and_no_run_begins(
    evalkit, fixture, parameter, role
) -> None:
    (evalkit.folder / "task_talk.py").write_text(TASK.format(fixture=fixture))
    url = f"http://127.0.0.1:{free_port()}"
    chosen = f"{parameter}openai:tiny@{url}"
    done = evalkit("run", "task_talk.py", "--model", "baseline:lead", "-p", chosen, code=2)
    assert f"{role}: nothing answers at {url}" in done.stderr
    assert evalkit.json("show")["runs"] == []
