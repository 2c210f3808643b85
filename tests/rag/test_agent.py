"""The arm ``agent``: one number for a passage over all searches, a limit that holds, and what is recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalkit import Answer, Passage, Sample
from evalkit.collection.targets import collect
from evalkit.errors import UsageError
from evalkit.judge.review import Review
from evalkit.metrics import citation_precision, citation_recall
from evalkit.model import Model
from evalkit.rag.agent import NO_MORE, Library, gather
from evalkit.rag.answering import Rag
from evalkit.rag.arms import evidence
from evalkit.status import classify_answer
from evalkit.testing import scripted
from evalkit.types import Response, Status, ToolCall, Usage

SAMPLE = Sample("1", "Does zinc shorten colds?", "It does.", relevance={"zinc": 1, "trial": 1})
SHELVES = {
    "zinc": ["zinc", "cold"],
    "colds": ["cold", "trial", "walk"],
    "trials": ["trial", "gout", "zinc"],
}


class Shelf:
    """A retriever that knows its answers; the first search takes longest."""

    def __init__(self) -> None:
        self.queries: list[tuple[str, int]] = []

    async def search(self, query: str, k: int) -> list[Passage]:
        self.queries.append((query, k))
        for _ in range(5 - len(self.queries)):
            await asyncio.sleep(0)
        return [Passage(f"{name}#1", f"All about {name}.", doc_id=name) for name in SHELVES.get(query, [])][
            :k
        ]


def look(query: str, **arguments: Any) -> ToolCall:
    return ToolCall.of("search", query=query, **arguments)


async def ask(*turns: Any, k: int = 3, searches: int = 4, sample: Sample = SAMPLE) -> tuple[Answer, Model]:
    """The answer of a scripted model in the arm agent, and the model."""
    model = scripted(*turns).for_sample(sample)
    rag = Rag(sample, model, Shelf(), Review(None), "agent", k, searches=searches)  # type: ignore[arg-type]
    answer = await rag.answer(memory="{question}", passages="{passages}\n\n{question} Cite as [1].")
    return answer, model


def told(model: Model) -> list[str]:
    """What the tools told the model, in order."""
    return [str(m.content) for m in model.calls[-1].request.messages if m.role == "tool"]


async def test_a_passage_keeps_its_number_over_all_searches() -> None:
    answer, model = await ask(
        [look("zinc")], [look("colds")], [look("trials")], "Zinc works [1][3]. Walk [4]."
    )
    assert told(model) == [
        "[1] All about zinc.\n[2] All about cold.\nSearches left: 3",
        "[3] All about trial.\n[4] All about walk.\nFound before: [2]\nSearches left: 2",
        "[5] All about gout.\nFound before: [3] [1]\nSearches left: 1",
    ]
    assert [passage.document for passage in answer.passages or ()] == [
        "zinc",
        "cold",
        "trial",
        "walk",
        "gout",
    ]
    assert answer.ranked == ("zinc", "cold", "trial", "walk", "gout")
    assert citation_precision()(SAMPLE, answer) == pytest.approx(2 / 3)
    assert citation_recall()(SAMPLE, answer) == 1


async def test_the_searches_are_recorded_with_what_each_found_first() -> None:
    answer, _ = await ask([look("zinc", k=1)], [look("colds"), look("nothing")], "Yes [1].")
    assert answer.metadata["searches"] == [
        {"query": "zinc", "k": 1, "found": ["zinc"]},
        {"query": "colds", "k": 3, "found": ["cold", "trial", "walk"]},
        {"query": "nothing", "k": 3, "found": []},
    ]
    assert answer.metadata["answerable"] is True
    assert answer.metadata["conversation"]["turns"] == 3
    assert answer.reply == "Yes [1]."


async def test_searches_of_one_reply_are_numbered_in_their_order() -> None:
    answer, _ = await ask([look("colds"), look("zinc"), look("trials")], "Yes.")
    assert [p.document for p in answer.passages or ()] == ["cold", "trial", "walk", "zinc", "gout"]


async def test_the_limit_holds_for_searches_and_for_passages() -> None:
    answer, model = await ask([look("zinc", k=99), look("colds", k=-5), look("trials")], "Yes.", searches=2)
    assert told(model)[2] == NO_MORE
    assert [search["k"] for search in answer.metadata["searches"]] == [3, 1]
    assert "at most 2 times" in model.calls[0].request.messages[0].text


async def test_the_last_reply_may_not_search() -> None:
    """A model that only searches gets no answer in the end: it is asked with tool_choice=none."""
    answer, model = await ask([look("zinc")], searches=2)
    assert [call.request.tool_choice for call in model.calls] == ["auto", "auto", "auto", "none"]
    assert len(answer.metadata["searches"]) == 2
    assert classify_answer(answer) is Status.TRUNCATED


async def test_a_model_that_does_not_search_has_no_evidence() -> None:
    answer, model = await ask("Of course [1].")
    assert answer.passages == ()
    assert answer.ranked == ()
    assert answer.metadata["searches"] == []
    assert len(model.calls) == 1
    assert citation_precision()(SAMPLE, answer) == 0


async def test_an_empty_query_and_broken_arguments_find_nothing() -> None:
    bad = [
        look(" "),
        ToolCall("", "search", None, "{"),
        ToolCall.of("searchh", query="zinc"),
        look("zinc", x=1),
    ]
    answer, model = await ask(bad, "Yes.")
    assert told(model)[0] == "Nothing was found.\nSearches left: 3"
    assert all(text.startswith("error: ") for text in told(model)[1:])
    assert answer.passages == ()


async def test_a_cut_answer_is_truncated() -> None:
    cut = Response(text="Zinc", finish_reason="length", usage=Usage(completion_tokens=1))
    answer, _ = await ask([look("zinc")], cut)
    assert classify_answer(answer) is Status.TRUNCATED


async def test_a_task_with_a_prompt_of_its_own_gets_what_the_model_gathered() -> None:
    model = scripted([look("zinc")], [look("trials")], "DONE").for_sample(SAMPLE)
    found = await gather(SAMPLE, model, Shelf(), k=3, searches=2)  # type: ignore[arg-type]
    assert [p.document for p in found.passages or ()] == ["zinc", "cold", "trial", "gout"]
    assert found.gold == (1, 3)
    assert [search["query"] for search in found.facts["searches"]] == ["zinc", "trials"]
    rag = Rag(SAMPLE, scripted([look("zinc")], "DONE").for_sample(SAMPLE), Shelf(), Review(None), "agent")  # type: ignore[arg-type]
    assert (await rag.evidence()).gold == (1,)


async def test_the_arm_needs_a_model() -> None:
    with pytest.raises(UsageError, match="the model searches"):
        await evidence(SAMPLE, Shelf(), "agent")  # type: ignore[arg-type]


@pytest.mark.parametrize("searches", [0, -1])
def test_at_least_one_search(searches: int) -> None:
    with pytest.raises(UsageError, match=f"searches={searches}: the arm agent searches at least once"):
        Library(Shelf(), 5, searches)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "task", ["fictional_trials", "pubmed_rag", "biogen", "scifact", "mslr", "mirage", "bioasq"]
)
def test_the_probe_asks_for_tools_in_this_arm_only(task: str) -> None:
    for arm, tools in (("agent", True), ("retrieved", False)):
        (item,) = collect([task], params={"arm": [arm]}).items
        assert item.needs.tools is tools


def test_a_fixture_adds_its_needs_to_those_of_the_task(tmp_path: Path) -> None:
    (tmp_path / "task_mine.py").write_text(
        "from evalkit import Requirements, Sample, fixture, task\n"
        "@fixture(needs=lambda params: Requirements(images=params['n'] > 1))\n"
        "def eyes(n: int = 1) -> int:\n    return n\n"
        "@task([Sample('1', '?')], metrics=[], needs=Requirements(regex=True))\n"
        "async def mine(sample, model, eyes): ...\n"
    )
    needs = {}
    for n in ("1", "2"):
        (item,) = collect([str(tmp_path / "task_mine.py")], params={"n": [n]}).items
        needs[n] = {name for name, needed in msgspec.structs.asdict(item.needs).items() if needed}
    assert needs == {"1": {"regex"}, "2": {"regex", "images"}}
