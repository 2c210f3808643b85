"""What is searched for: the forms of a query, their fusion, and the model's calls for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evalkit.errors import SetupError
from evalkit.model import Model
from evalkit.models.fake import FakeBackend
from evalkit.rag.answering import Rag
from evalkit.rag.arms import Arm
from evalkit.rag.queries import ChoiceQueryStrategy, search_all, write_queries
from evalkit.store import open_store
from evalkit.types import Answer, Passage, Sample

ZINC = Sample("1", "Does zinc {shorten} colds?", choices=("yes", "no"))


def writing(reply: str) -> Model:
    return Model(FakeBackend(lambda request: reply)).for_sample(ZINC)


class Shelf:
    """A retriever with fixed rankings, by query."""

    def __init__(self, rankings: dict[str, str]) -> None:
        self.rankings = rankings
        self.asked: list[tuple[str, int]] = []

    async def search(self, query: str, k: int) -> Sequence[Passage]:
        self.asked.append((query, k))
        return [Passage(id, id.upper(), score=9.0) for id in self.rankings.get(query, "")][:k]

    async def get(self, ids: Sequence[str]) -> Sequence[Passage]:
        return [Passage(id, id.upper()) for id in ids]


@pytest.mark.parametrize(
    ("form", "reply", "expected"),
    [
        ("question", "never asked", [ZINC.input]),
        ("options", "never asked", ["Does zinc {shorten} colds? yes no"]),
        ("hyde", "Zinc\n shortened colds.\n", [ZINC.input, "Zinc shortened colds."]),
        ("hyde", "  \n", [ZINC.input]),
        (
            "multi",
            '1. zinc gluconate common cold\n\n- "rhinovirus zinc"\n(3) 5-HT zinc\n4) a fourth',
            [ZINC.input, "zinc gluconate common cold", "rhinovirus zinc", "5-HT zinc"],
        ),
        ("multi", f"{ZINC.input}\nzinc\nzinc", [ZINC.input, "zinc"]),
        ("multi", "", [ZINC.input]),
    ],
)
async def test_the_forms_of_a_query(form: ChoiceQueryStrategy, reply: str, expected: list[str]) -> None:
    model = writing(reply)
    assert await write_queries(ZINC, model, form) == expected
    assert len(model.calls) == (form in ("hyde", "multi"))
    assert all(ZINC.input in str(call.request.messages[0].content) for call in model.calls)


async def test_options_need_options() -> None:
    with pytest.raises(SetupError, match="sample '2' has no options"):
        await write_queries(Sample("2", "why?"), writing(""), "options")


async def test_fusion_by_hand() -> None:
    """a: 1/61 + 1/63; b: 1/62 + 1/61; c: 1/63; d: 1/62."""
    shelf = Shelf({"one": "abc", "two": "bda"})
    fused = await search_all(shelf, ["one", "two"], 3)
    assert [p.id for p in fused] == ["b", "a", "d"]
    assert [p.score for p in fused] == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 62])
    assert shelf.asked == [("one", 100), ("two", 100)], "fusion reads further down than three"


async def test_one_query_goes_to_the_retriever_as_it_is() -> None:
    shelf = Shelf({"other words": "ab"})
    assert [p.score for p in await search_all(shelf, ["other words"], 2)] == [9.0, 9.0]
    assert shelf.asked == [("other words", 2)]


async def unreviewed(sample: Sample, answer: Answer, what: Sequence[str]) -> Answer:
    return answer


@pytest.mark.parametrize("arm", ["retrieved", "oracle"])
async def test_the_model_writes_queries_where_its_own_search_is_asked(arm: Arm) -> None:
    model = writing("zinc")
    shelf = Shelf({ZINC.input: "ab", "zinc": "cb"})
    sample = replace(ZINC, relevance={"q": 1})
    rag = Rag(sample, model, shelf, unreviewed, arm, k=2, query="multi")
    answer = await rag.answer(memory="?", passages="{passages}")
    assert answer.passages is not None
    if arm == "oracle":
        assert [p.text for p in answer.passages] == ["Q"]
        assert (len(model.calls), "queries" in answer.metadata) == (1, False)
        return
    assert [p.id for p in answer.passages] == ["b", "a"]
    assert len(model.calls) == 2
    assert answer.metadata["queries"] == [ZINC.input, "zinc"]


@pytest.fixture
def pubmedqa(tmp_path: Path) -> Path:
    """Two questions, neither of which shares a word with its abstract."""
    home = tmp_path / "pubmedqa"
    home.mkdir()
    rows = [
        {
            "id": "1",
            "question": "Does zinc shorten colds?",
            "long_answer": "Yes.",
            "decision": "yes",
            "gold_doc_ids": ["d1"],
        },
        {
            "id": "2",
            "question": "Is walking safe?",
            "long_answer": "Yes.",
            "decision": "yes",
            "gold_doc_ids": ["d2"],
        },
    ]
    docs = [
        {"doc_id": "d1", "text": "Lozenges, rhinovirus."},
        {"doc_id": "d2", "text": "Ambulation, fracture."},
    ]
    for name, some in (("questions", rows), ("docs", docs)):
        (home / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return home


def test_a_task_takes_the_form_as_a_parameter_and_pays_for_its_calls_once(
    evalkit: Any, scripted: Any, pubmedqa: Path
) -> None:
    def reply(prompt: str) -> str:
        if "queries for a search engine" not in prompt:
            return "It does [1]."
        return "rhinovirus lozenges" if "zinc" in prompt else "ambulation"

    scripted.reply = reply
    command = [
        "run",
        "pubmed_rag",
        "--model",
        f"openai:tiny@{scripted.url}",
        "-p",
        f"data={pubmedqa}",
        "-p",
        "search=bm25",
        "-p",
        "arm=retrieved",
        "-p",
        "query=question",
        "-p",
        "query=multi",
    ]
    plain, multi = evalkit.json(*command)["runs"]
    assert multi["task"] == "pubmed_rag[arm=retrieved,query=multi,search=bm25]"
    assert (plain["metrics"]["recall@5"]["value"], multi["metrics"]["recall@5"]["value"]) == (0, 1)
    assert (plain["calls"], multi["calls"], multi["calls_from_cache"]) == (2, 4, 0)
    with open_store(evalkit.folder / ".evalkit" / "evalkit.db") as store:
        answers = [record.answer for record in store.samples.records(multi["id"])]
    assert [a.metadata["queries"][1] for a in answers if a] == ["rhinovirus lozenges", "ambulation"]
    asked = sum(scripted.asked.values())
    again = evalkit.json(*command)["runs"][1]
    assert again["calls_from_cache"] == 4
    assert sum(scripted.asked.values()) == asked + 4, "each run asks its first two cached answers again"


def test_gold_stays_gold_under_every_form(evalkit: Any, pubmedqa: Path) -> None:
    forms = [word for form in ("question", "hyde", "multi") for word in ("-p", f"query={form}")]
    done = evalkit.json(
        "run",
        "pubmed_rag",
        "--model",
        "baseline:gold",
        "-p",
        f"data={pubmedqa}",
        "-p",
        "search=bm25",
        "-p",
        "arm=retrieved",
        *forms,
    )
    assert [run["status"] for run in done["runs"]] == ["complete"] * 3
    assert len({json.dumps(run["metrics"]["recall@5"]) for run in done["runs"]}) == 1
