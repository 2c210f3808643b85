"""The speed of the default encoder on a CPU: ``python -m benchmarks.encoder_speed DATA``, a few minutes.

DATA is a folder with ``scifact/``. Each backend encodes the same 192 abstracts, longest first, in batches of
32, in a separate process. Times are CPU seconds on all cores, which other work on the machine disturbs less
than wall time. A backend whose packages are missing is left out, and the table names the packages.
``--write`` puts the table into docs/benchmarks.md between its markers. The quality of evalkit's two backends:
``python -m benchmarks.retrieval_sets DATA scifact --search faiss --search faiss?backend=torch``.
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages import write_part

N, BATCH, TOKENS = 192, 32, 256

Features = dict[str, np.ndarray]
# From batches of tokens to their hidden states: (batch, length, dimensions).
Encode = Callable[[Sequence[Features]], list[Any]]


def abstracts(data: Path) -> list[tuple[str, str]]:
    """Return title and text of every SciFact abstract."""
    with gzip.open(data / "scifact" / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        return [(row["title"], row["text"]) for row in map(json.loads, file)]


def model() -> Any:
    """Return the default encoder's transformer, and its folder."""
    from evalkit_retrievers.encoding.model_files import find_model
    from transformers import AutoModel

    folder = find_model("all-MiniLM-L6-v2")
    return AutoModel.from_pretrained(folder).eval(), folder


def by_torch(change: str, _data: Path) -> Encode:
    """Return PyTorch in float32, under autocast, or with the linear layers in int8."""
    import torch

    transformer: Any = model()[0]
    if change == "int8":
        linear = {torch.nn.Linear}
        transformer = torch.ao.quantization.quantize_dynamic(transformer, linear, dtype=torch.qint8)

    def hidden(features: Features) -> Any:
        tensors = {name: torch.from_numpy(array) for name, array in features.items()}
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=change == "bfloat16"):
            return transformer(**tensors).last_hidden_state.float().numpy()

    return lambda parts: list(map(hidden, parts))


def by_onnx(change: str, _data: Path) -> Encode:
    """Return ONNX Runtime on the model exported by PyTorch; ``int8`` quantizes the weights dynamically."""
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
            Ordered(),
            example,
            file,
            input_names=names,
            dynamo=True,
            external_data=False,
            dynamic_shapes=((axes,) * 3,),
        )
        if change == "int8":
            quantize_dynamic(file, file, weight_type=QuantType.QInt8, per_channel=True)
        session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda parts: [session.run(None, features)[0] for features in parts]


def by_openvino(change: str, data: Path) -> Encode:
    """Return OpenVINO by precision and use of threads; NNCF calibrates int8 on other abstracts."""
    import openvino
    from evalkit_retrievers.encoding.local import LocalModel
    from evalkit_retrievers.encoding.recipes import recipe_of

    recipe = recipe_of("minilm")
    assert recipe is not None
    precision, _, threads = change.partition(" ")
    core = openvino.Core()
    converted = core.read_model(LocalModel(model()[1], recipe, "openvino").converted())
    names = {port.any_name for port in converted.inputs}
    if precision == "int8":
        import nncf

        some = nncf.Dataset([{name: part[name] for name in names} for part in batches(data, seed=1)])
        converted = nncf.quantize(converted, some, model_type=nncf.ModelType.TRANSFORMER)
    hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32" if precision == "f32" else "bf16"}
    hints["PERFORMANCE_HINT"] = "THROUGHPUT" if threads == "streams" else "LATENCY"
    if threads == "single":
        hints["INFERENCE_NUM_THREADS"] = 1
    compiled = core.compile_model(converted, "CPU", hints)
    queue = openvino.AsyncInferQueue(compiled, 2 if threads == "streams" else 1)

    def encode(parts: Sequence[Features]) -> list[Any]:
        states: dict[int, Any] = {}
        queue.set_callback(lambda done, n: states.update({n: done.get_output_tensor(0).data.copy()}))
        for number, features in enumerate(parts):
            queue.start_async({name: features[name] for name in names}, number)
        queue.wait_all()
        return [states[number] for number in range(len(parts))]

    return encode


WAYS: dict[str, tuple[Callable[[str, Path], Encode], str, tuple[str, ...]]] = {
    "PyTorch float32": (by_torch, "", ()),
    "PyTorch bfloat16 (autocast)": (by_torch, "bfloat16", ()),
    "PyTorch int8 (dynamic)": (by_torch, "int8", ()),
    "ONNX Runtime float32": (by_onnx, "", ("onnxruntime", "onnxscript")),
    "ONNX Runtime int8 (dynamic)": (by_onnx, "int8", ("onnxruntime", "onnxscript")),
    "OpenVINO float32": (by_openvino, "f32", ("openvino",)),
    "OpenVINO bfloat16": (by_openvino, "bf16", ("openvino",)),
    "OpenVINO bfloat16, two streams of a thread each": (by_openvino, "bf16 streams", ("openvino",)),
    "OpenVINO bfloat16, one thread": (by_openvino, "bf16 single", ("openvino",)),
    "OpenVINO int8 (calibrated by NNCF)": (by_openvino, "int8", ("openvino", "nncf")),
}


def batches(data: Path, seed: int = 0) -> Iterator[Features]:
    """Return the tokens of a sample of the abstracts."""
    from transformers import AutoTokenizer

    texts = [" ".join(pair) for pair in random.Random(seed).sample(abstracts(data), N)]
    texts.sort(key=len, reverse=True)
    tokenizer = AutoTokenizer.from_pretrained(model()[1])
    for start in range(0, N, BATCH):
        part = texts[start : start + BATCH]
        yield dict(tokenizer(part, padding=True, truncation=True, max_length=TOKENS, return_tensors="np"))


def measure(way: str, data: Path) -> tuple[float, float, np.ndarray]:
    """Return CPU seconds, wall seconds, and the vectors (n, 384), mean pooled and normalized."""
    make, change, _ = WAYS[way]
    encode, parts = make(change, data), list(batches(data))
    encode(parts[-1:])
    cpu, clock = time.process_time(), time.perf_counter()
    states = encode(parts)
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    return cpu, clock, np.concatenate([pooled(s, p) for s, p in zip(states, parts, strict=True)])


def pooled(states: Any, features: Features) -> np.ndarray:
    """Return the mean over the tokens as a unit vector; or the states, where they are vectors already."""
    states = np.asarray(states, np.float32)
    if states.ndim == 3:
        mask = features["attention_mask"][..., None]
        states = (states * mask).sum(1) / mask.sum(1)
    return states / np.linalg.norm(states, axis=1, keepdims=True)


def table(data: Path) -> str:
    """Return the table of all installed backends, compared with PyTorch in float32."""
    heads = ["computed by", "abstracts a second of two cores", "× PyTorch", "abstracts/s by the clock"]
    lines = [f"| {' | '.join([*heads, 'least cosine to PyTorch float32'])} |", "|---|---|---|---|---|"]
    first: tuple[float, np.ndarray] | None = None
    for way, (_, _, packages) in WAYS.items():
        if absent := [name for name in packages if importlib.util.find_spec(name) is None]:
            lines.append(f"| {way} | not installed: {', '.join(absent)} | | | |")
            continue
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            cpu, clock, vectors = pool.submit(measure, way, data).result()
        first = first or (cpu, vectors)
        cosine = float((vectors * first[1]).sum(1).min())
        lines.append(f"| {way} | {2 * N / cpu:.0f} | {first[0] / cpu:.1f} | {N / clock:.0f} | {cosine:.5f} |")
        print(lines[-1], flush=True)
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
