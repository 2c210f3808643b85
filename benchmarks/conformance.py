"""Slow checks against real servers: ``python -m benchmarks.conformance``, about fifteen minutes.

The first time takes ten more: the model that thinks has to be made.

Starts the real SGLang and the real vLLM on a CPU with tiny models and checks what evalkit relies on (chat,
completions, exact log-probabilities, pictures, constraints, reasoning, tools), and drives a RAG run through
SGLang and a run of a model that thinks through both. The output replaces the part of docs/benchmarks.md
between its markers.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import ROOT, serving

SERVERS = ROOT / "tests" / "servers"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"
PORT = 30123
URL = f"http://127.0.0.1:{PORT}"
THINKER = "tiny-think"
QUESTIONS = ROOT / "benchmarks" / "task_thinker.py"


def run(*command: str | Path, **environment: str) -> str:
    """Run a command and return its stdout; exit where the command fails."""
    print("$", *command, file=sys.stderr)
    done = subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )
    print(done.stdout)
    if done.returncode:
        sys.exit(f"failed with exit code {done.returncode}: {' '.join(map(str, command))}")
    return done.stdout


@dataclass(frozen=True)
class Kind:
    """A model server and its adapter. ``launch`` are its Python's arguments before the model's folder.

    ``parsers`` are further ones for a model that reasons and calls tools.
    """

    name: str
    provider: str
    health: str
    settings: dict[str, str]
    launch: str
    parsers: str

    @property
    def venv(self) -> str:
        return f".venv-{self.name.lower()}"

    @property
    def installer(self) -> Path:
        return SERVERS / f"install_{self.name.lower()}_cpu.sh"

    def command(self, venv: Path, model: Path) -> list[str]:
        """Return the command that starts the server on the loopback interface; the model is ``tiny``."""
        served = f"--served-model-name tiny --dtype float32 --host 127.0.0.1 --port {PORT}"
        parsers = self.parsers if model.name == THINKER else ""
        python = str(venv / "bin" / "python")
        return [python, *self.launch.split(), str(model), *served.split(), *parsers.split()]


KINDS = (
    Kind(
        "SGLang",
        "sglang",
        "/health_generate",
        {"SGLANG_USE_CPU_ENGINE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        "-m sglang.launch_server --device cpu --attention-backend torch_native --sampling-backend pytorch "
        "--disable-overlap-schedule --max-total-tokens 32768 --enable-cache-report --sleep-on-idle "
        "--random-seed 1 --model-path",
        "--reasoning-parser qwen3 --tool-call-parser qwen25 --enable-strict-thinking",
    ),
    Kind(
        "vLLM",
        "openai",
        "/health",
        {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        },
        "-m vllm.entrypoints.openai.api_server --max-model-len 8192 --enforce-eager "
        "--enable-prompt-tokens-details --model",
        "--reasoning-parser qwen3 --tool-call-parser hermes --enable-auto-tool-choice",
    ),
)
MODELS = ("tiny-text", "tiny-bos", "tiny-qwen2vl", THINKER)


def served(kind: Kind, venv: Path, model: Path, log: Path) -> AbstractContextManager[None]:
    """Start the real server for one model folder, which takes half a minute to three minutes."""
    return serving(kind.command(venv, model), URL + kind.health, log=log, environment=kind.settings)


def with_bos(source: Path, target: Path) -> None:
    """Copy a model with a tokenizer that puts a token before every text, as most tokenizers do."""
    shutil.copytree(source, target)
    first = "<|endoftext|>"
    tokenizer = json.loads((target / "tokenizer.json").read_text(encoding="utf-8"))
    number = next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == first)
    one, begin = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": first, "type_id": 0}}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [begin, one],
        "pair": [begin, one, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {first: {"id": first, "ids": [number], "tokens": [first]}},
    }
    (target / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    path = target / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"bos_token": first}))


def make_models(models: Path) -> None:
    """Make the tiny models that are missing."""
    make = (sys.executable, "-m")
    if not (models / "tiny-text").exists():
        run(*make, "tests.servers.make_models", models, "--only", "tiny-text", "tiny-qwen2vl")
    if not (models / "tiny-bos").exists():
        with_bos(models / "tiny-text", models / "tiny-bos")
    if not (models / THINKER).exists():
        run(*make, "tests.servers.make_thinker", models)


def check_server(kind: Kind, venv: Path, work: Path) -> list[str]:
    """Run every check of a server with each of its models, and a RAG run through SGLang's text model."""
    parts = []
    further = {"tiny-qwen2vl": ["--images"], THINKER: ["--thinks"]}
    for name in MODELS:
        model = work / "models" / name
        with served(kind, venv, model, work / f"{kind.name}-{name}.log"):
            check = (sys.executable, "-m", "benchmarks.served", "--provider", kind.provider, "--url", URL)
            table = run(*check, "--reference", model, *further.get(name, []))
            parts.append(f"**{name} on {kind.name}**\n\n{table.strip()}")
            address = f"{kind.provider}:tiny@{URL}"
            if (kind.provider, name) == ("sglang", "tiny-text"):
                shown = evalkit("run", "fictional_trials", "-p", "k=3", model=address, work=work)
                said = "(a model of 1 MB: only the path is judged)"
                parts.append(f"**A RAG run through SGLang** {said}\n\n{shown}")
            if name == THINKER:
                shown = evalkit("run", QUESTIONS, model=address, work=work)
                said = "(its answers may be 32 tokens long, and it thinks for more)"
                parts.append(f"**A run of a model that thinks, on {kind.name}** {said}\n\n{shown}")
    return parts


def evalkit(*command: str | Path, model: str, work: Path) -> str:
    """Run a command of evalkit with a model; return what it shows."""
    module = (sys.executable, "-m", "evalkit")
    shown = run(*module, *command, "--model", model, "--store", work / "evalkit.db", COLUMNS="100")
    lines = (line.rstrip() for line in shown.strip().splitlines())
    return "```\n" + "\n".join(lines) + "\n```"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venvs", type=Path, default=ROOT, help="where .venv-sglang and .venv-vllm lie")
    parser.add_argument("--work", type=Path, default=ROOT / ".evalkit" / "conformance")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    make_models(arguments.work / "models")
    parts = []
    for kind in KINDS:
        venv = arguments.venvs / kind.venv
        if not (venv / "bin" / "python").exists():
            run("bash", kind.installer, venv)
        parts += check_server(kind, venv, arguments.work)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}", encoding="utf-8")
    print(f"Written into {PAGE.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
