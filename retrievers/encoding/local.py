"""An encoder that runs on this machine: with OpenVINO if installed, else with PyTorch.

OpenVINO is several times as fast on a CPU (docs/benchmarks.md). Once a model is converted, it needs neither
PyTorch nor transformers. It computes in bfloat16 if the processor supports that natively, else in float32.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evalkit.errors import NotInstalled, SetupError
from evalkit.util.paths import cache_dir

from .model_files import hash_weights, settings
from .recipes import Document, Recipe
from .vector_cache import Vectors

Backend = Literal["auto", "torch", "openvino"]
_SPECIAL = 8  # special tokens around a text, at most
_COUNTED_AT_ONCE = 256


class LocalModel:
    """An encoder with the weights of a folder, used by a ``recipe``.

    The model is loaded for the first text. Safe to call from several threads. Raises ``SetupError`` if the
    weights are missing or ``backend`` is not available.
    """

    batch = 32

    def __init__(self, folder: Path, recipe: Recipe, backend: Backend) -> None:
        self.weights = hash_weights(folder)
        self._folder, self._recipe = folder, recipe
        self._lock = threading.Lock()
        self.backend = self._choose(backend)
        hidden = settings(folder, "config.json").get("hidden_size") if recipe.pooling else None
        self.dimension: int | None = hidden if isinstance(hidden, int) else None
        torch_packages = ("sentence-transformers", "torch")
        self.packages: tuple[str, ...] = ("openvino",) if self.backend == "openvino" else torch_packages
        self.computed = f"openvino {_precision()}" if self.backend == "openvino" else "torch float32"
        way = (self.weights, recipe.pooling, recipe.normalize, recipe.max_tokens, self.computed)
        self.key = f"{self.weights[:12]}-{hashlib.sha256(repr(way).encode()).hexdigest()[:12]}"

    def _choose(self, backend: Backend) -> Literal["torch", "openvino"]:
        plain = self._recipe.pooling is not None and (self._folder / "tokenizer.json").is_file()
        installed = importlib.util.find_spec("openvino") is not None
        if backend == "openvino" and not installed:
            raise NotInstalled("backend=openvino needs the package: pip install 'evalkit[encoder]'")
        if backend == "openvino" and not plain:
            raise SetupError(
                f"{self._folder}: OpenVINO runs only encoders of a transformer and a pooling with a "
                "tokenizer.json. Use backend=torch"
            )
        fits = plain and installed and not Path("/dev/nvidiactl").exists()  # PyTorch uses the GPU
        return "openvino" if backend == "openvino" or (backend == "auto" and fits) else "torch"

    def encode(self, texts: Sequence[Document], prefix: str = "") -> Vectors:
        """Return the vectors of one batch, (n, dimension) float32. Raises ``SetupError``."""
        with self._lock:
            if self.backend == "openvino":
                return self._encode_by_openvino(texts, prefix)
            vectors = self._torch.encode(
                list(texts),
                prompt=prefix or None,
                batch_size=len(texts),
                normalize_embeddings=self._recipe.normalize,
                show_progress_bar=False,
            )
        return np.ascontiguousarray(vectors, np.float32)

    def count_cut(self, texts: Iterable[Document], prefix: str = "") -> tuple[int, int] | None:
        """Return how many texts are longer than the model reads, and that length in tokens.

        None where the length is not known.
        """
        limit = self._recipe.max_tokens or (self._torch.max_seq_length if not self._recipe.pooling else None)
        if not limit:
            return None
        cut, waiting = 0, []
        for text in texts:
            plain = prefix + (text if isinstance(text, str) else " ".join(text))
            if len(plain.encode("utf-8", "surrogatepass")) + _SPECIAL > limit:  # a token has at least a byte
                waiting.append(prefix + text if isinstance(text, str) else text)
            if len(waiting) == _COUNTED_AT_ONCE:
                cut, waiting = cut + self._n_longer(waiting, limit), []
        return cut + self._n_longer(waiting, limit), limit

    def _n_longer(self, texts: list[Any], limit: int) -> int:
        if not texts:
            return 0
        if (self._folder / "tokenizer.json").is_file():
            lengths = [len(encoded.ids) for encoded in self._whole_tokenizer.encode_batch(texts)]
        else:
            lengths = list(
                map(len, self._torch.tokenizer(texts, truncation=False, verbose=False)["input_ids"])
            )
        return sum(length > limit for length in lengths)

    def _encode_by_openvino(self, texts: Sequence[Document], prefix: str) -> Vectors:
        inputs = [prefix + text if isinstance(text, str) else text for text in texts]
        encoded = self._tokenizer.encode_batch(inputs)
        features = {
            "input_ids": np.array([e.ids for e in encoded], np.int64),
            "attention_mask": np.array([e.attention_mask for e in encoded], np.int64),
            "token_type_ids": np.array([e.type_ids for e in encoded], np.int64),
        }
        compiled = self._compiled
        inputs_by_name = {port.any_name: features[port.any_name] for port in compiled.inputs}
        return np.ascontiguousarray(compiled(inputs_by_name)[0], np.float32)

    @cached_property
    def _whole_tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        if self._recipe.max_tokens:
            tokenizer.enable_truncation(self._recipe.max_tokens)
        tokenizer.enable_padding(pad_id=settings(self._folder, "config.json").get("pad_token_id") or 0)
        return tokenizer

    def converted(self) -> Path:
        """Return the model file in OpenVINO's format, converted once and cached. Raises ``SetupError``."""
        import openvino

        ending = "-normalized" if self._recipe.normalize else ""
        version = importlib.metadata.version("openvino")
        name = f"{self.weights[:24]}-{self._recipe.pooling}{ending}-{version}"
        home = cache_dir() / "openvino"
        home.mkdir(exist_ok=True)
        if not (home / f"{name}.xml").exists():
            with tempfile.TemporaryDirectory(dir=home) as part:
                openvino.save_model(self._convert(), Path(part) / f"{name}.xml", compress_to_fp16=False)
                for kind in (".bin", ".xml"):  # the .xml last: it shows that both are there
                    (Path(part) / f"{name}{kind}").replace(home / f"{name}{kind}")
        return home / f"{name}.xml"

    @cached_property
    def _compiled(self) -> Any:
        import openvino

        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _precision()}
        return openvino.Core().compile_model(self.converted(), "CPU", hints)

    def _convert(self) -> Any:
        """Return the OpenVINO model of transformer and pooling, traced from PyTorch's.

        The frontend is called directly because ``openvino.convert_model`` sends telemetry.
        """
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        from .pooled import pooled

        with quietly(self._folder), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns of fixed shapes, which do not matter
            module, example = pooled(self._folder, self._recipe)
            decoder = TorchScriptPythonDecoder(module, example_input=example)
            frontend = FrontEndManager().load_by_framework("pytorch")
            return frontend.convert(frontend.load(decoder))

    @cached_property
    def _torch(self) -> Any:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        recipe = self._recipe
        with quietly(self._folder):
            if recipe.pooling is None:
                return SentenceTransformer(str(self._folder), local_files_only=True)
            transformer = Transformer(str(self._folder), max_seq_length=self._recipe.max_tokens)
            pooling = Pooling(transformer.get_embedding_dimension(), recipe.pooling)
            return SentenceTransformer(modules=[transformer, pooling])


def _precision() -> str:
    import openvino

    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "BF16" in capabilities else "f32"


@contextmanager
def quietly(folder: Path) -> Iterator[None]:
    """Load a model without transformers' progress bar and messages; its errors become ``SetupError``."""
    from transformers.utils import logging

    bar_enabled, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    except (OSError, ValueError) as error:
        raise SetupError(f"{folder}: the model cannot be loaded: {error}") from error
    finally:
        logging.set_verbosity(level)
        if bar_enabled:
            logging.enable_progress_bar()
