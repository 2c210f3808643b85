"""A small deterministic language model behind an OpenAI-compatible API, for two harnesses to ask alike.

Every token has a log-probability that follows from the six before it, some texts are known by heart, and
questions are answered rightly or wrongly by a hash of the prompt. The tokenizer is a real one, saved where
transformers finds it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from evalkit.models.openai.probe import HELLO
from tests.servers.in_thread import in_thread

END = "<|im_end|>"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SEEN = 6
PICTURE = 64  # tokens of a picture


def make_tokenizer(folder: Path, corpus: Sequence[str]) -> None:
    """A byte-level BPE tokenizer that knows the words of ``corpus`` whole."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        initial_alphabet=alphabet,
        special_tokens=["<|im_start|>", END],
        show_progress=False,
    )
    made.train_from_iterator(list(corpus) * 4, trainer)
    whole = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, pad_token=END)
    whole.chat_template = TEMPLATE
    whole.save_pretrained(str(folder))


class Server:
    """The model and its API. ``answers``: the right ones by question; ``known``: texts known by heart."""

    def __init__(self, tokenizer: Path, answers: dict[str, str], known: Sequence[str]) -> None:
        from tokenizers import Tokenizer

        self.url = ""
        self.answers = answers
        self.tokenizer = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
        self.size = self.tokenizer.get_vocab_size()
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.failing = 0  # every so-many-th completion is refused
        self.next: dict[tuple[int, ...], int] = {}
        for text in known:
            ids = self.encode(text)
            self.next.update({tuple(ids[max(0, i - _SEEN) : i]): ids[i] for i in range(1, len(ids))})

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def best(self, before: Sequence[int]) -> tuple[int, float]:
        key = tuple(before[-_SEEN:])
        token = self.next.get(key, _hash("best", key) % self.size)
        return token, -0.01 - (_hash("lp", key) % 100) / 1000

    def logprob(self, before: Sequence[int], token: int) -> float:
        best, value = self.best(before)
        return value if token == best else -1.0 - (_hash(tuple(before[-_SEEN:]), token) % 90_000) / 10_007

    def reply(self, prompt: str, temperature: float) -> str:
        """Rightly or wrongly, in one of several manners; above temperature 0 each time another."""
        number = self.asked[prompt] if temperature > 0 else 0
        self.asked[prompt] += temperature > 0
        places = {prompt.rfind(question): answer for question, answer in self.answers.items()}
        answer = places[max(places)]
        choice = _hash("reply", prompt, number) % 6
        return [
            f" The answer is {answer}.\nSo it is.",
            f" {answer}\n\nQuestion: and then?",
            " The answer is unknown.\n",
            f" So it must be\n#### {answer}\nDone.",
            f" ({answer.upper()}), I think, {answer}!",
            "",
        ][choice]

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "tiny", "max_model_len": 2048}]})

    async def completions(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        if self.failing and not len(self.bodies) % self.failing:
            return web.json_response({"error": {"message": "no"}}, status=400)
        prompts = body["prompt"]
        if isinstance(prompts, str) or (prompts and isinstance(prompts[0], int)):
            prompts = [prompts]
        rows = [p if isinstance(p, list) else self.encode(p) for p in prompts]
        if body.get("logprobs"):
            choices = [self._scored(i, ids, bool(body.get("echo"))) for i, ids in enumerate(rows)]
        else:
            texts = [self.tokenizer.decode(ids, skip_special_tokens=False) for ids in rows]
            choices = [{"index": i, **self._written(text, body)} for i, text in enumerate(texts)]
        return self._answer(choices, sum(map(len, rows)))

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["messages"][-1]["content"] != HELLO:  # the probe's question is not counted
            self.bodies.append(body)
        said = "\n".join(f"{m['role']}: {_read(m['content'])}" for m in body["messages"])
        written = self._written(said, body)
        message = {"role": "assistant", "content": written.pop("text")}
        tokens = len(said.split()) + PICTURE * said.count("data:image/")
        return self._answer([{"index": 0, "message": message, **written}], tokens)

    def _scored(self, index: int, ids: list[int], echo: bool) -> dict[str, Any]:
        written, _ = self.best(ids)
        whole = [*ids, written]
        rows = [
            (self._token(token), self.logprob(whole[:i], token), self.best(whole[:i]))
            for i, token in enumerate(whole)
        ]
        rows = rows if echo else rows[-1:]
        tops = [{token: own, self._token(best[0]): best[1]} for token, own, best in rows]
        values = [own for _, own, _ in rows]
        return {
            "index": index,
            "text": "".join(token for token, _, _ in rows),
            "finish_reason": "length",
            "logprobs": {
                "tokens": [token for token, _, _ in rows],
                "token_logprobs": [None, *values[1:]] if echo else values,
                "top_logprobs": [None, *tops[1:]] if echo else tops,
            },
        }

    def _token(self, token: int) -> str:
        text: str = self.tokenizer.decode([token], skip_special_tokens=False)
        return text

    def _written(self, prompt: str, body: dict[str, Any]) -> dict[str, Any]:
        text = self.reply(prompt, body.get("temperature") or 0)
        ends = [place for stop in body.get("stop") or [] if (place := text.find(stop)) >= 0]
        text = text[: min(ends, default=len(text))]
        ids = self.encode(text)
        if len(ids) > body["max_tokens"]:
            cut = self.tokenizer.decode(ids[: body["max_tokens"]], skip_special_tokens=False)
            return {"text": cut, "finish_reason": "length"}
        return {"text": text, "finish_reason": "stop"}

    def _answer(self, choices: list[dict[str, Any]], tokens: int) -> web.Response:
        usage = {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}
        return web.json_response({"id": "1", "model": "tiny", "choices": choices, "usage": usage})


def _read(content: str | list[dict[str, Any]]) -> str:
    """A message as text, in which a picture is its address, bytes and all: another picture, another reply."""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] if part["type"] == "text" else part["image_url"]["url"] for part in content)


def _hash(*parts: Any) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=6).digest(), "big")


@contextmanager
def serve(tokenizer: Path, answers: dict[str, str], known: Sequence[str]) -> Iterator[Server]:
    """Start one in a thread."""
    server = Server(tokenizer, answers, known)
    routes = [
        web.get("/v1/models", server.models),
        web.post("/v1/completions", server.completions),
        web.post("/v1/chat/completions", server.chat),
    ]
    with in_thread(routes) as url:
        server.url = f"{url}/v1"
        yield server
