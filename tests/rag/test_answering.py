"""The fixture ``rag`` in a task of one's own: which parameters it brings, what it makes, what it records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.collection.targets import collect
from evalkit.errors import TaskFileError
from evalkit.run import runner
from evalkit.run.session import Session
from evalkit.store import open_store
from evalkit.store.records import Run
from evalkit.util.progress import Silent

TASK = """
from pathlib import Path
from evalkit import Answer, Rag, Sample, fixture, rag_arms, task
from evalkit.metrics import abstention, citation_recall, exact_match, where_answerable

@fixture
def corpus():
    file = Path(__file__).with_name("documents.jsonl")
    assert file.exists(), "there is no corpus"
    return file

SAMPLES = [
    Sample("1", "Does zinc shorten colds?", "It does.", relevance={"zinc": 1}),
    Sample("2", "Do crystals shorten colds?", metadata={"answerable": False}),
]

@task(SAMPLES, metrics=[*where_answerable(exact_match()), citation_recall(), abstention()])
@rag_arms
async def mine(sample: Sample, model, rag: Rag, k: int = 2) -> Answer:
    return await rag.answer(memory="{question}", passages="{passages} {question}", max_tokens=9)
"""
DOCUMENTS = {"zinc": "Zinc shortens colds.", "gout": "Statins and gout.", "walk": "Walking is safe."}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [json.dumps({"id": name, "text": text}) + "\n" for name, text in DOCUMENTS.items()]
    (tmp_path / "documents.jsonl").write_text("".join(rows))
    (tmp_path / "task_mine.py").write_text(TASK)
    return tmp_path / "task_mine.py"


async def run(file: Path, monkeypatch: pytest.MonkeyPatch, **params: str) -> tuple[Run, list[Any]]:
    """The run of baseline:gold, and its answers."""
    monkeypatch.setenv("EVALKIT_CACHE", str(file.parent / "cache"))
    given = {name: [value] for name, value in {"search": "bm25", **params}.items()}
    (item,) = collect([str(file)], params=given).items
    with open_store(file.parent / "e.db") as store:
        async with Session(Silent()) as session:
            done = await runner.start(item, "baseline:gold", store, session, runner.Options())
        return done, list(store.samples.records(done.id))


def test_its_parameters_are_the_task_s_and_the_task_s_own_default_wins(file: Path) -> None:
    (item, *_) = collect([str(file)], params={"arm": ["hidden"], "position": ["2"]}).items
    assert item.id == "mine[arm=hidden,position=2]"
    wanted = {"position": 2, "k": 2, "query": "question", "judge": "none", "claims": "sentences"}
    assert {name: item.params[name] for name in wanted} == wanted


def test_two_fixtures_may_not_disagree_on_a_default(file: Path) -> None:
    more = "\n@fixture\ndef retriever(k: int = 3): ...\n"
    file.write_text(TASK.replace(", k: int = 2", "") + more)
    (broken,) = collect([str(file)]).broken
    assert isinstance(broken, TaskFileError)
    assert "'k' has the default" in str(broken)


async def test_the_closed_book_makes_no_retriever(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "documents.jsonl").unlink()
    done, records = await run(file, monkeypatch, arm="closed_book")
    assert done.status == "complete"
    assert not any("retriever" in name for name in done.spec.provenance)
    assert records[0].requests[0]["messages"][0]["content"] == "Does zinc shorten colds?"


async def test_what_the_samples_share_is_recorded_with_the_run(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, records = await run(file, monkeypatch, arm="retrieved")
    assert done.spec.provenance["fixture retriever"]["n_documents"] == 3
    assert {"max_tokens": 9}.items() <= records[0].requests[0].items()


@pytest.mark.parametrize("arm", ["closed_book", "retrieved", "oracle", "hidden", "distractors", "missing"])
async def test_gold_cites_what_answers_and_abstains_where_nothing_does(
    file: Path, monkeypatch: pytest.MonkeyPatch, arm: str
) -> None:
    done, records = await run(file, monkeypatch, arm=arm)
    assert {name: m.value for name, m in done.metrics.items()} == dict.fromkeys(done.metrics, 1.0)
    assert "abstention" in done.metrics
    assert ("citation_recall" in done.metrics) == (arm in ("retrieved", "oracle", "hidden"))
    assert "[" in records[0].answer.reply or "citation_recall" not in done.metrics
