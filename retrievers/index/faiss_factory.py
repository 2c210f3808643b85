"""Families of FAISS indexes: the choice by the number of vectors, and the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.errors import SetupError, UsageError

from ..encoding.vector_cache import Vectors

# Strings for faiss.index_factory. ``lists`` grows with the corpus, ``bytes`` with the dimension.
FAMILIES = {
    "flat": "Flat",
    "sq8": "SQ8",
    "hnsw": "HNSW32",
    "ivf": "IVF{lists},Flat",
    "ivfpq": "IVF{lists},PQ{bytes}",
    "opq": "OPQ{bytes},IVF{lists},PQ{bytes}",
}
# ``auto``: exact while a search takes milliseconds, then inverted lists (IVF), then IVF with product codes.
FLAT_UNTIL, IVF_UNTIL = 200_000, 5_000_000
_TRAIN_PER_LIST = 40

Rows = NDArray[np.int64]


class Plan(msgspec.Struct, frozen=True):
    """The plan of an index: its family, its string for ``faiss.index_factory``, its size and similarity."""

    family: str
    factory: str
    n: int
    dimension: int
    similarity: Literal["cosine", "dot", "l2"]

    @property
    def metric(self) -> int:
        """FAISS's number of the metric; larger scores are better, except for l2."""
        import faiss

        return int(faiss.METRIC_L2 if self.similarity == "l2" else faiss.METRIC_INNER_PRODUCT)

    @property
    def effort(self) -> str:
        """The parameter that trades time for recall; empty for an exhaustive index."""
        return "efSearch" if "HNSW" in self.factory else "nprobe" if "IVF" in self.factory else ""

    def make(self) -> Any:
        """Return the empty index. Raises ``UsageError`` for a factory string that FAISS does not know."""
        return _made(self.factory, self.dimension, self.metric)


def check_name(name: str, dimension: int | None) -> None:
    """Raise ``UsageError`` for a name that is no family and no factory string, before anything is read.

    Where the ``dimension`` of the vectors is not known yet, only the form of the string is checked.
    """
    if name == "auto" or name in FAMILIES:
        return
    import faiss

    try:
        _made(name, dimension or 64, faiss.METRIC_INNER_PRODUCT)
    except UsageError as error:
        if dimension or "could not parse" in str(error):
            raise


def _made(factory: str, dimension: int, metric: int) -> Any:
    import faiss

    try:
        return faiss.index_factory(dimension, factory, metric)
    except RuntimeError as error:
        raise UsageError(
            f"no FAISS index {factory!r} for {dimension} dimensions: {reason(error)}. "
            f"Known: auto, {', '.join(FAMILIES)}, or a string for faiss.index_factory."
        ) from None


def plan(name: str, n: int, dimension: int, similarity: Literal["cosine", "dot", "l2"]) -> Plan:
    """Return the plan for ``n`` vectors: a family, ``auto`` (by size), or a factory string."""
    if name == "auto":
        name = "flat" if n <= FLAT_UNTIL else "ivf" if n <= IVF_UNTIL else "ivfpq"
    lists = max(1, min(round(4 * n**0.5), n // _TRAIN_PER_LIST))
    bytes = next(m for m in range(max(1, dimension // 4), 0, -1) if dimension % m == 0)
    factory = FAMILIES[name].format(lists=lists, bytes=bytes) if name in FAMILIES else name
    return Plan(name if name in FAMILIES else "custom", factory, n, dimension, similarity)


def train(plan: Plan, sample: Callable[[], Vectors]) -> Any:
    """Return the empty index, trained if necessary. Raises ``SetupError`` if the sample is too small."""
    index = plan.make()
    if index.is_trained:
        return index
    _shorten_training(index, plan)
    vectors = sample()
    try:
        index.train(vectors)
    except RuntimeError as error:
        raise SetupError(
            f"index={plan.family} ({plan.factory}) cannot be trained on {len(vectors):,} vectors: "
            f"{reason(error)}. Fix: index=flat, which is exact and needs no training."
        ) from None
    return index


def _shorten_training(index: Any, plan: Plan) -> None:
    """Set fewer rounds and vectors than FAISS's defaults for the codes: recall is measured afterwards."""
    import faiss

    if plan.factory.startswith("OPQ"):
        rotation: Any = faiss.downcast_VectorTransform(index.chain.at(0))
        rotation.niter = 10  # instead of 50
    lists: Any = faiss.try_extract_index_ivf(index)
    coder: Any = getattr(faiss.downcast_index(lists), "pq", None) if lists is not None else None
    if coder is not None:
        coder.cp.niter, coder.cp.max_points_per_centroid = 10, 64  # instead of 25 and 256
        coder.cp.min_points_per_centroid = 1  # otherwise FAISS warns for each part of the code


def train_rows(plan: Plan) -> Rows:
    """Return the rows for training: all, or an even sample that is large enough."""
    size = max(256 * _TRAIN_PER_LIST, _TRAIN_PER_LIST * round(4 * plan.n**0.5))
    return np.unique(np.linspace(0, plan.n - 1, min(plan.n, size)).astype(np.int64))


def reason(error: Exception) -> str:
    """Return FAISS's message without the position in its source."""
    return str(error).rpartition(": ")[2].strip() or str(error)
