"""The manifest of an index: what the index was built from. A search with other settings is refused."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from evalkit.errors import SetupError
from evalkit.util.paths import write_whole

FORMAT = 3  # raise it when older indexes cannot be read, or would hold other passages
MANIFEST = "manifest.json"
PASSAGES = (
    "chunk_words",
    "chunk_tokens",
    "chunk_sentences",
    "chunk_sections",
    "overlap",
    "deduplicate",
    "title_field",
    "text_field",
)


class CorpusFacts(msgspec.Struct, frozen=True):
    """The location of the corpus, the SHA-256 of its content, its format, and the stamp of its files."""

    path: str
    fingerprint: str
    layout: str = "jsonl"
    stamp: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of an index.

    - ``engine``: all that determines the results besides corpus and chunking.
    - ``facts``: facts from the build (what computed the vectors, recall).
    - ``n_repeated``: repetitions of a document; ``n_retracted``: documents of retracted articles.
    - ``n_empty``: documents left out because they have neither title nor text; ``untitled``: the field that
      may hold the titles, where no document has one.
    - ``n_copies``: passages with the title and text of an earlier one (left out under ``deduplicate``).
    - ``notes``: what a search does not find of the corpus, in words.
    - ``files``: the SHA-256 of the index's files by name; ``tokenizer``: that of the tokenizer that counted.
    """

    kind: str
    corpus: CorpusFacts
    options: dict[str, Any]
    engine: dict[str, Any]
    versions: dict[str, str]
    facts: dict[str, Any] = msgspec.field(default_factory=dict)
    n_documents: int | None = None
    n_repeated: int | None = None
    n_retracted: int | None = None
    n_empty: int | None = None
    untitled: str | None = None
    n_passages: int | None = None
    n_copies: int | None = None
    notes: list[str] = msgspec.field(default_factory=list)
    tokenizer: str | None = None
    files: dict[str, str] = msgspec.field(default_factory=dict)
    format: int = FORMAT

    def write(self, path: Path) -> None:
        """Write readable JSON, completely or not at all."""
        write_whole(path, msgspec.json.format(msgspec.json.encode(self)))

    def noted(self) -> Manifest:
        """Return the manifest of a complete build, with its notes."""
        return msgspec.structs.replace(self, notes=list(self._notes()))

    def _notes(self) -> Iterator[str]:
        if self.n_empty:
            have = "document has" if self.n_empty == 1 else "documents have"
            yield f"{self.n_empty:,} {have} neither title nor text: left out"
        if self.untitled:
            yield (
                f"no document has a title; the field {self.untitled!r} may hold it: "
                f"--title-field {shlex.quote(self.untitled)} (in a retriever's name: title_field=…)"
            )
        if silent := self.facts.get("bm25", {}).get("passages_without_words"):
            have = "has" if silent == 1 else "have"
            yield f"{silent:,} of {self.n_passages:,} passages {have} no word that BM25 could search"
        encoder = self.facts.get("encoder", {})
        if cut := encoder.get("passages_cut"):
            are, limit = "is" if cut == 1 else "are", encoder["max_tokens"]
            yield (
                f"{cut:,} of {self.n_passages:,} passages {are} longer than the {limit:,} tokens that the "
                "encoder reads: their ends are not searched. --chunk-tokens makes shorter passages"
            )

    def deciding(self) -> dict[str, Any]:
        """Return the facts that must agree; not among them: locations, names and package versions."""
        return {
            "kind": self.kind,
            "format": self.format,
            "corpus fingerprint": self.corpus.fingerprint,
            **{name: self.options.get(name) or None for name in PASSAGES},
            "tokenizer": self.tokenizer,
            **dict(_flat("engine", self.engine)),
        }

    def differences(self, current: Manifest) -> list[str]:
        """Return in words how this index differs from one that would be built now."""
        now, then = current.deciding(), self.deciding()
        differing = [key for key in now | then if now.get(key) != then.get(key)]
        if "kind" in differing:
            differing = ["kind"]  # all other differences follow from this one
        return [f"{key} is {then.get(key)!r} in the index, {now.get(key)!r} now" for key in differing]


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest in a folder. Raises ``SetupError`` if it is missing or damaged."""
    path = directory / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise SetupError(
            f"{directory} holds no index. "
            f"Build one with: evalkit index build CORPUS --out {shlex.quote(str(directory))}"
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SetupError(
            f"{path} is damaged ({error}): delete {directory} and build the index again"
        ) from None


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield nested facts with dotted names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, value
