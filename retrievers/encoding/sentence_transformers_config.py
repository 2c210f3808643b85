"""Reads from the settings files of a sentence-transformers folder how its model is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from .model_files import settings
from .recipes import Recipe, Similarity, assumed

_PLAIN = {"Transformer", "Pooling", "Normalize"}
_POOLING: dict[str, Literal["mean", "cls"]] = {
    "mean": "mean",
    "cls": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
}


def folder_recipe(name: str, folder: Path) -> Recipe:
    """Return the recipe of a folder; for a bare transformers model, the assumed one."""
    file = folder / "modules.json"
    if not file.is_file():
        return assumed(name)
    modules = msgspec.json.decode(file.read_bytes())
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    config = settings(folder, "config_sentence_transformers.json")
    prompts = config.get("prompts") or {}
    similarity: Similarity = "dot" if config.get("similarity_fn_name") == "dot" else "cosine"
    return Recipe(
        repository=name,
        pooling=_pooling(folder, modules, set(kinds)),
        normalize="Normalize" in kinds or similarity == "cosine",
        similarity=similarity,
        query_prefix=prompts.get("query", ""),
        document_prefix=prompts.get("document", ""),
        max_tokens=settings(folder, "sentence_bert_config.json").get("max_seq_length"),
        origin="model",
    )


def _pooling(folder: Path, modules: list[dict[str, Any]], kinds: set[str]) -> Literal["mean", "cls"] | None:
    """Return mean or first-token pooling; None if the model does more and must be run whole."""
    if not kinds <= _PLAIN or modules[0]["path"]:
        return None
    path = next(module["path"] for module in modules if module["type"].endswith("Pooling"))
    config = settings(folder, f"{path}/config.json")
    if config.get("include_prompt") is False:
        return None
    flags = [key for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    modes = [config["pooling_mode"]] if "pooling_mode" in config else flags  # the new form, or the old one
    return _POOLING.get(modes[0]) if len(modes) == 1 and isinstance(modes[0], str) else None


def token_limit(folder: Path) -> int | None:
    """Return the longest input of a model in tokens, by its tokenizer and its configuration."""
    limits = (
        settings(folder, "tokenizer_config.json").get("model_max_length"),
        settings(folder, "config.json").get("max_position_embeddings"),
    )
    return min((int(n) for n in limits if n and n < 10**6), default=None)
