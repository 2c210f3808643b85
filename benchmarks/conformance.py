"""Slow checks against real servers and published figures: ``make conformance``, about ten minutes.

Starts the real SGLang on a CPU with tiny models and checks what evalkit relies on (chat, native generation,
exact prompt logprobs, an image, constraints), drives a RAG run through it, and, where EVALKIT_DATA is set,
reproduces the published SciFact figure of MiniLM + FAISS. The output replaces the part of
docs/benchmarks.md between its markers.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVERS = ROOT / "tests" / "servers"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"
PORT = 30123
URL = f"http://127.0.0.1:{PORT}"


def run(*command: str | Path, **environment: str) -> str:
    """Run a command; its stdout. Stops everything where it fails."""
    print("$", *command, file=sys.stderr)
    done = subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    print(done.stdout)
    if done.returncode:
        sys.exit(f"failed with exit code {done.returncode}: {' '.join(map(str, command))}")
    return done.stdout


@contextmanager
def sglang(venv: Path, model: Path, log: Path) -> Iterator[None]:
    """The real server for one model folder, served as ``tiny``; ready after half a minute or two."""
    command = [
        venv / "bin" / "python", "-m", "sglang.launch_server", "--model-path", model,
        "--served-model-name", "tiny", "--device", "cpu", "--host", "127.0.0.1", "--port", str(PORT),
        "--attention-backend", "torch_native", "--sampling-backend", "pytorch",
        "--disable-overlap-schedule", "--dtype", "float32", "--max-total-tokens", "32768",
        "--enable-cache-report", "--sleep-on-idle", "--random-seed", "1",
    ]  # fmt: skip
    settings = {"SGLANG_USE_CPU_ENGINE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)), stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, **settings}, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(process, log)
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=60)


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"SGLang ended before it was ready:\n{log.read_text(errors='replace')[-3000:]}")
        try:
            with urllib.request.urlopen(f"{URL}/health_generate", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    sys.exit(f"SGLang was not ready after five minutes; its log: {log}")


def with_bos(source: Path, target: Path) -> None:
    """The same weights behind a tokenizer that puts a token before every text, as most models' do."""
    shutil.copytree(source, target)
    first = "<|endoftext|>"
    tokenizer = json.loads((target / "tokenizer.json").read_text(encoding="utf-8"))
    number = next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == first)
    one, begin = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": first, "type_id": 0}}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing", "single": [begin, one],
        "pair": [begin, one, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {first: {"id": first, "ids": [number], "tokens": [first]}},
    }  # fmt: skip
    (target / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    path = target / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"bos_token": first}))


def check_models(venv: Path, work: Path) -> list[str]:
    """Every adapter check on both tiny models, and a RAG run through the text model."""
    models = work / "models"
    if not models.exists():
        run(sys.executable, SERVERS / "make_models.py", models, "--only", "tiny-text", "tiny-qwen2vl")
    parts = []
    if not (models / "tiny-bos").exists():
        with_bos(models / "tiny-text", models / "tiny-bos")
    for name in ("tiny-text", "tiny-bos", "tiny-qwen2vl"):
        images = ["--images"] if name == "tiny-qwen2vl" else []
        with sglang(venv, models / name, work / f"{name}.log"):
            script = ROOT / "benchmarks" / "conformance_models.py"
            table = run(sys.executable, script, "--url", URL, "--reference", models / name, *images)
            parts.append(f"**{name} on SGLang**\n\n{table.strip()}")
            if name == "tiny-text":
                shown = run(
                    sys.executable, "-m", "evalkit", "run", "fictional_trials", "-p", "k=3",
                    "--model", f"sglang:tiny@{URL}", "--store", work / "evalkit.db", COLUMNS="100",
                )  # fmt: skip
                parts.append(f"**A RAG run through SGLang** (a model of 1 MB: only the path is judged)\n\n"
                             f"```\n{_plain(shown)}\n```")  # fmt: skip
    return parts


def _plain(table: str) -> str:
    """A table without the spaces at its line ends."""
    return "\n".join(line.rstrip() for line in table.strip().splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sglang-venv", type=Path, default=ROOT / ".venv-sglang")
    parser.add_argument("--work", type=Path, default=ROOT / ".evalkit" / "conformance")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if not (arguments.sglang_venv / "bin" / "python").exists():
        run("bash", SERVERS / "install_sglang_cpu.sh", arguments.sglang_venv)
    parts = check_models(arguments.sglang_venv, arguments.work)
    if data := os.environ.get("EVALKIT_DATA"):
        figure = run(sys.executable, ROOT / "benchmarks" / "scifact_dense.py", data)
        parts.append(
            f"**SciFact, all-MiniLM-L6-v2 + FAISS** (MTEB publishes 0.64508)\n\n```\n{figure.strip()}\n```"
        )
    else:
        print("EVALKIT_DATA is not set: the SciFact figure is left out", file=sys.stderr)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}", encoding="utf-8")
    print(f"Written into {PAGE.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
