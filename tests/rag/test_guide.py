"""The RAG task of docs/write-a-task.md, as it is written there: short, and gold is right in every arm."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from evalkit.rag.arms import ARMS

PAGE = Path(__file__).parents[2] / "docs" / "write-a-task.md"
CITATIONS = {"citation_precision", "citation_recall"}
APPLIES = {
    "closed_book": {"rougeL"},
    "retrieved": {"rougeL", *CITATIONS},
    "oracle": {"rougeL", *CITATIONS},
    "hidden": {"rougeL", *CITATIONS},
    "distractors": {"rougeL"},
    "missing": {"abstention"},
    "agent": {"rougeL", *CITATIONS},
}


@pytest.fixture
def search(evalkit: Any) -> Any:
    """Runs the guide's task on a baseline with ``-p`` options; metrics by arm."""
    for name in ("documents.jsonl", "task_search.py"):
        block = re.search(rf"^```\w+\n(# {re.escape(name)}\n(.*?))^```", PAGE.read_text(), re.M | re.S)
        assert block is not None
        (evalkit.folder / name).write_text(block[1] if name.endswith(".py") else block[2])

    def run(model: str, *options: str) -> dict[str, dict[str, float]]:
        words = [word for option in ("search=bm25", *options) for word in ("-p", option)]
        done = evalkit.json("run", "task_search.py", "--model", f"baseline:{model}", *words)["runs"]
        return {
            re.search(r"arm=(\w+)", one["task"])[1]: {n: m["value"] for n, m in one["metrics"].items()}
            for one in done
        }

    return run


def test_it_has_sixteen_lines_and_not_one_for_gold(search: Any, evalkit: Any) -> None:
    lines = (evalkit.folder / "task_search.py").read_text().splitlines()
    assert len(lines) <= 16
    assert not re.search("reference|cited|ABSTENTION", "\n".join(lines))


@pytest.mark.parametrize(("model", "value"), [("gold", 1.0), ("empty", 0.0)])
def test_gold_scores_full_marks_and_empty_none_in_every_arm(search: Any, model: str, value: float) -> None:
    scores = search(model, "arm=all")
    assert list(scores) == list(ARMS)
    assert scores == {arm: dict.fromkeys(names, value) for arm, names in APPLIES.items()}


def test_the_position_needs_no_annotation(search: Any, evalkit: Any) -> None:
    assert search("gold", "arm=hidden", "position=2") == {"hidden": dict.fromkeys(APPLIES["hidden"], 1.0)}
    shown = evalkit.json("show", "latest", "--sample", "#0")["requests"][0]["messages"][0]["content"]
    assert "\n[2] Zinc lozenges" in shown


OWN_PROMPTS = """
from evalkit import Answer, Rag, Sample, fixture, rag_arms, task
from evalkit.metrics import abstention, citation_precision, citation_recall, rouge, where_answerable

SAMPLES = [Sample("1", "Does zinc shorten colds?", "Zinc shortens colds.", relevance={"zinc": 1})]

@fixture
def corpus() -> str:
    return "documents.jsonl"

@task(SAMPLES, metrics=[*where_answerable(rouge()), citation_precision(), citation_recall(), abstention()])
@rag_arms
async def search(sample, model, rag: Rag) -> Answer:
    shown = await rag.evidence()
    lines = [f"[{n}] {passage.text}" for n, passage in enumerate(shown.passages or (), 1)]
    ask = "Answer, and cite the passages by number." if lines else "Answer."
    return shown.answer(await model.generate("\\n".join([*lines, sample.input, ask])))
"""


def test_gold_is_right_in_a_task_that_writes_its_own_prompts(search: Any, evalkit: Any) -> None:
    (evalkit.folder / "task_search.py").write_text(OWN_PROMPTS)
    scores = search("gold", "arm=all")
    assert scores == {arm: dict.fromkeys(names, 1.0) for arm, names in APPLIES.items()}


def test_gold_cites_only_where_the_prompt_asks_for_it(search: Any, evalkit: Any) -> None:
    text = OWN_PROMPTS.replace(", and cite the passages by number", "").replace("rouge()", "exact_match()")
    (evalkit.folder / "task_search.py").write_text(text.replace("rouge, where", "exact_match, where"))
    assert search("gold", "arm=oracle")["oracle"]["exact_match"] == 1.0
