"""A transformer and its pooling as one PyTorch module, for the conversion to OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer

from .recipes import Recipe


class Pooled(torch.nn.Module):  # type: ignore[misc]
    """A module from token ids (n, length) to vectors (n, dimension)."""

    def __init__(self, model: Any, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the pooled hidden states, normalized if the recipe says so."""
        kinds = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, **kinds).last_hidden_state
        if self.recipe.pooling == "cls":
            vectors = hidden[:, 0]
        else:
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            vectors = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(vectors, dim=1) if self.recipe.normalize else vectors


def pooled(folder: Path, recipe: Recipe) -> tuple[Pooled, dict[str, torch.Tensor]]:
    """Return the module of the weights in ``folder``, and example inputs of its tokenizer."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    example = tokenizer(["one text", "and a longer one"], padding=True, return_tensors="pt")
    return Pooled(model.eval(), recipe), dict(example)
