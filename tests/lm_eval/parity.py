"""Both harnesses over the same tasks and the same model, and their scores side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BOOTSTRAP_ITERS = 50


@dataclass(frozen=True)
class Setup:
    """One way to run tasks, in the words of both. ``served`` names the endpoint that lm-eval asks."""

    name: str
    tasks: tuple[str, ...]
    evalkit: tuple[str, ...] = ()
    lm_eval: dict[str, Any] = field(default_factory=dict)
    chat: bool = False
    model_args: dict[str, Any] = field(default_factory=dict)


GENERATED = (
    "g_exact",
    "g_plain_target",
    "g_filters",
    "g_votes",
    "g_letters",
    "g_custom",
    "g_corpus",
    "g_many_targets",
    "g_prefix",
)
CHOSEN = ("c_three", "c_yes_no", "c_information", "c_inputs")
SCORED = ("l_last_word", "r_prose")
REAL = ("real_pubmedqa", "real_conclusions", "real_medqa", "real_prose")


def setups() -> list[Setup]:
    """Every way in which the tasks are run against the served model."""
    asks = "Answer the question in a word."
    template = ("-p", "apply_chat_template=true")
    return [
        Setup("plain", GENERATED + CHOSEN + SCORED),
        Setup("group", ("all_chosen",)),
        Setup(
            "few-shot, own seed",
            ("g_exact", "c_inputs", "l_last_word"),
            ("-p", "num_fewshot=4", "-p", "fewshot_seed=7", "-p", "gen_kwargs=max_gen_toks=5"),
            {"num_fewshot": 4, "fewshot_random_seed": 7, "gen_kwargs": "max_gen_toks=5"},
        ),
        Setup(
            "chat, turns",
            ("g_exact", "g_filters", "g_prefix"),
            template,
            {"apply_chat_template": True, "fewshot_as_multiturn": True},
            chat=True,
        ),
        Setup(
            "chat, one turn, system",
            ("g_filters", "g_plain_target"),
            (*template, "-p", "fewshot_as_multiturn=false", "-p", f"system_instruction={asks}"),
            {"apply_chat_template": True, "fewshot_as_multiturn": False, "system_instruction": asks},
            chat=True,
        ),
        Setup(
            "chat template of the tokenizer",
            ("g_filters", "c_three", "l_last_word"),
            template,
            {"apply_chat_template": True, "fewshot_as_multiturn": True},
        ),
        Setup(
            "pictures",
            ("v_colours",),
            template,
            {"apply_chat_template": True},
            chat=True,
            model_args={"max_images": 9},
        ),
        Setup(
            "pictures, the first, few-shot",
            ("v_colours",),
            (*template, "-p", "max_images=1", "-p", "num_fewshot=2"),
            {"apply_chat_template": True, "fewshot_as_multiturn": True, "num_fewshot": 2},
            chat=True,
        ),
    ]


def served(url: str, tokenizer: Path) -> dict[bool, dict[str, Any]]:
    """lm-eval's models for a server: for plain texts, and for chats."""
    texts = {
        "model": "tiny",
        "base_url": f"{url}/completions",
        "tokenizer": str(tokenizer),
        "tokenizer_backend": "huggingface",
    }
    chats = {"model": "tiny", "base_url": f"{url}/chat/completions"}
    return {
        False: {"model": "local-completions", "model_args": texts},
        True: {"model": "local-chat-completions", "model_args": chats},
    }


@dataclass(frozen=True)
class Row:
    """One score by both."""

    setup: str
    task: str
    metric: str
    theirs: float
    ours: float | None
    their_error: float | None
    our_error: float | None
    n: int

    @property
    def equal(self) -> bool:
        """Whether every digit is the same, of the score and of the standard error where lm-eval has one."""
        return self.theirs == self.ours and self.their_error in (None, self.our_error)


def theirs(
    include_path: Path, setups: Sequence[Setup], served: dict[bool, dict[str, Any]], scratch: Path
) -> list[dict[str, Any]]:
    """The results of lm-eval's own runs, all in one process."""
    runs = [{**served[s.chat], "tasks": list(s.tasks), **s.lm_eval} for s in setups]
    for run, setup in zip(runs, setups, strict=True):
        run["model_args"] = {**run["model_args"], **setup.model_args}
    plan = {"include_path": str(include_path), "runs": runs, "bootstrap_iters": BOOTSTRAP_ITERS}
    return _process("reference.py", plan, scratch)


def ours(
    include_path: Path, setups: Sequence[Setup], spec: str, scratch: Path, more: Sequence[str] = ()
) -> list[dict[str, dict[str, Any]]]:
    """The runs of ``evalkit run``, by task, for each setup; all in one process."""
    common = [
        "--model",
        spec,
        "--include-path",
        str(include_path),
        "-p",
        f"bootstrap_iters={BOOTSTRAP_ITERS}",
    ]
    runs = [
        [
            *(f"lm_eval/{t}" for t in s.tasks),
            *common,
            *s.evalkit,
            *(() if s.chat else more),
            "--max-inflight",
            "1",
        ]
        for s in setups
    ]
    documents = _process("evalkit_runs.py", {"runs": runs}, scratch)
    return [
        {run["task"].partition("[")[0].removeprefix("lm_eval/"): run for run in document["runs"]}
        for document in documents
    ]


def _process(script: str, plan: dict[str, Any], scratch: Path) -> list[Any]:
    """What a script makes of a plan, in a process of its own."""
    output, file = scratch / f"{script}.out.json", scratch / f"{script}.plan.json"
    file.write_text(json.dumps({"output": str(output), **plan}))
    done = subprocess.run(
        [sys.executable, str(HERE / script), str(file)],
        cwd=scratch,
        env=environment(scratch),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    found: list[Any] = json.loads(output.read_text())
    return found


def both(
    include_path: Path,
    setups: Sequence[Setup],
    served: dict[bool, dict[str, Any]],
    spec: str,
    scratch: Path,
    more: Sequence[str] = (),
) -> list[Row]:
    """Every score of lm-eval's own runs beside evalkit's; both work at the same time."""
    with ThreadPoolExecutor(1) as other:
        running = other.submit(theirs, include_path, setups, served, scratch)
        our = ours(include_path, setups, spec, scratch, more)
        their = running.result()
    return [row for parts in zip(setups, their, our, strict=True) for row in rows(*parts)]


def rows(setup: Setup, their: dict[str, Any], our: dict[str, dict[str, Any]]) -> list[Row]:
    """Every score of lm-eval's beside evalkit's."""
    made = []
    for task, values in their["results"].items():
        for key, value in values.items():
            base, comma, ensemble = key.partition(",")
            if not comma or base.endswith("_stderr"):
                continue
            error = values.get(f"{base}_stderr,{ensemble}")
            estimate = _find(our, task, key)
            made.append(
                Row(
                    setup.name,
                    task,
                    key,
                    value,
                    estimate and estimate["value"],
                    None if error in (None, "N/A") else error,
                    estimate and estimate["se"],
                    values.get("sample_len", 0),
                )
            )
    return made


def _find(our: dict[str, dict[str, Any]], task: str, key: str) -> dict[str, Any] | None:
    """The estimate of a task that was run by itself, or as a member of a group."""
    for name, run in our.items():
        wanted = key if name == task else f"{task}/{key}"
        if wanted in run["metrics"]:
            estimate: dict[str, Any] = run["metrics"][wanted]
            return estimate
    return None


def environment(scratch: Path) -> dict[str, str]:
    """No network, and caches of its own."""
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(scratch / "datasets"),
        "TQDM_DISABLE": "1",
        "EVALKIT_CACHE": str(scratch / "cache"),
        "DISABLE_MULTIPROC": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
    }
