"""Checks that a retriever keeps the contract of ``evalkit.protocols.Retriever``."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from evalkit.errors import CorpusError, SetupError, UsageError
from evalkit.protocols import Retriever
from evalkit.testing.support import expect, in_thread
from evalkit.types import Passage
from evalkit.util.progress import Silent

DOCUMENTS = {
    "aspirin": "Aspirin relieves headache and lowers fever.",
    "insulin": "Insulin lowers blood sugar in diabetes.",
    "penicillin": "Penicillin kills many bacteria.",
    "scurvy": "Vitamin C prevents scurvy in sailors.",
    "statin": "A statin lowers cholesterol in the blood.",
    "zinc": "Zinc shortens the common cold.",
}
_QUESTIONS = ("What lowers blood sugar in diabetes?", "Which vitamin prevents scurvy?", "headache")


def check_retriever(
    make: Callable[..., Retriever], *, documents: Mapping[str, str] = DOCUMENTS, **options: Any
) -> list[Passage]:
    """Check that a retriever keeps the contract: order, ties, ids, many searches at once, a second opening.

    ``make`` is the class, or a function with its arguments ``(corpus, directory, *, progress, **options)``.
    ``documents`` are the texts of the corpus by id. Return the passages for the first question. Raises
    ``AssertionError`` with all that is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="evalkit-check-") as name:
        home = Path(name)
        corpus = home / "corpus.jsonl"
        rows = [msgspec.json.encode({"id": id, "text": text}) for id, text in documents.items()]
        corpus.write_bytes(b"\n".join(rows) + b"\n")
        return in_thread(_check(make, corpus, home / "index", documents, options))


async def _check(
    make: Callable[..., Retriever],
    corpus: Path,
    home: Path,
    documents: Mapping[str, str],
    options: Mapping[str, Any],
) -> list[Passage]:
    wrong: list[str] = []
    results: list[list[Passage]] = []
    for _ in range(2):  # the first time builds the index, the second reads it
        retriever = make(corpus, home, progress=Silent(), **options)
        assert isinstance(retriever, Retriever), f"{type(retriever).__name__} is no subclass of Retriever"
        try:
            results.append(await _check_search(retriever, documents, wrong))
            await _check_get(retriever, documents, wrong)
            await _check_optional(retriever, documents, wrong)
        finally:
            await retriever.close()
    expect(_order(results[0]) == _order(results[1]), "a second opening finds other passages", wrong)
    name = getattr(make, "__name__", "retriever")
    assert not wrong, "\n".join([f"{name}: the contract of Retriever is not kept", *dict.fromkeys(wrong)])
    return results[0]


async def _check_search(
    retriever: Retriever, documents: Mapping[str, str], wrong: list[str]
) -> list[Passage]:
    alone = [list(await retriever.search(question, 3)) for question in _QUESTIONS]
    together = await asyncio.gather(*(retriever.search(question, 3) for question in _QUESTIONS))
    expect(
        [_order(found) for found in together] == [_order(found) for found in alone],
        "searches at the same time find other passages than one after the other",
        wrong,
    )
    full = list(await retriever.search(_QUESTIONS[0], len(documents) + 5))
    expect(len(full) <= len(documents), f"{len(full)} passages of {len(documents)} documents", wrong)
    for found, k in [*((found, 3) for found in alone), (full, len(full))]:
        expect(len(found) <= k, f"{len(found)} passages for k={k}", wrong)
        expect(
            all(isinstance(p, Passage) and p.id and p.text for p in found),
            "search must return passages with id and text",
            wrong,
        )
        expect(
            _order(found) == sorted(_order(found), key=lambda pair: (-pair[1], pair[0])),
            f"passages must come best first by Passage.score, ties by id: {_order(found)}"
            + ("; all scores are equal: is score set?" if len({p.score for p in found}) == 1 else ""),
            wrong,
        )
        expect({p.document for p in found} <= documents.keys(), "a passage without a document", wrong)
    expect(bool(alone[0]), f"nothing was found for {_QUESTIONS[0]!r}", wrong)
    return alone[0]


async def _check_get(retriever: Retriever, documents: Mapping[str, str], wrong: list[str]) -> None:
    ids = list(documents)[::-1]
    got = list(await retriever.get(ids))
    expect([p.document for p in got] == ids, "get must return documents in the order of their ids", wrong)
    expect(
        all(documents[p.document] in p.text for p in got if p.document in documents),
        "get must return whole documents",
        wrong,
    )
    expect(not list(await retriever.get([])), "get of no ids must return no documents", wrong)
    try:
        await retriever.get(["no such document"])
        wrong.append("  get of an unknown id must raise CorpusError")
    except CorpusError:
        pass


async def _check_optional(retriever: Retriever, documents: Mapping[str, str], wrong: list[str]) -> None:
    unknown = await retriever.unknown([*documents, "no such document"])
    expect(unknown in (None, ["no such document"]), f"unknown returned {unknown!r}", wrong)
    try:
        msgspec.json.encode(retriever.describe())
    except TypeError as error:
        wrong.append(f"  describe must return what JSON can hold: {error}")
    await retriever.prepare()
    try:
        bad = [check for check in await retriever.verify() or () if check.ok is False]
    except (SetupError, UsageError) as error:
        wrong.append(f"  verify, of an index just built: {error}")
    else:
        expect(not bad, f"verify, of an index just built: {bad}", wrong)


def _order(passages: Sequence[Passage]) -> list[tuple[str, float]]:
    return [(passage.id, passage.score) for passage in passages]
