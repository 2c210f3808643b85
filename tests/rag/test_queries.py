"""What is searched for: the forms of a query, their fusion, and the model's calls for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import SetupError
from evalkit.model import Model
from evalkit.models.fake import FakeBackend
from evalkit.rag.queries import ChoiceQueryStrategy, QueryRewritingRetriever, formed, fuse
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
    assert await formed(ZINC, model, form) == expected
    assert len(model.calls) == (form in ("hyde", "multi"))
    assert all(ZINC.input in str(call.request.messages[0].content) for call in model.calls)


async def test_options_need_options() -> None:
    with pytest.raises(SetupError, match="sample '2' has no options"):
        await formed(Sample("2", "why?"), writing(""), "options")


def test_fusion_by_hand() -> None:
    """a: 1/61 + 1/63; b: 1/62 + 1/61; c: 1/63; d: 1/62."""
    rankings = [[Passage(i, i) for i in names] for names in ("abc", "bda")]
    fused = fuse(rankings, 4)
    assert [p.id for p in fused] == ["b", "a", "d", "c"]
    assert [p.score for p in fused] == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 62, 1 / 63])
    assert [p.id for p in fuse([[Passage("z", "")], [Passage("y", "")]], 1)] == ["y"]


async def test_the_question_alone_goes_to_the_retriever_as_it_is() -> None:
    shelf = Shelf({"other words": "ab"})
    asked = QueryRewritingRetriever(shelf, ZINC, writing("never asked"))
    assert [p.score for p in await asked.search("other words", 2)] == [9.0, 9.0]
    assert shelf.asked == [("other words", 2)]
    assert asked.noted(Answer(text="x")).metadata == {}


async def test_the_model_is_asked_once_for_all_searches_of_a_sample() -> None:
    model = writing("zinc")
    shelf = Shelf({ZINC.input: "ab", "zinc": "cb"})
    asked = QueryRewritingRetriever(shelf, ZINC, model, "multi")
    assert [p.id for p in await asked.search(ZINC.input, 2)] == ["b", "a"]
    assert [p.id for p in await asked.search(ZINC.input, 1)] == ["b"]
    assert len(model.calls) == 1
    assert asked.noted(Answer(text="x", metadata={"n": 1})).metadata == {
        "n": 1,
        "queries": [ZINC.input, "zinc"],
    }
    assert [p.text for p in await asked.get(["q"])] == ["Q"]


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
    assert sum(scripted.asked.values()) == asked


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
