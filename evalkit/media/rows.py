"""The picture in a row of a data set, as the Hugging Face hub and local files store it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.data.source_location import Row
from evalkit.errors import CorpusError
from evalkit.media.kept import keep_image
from evalkit.media.sniff import look
from evalkit.types import Image


def row_image(row: Mapping[str, Any], field: str, folder: Path | None = None) -> Image:
    """Return the picture in a row's ``field``: bytes, ``{"bytes": …, "path": …}`` or the path of a file.

    A relative path is that of a file in ``folder``, by default the working directory. Raises ``CorpusError``
    with file and row where there is no picture.
    """
    value = row.get(field)
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, Mapping) else (value, value)
    if isinstance(data, bytes) and data:
        return keep_image(data, look(data).media_type)
    place = f"{row.place}: " if isinstance(row, Row) else ""
    if not isinstance(path, str) or not path:
        raise CorpusError(f"{place}there is no picture in {field!r}, but {str(value)[:60]}")
    file = (folder or Path()) / path
    try:
        return Image.open(file)
    except OSError as problem:
        raise CorpusError(
            f"{place}{field!r} holds no bytes, only the name of a file, and {file} cannot be read: "
            f"{problem.strerror}"
        ) from None
