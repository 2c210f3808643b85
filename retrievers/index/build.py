"""Writes an index into its folder, completely or not at all."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from evalkit.errors import SetupError
from evalkit.util.printable import one_line

from ..corpus.corpus import Corpus
from ..corpus.passages import Passages
from .engine import Engine
from .manifest import MANIFEST, Manifest
from .verify import sha256


def build_index(
    engine: Engine, corpus: Corpus, read: Callable[[], Passages], manifest: Manifest, directory: Path
) -> None:
    """Write the index into a temporary folder, then move its files; the manifest, moved last, completes it.

    ``read`` reads the passages. Counts and the engine's facts are added to ``manifest``; notes on what a
    search does not find are logged.
    Raises ``SetupError`` if the folder cannot be written.
    """
    n_documents = len(corpus)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        passages = read()
        with tempfile.TemporaryDirectory(dir=directory, prefix=".building-") as name:
            part = Path(name)
            facts = engine.build(passages, part)
            passages.write_rows(part)
            complete = msgspec.structs.replace(
                manifest,
                facts=facts,
                files={file.name: sha256(file) for file in sorted(part.iterdir())},
                n_documents=n_documents,
                n_repeated=corpus.repeated,
                n_retracted=corpus.retracted,
                n_empty=corpus.empty,
                untitled=corpus.untitled,
                n_passages=len(passages),
                n_copies=passages.n_copies,
            ).noted()
            complete.write(part / MANIFEST)
            for file in sorted(part.iterdir(), key=lambda file: file.name == MANIFEST):
                file.replace(directory / file.name)
    except OSError as error:
        raise SetupError(f"{directory}: the index cannot be written: {error}") from error
    for note in complete.notes:
        logging.getLogger(__name__).warning(one_line(f"evalkit: {corpus.path}: {note}"))
