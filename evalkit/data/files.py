"""Local files of a data set, by name or by split: ``-p data=FILE`` or ``-p data=FOLDER -p split=test``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.data.tables import SUFFIXES, suffix_of, table_rows
from evalkit.errors import CorpusError, UsageError, did_you_mean


def file_rows(
    data: Path, name: str, *fields: str, columns: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``data`` itself if it is a file, else of the file ``name`` in the folder ``data``.

    A name has any suffix of ``evalkit.data.tables``, with or without ``.gz``. ``columns`` gives the file's
    columns other names. Raises ``UsageError`` where there is no such file, ``CorpusError`` with file and line
    for a broken row and for one that lacks one of ``fields``.
    """
    path = data if data.is_file() else _tables(data).get(name)
    if path is None:
        there = ", ".join(file.name for file in _tables(data).values())
        raise UsageError(
            f"-p data={data}: there is no {name}.jsonl or {name}.jsonl.gz in it"
            f"{f'; it has {there}' if there else ''}. -p data=FILE takes a file of any name"
        )
    yield from _checked(path, fields, columns)


def split_rows(
    data: Path,
    split: str,
    *fields: str,
    names: Sequence[str] = ("{}",),
    official: Mapping[str, Sequence[str]] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split: of ``data`` itself if it is a file, else of the split's file in the folder.

    ``names`` are the names of files by split (``claims.{}`` for ``claims.dev.jsonl``). ``official`` gives, by
    split, the names under which the data set is published, as glob patterns; they are also looked for in
    folders of the folder. Raises ``UsageError`` with the splits that are there, and as ``file_rows``.
    """
    if data.is_file():
        yield from _checked(data, fields, columns)
        return
    found = splits_in(data, names, official or {})
    if split not in found:
        there = f"it has the splits {', '.join(found)}" if found else "it has no file of a split"
        raise UsageError(
            f"-p split={split}: there is no {names[0].format(split)}.jsonl or "
            f"{names[0].format(split)}.jsonl.gz in {data}; {there}.{did_you_mean(split, found)} "
            "-p data=FILE takes a file of any name"
        )
    yield from _checked(found[split], fields, columns)


def splits_in(data: Path, names: Sequence[str], official: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """Return the files of a folder by split, as ``split_rows`` finds them."""
    found: dict[str, Path] = {}
    for split, patterns in official.items():
        places = (data.glob(depth + pattern) for pattern in patterns for depth in ("", "*/", "*/*/"))
        files = (path for place in places for path in sorted(place) if path.is_file())
        if path := next(files, None):
            found[split] = path
    published = set(found.values())
    for name in reversed(names):
        before, after = name.split("{}")
        for stem, path in _tables(data).items():
            long_enough = len(stem) > len(before) + len(after)
            if stem.startswith(before) and stem.endswith(after) and long_enough and path not in published:
                found[stem.removeprefix(before).removesuffix(after)] = path
    return found


def folder_of(data: Path) -> Path:
    """Return the folder of a data set: ``data``, or the folder of the file ``data``."""
    return data if data.is_dir() else data.parent


def _tables(data: Path) -> dict[str, Path]:
    """Return the data files of a folder by their names without suffix. Raises ``UsageError``."""
    if not data.exists():
        raise UsageError(f"-p data={data}: no such file or folder")
    paths = (path for path in sorted(data.iterdir()) if suffix_of(path) in SUFFIXES and path.is_file())
    found: dict[str, Path] = {}
    for path in paths:
        stem = path.name.removesuffix(".gz")
        found.setdefault(stem[: -len(suffix_of(path))], path)
    return found


def _checked(
    path: Path, fields: Sequence[str], columns: Mapping[str, str] | None
) -> Iterator[dict[str, Any]]:
    for row in table_rows(path, columns):
        if lacking := [field for field in fields if field not in row]:
            raise CorpusError(f"{row.place}: it needs {', '.join(lacking)}")
        yield row
