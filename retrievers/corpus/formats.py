"""The formats of a corpus, recognized by its files and read row by row.

X.jsonl[.gz]                       one document per line, also MedRAG's chunks (id, title, content)
FOLDER/corpus.jsonl[.gz]           BEIR
FOLDER/[chunk/]*.jsonl[.gz]        MedRAG: many files of chunks
X.parquet, FOLDER/**/*.parquet     Parquet, such as a downloaded data set of the hub
X.xml[.gz], FOLDER/*.xml[.gz]      PubMed's baseline and update files
FOLDER/state.json                  datasets.save_to_disk
hf:NAME[:CONFIG[:SPLIT]]           a data set of the Hugging Face hub, or a local folder in its format
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from evalkit.data.bounded import lines
from evalkit.data.hub import hub_answers
from evalkit.data.tables import parquet_rows
from evalkit.errors import CorpusError
from evalkit.extras import load

from . import pubmed
from .jsonl import Row, row_of

HUB = "hf:"
VERSION = 2  # raise it when a reader makes other documents from the same files

_PACKED = {".zst", ".zip", ".bz2", ".xz", ".lz4", ".tar", ".tgz", ".7z", ".rar"}

Rows = Iterator[tuple[str, Row]]  # file and line (or row number), and the columns


class Layout(msgspec.Struct, frozen=True):
    """The format of a corpus, and its files in the order of reading.

    ``rows`` reads the files, given a folder for temporary files; None for a plain JSON Lines file.
    """

    name: str
    files: tuple[Path, ...]
    rows: Callable[[Path], Rows] | None = None


def recognize(path: Path) -> Layout:
    """Return the format of the corpus at a path. Raises ``CorpusError`` if it is missing or unknown."""
    if str(path).startswith(HUB):
        return _hub(str(path).removeprefix(HUB))
    if path.is_file():
        return _file(path)
    if not path.is_dir():
        raise CorpusError(
            f"{path}: no such file or folder. A corpus is a JSONL file with id, title and text, a folder in "
            f"BEIR's or MedRAG's format, Parquet, PubMed XML, or {HUB}NAME for a data set of the hub"
        )
    return _folder(path)


def _file(path: Path) -> Layout:
    if path.suffix.lower() in _PACKED:
        raise CorpusError(f"{path}: a corpus may be packed by gzip only; unpack it first")
    name = path.name.removesuffix(".gz")
    if name.endswith(".xml"):
        return _pubmed([path])
    if name.endswith(".parquet"):
        return _parquet([path])
    return Layout("jsonl", (path,))


def _folder(path: Path) -> Layout:
    for name in ("corpus.jsonl", "corpus.jsonl.gz"):
        if (path / name).is_file():
            return Layout("beir", (path / name,))
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        return _saved(path)
    if chunks := _files(path if path.name == "chunk" else path / "chunk", "*.jsonl", "*.jsonl.gz"):
        return Layout("medrag", tuple(chunks), lambda _: _lines(chunks))
    if xml := _files(path, "*.xml", "*.xml.gz"):
        return _pubmed(xml)
    if parquet := _files(path, "**/*.parquet"):
        return _parquet(parquet)
    raise CorpusError(
        f"{path} holds no corpus of a known format: no corpus.jsonl (BEIR), chunk/*.jsonl (MedRAG), "
        "*.parquet, *.xml.gz (PubMed) or state.json (datasets.save_to_disk)"
    )


def _files(folder: Path, *patterns: str) -> list[Path]:
    return sorted(file for pattern in patterns for file in folder.glob(pattern))


def _pubmed(files: Sequence[Path]) -> Layout:
    return Layout("pubmed", tuple(files), partial(pubmed.current, files))


def _parquet(files: Sequence[Path]) -> Layout:
    return Layout("parquet", tuple(files), lambda _: _parquet_rows(files))


def _lines(files: Iterable[Path]) -> Rows:
    for file in files:
        for number, _, line in lines(file):
            where = f"{file}:{number}"
            yield where, row_of(line, where)


def _parquet_rows(files: Iterable[Path]) -> Rows:
    return ((f"{file}: row {number}", row) for file in files for number, row in parquet_rows(file))


def _saved(folder: Path) -> Layout:
    datasets = load("datasets", "this corpus")
    try:
        rows = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{folder}: cannot be read as a saved data set: {error}") from None
    return _dataset(rows, str(folder))


def _hub(text: str) -> Layout:
    """Return a data set ``NAME[:CONFIG[:SPLIT]]``; without a split, the only split."""
    name, config, split, *extra = [*text.split(":"), "", ""]
    if extra[2:] or not name:
        raise CorpusError(f"{HUB}{text}: write it as {HUB}NAME, {HUB}NAME:CONFIG or {HUB}NAME:CONFIG:SPLIT")
    if Path(name).is_dir():
        name = str(Path(name).resolve())
    elif not hub_answers():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # else every request is tried six times
    datasets = load("datasets", "this corpus")
    datasets.disable_progress_bars()
    try:
        data = datasets.load_dataset(name, config or None, split=split or None)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise CorpusError(
            f"{HUB}{text} could not be loaded: {str(error).splitlines()[0].rstrip('.')}. "
            "Is the hub reachable from here? A folder that was downloaded elsewhere works too: hf:FOLDER"
        ) from None
    if isinstance(data, dict):
        if len(data) > 1:
            raise CorpusError(
                f"{HUB}{text} has splits {', '.join(data)}: name one, {HUB}{name}:{config}:SPLIT"
            )
        data = next(iter(data.values()))
    return _dataset(data, f"{HUB}{text}")


def _dataset(rows: Any, where: str) -> Layout:
    if isinstance(rows, dict):
        raise CorpusError(f"{where} holds the splits {', '.join(rows)}: name the folder of one of them")
    files = tuple(Path(entry["filename"]) for entry in rows.cache_files)
    return Layout("datasets", files, lambda _: ((f"{where}: row {n}", row) for n, row in enumerate(rows, 1)))
