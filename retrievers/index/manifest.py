"""The manifest of an index: what it was built from, so that it is never searched as something else."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from evalkit.errors import SetupError
from evalkit.util.paths import write_whole

FORMAT = 2  # raised when an index written before can no longer be read, or would hold other passages
MANIFEST = "manifest.json"
PASSAGES = ("chunk_words", "chunk_tokens", "chunk_sentences", "chunk_sections", "overlap", "deduplicate")


class CorpusFacts(msgspec.Struct, frozen=True):
    """Where the corpus lay, the SHA-256 of its content, how it is laid out, the stamp of its files."""

    path: str
    fingerprint: str
    layout: str = "jsonl"
    stamp: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of an index. ``engine`` is what decides about results beside corpus and chunking;
    ``facts`` is what was found out when it was built (what computed the vectors, recall).

    ``n_repeated`` documents came more than once; ``n_retracted`` are of retracted articles; ``n_copies``
    passages have title and text of an earlier one (left out under ``deduplicate``);
    ``files`` are the SHA-256 of the index' files, by name; ``tokenizer`` that of what counted tokens.
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
    n_passages: int | None = None
    n_copies: int | None = None
    tokenizer: str | None = None
    files: dict[str, str] = msgspec.field(default_factory=dict)
    format: int = FORMAT

    def write(self, path: Path) -> None:
        """Write as readable JSON, whole or not at all."""
        write_whole(path, msgspec.json.format(msgspec.json.encode(self)))

    def deciding(self) -> dict[str, Any]:
        """What must agree: not the corpus' place, nor the encoder's name, nor the versions of packages."""
        return {
            "kind": self.kind,
            "format": self.format,
            "corpus fingerprint": self.corpus.fingerprint,
            **{name: self.options.get(name) or None for name in PASSAGES},
            "tokenizer": self.tokenizer,
            **dict(_flat("engine", self.engine)),
        }

    def differences(self, wanted: Manifest) -> list[str]:
        """In words, what this index has other than wanted."""
        here, there = wanted.deciding(), self.deciding()
        differing = [key for key in here | there if here.get(key) != there.get(key)]
        if "kind" in differing:
            differing = ["kind"]  # the rest follows from it
        return [f"{key} is {there.get(key)!r} in the index, {here.get(key)!r} now" for key in differing]


def read_manifest(directory: Path) -> Manifest:
    """The manifest in a folder. Raises ``SetupError`` where there is none or it is damaged."""
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
    """Nested facts under dotted names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, value
