"""What the report of a run says of calls of tools that went wrong."""

from __future__ import annotations

TASK = """
from evalkit import Answer, Sample, ToolCall, converse, task, tool
from evalkit.metrics import exact_match

@tool
def look_up(word: str) -> str:
    "Look a word up."
    raise SystemExit(word)

FIRST = [ToolCall.of("nope"), ToolCall.of("look_up", word=1)]
PERFECT = [FIRST, [ToolCall.of("look_up", word=2)], [ToolCall.of("look_up", word="a")], "yes"]

@task([Sample(n, f"Question {n}?", "yes") for n in "abc"], metrics=[exact_match()])
async def words(sample, model):
    return (await converse(model, sample.input, tools=[look_up], reference=PERFECT)).answer()
"""


def test_calls_that_went_wrong_are_counted_by_reply_and_kept_with_the_sample(evalkit) -> None:
    (evalkit.folder / "task_it.py").write_text(TASK)
    printed = evalkit("run", "task_it.py", "--model", "baseline:gold").stdout
    assert "3 of 12 replies: called an unknown tool" in printed
    (run,) = evalkit.json("show", "latest")["runs"]
    assert run["counts"] == {"ok": 3}
    assert run["notes"] == {
        "called an unknown tool": 3,
        "called a tool with broken arguments": 6,
        "called a tool that failed": 3,
    }
    assert "called a tool that failed" in evalkit("show", "latest", "--sample", "#1").stdout
