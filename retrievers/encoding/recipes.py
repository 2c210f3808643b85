"""Recipes: how to use an encoder (pooling, prefixes, normalization, similarity, length).

An encoder that is not used as it was trained gives plausible vectors and worse rankings, without an error.
The registry here holds the rules of known encoders' authors; a sentence-transformers folder has its own; for
other models defaults are assumed. ``origin`` says which of the three; the manifest of an index records it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

Document = str | tuple[str, str]  # a text, or title and text
Similarity = Literal["cosine", "dot", "l2"]

DEFAULT_MODEL = "all-MiniLM-L6-v2"


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How to use an encoder.

    - ``repository``: the weights on the Hugging Face hub; ``query_repository``: those for questions, if they
      differ.
    - ``pooling``: ``mean`` over the tokens or ``cls``, the first token; None if the model has another way.
    - ``max_tokens``: texts are cut there, questions at ``query_tokens``; None is the model's own limit.
    - ``join``: how title and text are combined: with a space, with the separator token, or as the tokenizer's
      pair of texts.
    """

    repository: str
    query_repository: str = ""
    pooling: Literal["mean", "cls"] | None = "mean"
    normalize: bool = True
    similarity: Similarity = "cosine"
    query_prefix: str = ""
    document_prefix: str = ""
    max_tokens: int | None = 512
    query_tokens: int | None = None
    join: Literal["space", "sep", "pair"] = "space"
    origin: Literal["registry", "model", "assumed"] = "registry"
    note: str = ""

    def tokenizer_input(self, document: Document) -> Document:
        """Return the tokenizer's input for a document, without the prefix."""
        title, text = ("", document) if isinstance(document, str) else document
        if self.join == "pair" and title:
            return title, text
        return f"{title}{'[SEP]' if self.join == 'sep' and title else ' '}{text}".strip()


_BGE = "Represent this sentence for searching relevant passages: "
_SPECTER = "the base model without its adapters (proximity, adhoc_query), which this library cannot load"


def _bge(size: str) -> Recipe:
    return Recipe(repository=f"BAAI/bge-{size}-en-v1.5", pooling="cls", query_prefix=_BGE)


def _e5(name: str) -> Recipe:
    return Recipe(repository=f"intfloat/{name}", query_prefix="query: ", document_prefix="passage: ")


def _contriever(name: str) -> Recipe:
    return Recipe(repository=f"facebook/{name}", normalize=False, similarity="dot")


# By the last part of the repository's name, in lower case. The rules are those of the model cards.
KNOWN: dict[str, Recipe] = {
    "all-minilm-l6-v2": Recipe(repository=f"sentence-transformers/{DEFAULT_MODEL}", max_tokens=256),
    "medcpt": Recipe(
        repository="ncbi/MedCPT-Article-Encoder",
        query_repository="ncbi/MedCPT-Query-Encoder",
        pooling="cls",
        normalize=False,
        similarity="dot",
        query_tokens=64,
        join="pair",
    ),
    "specter2_base": Recipe(
        repository="allenai/specter2_base",
        pooling="cls",
        normalize=False,
        similarity="l2",
        join="sep",
        note=_SPECTER,
    ),
    **{name: _contriever(name) for name in ("contriever", "contriever-msmarco")},
    **{f"bge-{size}-en-v1.5": _bge(size) for size in ("small", "base", "large")},
    **{f"e5-{size}-v2": _e5(f"e5-{size}-v2") for size in ("small", "base", "large")},
    **{f"multilingual-e5-{size}": _e5(f"multilingual-e5-{size}") for size in ("small", "base", "large")},
}
_OTHER_NAMES = {
    "minilm": "all-minilm-l6-v2",
    "medcpt-query-encoder": "medcpt",
    "medcpt-article-encoder": "medcpt",
    "specter2": "specter2_base",
}
_SERVED = re.compile(r"(?P<provider>openai|sglang):(?P<name>[^@?]+)")


class Encoder(msgspec.Struct, frozen=True):
    """An encoder as the user names it: its recipe if the encoder is known, and its location.

    ``place`` is the folder of ``NAME@FOLDER`` or of a plain folder. ``served`` is set for a model behind
    ``/v1/embeddings`` (``openai:NAME[@URL]``, ``sglang:NAME@URL``).
    """

    name: str
    recipe: Recipe | None = None
    place: Path | None = None
    served: bool = False


def read_encoder(text: str) -> Encoder:
    """Parse an encoder: a name of the registry or the hub, a folder, ``NAME@FOLDER``, or a served model."""
    if match := _SERVED.match(text):
        return Encoder(match["name"], recipe_of(match["name"]), served=True)
    if Path(text).is_dir():
        return Encoder(text, place=Path(text))
    name, at, place = text.partition("@")
    return Encoder(name, recipe_of(name), Path(place) if at else None)


def is_served(text: str) -> bool:
    """Return whether a name is that of a served model: ``openai:NAME[@URL]``, ``sglang:NAME@URL``."""
    return _SERVED.match(text) is not None


def recipe_of(name: str) -> Recipe | None:
    """Return the recipe of a known encoder by any of its names; None for an unknown one."""
    short = name.rpartition("/")[2].lower()
    return KNOWN.get(_OTHER_NAMES.get(short, short))


def assumed(name: str) -> Recipe:
    """Return the recipe of a model without settings: mean pooling, no prefix, cosine similarity."""
    hint = " If it is a known model, add its name: KNOWN@FOLDER." if Path(name).is_dir() else ""
    return replace(
        Recipe(repository=name, max_tokens=None),
        origin="assumed",
        note=f"neither the registry nor the model says how to use it: mean pooling, no prefix, cosine.{hint}",
    )


def served_recipe(encoder: Encoder) -> Recipe:
    """Return the recipe of a served model, which pools and cuts by itself."""
    known = encoder.recipe or replace(
        assumed(encoder.name), note="not in the registry: no prefix and cosine similarity are assumed"
    )
    return replace(known, pooling=None, max_tokens=None)
