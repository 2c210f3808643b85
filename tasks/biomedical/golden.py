"""Read golden files of the BioASQ challenge (``8B1_golden.json``) as rows of our JSON Lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from evalkit import CorpusError
from evalkit.data.bounded import read_whole

Row = dict[str, Any]


def rows(file: Path, name: str) -> Iterator[Row]:
    """Yield the rows ``questions`` or ``passages`` of a golden file. Raises ``CorpusError``."""
    try:
        questions = msgspec.json.decode(read_whole(file))["questions"]
    except (msgspec.MsgspecError, KeyError, TypeError, RecursionError) as error:
        raise CorpusError(f"{file} is no golden file of BioASQ, {{'questions': […]}}: {error}") from None
    ids: dict[tuple[str, str], str] = {}
    counts: Counter[str] = Counter()
    for number, entry in enumerate(questions, 1):
        try:
            question, snippets = _question(entry), entry.get("snippets", [])
            for snippet in snippets:
                document = _pmid(snippet["document"])
                key = (document, snippet["text"])
                if key not in ids:
                    ids[key] = f"{document}#{counts[document]}"
                    counts[document] += 1
                    if name == "passages":
                        yield {
                            "passage_id": ids[key],
                            "doc_id": document,
                            "text": snippet["text"],
                            "section": snippet.get("beginSection"),
                            "offset": snippet.get("offsetInBeginSection"),
                        }
                question["gold_passage_ids"].append(ids[key])
        except (KeyError, TypeError, AttributeError) as error:
            raise CorpusError(f"{file}: question {number} lacks {error}") from None
        if name == "questions":
            yield question


def _question(entry: Row) -> Row:
    ideal = entry["ideal_answer"]
    return {
        "id": entry["id"],
        "type": entry["type"],
        "question": entry["body"],
        "ideal_answers": [ideal] if isinstance(ideal, str) else ideal,
        "exact_answer": _exact(entry),
        "gold_doc_ids": [_pmid(url) for url in entry.get("documents", [])],
        "gold_passage_ids": [],
    }


def _exact(entry: Row) -> str | list[list[str]] | None:
    """Return the exact answer as lists of names, one list for each entity; the files of editions differ."""
    exact, kind = entry.get("exact_answer"), entry["type"]
    if kind == "summary" or not exact:
        return None
    if kind == "yesno":
        word: str = exact if isinstance(exact, str) else exact[0]
        return word.strip(" .").lower()
    if kind == "factoid" and all(isinstance(name, str) for name in exact):
        return [exact] if isinstance(exact, list) else [[exact]]
    return [[entity] if isinstance(entity, str) else entity for entity in exact]


def _pmid(url: str) -> str:
    """Return the id ``pmid:123`` for ``http://www.ncbi.nlm.nih.gov/pubmed/123``."""
    return f"pmid:{url.rstrip('/').rpartition('/')[2]}"
