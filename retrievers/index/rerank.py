"""The stages after the first search: reranking, and diversity by maximal marginal relevance (MMR).

Both work on ``depth`` candidates. A reranker scores the question together with each candidate: a
cross-encoder that runs here, or a model behind ``/v1/rerank``. MMR then takes passages that are relevant and
unlike those taken before.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import msgspec
import numpy as np

from evalkit.errors import SetupError
from evalkit.types import Passage, Progress

from ..corpus.corpus import indexed_text
from ..encoding.embedder import Embedder
from ..encoding.local import quietly
from ..encoding.model_files import find_model, hash_weights
from ..encoding.recipes import is_served
from ..encoding.sentence_transformers_config import token_limit
from ..encoding.served import ServedModel
from .topk import diversify, scaled

_MOST_TOKENS = 512


class Reranker(Protocol):
    """Scores texts for a question, higher is better. ``identity`` names the model for provenance."""

    @property
    def identity(self) -> str: ...

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return one score for each text."""
        ...


class CrossEncoder:
    """A sentence-transformers cross-encoder in a folder or on the hub; scores are its logits.

    Raises ``SetupError`` if the model cannot be found, or has several outputs.
    """

    def __init__(self, name: str) -> None:
        self.folder = find_model(name, "reranker")

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return the logit of each pair of question and text."""
        pairs = [(query, text) for text in texts]
        return [float(x) for x in self._model.predict(pairs, batch_size=32, show_progress_bar=False)]

    @cached_property
    def identity(self) -> str:
        """The SHA-256 of the weights."""
        return hash_weights(self.folder)

    @cached_property
    def _model(self) -> Any:
        import sentence_transformers
        import torch

        with quietly(self.folder):
            model = sentence_transformers.CrossEncoder(
                str(self.folder),
                local_files_only=True,
                activation_fn=torch.nn.Identity(),
                max_length=min(_MOST_TOKENS, token_limit(self.folder) or _MOST_TOKENS),
            )
        if model.num_labels != 1:
            raise SetupError(
                f"{self.folder}: a classifier of {model.num_labels} classes, not a reranker. A reranker is a "
                "cross-encoder with one output, such as cross-encoder/ms-marco-MiniLM-L6-v2"
            )
        return model


class Reranking:
    """The stages after the first search: ``rerank`` is a model, ``mmr`` 0 to 1; None omits a stage."""

    def __init__(
        self,
        rerank: str | None,
        mmr: float | None,
        encoder: str,
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        self._rerank, self._mmr, self._encoder = rerank, mmr, encoder
        self._progress, self._stop = progress, stop

    def __bool__(self) -> bool:
        return self._rerank is not None or self._mmr is not None

    def identity(self) -> dict[str, Any]:
        """Return all that determines the order, for provenance."""
        facts: dict[str, Any] = {}
        if self._rerank is not None:
            facts["rerank"] = self._reranker.identity
        if self._mmr is not None:
            facts["mmr"] = {"relevance": self._mmr, "encoder": self._embedder.identity}
        return facts

    def __call__(self, query: str, passages: list[Passage], k: int) -> list[Passage]:
        """Return the ``k`` best passages for the question, best first, with the scores of the last stage."""
        if not passages:
            return []
        if self._rerank is not None:
            scores = self._reranker.rerank(query, [indexed_text(passage) for passage in passages])
            passages = _sorted_by(scores, passages)
        if self._mmr is not None:
            vectors = self._embedder.embed([(passage.title, passage.text) for passage in passages])
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            relevance = scaled(np.array([passage.score for passage in passages]))
            picked = diversify(relevance, vectors @ vectors.T, k, self._mmr)
            passages = [msgspec.structs.replace(passages[i], score=score) for i, score in picked]
        return passages[:k]

    @cached_property
    def _reranker(self) -> Reranker:
        name = self._rerank or ""
        return ServedModel(name) if is_served(name) else CrossEncoder(name)

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder(self._encoder, progress=self._progress, stop=self._stop)


def _sorted_by(scores: Sequence[float], passages: list[Passage]) -> list[Passage]:
    """Return passages with new scores, best first, ties by id."""
    scored = [msgspec.structs.replace(p, score=s) for p, s in zip(passages, scores, strict=True)]
    return sorted(scored, key=lambda passage: (-passage.score, passage.id))
