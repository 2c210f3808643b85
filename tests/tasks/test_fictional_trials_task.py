"""The task as a user runs it: three arms, the pinned prompt, what the baselines score."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from evalkit import Model, Passage, Rag
from evalkit.collection.items import Item
from evalkit.collection.targets import collect
from evalkit.models.baseline import BaselineBackend
from evalkit.models.fake import FakeBackend
from evalkit.models.spec import parse_spec
from evalkit.run.samples import samples_of
from evalkit.run.scoring import score
from evalkit.run.session import Session
from evalkit.status import classify_answer
from evalkit.types import Request
from evalkit.util.progress import Silent

FILE = Path(__file__).parents[2] / "tasks" / "synthetic" / "task_fictional_trials.py"
# Changed on purpose? Then raise questions.VERSION with it.
PROMPTS_OF_SEED_7 = ["a6e63ad21a4d7eea", "32b55d9bdf7e8c7f"]
EXACT = {"fact_recall": 1, "evidence_direction": 1, "citation_support": 1, "unsupported_numbers": 0}
WORST = {
    "fact_recall": 0,
    "evidence_direction": 0,
    "citation_support": 0,
    "unsupported_numbers": 1,
    "alce_recall[all]": 0,
}


class WordOverlap:
    """A retriever small enough to read: documents by the words they share with the query, ties by id."""

    def __init__(self, corpus: Path) -> None:
        rows = [msgspec.json.decode(line) for line in corpus.read_bytes().splitlines()]
        self.passages = {r["id"]: Passage(r["id"], r["text"], r["title"]) for r in rows}
        self.words = {r["id"]: set(re.findall(r"\w+", f"{r['title']} {r['text']}".lower())) for r in rows}
        self.searches = 0

    async def search(self, query: str, k: int) -> Sequence[Passage]:
        self.searches += 1
        asked = set(re.findall(r"\w+", query.lower()))
        ranked = sorted(self.words, key=lambda name: (-len(asked & self.words[name]), name))
        return [self.passages[name] for name in ranked[:k]]

    async def get(self, ids: Sequence[str]) -> Sequence[Passage]:
        return [self.passages[name] for name in ids]


def item_of(arm: str, **params: str) -> Item:
    given = {name: [value] for name, value in params.items()}
    found = collect([f"{FILE}::fictional_trials"], params={"arm": [arm], **given})
    assert not found.broken
    return found.items[0]


async def run(backend, arm: str, tmp_path: Path, topics: int = 12):
    """Mean scores and requests of one arm, over the samples and the corpus as the session makes them."""
    item = item_of(arm, topics=str(topics))
    totals, counts = Counter(), Counter()
    async with Session(Silent()) as session:
        corpus = item.resolved.fixtures["corpus"].fn(tmp_path, topics=topics)
        retriever = WordOverlap(corpus)
        review = await anext(item.resolved.fixtures["review"].fn(tmp_path))
        async for sample in (await samples_of(item, session))():
            model = Model(backend).for_sample(sample)
            answer = await item.task.fn(sample, model, Rag(sample, model, retriever, review, arm), arm=arm)
            for one in score(item.task.metrics, sample, answer, classify_answer(answer)):
                assert one.error is None, one
                totals[one.metric] += one.value
                counts[one.metric] += 1
    assert (retriever.searches > 0) == (arm == "retrieved")
    return {name: totals[name] / n for name, n in counts.items()}


def baseline(name: str) -> BaselineBackend:
    return BaselineBackend(parse_spec(f"baseline:{name}"))


@pytest.mark.parametrize("arm", ["closed_book", "retrieved", "oracle"])
async def test_gold_scores_full_marks_in_every_arm(arm: str, tmp_path: Path) -> None:
    means = await run(baseline("gold"), arm, tmp_path)
    full = {**EXACT, "rougeLsum": 1}
    if arm == "closed_book":
        del full["citation_support"]
    else:
        full |= {"citation_precision": 1, "citation_recall": 1, "alce_recall[all]": 1}
    assert {name: means.get(name) for name in full} == full


async def test_only_the_retrieved_arm_is_scored_on_retrieval(tmp_path: Path) -> None:
    for arm, expected in (("closed_book", False), ("retrieved", True), ("oracle", False)):
        means = await run(baseline("gold"), arm, tmp_path, topics=3)
        assert {"recall@5", "mrr", "ndcg@10"} <= means.keys() if expected else "recall@5" not in means


@pytest.mark.parametrize(
    "reply", ["", "I'm sorry, but I cannot help with that.", "x q 7 zz 4.4 [3]", "[1][2]"]
)
async def test_no_answer_scores_worst(reply: str, tmp_path: Path) -> None:
    means = await run(FakeBackend(lambda request: reply), "retrieved", tmp_path)
    assert {name: means[name] for name in WORST} == WORST


@pytest.mark.parametrize("arm", ["closed_book", "oracle"])
async def test_saying_question_and_instructions_back_earns_nothing(arm: str, tmp_path: Path) -> None:
    def echo(request: Request) -> str:
        return " ".join(line for line in _text(request).splitlines() if not re.match(r"\[\d+\]", line))

    means = await run(FakeBackend(echo), arm, tmp_path, topics=40)
    assert means["evidence_direction"] == means["fact_recall"] == 0
    assert means["unsupported_numbers"] == 1


async def test_copying_sentences_is_cited_but_pools_nothing(tmp_path: Path) -> None:
    means = await run(baseline("extract"), "oracle", tmp_path)
    assert means["citation_support"] > 0.5
    assert means["unsupported_numbers"] <= 0.5  # half of its replies copy no number
    assert means["fact_recall"] < 0.6
    assert means["citation_precision"] == 1


async def test_the_prompt_is_pinned(tmp_path: Path) -> None:
    """A changed prompt is a changed benchmark: raise ``questions.VERSION`` with it."""
    backend = FakeBackend(lambda request: "reply")
    for arm in ("closed_book", "oracle"):
        await run(backend, arm, tmp_path, topics=1)
    prompts = [_text(request) for request in backend.requests]
    assert prompts[1].count("\n[") + prompts[1].startswith("[") == 4
    assert [hashlib.sha256(p.encode()).hexdigest()[:16] for p in prompts] == PROMPTS_OF_SEED_7


def _text(request: Request) -> str:
    (message,) = request.messages
    assert isinstance(message.content, str)
    return message.content


def test_seed_and_size_are_parameters_of_samples_and_corpus() -> None:
    item = item_of("oracle", seed="8", topics="3")
    assert item.id == "fictional_trials[arm=oracle,seed=8,topics=3]"
    assert len(collect([str(FILE)]).items) == 3
