"""Passages on disk, while an index is built (``Passages``) and searched (``Rows``).

A corpus of 10⁶ abstracts takes more than a gigabyte: during a build its texts are in a file, and memory holds
60 bytes for each passage. A finished index stores the ids of its rows and the offsets of their documents in
the corpus; a search maps both from disk.
"""

from __future__ import annotations

import hashlib
import mmap
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from evalkit.errors import SetupError
from evalkit.types import Passage, Progress

from .corpus import Corpus, indexed_text

IDS, ROWS = "ids.bin", "rows.npy"


def damaged(folder: Path, what: object) -> SetupError:
    """Return the error for an index whose files cannot be used."""
    found = "an array does not hold plain numbers" if "pickle" in str(what) else str(what)
    return SetupError(
        f"{folder}: the index is damaged ({found or type(what).__name__}). "
        "Delete the folder and build the index again"
    )


class Passages(Sequence[Passage]):
    """The passages of a corpus without metadata, sorted by id, with their texts in a temporary file.

    The file is in ``folder`` and disappears with this object. ``n_copies`` passages have the title and text
    of an earlier one; ``deduplicate`` leaves them out.
    """

    def __init__(
        self,
        corpus: Corpus,
        cut: Callable[[Passage], list[Passage]],
        folder: Path,
        progress: Progress,
        *,
        deduplicate: bool = False,
    ) -> None:
        self._ends, self._offsets = array("q", [0]), array("q")
        digests = bytearray()
        with (
            tempfile.TemporaryFile(dir=folder) as file,
            progress.bar("Reading documents", len(corpus)) as bar,
        ):
            for offset, document in corpus.documents():
                for passage in cut(document):
                    self._put(file, passage, offset)
                    digests += hashlib.blake2b(_bytes(indexed_text(passage)), digest_size=16).digest()
                bar.advance()
            file.flush()
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # stays after the file
        order = np.array(sorted(range(len(self._offsets)), key=self._id), np.int64)
        _, first = np.unique(np.frombuffer(digests, "V16")[order], return_index=True)
        self.n_copies = len(order) - len(first)
        self._order = order[np.sort(first)] if deduplicate else order

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Passage]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: Any) -> Any:
        """Return the passage of a row; slices are not supported."""
        n = int(self._order[row])
        start, *ends = self._ends[3 * n : 3 * n + 4]
        parts = []
        for end in ends:
            parts.append(self._map[start:end].decode("utf-8", "surrogatepass"))
            start = end
        id, title, text = parts
        return Passage(id, text, title)

    def write_rows(self, folder: Path) -> None:
        """Write the files that ``Rows`` reads."""
        rows = np.zeros((len(self), 2), np.int64)
        with (folder / IDS).open("wb") as file:
            for row, n in enumerate(self._order.tolist()):
                file.write(self._id(n))
                rows[row] = file.tell(), self._offsets[n]
        np.save(folder / ROWS, rows)

    def _put(self, file: IO[bytes], passage: Passage, offset: int) -> None:
        end = self._ends[-1]
        for part in (passage.id, passage.title, passage.text):
            end += file.write(_bytes(part))
            self._ends.append(end)
        self._offsets.append(offset)

    def _id(self, n: int) -> bytes:
        return self._map[self._ends[3 * n] : self._ends[3 * n + 1]]


class Rows:
    """The ids of an index's rows and the offsets of their documents in the corpus, mapped from disk.

    Raises ``SetupError`` if the files are missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._rows = np.load(folder / ROWS, mmap_mode="r")
            self._ids = np.memmap(folder / IDS, np.uint8, mode="r")
            rows = self._rows
            if (
                rows.ndim != 2
                or rows.shape[1] != 2
                or rows.dtype != np.int64
                or rows[-1, 0] != len(self._ids)
            ):
                raise ValueError("ids and rows do not belong together")
        except (OSError, ValueError, IndexError, EOFError) as error:
            raise damaged(folder, error) from None
        self._folder = folder

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, row: int) -> tuple[str, int]:
        """Return the id of a row's passage and the offset of its document. Raises ``SetupError``."""
        try:
            start = int(self._rows[row - 1, 0]) if row else 0
            end, offset = self._rows[row].tolist()
            id = self._ids[start:end].tobytes().decode("utf-8", "surrogatepass")
        except (IndexError, UnicodeDecodeError) as error:
            raise damaged(self._folder, error) from None
        if not id or offset < 0:
            raise damaged(self._folder, f"row {row} has no passage")
        return id, offset


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
