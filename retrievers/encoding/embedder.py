"""Embeds texts with an encoder and a cache, so that no text is encoded twice.

An encoder's weights run here, or it is a served model behind ``/v1/embeddings``. Vectors are cached on disk
(``vector_cache.py``), so that an interrupted build continues where it stopped.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from .sentence_transformers_config import folder_recipe, token_limit
from .served import ServedModel
from .vector_cache import VectorCache, Vectors, open_cache

_LOOKUP = 16_384  # keys looked up at once


class Embedder:
    """Float32 embeddings of documents and of questions by one encoder.

    ``model`` is a name of the registry or of the Hugging Face hub, a folder, ``NAME@FOLDER``, or a served
    model (``openai:NAME@URL``). ``backend`` is ``auto``, ``openvino`` or ``torch``. ``cache`` is the folder
    of the cached vectors (default: ``evalkit.util.paths.cache_dir()``). The model is loaded for the first
    text that is not in the cache. Setting ``stop`` ends a long ``embed`` after the present batch.

    Raises ``SetupError`` if the model cannot be found.
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
        """All that determines the vectors: the weights' SHA-256 (or a served model's id) and the recipe."""
        without_effect = {"repository", "query_repository", "query_tokens", "origin", "note"}
        recipe = msgspec.to_builtins(self.recipe)
        weights = {"weights": self._documents.weights, "query_weights": self._queries.weights}
        if self._queries is self._documents:
            del weights["query_weights"]
        return weights | {name: value for name, value in recipe.items() if name not in without_effect}

    @property
    def facts(self) -> dict[str, Any]:
        """Further facts for provenance: the origin of the recipe, what computes, and package versions."""
        return {
            "recipe": self.recipe.origin,
            **({"note": self.recipe.note} if self.recipe.note else {}),
            "computed": self._documents.computed,
            "versions": {name: importlib.metadata.version(name) for name in self._documents.packages},
        }

    @property
    def dimension(self) -> int | None:
        """The dimension of the vectors, where the model's files say it."""
        return self._documents.dimension

    def count_cut(self, documents: Sequence[Document]) -> dict[str, int]:
        """Return ``passages_cut``, the documents that are longer than ``max_tokens``.

        Empty where the encoder does not tell its length, as a served one.
        """
        as_input = self.recipe.tokenizer_input
        counted = self._documents.count_cut(map(as_input, documents), self.recipe.document_prefix)
        return {} if counted is None else {"passages_cut": counted[0], "max_tokens": counted[1]}

    def fill(self, documents: Sequence[Document], *, label: str) -> None:
        """Embed all documents into the cache; ``embed`` and ``embed_blocks`` then only read."""
        for _ in self._embed(self._documents, documents, self.recipe.document_prefix, 0, label):
            pass

    def embed(self, documents: Sequence[Document], *, label: str | None = None) -> Vectors:
        """Return the vectors of documents, (n, dimension). ``label`` names a progress bar.

        Raises ``SetupError`` if stopped, or if the cache cannot be written; finished batches stay.
        """
        blocks = list(self.embed_blocks(documents, max(1, len(documents)), label=label))
        return blocks[0] if blocks else np.zeros((0, 0), np.float32)

    def embed_blocks(
        self, documents: Sequence[Document], size: int, *, label: str | None = None
    ) -> Iterator[Vectors]:
        """Yield the vectors in blocks of ``size`` rows, one in memory at a time.

        Documents are read when needed, one batch at a time.
        """
        return self._embed(self._documents, documents, self.recipe.document_prefix, size, label)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of questions, (n, dimension), with the encoder's prefix for questions."""
        blocks = list(self._embed(self._queries, texts, self.recipe.query_prefix, max(1, len(texts)), None))
        return blocks[0] if blocks else np.zeros((0, 0), np.float32)

    def _embed(
        self, encoder: TextEncoder, documents: Sequence[Document], prefix: str, size: int, label: str | None
    ) -> Iterator[Vectors]:
        as_input = self.recipe.tokenizer_input
        keys, lengths = [], array("L")
        for document in documents:
            text = as_input(document)
            keys.append(_key(prefix, text))
            lengths.append(_length(text))
        with open_cache(self._home / f"{encoder.key}.db") as cache:
            missing: dict[bytes, int] = {}
            for start in range(0, len(keys), _LOOKUP):
                part = keys[start : start + _LOOKUP]
                present = cache.present(list(dict.fromkeys(part)))
                missing |= {key: start + n for n, key in enumerate(part) if key not in present}
            order = sorted(missing, key=lambda key: (-lengths[missing[key]], key))
            self._encode_missing(encoder, cache, order, lambda key: documents[missing[key]], prefix, label)
            for start in range(0, len(keys), size) if size else ():
                part = keys[start : start + size]
                vectors = cache.get(list(dict.fromkeys(part)))
                yield np.stack([vectors[key] for key in part])

    def _encode_missing(
        self,
        encoder: TextEncoder,
        cache: VectorCache,
        order: Sequence[bytes],
        document: Callable[[bytes], Document],
        prefix: str,
        label: str | None,
    ) -> None:
        """Encode texts into the cache, longest first: the texts of a batch then have similar lengths."""
        if not order:
            return
        as_input, progress = self.recipe.tokenizer_input, self._progress if label else Silent()
        with progress.bar(label or "", len(order)) as bar:
            for start in range(0, len(order), encoder.batch):
                if self._stop.is_set():
                    raise SetupError("embedding was interrupted; the same command continues from here")
                batch = order[start : start + encoder.batch]
                cache.put(batch, encoder.encode([as_input(document(key)) for key in batch], prefix))
                bar.advance(len(batch))


class TextEncoder(Protocol):
    """The encoder of documents, or of questions. ``key`` names the file of its cached vectors."""

    weights: str
    computed: str
    key: str
    packages: tuple[str, ...]
    batch: int
    dimension: int | None

    def encode(self, texts: Sequence[Document], prefix: str = "") -> Vectors:
        """Return the vectors of one batch, (n, dimension)."""
        ...

    def count_cut(self, texts: Iterable[Document], prefix: str = "") -> tuple[int, int] | None:
        """Return how many texts are longer than the encoder reads, and that length; None if unknown."""
        ...


class ServedEncoder:
    """An encoder behind ``/v1/embeddings``: the server tokenizes and pools; prefix and norm are set here."""

    packages: tuple[str, ...] = ()
    batch = 256
    dimension: int | None = None

    def __init__(self, spec: str, recipe: Recipe) -> None:
        self._endpoint, self._normalize = ServedModel(spec), recipe.normalize
        self.weights = self._endpoint.model
        self.computed = f"served as {spec.partition('?')[0]}"
        self.key = hashlib.sha256(repr((spec, recipe.normalize)).encode()).hexdigest()[:24]

    def encode(self, texts: Sequence[Document], prefix: str = "") -> Vectors:
        """Return the vectors of one batch. Raises ``ModelError``."""
        inputs = [prefix + (text if isinstance(text, str) else " ".join(text)) for text in texts]
        vectors = self._endpoint.embed(inputs)
        if self._normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def count_cut(self, texts: Iterable[Document], prefix: str = "") -> tuple[int, int] | None:
        """Return None: the server knows its length and cuts."""
        return None


def _open(encoder: Encoder, text: str, backend: Backend) -> tuple[Recipe, TextEncoder, TextEncoder]:
    """Return the encoder's recipe, its encoder of documents and its encoder of questions."""
    if encoder.served:
        recipe = served_recipe(encoder)
        served = ServedEncoder(text, recipe)
        return recipe, served, served
    registered = encoder.recipe
    folder = _folder(registered.repository if registered else encoder.name, encoder)
    recipe = registered or folder_recipe(encoder.name, folder)
    limits = [n for n in (recipe.max_tokens, token_limit(folder)) if n]
    recipe = msgspec.structs.replace(recipe, max_tokens=min(limits, default=None))
    documents = LocalModel(folder, recipe, backend)
    if not recipe.query_repository:
        return recipe, documents, documents
    query_recipe = msgspec.structs.replace(recipe, max_tokens=recipe.query_tokens)
    query_folder = _folder(recipe.query_repository, encoder)
    return recipe, documents, LocalModel(query_folder, query_recipe, backend)


def _folder(repository: str, encoder: Encoder) -> Path:
    """Return the folder of a repository: the encoder's, its subfolder for two models, or the hub's."""
    registered, place = encoder.recipe, encoder.place
    has_two = registered is not None and registered.query_repository != ""
    if place is None and registered is not None:
        what = "its two encoders in one FOLDER" if has_two else "its FOLDER"
        return find_model(repository, then=f"name {what}: {encoder.name}@FOLDER")
    if place is None:
        return find_model(repository)
    folder = place / repository.rpartition("/")[2] if has_two else place
    if not folder.is_dir():
        raise SetupError(
            f"{folder}: no such folder. Download it with: hf download {repository} --local-dir {folder}"
        )
    return folder


def _key(prefix: str, text: Document) -> bytes:
    plain = text if isinstance(text, str) else "\0".join(text)
    return hashlib.sha256((prefix + plain).encode("utf-8", "surrogatepass")).digest()


def _length(text: Document) -> int:
    return len(text) if isinstance(text, str) else sum(map(len, text))
