"""What both harnesses are run over: task files, a tokenizer, a served model and a local one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lm_eval import lm_server, task_files


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A folder with ``tasks`` (YAML files) and a ``tokenizer``; ``serve`` starts a fresh server."""
    folder = tmp_path_factory.mktemp("lab")
    task_files.write(folder / "tasks")
    lm_server.make_tokenizer(folder / "tokenizer", task_files.corpus())

    def serve() -> Any:
        return lm_server.serve(folder / "tokenizer", task_files.answers(), task_files.known())

    starts: Callable[[], AbstractContextManager[Any]] = serve
    return SimpleNamespace(
        folder=folder, tasks=folder / "tasks", tokenizer=folder / "tokenizer", serve=starts
    )


@pytest.fixture(scope="session")
def local_model(lab: SimpleNamespace) -> Path:
    """A tiny causal model with random weights, in a folder as transformers loads them."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(str(lab.tokenizer))
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )
    folder: Path = lab.folder / "tiny-hf"
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
