"""Which encoder is used how: pooling, prefixes, normalization, similarity, length, for the ones we know.

Used otherwise than it was trained, an encoder gives plausible vectors and worse rankings, and nothing says
so. The known ones carry their authors' rules, a sentence-transformers folder brings its own, and what neither
says is assumed aloud: ``origin`` tells which, and the manifest of an index keeps it.
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

    ``repository`` is where its weights are on the Hugging Face hub, ``query_repository`` those for questions
    where they differ. ``pooling`` is ``mean`` over the tokens or ``cls``, the first one; None where the model
    has a way of its own. Texts are cut at ``max_tokens`` tokens, questions at ``query_tokens``; None is the
    model's own limit. ``join`` says how title and text become one: a space between them, the separator
    token, or a pair of texts as the tokenizer takes it.
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

    def written(self, document: Document) -> Document:
        """What the tokenizer gets for a document; the prefix apart."""
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


# By the last part of the repository's name, in lower case. Each line is its model card's way of use.
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
    """An encoder as the user named it: its recipe if we know it, and where it is.

    ``place`` is a folder for ``NAME@FOLDER`` and for a plain folder; ``served`` is set for a model behind
    ``/v1/embeddings``, named as models are: ``openai:NAME[@URL]``, ``sglang:NAME@URL``.
    """

    name: str
    recipe: Recipe | None = None
    place: Path | None = None
    served: bool = False


def read_encoder(text: str) -> Encoder:
    """Read an encoder's name: of the registry, of the hub, a folder, ``NAME@FOLDER``, or a served model."""
    if match := _SERVED.match(text):
        return Encoder(match["name"], recipe_of(match["name"]), served=True)
    if Path(text).is_dir():
        return Encoder(text, place=Path(text))
    name, at, place = text.partition("@")
    return Encoder(name, recipe_of(name), Path(place) if at else None)


def is_served(text: str) -> bool:
    """Whether this names a model behind an endpoint: ``openai:NAME[@URL]``, ``sglang:NAME@URL``."""
    return _SERVED.match(text) is not None


def recipe_of(name: str) -> Recipe | None:
    """The recipe of a known encoder, by any of its names."""
    short = name.rpartition("/")[2].lower()
    return KNOWN.get(_OTHER_NAMES.get(short, short))


def assumed(name: str) -> Recipe:
    """For a model that says nothing of itself: mean pooling, no prefix, cosine similarity."""
    hint = " If it is one of a known family, name that: KNOWN@FOLDER." if Path(name).is_dir() else ""
    return replace(
        Recipe(repository=name, max_tokens=None),
        origin="assumed",
        note=f"neither the registry nor the model says how to use it: mean pooling, no prefix, cosine.{hint}",
    )


def served_recipe(encoder: Encoder) -> Recipe:
    """For a model behind an endpoint, which pools and cuts as it does: prefixes and similarity are ours."""
    known = encoder.recipe or replace(
        assumed(encoder.name), note="not in the registry: no prefix and cosine similarity are assumed"
    )
    return replace(known, pooling=None, max_tokens=None)
