"""Files of retrieval benchmarks: queries, judgements (qrels), rankings (runs), in BEIR's and TREC's formats.

Error messages name the file and the line. A file that cannot be opened or read is a ``CorpusError``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from evalkit.data.bounded import lines
from evalkit.errors import UsageError
from evalkit.reading.surrogates import decoded_line

Qrels = dict[str, dict[str, int]]  # grade by document, by query
Rankings = dict[str, dict[str, float]]  # score by document, by query

_QUERY_IDS = ("_id", "query_id", "id", "qid")
_QUERY_TEXTS = ("text", "query", "question")


class Benchmark(msgspec.Struct, frozen=True):
    """Queries with the documents that answer them. ``queries`` is None where there are only judgements.

    ``corpus`` is the folder of the documents; ``qrels`` keeps the order of the file. ``is_beir``: the folder
    has BEIR's layout, whose figures are computed by BEIR's rules.
    """

    name: str
    corpus: Path
    qrels: Qrels
    qrels_file: Path
    queries: dict[str, str] | None = None
    is_beir: bool = False


def read_benchmark(
    home: Path, *, split: str = "test", queries: Path | None = None, qrels: Path | None = None
) -> Benchmark:
    """Read a folder in BEIR's layout, or one that holds ``queries.SPLIT.jsonl`` and ``qrels.SPLIT[.tsv]``.

    ``queries`` and ``qrels`` are files to use instead. Raises ``UsageError`` that names a missing file.
    """
    if not home.is_dir():
        raise UsageError(
            f"{home}: no such folder. A benchmark has corpus.jsonl, queries.jsonl and qrels/*.tsv"
        )
    qrels_file = qrels or _first(
        home, f"qrels/{split}.tsv", f"qrels.{split}.tsv", f"qrels.{split}", "qrels.txt"
    )
    if qrels_file is None:
        others = sorted(p.relative_to(home).as_posix() for p in home.glob("qrels*/*.tsv")) + sorted(
            p.name for p in home.glob("qrels*") if p.is_file()
        )
        hint = f"; there are {', '.join(others)}: choose by --split or --qrels FILE" if others else ""
        raise UsageError(f"{home}: no judgements for split {split!r}, qrels/{split}.tsv{hint}")
    queries_file = queries or _first(
        home, *(f"queries{part}.jsonl{packed}" for part in (f".{split}", "") for packed in ("", ".gz"))
    )
    return Benchmark(
        name=home.resolve().name,
        corpus=home,
        qrels=read_qrels(qrels_file),
        qrels_file=qrels_file,
        queries=None if queries_file is None else read_queries(queries_file),
        is_beir=qrels is None and qrels_file.parent != home,
    )


def _first(home: Path, *names: str) -> Path | None:
    return next((home / name for name in names if (home / name).is_file()), None)


def read_queries(path: Path) -> dict[str, str]:
    """Read query texts by id, from JSON Lines (``_id`` or ``query_id``, ``text``). Raises ``UsageError``."""
    texts: dict[str, str] = {}
    for where, line in _lines(path):
        try:
            row = decoded_line(line, dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"{where}: not a JSON object: {error}") from None
        id, text = (next((row[k] for k in keys if k in row), None) for keys in (_QUERY_IDS, _QUERY_TEXTS))
        if id in (None, "") or not isinstance(text, str) or not text.strip():
            raise UsageError(
                f"{where}: a query needs an id ({', '.join(_QUERY_IDS)}) and a text "
                f"({', '.join(_QUERY_TEXTS)})"
            )
        if texts.setdefault(str(id), text) != text:
            raise UsageError(f"{where}: query {str(id)!r} has another text above")
    return texts


def read_qrels(path: Path) -> Qrels:
    """Read grades by query and document.

    A line is BEIR's (query, document, grade) or TREC's (query, 0, document, grade). A heading is skipped.
    Raises ``UsageError`` for another format, a document with two grades, or an empty file.
    """
    qrels: Qrels = {}
    for number, (where, line) in enumerate(_lines(path)):
        fields = line.decode("utf-8", "replace").split("\t" if b"\t" in line else None)
        if len(fields) not in (3, 4):
            raise UsageError(f"{where}: {len(fields)} fields; a judgement has query, document and grade")
        query, document, grade = (field.strip() for field in (fields[0], fields[-2], fields[-1]))
        if not _is_whole(grade):
            if number == 0 and grade.isalpha():
                continue  # the heading
            raise UsageError(f"{where}: the grade {grade!r} is not a whole number")
        grades = qrels.setdefault(query, {})
        if grades.setdefault(document, int(grade)) != int(grade):
            raise UsageError(f"{where}: document {document!r} has another grade for query {query!r} above")
    if not qrels:
        raise UsageError(f"{path}: the file holds no judgements")
    return qrels


def read_run(path: Path) -> tuple[str, Rankings]:
    """Read a TREC run, ``query Q0 document rank score name``: its name, and scores by query and document.

    Raises ``UsageError`` for another format, a repeated document, or an empty file.
    """
    name, rankings = "", Rankings()
    for where, line in _lines(path):
        fields = line.decode("utf-8", "replace").split(maxsplit=5)
        if len(fields) != 6:
            raise UsageError(f"{where}: a line of a run is: query Q0 document rank score name")
        query, _, document, _, text, name = fields
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if math.isnan(score):
            raise UsageError(f"{where}: the score {text!r} is not a number")
        scores = rankings.setdefault(query, {})
        if document in scores:
            raise UsageError(f"{where}: document {document!r} comes twice for query {query!r}")
        scores[document] = score
    if not rankings:
        raise UsageError(f"{path}: the file holds no rankings")
    return name.strip(), rankings


def write_run(path: Path, name: str, rankings: Mapping[str, Mapping[str, float]]) -> None:
    """Write a TREC run, each ranking in trec_eval's order. Raises ``UsageError``."""
    from evalkit.metrics.retrieval import trec_order

    tag = "-".join(name.split())
    try:
        with path.open("w", encoding="utf-8") as file:
            for query, scores in rankings.items():
                if spaced := next((name for name in (query, *scores) if len(name.split()) != 1), None):
                    raise UsageError(f"{path}: a TREC run cannot hold {spaced!r}, an id with white space")
                for rank, document in enumerate(trec_order(scores), 1):
                    file.write(f"{query} Q0 {document} {rank} {scores[document]!r} {tag}\n")
    except OSError as error:
        raise UsageError(f"{path}: the run cannot be written: {error.strerror}") from None


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield ``FILE:LINE`` and the content of each line that is not blank."""
    for number, _, line in lines(path):
        yield f"{path}:{number}", line.strip(b"\r\n")
