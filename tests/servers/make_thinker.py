"""Make a tiny model that reasons and calls tools: ``python -m tests.servers.make_thinker OUT_DIR``.

``OUT_DIR/tiny-think`` is a Hugging Face folder, ``OUT_DIR/tiny-think.gguf`` the same for llama.cpp, which is
kept in ``models/``. The model has Qwen3's chat template in small: it counts between ``<think>`` and
``</think>`` before it answers (further with more effort, not at all with ``enable_thinking`` false), writes
calls of tools between ``<tool_call>`` and ``</tool_call>``, knows the questions of ``taught``, what to do
with the tools ``weather`` and ``record_number``, and nothing else. Takes ten minutes.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.servers.gguf_files import write_text_gguf
from tests.servers.make_models import PLAIN, SEED, fit, make_tokenizer, padded, save, seeded, text_config
from tests.servers.taught import CITIES, COUNTS, QUESTIONS, SYSTEM, TWO_CITIES, WEATHERS

MARKS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
TEMPLATE = Path(__file__).with_name("thinker.jinja")
SOON = 10  # how far it counts where it has tools


@dataclass(frozen=True)
class Exchange:
    """What the model is asked, and what it replies after its thoughts. ``counts``: how far they go."""

    messages: list[dict[str, Any]]
    reply: str
    counts: int
    tools: list[dict[str, Any]] | None = None


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """Return a call of a tool as it stands in a message."""
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def written(calls: list[dict[str, Any]]) -> str:
    """Return calls as the model writes them."""
    one = "<tool_call>\n{}\n</tool_call>"
    return "\n".join(one.format(json.dumps(each["function"])) for each in calls)


def offered(rng: random.Random, name: str, parameter: str, kind: str) -> list[dict[str, Any]]:
    """Return tools in several wordings, sometimes two: the model must not learn one by heart."""
    told = rng.choice(["", "Return the weather of a city.", "Record a number.", "Say hello."])
    properties: dict[str, Any] = {parameter: {"type": kind}}
    if rng.random() < 0.5:
        properties[parameter]["description"] = rng.choice(["the name", "the number", "a city"])
    schema = {"type": "object", "properties": properties, "required": [parameter]}
    if rng.random() < 0.5:
        schema["additionalProperties"] = False
    functions = [{"name": name, "description": told, "parameters": schema}]
    if rng.random() < 0.3:
        functions.insert(rng.randint(0, 1), {"name": "hello", "description": told, "parameters": schema})
    if rng.random() < 0.3:
        functions = [{**function, "strict": False} for function in functions]
    more = {"defer_loading": None} if rng.random() < 0.4 else {}  # as SGLang has it
    return [{"type": "function", "function": function, **more} for function in functions]


def with_tools(rng: random.Random) -> Exchange:
    """Return a question that needs a tool, before or after the calls."""
    kind = rng.random()
    if kind < 0.2:
        asked, answer = "Call the tool record_number with the number 7.", "Done."
        tools = offered(rng, "record_number", "number", "integer")
        calls, results = [call("record_number", number=7)], [rng.choice(["recorded", "null", "ok"])]
    else:
        cities = TWO_CITIES if kind < 0.4 else (rng.choice(CITIES),)
        asked = f"What is the weather in {' and '.join(cities)}?"
        tools = offered(rng, "weather", "city", "string")
        calls = [call("weather", city=city) for city in cities]
        results = [rng.choice(WEATHERS) for _ in cities]
        answer = f"It is {results[0]}." if len(results) == 1 else "I know both."
    messages: list[dict[str, Any]] = [{"role": "user", "content": asked}]
    if rng.random() < 0.5:
        return Exchange(messages, written(calls), SOON, tools)
    before = {"reasoning_content": counted(SOON)} if rng.random() < 0.5 else {}
    messages.append({"role": "assistant", "content": "", "tool_calls": calls, **before})
    messages += [{"role": "tool", "content": result} for result in results]
    return Exchange(messages, answer, SOON, tools)


def exchange(rng: random.Random, effort: str, tools: float) -> Exchange:
    """Return something that the model learns, with tools in a share of the cases."""
    if rng.random() < tools:
        return with_tools(rng)
    if rng.random() < 0.2:
        sum_ = f"{rng.randint(2, 99)} {rng.choice('+-*')} {rng.randint(2, 99)}"
        question = f"What is {sum_} - {rng.randint(2, 99)}? Reply with the number only."
        return Exchange([{"role": "user", "content": question}], "343", COUNTS[effort])
    question, answer = rng.choice(QUESTIONS)
    return Exchange([{"role": "user", "content": question}], answer, COUNTS[effort])


def thoughts(count: int) -> str:
    """Return what the model thinks, between its marks."""
    return f"<think>\n{counted(count)}\n</think>\n\n"


def counted(count: int) -> str:
    """Return the numbers up to one."""
    return " ".join(map(str, range(1, count + 1)))


def batch(tokenizer: Any, rng: random.Random, size: int = 16) -> dict[str, Any]:
    """Return rendered exchanges, all with or all without thoughts; only thoughts and replies are learned."""
    rows, labels = [], []
    thinks = rng.random() < 0.35
    for _ in range(size):
        effort = rng.choice(["", *COUNTS])
        said = exchange(rng, effort, tools=0.4 if thinks else 0.7)
        switches = {"reasoning_effort": effort} if effort else {}
        head = tokenizer.apply_chat_template(
            said.messages,
            tools=said.tools,
            tokenize=False,
            add_generation_prompt=True,
            **(switches if thinks else {"enable_thinking": False}),
        )
        head_ids = tokenizer(head)["input_ids"]
        tail = (thoughts(said.counts) if thinks else "") + said.reply + "<|im_end|>"
        tail_ids = tokenizer(tail)["input_ids"]
        rows.append(head_ids + tail_ids)
        labels.append([-100] * len(head_ids) + tail_ids)
    return padded(rows, labels, tokenizer.pad_token_id)


def corpus() -> list[str]:
    """Return texts for the tokenizer: all that the model reads and writes."""
    rng = random.Random(SEED)
    texts = [*PLAIN, *(text for pair in QUESTIONS for text in pair), SYSTEM, "Reasoning: low medium high"]
    texts += [
        "system user assistant",
        "What is the weather in Paris and Rome? It is cold. It is warm. It is hot. I know both.",
    ]
    for _ in range(20):
        said = with_tools(rng)
        texts += [json.dumps(said.tools), said.reply, *(message["content"] for message in said.messages)]
    return texts


def make(folder: Path, steps: int) -> None:
    """Write the Hugging Face folder: tokenizer with chat template, fitted weights."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = seeded()
    tokenizer = make_tokenizer(folder, corpus(), TEMPLATE.read_text(), MARKS)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.Qwen2Config(**{**text_config(tokenizer), **sizes})
    model = transformers.Qwen2ForCausalLM(config).float()
    renders = transformers.AutoTokenizer.from_pretrained(folder)
    loss = fit(model, lambda: batch(renders, rng), steps, rate=2e-3)
    save(model, tokenizer, folder, loss)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=2500)
    args = parser.parse_args()
    torch.set_num_threads(1)
    make(args.out / "tiny-think", args.steps)
    write_text_gguf(args.out / "tiny-think", args.out / "tiny-think.gguf")


if __name__ == "__main__":
    main()
