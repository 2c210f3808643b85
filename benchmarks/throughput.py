"""The cost of a harness: ``python -m benchmarks.throughput``, or ``make bench``, some minutes.

evalkit, lm-eval and inspect_ai do the same work, each by its command line and in a separate environment: chat
prompts with a short answer to a server that answers at once (``benchmarks/instant.py``), 64 at a time, scored
by exact match, every sample logged. Wall time, CPU time and largest memory are those of the process and its
children. Figures depend on the machine; their ratios depend less.

``--peers DIR`` is a folder with the environments ``lm-eval`` and ``inspect``, made there where missing.
``--write`` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.instant import running
from benchmarks.pages import write_part

PEERS = {"lm-eval": ["lm-eval[api]==0.4.13"], "inspect": ["inspect-ai", "openai"]}

EVALKIT_TASK = '''
"""Say the last word."""
import json
from pathlib import Path

from evalkit import Answer, Model, Sample, task
from evalkit.metrics import exact_match

ROWS = Path(__file__).parent / "rows.jsonl"


def samples():
    with ROWS.open() as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            yield Sample(id=str(number), input=row["question"], target=row["answer"])


@task(samples, metrics=[exact_match()])
async def words(sample: Sample, model: Model) -> Answer:
    """Say the last word."""
    return Answer(await model.generate(sample.input, max_tokens=16))
'''
LM_EVAL_TASK = """
task: words
dataset_path: json
dataset_kwargs: {data_files: {test: ROWS}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: [], max_gen_toks: 16, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
INSPECT_TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import FieldSpec, json_dataset
from inspect_ai.scorer import exact


@task
def words():
    rows = json_dataset("ROWS", FieldSpec(input="question", target="answer"))
    return Task(dataset=rows, scorer=exact())
"""


@dataclass(frozen=True)
class Cost:
    """The cost of a run: wall seconds, CPU seconds, largest memory in MB, requests."""

    wall_s: float
    cpu_s: float
    mb: float
    requests: int

    @property
    def cpu_ms(self) -> float:
        """The CPU milliseconds per request."""
        return 1000 * self.cpu_s / self.requests


def measured(command: list[str], folder: Path, requests: int, **environment: str) -> Cost:
    """Run a command and measure it with its children. Raises ``RuntimeError`` with the end of the output."""
    log = folder / "log.txt"
    with log.open("w") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=out, env={**os.environ, **environment}
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, requests)


def environment(peers: Path, name: str) -> Path:
    """Return the folder of scripts of a peer's environment, which is made where missing."""
    folder = peers / name
    if not (folder / "bin").is_dir():
        print(f"Installing {name} into {folder} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "pip"), "install", "-q", *PEERS[name]], check=True)
    return folder / "bin"


def write_work(folder: Path, count: int) -> None:
    """Write the prompts, and the task in the format of each harness."""
    with (folder / "rows.jsonl").open("w") as out:
        for i in range(count):
            out.write(json.dumps({"question": f"Question {i}: say the word w{i}", "answer": f"w{i}"}) + "\n")
    rows = str(folder / "rows.jsonl")
    (folder / "task_words.py").write_text(EVALKIT_TASK)
    (folder / "words.yaml").write_text(LM_EVAL_TASK.replace("ROWS", rows))
    (folder / "inspect_words.py").write_text(INSPECT_TASK.replace("ROWS", rows))


def with_evalkit(folder: Path, url: str, count: int) -> Cost:
    """Run ``evalkit run`` with a new store."""
    script = Path(sys.executable).with_name("evalkit")
    command = [str(script), "run", "task_words.py", "--model", f"openai:instant@{url}"]
    cost = measured([*command, "--max-inflight", "64", "-q", "--json"], folder, count)
    text = (folder / "log.txt").read_text()
    (run,) = json.loads(text[text.index("{") :])["runs"]
    if run["metrics"]["exact_match"]["value"] != 1.0 or run["n"] != count:
        raise RuntimeError(f"evalkit's score on {count} samples is not 1: {run}")
    return cost


def with_lm_eval(folder: Path, url: str, count: int, bin_: Path) -> Cost:
    """Run ``lm_eval`` with its chat model for local servers."""
    arguments = f"model=instant,base_url={url}/chat/completions,num_concurrent=64,max_retries=3"
    command = [str(bin_ / "lm_eval"), "--model", "local-chat-completions", "--model_args", arguments]
    command += ["--tasks", "words", "--include_path", str(folder), "--apply_chat_template"]
    return measured([*command, "--output_path", str(folder / "out"), "--log_samples"], folder, count)


def with_inspect(folder: Path, url: str, count: int, bin_: Path) -> Cost:
    """Run ``inspect eval`` with its OpenAI provider."""
    command = [str(bin_ / "inspect"), "eval", "inspect_words.py", "--model", "openai/instant"]
    command += ["--model-base-url", url, "-M", "responses_api=false", "--display", "none"]
    command += ["--max-connections", "64", "--max-samples", "64", "--max-tokens", "16"]
    return measured(command, folder, count, OPENAI_API_KEY="none")


def main() -> None:
    """Measure all three and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peers", type=Path, default=Path(".bench"))
    parser.add_argument("--prompts", type=int, default=20_000)
    parser.add_argument("--many", type=int, default=200_000, help="prompts of the run that shows flat memory")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    peers, few = options.peers.resolve(), options.prompts // 10
    lm_eval, inspect = environment(peers, "lm-eval"), environment(peers, "inspect")
    rows: list[tuple[str, Cost]] = []

    def row(name: str, run, count: int, *more: Path) -> None:
        with tempfile.TemporaryDirectory() as folder, running() as url:
            write_work(Path(folder), count)
            rows.append((name, run(Path(folder), url, count, *more)))
        print(f"{name}: {rows[-1][1]}", flush=True)

    row("evalkit", with_evalkit, options.prompts)
    row("evalkit", with_evalkit, options.many)
    row("lm-eval", with_lm_eval, options.prompts, lm_eval)
    row("inspect_ai", with_inspect, few, inspect)
    text = table(rows)
    print(text)
    if options.write:
        write_part("throughput", text)


def table(rows: list[tuple[str, Cost]]) -> str:
    """Return the table as Markdown; the other rows are compared with the first."""
    first = rows[0][1]
    lines = [
        "| harness | prompts | wall | prompts/s | CPU-ms a prompt | × evalkit | largest memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, cost in rows:
        lines.append(
            f"| {name} | {cost.requests:,} | {cost.wall_s:.1f} s | {cost.requests / cost.wall_s:,.0f} "
            f"| {cost.cpu_ms:.2f} | {cost.cpu_ms / first.cpu_ms:.1f} | {cost.mb:.0f} MB |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
