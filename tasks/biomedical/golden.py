"""BioASQ's golden files as the challenge gives them out (``8B1_golden.json``), as rows of our JSON Lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from evalkit import CorpusError

Row = dict[str, Any]


def rows(file: Path, name: str) -> Iterator[Row]:
    """The rows ``questions`` or ``passages`` of a golden file. Raises ``CorpusError`` with the question."""
    try:
        questions = msgspec.json.decode(file.read_bytes())["questions"]
    except (OSError, msgspec.MsgspecError, KeyError, TypeError) as error:
        raise CorpusError(f"{file} is no golden file of BioASQ, {{'questions': […]}}: {error}") from None
    known: dict[tuple[str, str], str] = {}
    counts: Counter[str] = Counter()
    for number, given in enumerate(questions, 1):
        try:
            question, snippets = _question(given), given.get("snippets", [])
            for snippet in snippets:
                document = _pmid(snippet["document"])
                place = (document, snippet["text"])
                if place not in known:
                    known[place] = f"{document}#{counts[document]}"
                    counts[document] += 1
                    if name == "passages":
                        yield {
                            "passage_id": known[place],
                            "doc_id": document,
                            "text": snippet["text"],
                            "section": snippet.get("beginSection"),
                            "offset": snippet.get("offsetInBeginSection"),
                        }
                question["gold_passage_ids"].append(known[place])
        except (KeyError, TypeError, AttributeError) as error:
            raise CorpusError(f"{file}: question {number} lacks {error}") from None
        if name == "questions":
            yield question


def _question(given: Row) -> Row:
    ideal = given["ideal_answer"]
    return {
        "id": given["id"],
        "type": given["type"],
        "question": given["body"],
        "ideal_answers": [ideal] if isinstance(ideal, str) else ideal,
        "exact_answer": _exact(given),
        "gold_doc_ids": [_pmid(url) for url in given.get("documents", [])],
        "gold_passage_ids": [],
    }


def _exact(given: Row) -> str | list[list[str]] | None:
    """Editions differ: the names of one entity come as a list of names, or in a list of their own."""
    exact, kind = given.get("exact_answer"), given["type"]
    if kind == "summary" or not exact:
        return None
    if kind == "yesno":
        said: str = exact if isinstance(exact, str) else exact[0]
        return said.strip(" .").lower()
    if kind == "factoid" and all(isinstance(name, str) for name in exact):
        return [exact] if isinstance(exact, list) else [[exact]]
    return [[entity] if isinstance(entity, str) else entity for entity in exact]


def _pmid(url: str) -> str:
    """``http://www.ncbi.nlm.nih.gov/pubmed/123`` as ``pmid:123``."""
    return f"pmid:{url.rstrip('/').rpartition('/')[2]}"
