"""Scheduling on real servers: ``python -m benchmarks.real_schedule --venv VENV``, about ten minutes.

VENV is the environment of ``tests/servers/install_sglang_cpu.sh``, with ``pip install --no-deps
sglang-router==0.3.2``. SGLang serves a model of five million random weights on a CPU: one server, two servers
behind sglang-router, and two servers given directly. The prompts are long and the memory is small, so that
the order matters. ``max_tokens`` sets the lengths of the replies. The table goes into docs/scheduling.md
between its markers.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.pages import write_part
from benchmarks.servers import ROOT, serving
from evalkit.models import load
from evalkit.models.connect import connect
from evalkit.types import Message, Request, Requirements, Response

PORTS, ROUTER = (30131, 30132), 30130
REQUESTS, PREFIXES, AT_ONCE = 240, 12, 16
# Room for seven or eight prefixes besides the running requests.
MEMORY_TOKENS = 12_000
WORDS = re.findall(r"\w+", "the sky is blue and grass green Paris Rome capital of France Italy one two three")


def make_model(out: Path) -> None:
    """Make a Qwen2 of random weights with the tiny test model's tokenizer, large enough to take time."""
    import torch
    import transformers

    tiny = out.parent / "tiny"
    if not (tiny / "tiny-text").exists():
        script = [sys.executable, "-m", "tests.servers.make_models"]
        subprocess.run([*script, tiny, "--only", "tiny-text", "--steps", "1"], check=True, cwd=ROOT)
    shutil.copytree(tiny / "tiny-text", out)
    config = transformers.AutoConfig.from_pretrained(out)
    config.update({"hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 8})
    config.update({"num_key_value_heads": 2, "num_hidden_layers": 6, "layer_types": ["full_attention"] * 6})
    torch.manual_seed(1)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(out)


def requests(seed: int) -> list[Request]:
    """Return questions on shared passages of about 1,500 tokens, shuffled; replies of 1 to 96 tokens."""
    rng = random.Random(seed)
    passages = [f"Passages {seed}-{i}. " + " ".join(rng.choices(WORDS, k=1_400)) for i in range(PREFIXES)]
    made = []
    for i in range(REQUESTS):
        asked = " ".join(rng.choices(WORDS, k=25))
        length = max(1, min(96, round(rng.lognormvariate(3, 0.9))))
        text = f"{passages[i % PREFIXES]}\n\nQuestion {i}: {asked}?"
        made.append(Request(messages=(Message("user", text),), max_tokens=length, extra={"ignore_eos": True}))
    rng.shuffle(made)
    return made


def sglang(venv: Path, model: Path, port: int, work: Path) -> Any:
    """Start SGLang on a CPU."""
    command = [
        venv / "bin" / "python",
        "-m",
        "sglang.launch_server",
        "--model-path",
        model,
        "--served-model-name",
        "wide",
        "--device",
        "cpu",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--attention-backend",
        "torch_native",
        "--sampling-backend",
        "pytorch",
        "--disable-overlap-schedule",
        "--dtype",
        "float32",
        "--max-total-tokens",
        MEMORY_TOKENS,
        "--max-running-requests",
        AT_ONCE,
        "--enable-cache-report",
        "--sleep-on-idle",
        "--random-seed",
        1,
    ]
    settings = {"SGLANG_USE_CPU_ENGINE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    ready = f"http://127.0.0.1:{port}/health_generate"
    return serving(command, ready, log=work / f"sglang-{port}.log", environment=settings)


def router(venv: Path, workers: Sequence[str], work: Path) -> Any:
    """Start sglang-router with its default policy: the worker with the prefix, unless loads differ much."""
    command = [venv / "bin" / "python", "-m", "sglang_router.launch_router", "--worker-urls", *workers]
    command += ["--host", "127.0.0.1", "--port", ROUTER, "--policy", "cache_aware"]
    return serving(command, f"http://127.0.0.1:{ROUTER}/readiness", log=work / "router.log")


async def in_turn(urls: Sequence[str], asked: Sequence[Request], at_once: int) -> list[Response]:
    """Send the requests in their order, each to the endpoint with the fewest in flight."""
    backend: Any = load(f"sglang:wide@{','.join(urls)}")
    limit = asyncio.Semaphore(at_once)

    async def one(request: Request) -> Response:
        async with limit:
            return await backend.send(request)

    await backend.probe(Requirements())
    replies = await asyncio.gather(*map(one, asked))
    await backend.close()
    return replies


async def scheduled(urls: Sequence[str], asked: Sequence[Request], at_once: int | None) -> list[Response]:
    """Send the requests as evalkit sends them in a run."""
    with tempfile.TemporaryDirectory() as home:
        async with connect(
            f"sglang:wide@{','.join(urls)}",
            Requirements(),
            Path(home) / "responses.db",
            stop=asyncio.Event(),
            max_inflight=at_once,
        ) as (_, model):
            return await asyncio.gather(*map(model.sender.send, asked))


def measure(workers: Sequence[str], send: Any, asked: Sequence[Request]) -> tuple[float, float]:
    """Return the seconds, and the share of prompt tokens from the caches, which are empty at first."""
    for url in workers:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/flush_cache?timeout=60", method="POST")):
            pass
    start = time.perf_counter()
    replies = asyncio.run(send(asked))
    seconds = time.perf_counter() - start
    cached = sum(reply.usage.cached_tokens for reply in replies)
    return seconds, cached / sum(reply.usage.prompt_tokens for reply in replies)


def report(venv: Path, model: Path, work: Path, seeds: Sequence[int]) -> str:
    """Measure one server, then two servers with the router and without it."""
    urls = [f"http://127.0.0.1:{port}" for port in PORTS]
    one, through = urls[:1], [f"http://127.0.0.1:{ROUTER}"]
    arms = {
        "one server, shuffled as they come": lambda asked: in_turn(one, asked, AT_ONCE),
        "one server, evalkit": lambda asked: scheduled(one, asked, None),
        "two servers, to the less busy, shuffled": lambda asked: in_turn(urls, asked, 2 * AT_ONCE),
        "two servers behind sglang-router, shuffled": lambda asked: in_turn(through, asked, 2 * AT_ONCE),
        "two servers behind sglang-router, evalkit": lambda asked: scheduled(through, asked, 2 * AT_ONCE),
        "two servers given directly, evalkit": lambda asked: scheduled(urls, asked, None),
    }
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    with ExitStack() as stack:
        for port in PORTS:
            stack.enter_context(sglang(venv, model, port, work))
        stack.enter_context(router(venv, urls, work))
        for seed, (name, send) in itertools.product(seeds, arms.items()):
            seen[name].append(measure(urls, send, requests(seed)))
            print(f"{name}, seed {seed}: %.1f s, %.3f cached" % seen[name][-1], file=sys.stderr)
    lines = ["| servers and order | seconds | of | prompt tokens from the cache |", "|---|---|---|---|"]
    for name, figures in seen.items():
        walls, hits = zip(*figures, strict=True)
        shown = f"{statistics.median(walls):.1f} | {min(walls):.0f}–{max(walls):.0f}"
        lines.append(f"| {name} | {shown} | {statistics.median(hits):.2f} |")
    said = versions(venv)
    runs = "One seed" if len(seeds) == 1 else f"Medians of {len(seeds)} seeds"
    return (
        f"SGLang {said['sglang']} on a CPU of {os.cpu_count()} cores, sglang-router {said['sglang-router']}: "
        f"{REQUESTS} requests on {PREFIXES} prefixes, {AT_ONCE} at once at each server, room for "
        f"{MEMORY_TOKENS:,} tokens. {runs}.\n\n" + "\n".join(lines)
    )


def versions(venv: Path) -> dict[str, str]:
    """Return the versions of the server and the router."""
    code = "import json, importlib.metadata as m; "
    code += "print(json.dumps({n: m.version(n) for n in ('sglang', 'sglang-router')}))"
    command = [venv / "bin" / "python", "-c", code]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-sglang")
    parser.add_argument("--work", type=Path, default=ROOT / ".evalkit" / "real-schedule")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    model = options.work / "wide"
    if not model.exists():
        make_model(model)
    text = report(options.venv, model, options.work, range(1, options.seeds + 1))
    print(text)
    write_part("real", text, "scheduling.md")


if __name__ == "__main__":
    main()
