"""What both harnesses are run over: task files, a tokenizer, a served model and a local one."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    """Import a helper beside this file: tests are no package."""
    full = f"evalkit_harness_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(scope="session")
def parity() -> ModuleType:
    """The comparison of both harnesses."""
    return load("parity")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A folder with ``tasks`` (YAML files) and a ``tokenizer``; ``serve`` starts a fresh server."""
    folder = tmp_path_factory.mktemp("lab")
    files, server = load("task_files"), load("lm_server")
    files.write(folder / "tasks")
    server.make_tokenizer(folder / "tokenizer", files.corpus())

    def serve() -> Any:
        return server.serve(folder / "tokenizer", files.answers(), files.known())

    starts: Callable[[], AbstractContextManager[Any]] = serve
    return SimpleNamespace(
        folder=folder, tasks=folder / "tasks", tokenizer=folder / "tokenizer", serve=starts, files=files
    )


@pytest.fixture(scope="session")
def local_model(lab: SimpleNamespace) -> Path:
    """A tiny causal model with random weights, in a folder as transformers loads them."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(str(lab.tokenizer))
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    folder: Path = lab.folder / "tiny-hf"
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
