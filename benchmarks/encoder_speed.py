"""How fast the default encoder is on a CPU: ``python -m benchmarks.encoder_speed DATA``, a few minutes.

DATA is a folder with ``scifact/``. Each way of computing encodes the same 192 abstracts, longest first, in
batches of 32, in a process of its own; seconds are of processor time on all cores, which other work on the
machine disturbs less than the clock. What a way needs and is not installed is left out, and named.
``--write`` puts the table into docs/benchmarks.md between its markers. The quality of the two ways that
evalkit has is measured by ``benchmarks/scifact_dense.py``.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages import write_part

N, BATCH, TOKENS = 192, 32, 256

Features = dict[str, np.ndarray]
Hidden = Callable[[Features], Any]


def abstracts(data: Path) -> list[tuple[str, str]]:
    """Title and text of every SciFact abstract."""
    with gzip.open(data / "scifact" / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        return [(row["title"], row["text"]) for row in map(json.loads, file)]


def model() -> Any:
    """The default encoder's transformer, and its folder."""
    from evalkit_retrievers.weights import find_model
    from transformers import AutoModel

    folder = find_model("all-MiniLM-L6-v2")
    return AutoModel.from_pretrained(folder).eval(), folder


def by_torch(change: str) -> Hidden:
    """PyTorch in float32, under autocast, or with its linear layers in int8."""
    import torch

    transformer: Any = model()[0]
    if change == "int8":
        linear = {torch.nn.Linear}
        transformer = torch.ao.quantization.quantize_dynamic(transformer, linear, dtype=torch.qint8)

    def hidden(features: Features) -> Any:
        tensors = {name: torch.from_numpy(array) for name, array in features.items()}
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=change == "bfloat16"):
            return transformer(**tensors).last_hidden_state.float().numpy()

    return hidden


def by_onnx(change: str) -> Hidden:
    """ONNX Runtime on the model as PyTorch exports it, maybe with int8 weights (dynamic quantization)."""
    import onnxruntime
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    names = ("input_ids", "attention_mask", "token_type_ids")

    class Ordered(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model()[0]

        def forward(self, *inputs: Any) -> Any:
            return self.inner(**dict(zip(names, inputs, strict=True))).last_hidden_state

    axes = {0: torch.export.Dim("batch", max=4096), 1: torch.export.Dim("length", min=2, max=512)}
    example = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in names)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "model.onnx"
        torch.onnx.export(
            Ordered(), example, file, input_names=names, dynamo=True, external_data=False,
            dynamic_shapes=((axes,) * 3,),
        )  # fmt: skip
        if change == "int8":
            quantize_dynamic(file, file, weight_type=QuantType.QInt8, per_channel=True)
        session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda features: session.run(None, features)[0]


def by_openvino(precision: str) -> Hidden:
    """OpenVINO, in float32 or bfloat16."""
    import openvino
    from evalkit_retrievers.encoders import recipe_of
    from evalkit_retrievers.local_model import LocalModel

    recipe = recipe_of("minilm")
    assert recipe is not None
    converted = LocalModel(model()[1], recipe, "openvino").converted()
    compiled = openvino.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return lambda features: compiled({p.any_name: features[p.any_name] for p in compiled.inputs})[0]


WAYS: dict[str, tuple[Callable[[str], Hidden], str, tuple[str, ...]]] = {
    "PyTorch float32": (by_torch, "", ()),
    "PyTorch bfloat16 (autocast)": (by_torch, "bfloat16", ()),
    "PyTorch int8 (dynamic)": (by_torch, "int8", ()),
    "ONNX Runtime float32": (by_onnx, "", ("onnxruntime", "onnxscript")),
    "ONNX Runtime int8 (dynamic)": (by_onnx, "int8", ("onnxruntime", "onnxscript")),
    "OpenVINO float32": (by_openvino, "f32", ("openvino",)),
    "OpenVINO bfloat16": (by_openvino, "bf16", ("openvino",)),
}


def batches(data: Path) -> Iterator[Features]:
    """The tokens of the sample."""
    from transformers import AutoTokenizer

    texts = [" ".join(pair) for pair in random.Random(0).sample(abstracts(data), N)]
    texts.sort(key=len, reverse=True)
    tokenizer = AutoTokenizer.from_pretrained(model()[1])
    for start in range(0, N, BATCH):
        part = texts[start : start + BATCH]
        yield dict(tokenizer(part, padding=True, truncation=True, max_length=TOKENS, return_tensors="np"))


def measure(way: str, data: Path) -> tuple[float, float, np.ndarray]:
    """Processor seconds, seconds by the clock, and the vectors (n, 384), mean pooled and normalized."""
    make, change, _ = WAYS[way]
    hidden, parts = make(change), list(batches(data))
    pooled(hidden(parts[-1]), parts[-1])
    cpu, clock = time.process_time(), time.perf_counter()
    states = [hidden(part) for part in parts]
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    return cpu, clock, np.concatenate([pooled(s, p) for s, p in zip(states, parts, strict=True)])


def pooled(states: Any, features: Features) -> np.ndarray:
    """The mean over the tokens, as a unit vector; or the states, where they are vectors already."""
    states = np.asarray(states, np.float32)
    if states.ndim == 3:
        mask = features["attention_mask"][..., None]
        states = (states * mask).sum(1) / mask.sum(1)
    return states / np.linalg.norm(states, axis=1, keepdims=True)


def table(data: Path) -> str:
    """Every way that is installed, beside PyTorch in float32."""
    lines = [
        "| computed by | abstracts a second of two cores | × PyTorch | least cosine to PyTorch float32 |"
    ]
    lines.append("|---|---|---|---|")
    first: tuple[float, np.ndarray] | None = None
    for way, (_, _, packages) in WAYS.items():
        if absent := [name for name in packages if importlib.util.find_spec(name) is None]:
            lines.append(f"| {way} | not installed: {', '.join(absent)} | | |")
            continue
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            cpu, clock, vectors = pool.submit(measure, way, data).result()
        first = first or (cpu, vectors)
        cosine = float((vectors * first[1]).sum(1).min())
        lines.append(f"| {way} | {2 * N / cpu:.0f} | {first[0] / cpu:.1f} | {cosine:.5f} |")
        print(f"{lines[-1]} clock {clock:.1f} s", flush=True)
    return "\n".join(lines)


def main() -> None:
    """Print the table; with ``--write`` put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    text = table(options.data)
    print(text)
    if options.write:
        write_part("encoder speed", text)


if __name__ == "__main__":
    main()
