"""Cuts documents into passages at sentence borders; sizes are in words, tokens or sentences.

White space separates words; where a script has no spaces, each character counts as a word.

A document may have sections in its metadata, ``sections: [[label, text], …]``, as PubMed's structured
abstracts have. A passage keeps the title and the metadata of its document. Its ``doc_id`` names the document,
and ``metadata["section"]`` the section, if there is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from evalkit.data.sentences import split_sentences
from evalkit.data.words import spans
from evalkit.errors import CorpusError, SetupError, UsageError
from evalkit.types import Passage

from ..encoding.model_files import find_model
from ..encoding.recipes import DEFAULT_MODEL

SECTIONS = "sections"
SIZES = ("chunk_words", "chunk_tokens", "chunk_sentences")

Spans = list[tuple[int, int]]  # start and end of each unit of a sentence
Unit = Callable[[str], Spans]


def whole_sentence(sentence: str) -> Spans:
    """Return the span of the sentence itself, as one unit."""
    return [(0, len(sentence))]


def tokens(file: Path) -> Unit:
    """Return a unit: the tokens of a ``tokenizer.json``, without its special tokens.

    Tokens are counted sentence by sentence. Raises ``SetupError`` for a file that holds no tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001 - the package raises bare exceptions
        raise SetupError(f"{file}: no tokenizer could be read from it: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return partial(_token_spans, tokenizer)


def _token_spans(tokenizer: Any, sentence: str) -> Spans:
    return list(tokenizer.encode(sentence, add_special_tokens=False).offsets)


class Chunking(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How documents are cut into passages; by default they are not.

    A passage has at most ``chunk_words`` words, ``chunk_tokens`` tokens of ``tokenizer`` (a model's folder or
    name, by default the default encoder) or ``chunk_sentences`` sentences. ``overlap`` is in sentences.
    ``chunk_sections``: no passage crosses the border of a section.
    """

    chunk_words: int | None = None
    chunk_tokens: int | None = None
    chunk_sentences: int | None = None
    chunk_sections: bool = False
    overlap: int = 0
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in SIZES if getattr(self, name) is not None}
        if len(sizes) > 1:
            raise ValueError(f"give only one of {', '.join(SIZES)}")
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.overlap < 0:
            raise ValueError("overlap must be at least 0")
        if self.overlap and not sizes:
            raise ValueError(f"overlap has a meaning only with {', '.join(SIZES)}")
        if self.tokenizer is not None and self.chunk_tokens is None:
            raise ValueError("tokenizer has a meaning only with chunk_tokens")
        if self.tokenizer is not None and Path(self.tokenizer).is_dir():  # valid in any working directory
            msgspec.structs.force_setattr(self, "tokenizer", str(Path(self.tokenizer).resolve()))

    @property
    def chunked(self) -> bool:
        """Whether documents are cut."""
        return self.chunk_sections or self._size is not None

    @property
    def _size(self) -> int | None:
        return self.chunk_words or self.chunk_tokens or self.chunk_sentences

    def cutter(self) -> Callable[[Passage], list[Passage]]:
        """Return a function that cuts a document. Raises ``SetupError`` if the tokenizer is missing."""
        if not self.chunked:
            return lambda document: [document]
        unit: Unit = spans if self.chunk_sentences is None else whole_sentence
        if self.chunk_tokens is not None:
            unit = tokens(self._tokenizer_file())
        return partial(chunk, size=self._size, overlap=self.overlap, unit=unit, sections=self.chunk_sections)

    def tokenizer_hash(self) -> str | None:
        """Return the SHA-256 of the tokenizer's file; None if no tokens are counted."""
        if self.chunk_tokens is None:
            return None
        return hashlib.sha256(self._tokenizer_file().read_bytes()).hexdigest()

    def _tokenizer_file(self) -> Path:
        folder = find_model(self.tokenizer or DEFAULT_MODEL)
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise SetupError(
                f"{folder} has no tokenizer.json. Choose a model that has one, to cut by its tokens: "
                "--tokenizer FOLDER, or a name on the hub"
            )
        return file


def chunk(
    document: Passage, size: int | None, overlap: int = 0, *, unit: Unit = spans, sections: bool = False
) -> list[Passage]:
    """Cut a document at sentence borders into passages of at most ``size`` units.

    Neighbours share ``overlap`` sentences, or fewer if those leave no room for a new sentence. A sentence
    longer than ``size`` is cut between units. With ``sections`` no passage crosses the border of a section;
    without a ``size`` each section is a passage. Passage ids are ``DOC#0``, ``DOC#1``, …
    Raises ``UsageError`` for impossible sizes, ``CorpusError`` for sections that cannot be read.
    """
    if (size is not None and size < 1) or overlap < 0:
        raise UsageError(f"chunks need a size of at least 1 and overlap ≥ 0, not {size} and {overlap}")
    parts = _sections(document) if sections else [("", document.text)]
    metadata = {name: value for name, value in document.metadata.items() if name != SECTIONS}
    passages: list[Passage] = []
    for label, text in parts:
        for piece in [" ".join(text.split())] if size is None else _pieces(text, size, overlap, unit):
            passages.append(
                msgspec.structs.replace(
                    document,
                    id=f"{document.id}#{len(passages)}",
                    text=piece,
                    doc_id=document.document,
                    metadata={**metadata, "section": label} if label else metadata,
                )
            )
    return passages


def _sections(document: Passage) -> list[tuple[str, str]]:
    sections = document.metadata.get(SECTIONS)
    if not sections:
        return [("", document.text)]
    try:
        return [(str(label or ""), text) for label, text in msgspec.convert(sections, list[tuple[Any, str]])]
    except msgspec.ValidationError as error:
        raise CorpusError(
            f"document {document.id!r}: its sections are no list of [label, text]: {error}"
        ) from None


def _pieces(text: str, size: int, overlap: int, unit: Unit) -> list[str]:
    sentences: list[str] = []
    lengths: list[int] = []
    for sentence in split_sentences(text):
        folded = " ".join(sentence.split())
        units = unit(folded)
        for start in range(0, len(units), size):
            part = units[start : start + size]
            sentences.append(folded if len(part) == len(units) else folded[part[0][0] : part[-1][1]])
            lengths.append(len(part))
    ends = _spans(lengths, size, overlap) or [(0, 0)]
    return [" ".join(sentences[start:end]) for start, end in ends]


def _spans(lengths: list[int], size: int, overlap: int) -> Spans:
    """Return start and end of each chunk, in sentences; each chunk has a sentence that is new."""
    spans: Spans = []
    start = end = 0
    while end < len(lengths):
        while end < len(lengths) and sum(lengths[start : end + 1]) <= size:
            end += 1
        spans.append((start, end))
        start = max(end - overlap, start)
        while end < len(lengths) and sum(lengths[start : end + 1]) > size:
            start += 1
    return spans
