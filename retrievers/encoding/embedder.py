"""Text to vectors: an encoder that never encodes the same text twice.

An encoder is a folder or a name whose weights run here, or a model behind ``/v1/embeddings``. Its vectors are
kept on disk (see ``vectors``), so that a build that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from evalkit.errors import SetupError
from evalkit.types import Progress
from evalkit.util.paths import cache_dir
from evalkit.util.progress import Silent

from .local import Backend, LocalModel
from .model_files import find_model
from .recipes import DEFAULT_MODEL, Document, Encoder, Recipe, read_encoder, served_recipe
from .sentence_transformers_config import own_recipe, token_limit
from .served import ServedModel
from .vector_cache import Store, Vectors, open_store

_ASKED = 16_384  # keys looked up at once


class Embedder:
    """Float32 embeddings of documents and of questions by one encoder.

    ``model`` is a name of the registry or of the Hugging Face hub, a folder, ``NAME@FOLDER``, or a served
    model (``openai:NAME@URL``); ``backend`` is ``auto``, ``openvino`` or ``torch``. ``cache`` is the folder
    of the stored vectors (default: ``evalkit.util.paths.cache_dir()``). Nothing is loaded before the first
    text that is not in the cache. ``stop`` ends a long ``embed`` after the batch at hand.

    Raises ``SetupError`` where the model cannot be found.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        backend: Backend = "auto",
        cache: Path | None = None,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.name = model
        self._progress = progress or Silent()
        self._stop = stop or threading.Event()
        self.recipe, self._documents, self._queries = _open(read_encoder(model), model, backend)
        self._home = (cache or cache_dir()) / "embeddings"
        self._home.mkdir(parents=True, exist_ok=True)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the vectors: the weights' SHA-256 (a served model's id) and the recipe."""
        left_out = {"repository", "query_repository", "query_tokens", "origin", "note"}
        recipe = msgspec.to_builtins(self.recipe)
        weights = {"weights": self._documents.weights, "query_weights": self._queries.weights}
        if self._queries is self._documents:
            del weights["query_weights"]
        return weights | {name: value for name, value in recipe.items() if name not in left_out}

    @property
    def facts(self) -> dict[str, Any]:
        """What else is worth knowing: who says how the encoder is used, what computes, in which versions."""
        return {
            "recipe": self.recipe.origin,
            **({"note": self.recipe.note} if self.recipe.note else {}),
            "computed": self._documents.computed,
            "versions": {name: importlib.metadata.version(name) for name in self._documents.packages},
        }

    def fill(self, documents: Sequence[Document], *, label: str) -> None:
        """Embed what is not in the cache yet; ``embed`` and ``embed_blocks`` then only read."""
        for _ in self._embed(self._documents, documents, self.recipe.document_prefix, 0, label):
            pass

    def embed(self, documents: Sequence[Document], *, label: str | None = None) -> Vectors:
        """Documents as an array (n, dimension). ``label`` names a progress bar.

        Raises ``SetupError`` where it was stopped or the cache cannot be written; finished batches stay.
        """
        blocks = list(self.embed_blocks(documents, max(1, len(documents)), label=label))
        return blocks[0] if blocks else np.zeros((0, 0), np.float32)

    def embed_blocks(
        self, documents: Sequence[Document], size: int, *, label: str | None = None
    ) -> Iterator[Vectors]:
        """The same in blocks of ``size`` rows, of which only one is in memory at a time; of documents that
        are read when they are asked for, only a batch."""
        return self._embed(self._documents, documents, self.recipe.document_prefix, size, label)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Questions as an array (n, dimension), as the encoder wants questions."""
        blocks = list(self._embed(self._queries, texts, self.recipe.query_prefix, max(1, len(texts)), None))
        return blocks[0] if blocks else np.zeros((0, 0), np.float32)

    def _embed(
        self, side: TextEncoder, documents: Sequence[Document], prefix: str, size: int, label: str | None
    ) -> Iterator[Vectors]:
        written = self.recipe.written
        keys, lengths = [], array("L")
        for document in documents:
            text = written(document)
            keys.append(_key(prefix, text))
            lengths.append(_length(text))
        with open_store(self._home / f"{side.key}.db") as store:
            missing: dict[bytes, int] = {}
            for start in range(0, len(keys), _ASKED):
                part = keys[start : start + _ASKED]
                known = store.known(list(dict.fromkeys(part)))
                missing |= {key: start + n for n, key in enumerate(part) if key not in known}
            order = sorted(missing, key=lambda key: (-lengths[missing[key]], key))
            self._encode_missing(side, store, order, lambda key: documents[missing[key]], prefix, label)
            for start in range(0, len(keys), size) if size else ():
                part = keys[start : start + size]
                found = store.get(list(dict.fromkeys(part)))
                yield np.stack([found[key] for key in part])

    def _encode_missing(
        self,
        side: TextEncoder,
        store: Store,
        order: Sequence[bytes],
        document: Callable[[bytes], Document],
        prefix: str,
        label: str | None,
    ) -> None:
        """Encode and store, the longest first: a batch holds texts of one length, and goes ever faster."""
        if not order:
            return
        written, progress = self.recipe.written, self._progress if label else Silent()
        with progress.bar(label or "", len(order)) as bar:
            for start in range(0, len(order), side.batch):
                if self._stop.is_set():
                    raise SetupError("embedding was interrupted; the same command goes on from here")
                batch = order[start : start + side.batch]
                store.put(batch, side.encode([written(document(key)) for key in batch], prefix))
                bar.advance(len(batch))


class TextEncoder(Protocol):
    """The encoder of documents, or of questions. ``key`` names the file of its vectors."""

    weights: str
    computed: str
    key: str
    packages: tuple[str, ...]
    batch: int

    def encode(self, texts: Sequence[Document], prefix: str = "") -> Vectors:
        """The vectors of one batch, (n, dimension)."""
        ...


class Served:
    """A model behind ``/v1/embeddings``: the server tokenizes and pools, prefixes and lengths are ours."""

    packages: tuple[str, ...] = ()
    batch = 256

    def __init__(self, spec: str, recipe: Recipe) -> None:
        self._endpoint, self._normalize = ServedModel(spec), recipe.normalize
        self.weights = self._endpoint.model
        self.computed = f"served as {spec.partition('?')[0]}"
        self.key = hashlib.sha256(repr((spec, recipe.normalize)).encode()).hexdigest()[:24]

    def encode(self, texts: Sequence[Document], prefix: str = "") -> Vectors:
        """The vectors of one batch. Raises ``ModelError``."""
        plain = [prefix + (text if isinstance(text, str) else " ".join(text)) for text in texts]
        vectors = self._endpoint.embed(plain)
        if self._normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors


def _open(encoder: Encoder, text: str, backend: Backend) -> tuple[Recipe, TextEncoder, TextEncoder]:
    """How the encoder is used, and what encodes documents and questions."""
    if encoder.served:
        recipe = served_recipe(encoder)
        served = Served(text, recipe)
        return recipe, served, served
    known = encoder.recipe
    folder = _folder(known.repository if known else encoder.name, encoder)
    recipe = known or own_recipe(encoder.name, folder)
    limits = [n for n in (recipe.max_tokens, token_limit(folder)) if n]
    recipe = msgspec.structs.replace(recipe, max_tokens=min(limits, default=None))
    documents = LocalModel(folder, recipe, backend)
    if not recipe.query_repository:
        return recipe, documents, documents
    short = msgspec.structs.replace(recipe, max_tokens=recipe.query_tokens)
    queries = _folder(recipe.query_repository, encoder)
    return recipe, documents, LocalModel(queries, short, backend)


def _folder(repository: str, encoder: Encoder) -> Path:
    """The folder of a repository: the encoder's, its subfolder where it has two, or from the hub."""
    known, place = encoder.recipe, encoder.place
    two = known is not None and known.query_repository != ""
    if place is None and known is not None:
        both = "its two encoders in one FOLDER" if two else "its FOLDER"
        return find_model(repository, then=f"name {both}: {encoder.name}@FOLDER")
    if place is None:
        return find_model(repository)
    folder = place / repository.rpartition("/")[2] if two else place
    if not folder.is_dir():
        raise SetupError(
            f"{folder}: no such folder. Fetch it with: hf download {repository} --local-dir {folder}"
        )
    return folder


def _key(prefix: str, text: Document) -> bytes:
    plain = text if isinstance(text, str) else "\0".join(text)
    return hashlib.sha256((prefix + plain).encode("utf-8", "surrogatepass")).digest()


def _length(text: Document) -> int:
    return len(text) if isinstance(text, str) else sum(map(len, text))
