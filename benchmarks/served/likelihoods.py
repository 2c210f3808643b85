"""Checks of log-probabilities of continuations against the same weights in transformers."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from benchmarks.served.common import connect, expect
from evalkit.errors import RequestRejected
from evalkit.model import Model

CONTINUATIONS = {
    "What is the capital of France?": [" Paris", " Rome", "Paris\n", " the quick brown fox"],
    "The quick brown fox ": ["jumps over the lazy dog.", "sleeps"],
    "The quick br": ["own fox", "ead"],  # context and continuation share a token
    "Dose: 5 µ": ["g/kg ± 0.3", "l"],
    "Question: Which?\n": ["   Paris", "\n\nParis", "\tParis ", " "],  # white space before and after
    "日本の": ["首都は東京", " 東"],  # characters of several tokens each
    "Temperature: 38 ": ["°C 🌡️", "🌡️"],  # one character of several tokens, after a space
    "<|im_start|>user\nHi<|im_end|>\n": ["<|im_start|>assistant\n4<|im_end|>", "4"],  # special tokens
    "<|endoftext|>": ["Paris", " Paris is the capital of France."],  # a token such as BOS begins the text
    "A": [".", "B", " B"],  # one token of context
}
NO_CONTEXT = ["Paris", " Paris", "日本", "\n\nA"]  # scored where the tokenizer puts a token before every text
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Way:
    """An API for log-probabilities.

    ``by_text``: tokens come back as texts, and a continuation whose border is not visible in texts is
    refused. ``tells_greedy``: the reply has the most probable token at each position.
    """

    name: str
    provider: str
    params: str = ""
    by_text: bool = False
    tells_greedy: bool = True


WAYS = {
    "sglang": (
        Way("/generate", "sglang"),
        Way("/v1/score", "sglang", "?logprobs=score", tells_greedy=False),
        Way("echo", "openai", by_text=True),
    ),
    "openai": (
        Way("echo", "openai", by_text=True, tells_greedy=False),
        Way("prompt_logprobs", "openai", "?logprobs=prompt_logprobs", by_text=True),
    ),
}


async def check_logprobs(way: Way, args: argparse.Namespace) -> str:
    """Check prompt log-probabilities against transformers, token by token."""
    reference = Reference(args.reference)
    pairs = CONTINUATIONS | ({"": NO_CONTEXT} if reference.begins else {})
    worst, tokens, refused = 0.0, 0, 0
    async with connect(args, way.params, way.provider) as model:
        for context, rest in ((context, one) for context, group in pairs.items() for one in group):
            try:
                (response,) = await model.loglikelihood(context, [rest])
            except RequestRejected:
                expect(way.by_text, True)
                refused += 1
                continue
            logprobs, greedy = reference.score(context, rest)
            found = response.logprobs or ()
            expect((rest, len(found)), (rest, len(logprobs)))
            expect(response.is_greedy in (greedy, greedy if way.tells_greedy else None), True)
            worst = max(worst, *(abs(a - b) for a, b in zip(found, logprobs, strict=True)))
            tokens += len(found)
        if not reference.begins:
            await expect_no_context(model)
    if worst > TOLERANCE:
        raise AssertionError(f"a log-probability is off by {worst:.2g}")
    parts = f", {refused} continuations refused (pieces of characters)" if refused else ""
    said = "scored" if reference.begins else "refused"
    return f"{tokens} tokens, largest difference {worst:.1e}{parts}; an empty context is {said}"


async def expect_no_context(model: Model) -> None:
    """Check that the server reports no log-probability for the first token of a text."""
    try:
        await model.loglikelihood("", NO_CONTEXT[:1])
    except RequestRejected as refused:
        expect("no log-probability" in str(refused), True)
        return
    raise AssertionError("a first token was given a log-probability")


class Reference:
    """The same weights in transformers."""

    def __init__(self, folder: str) -> None:
        import torch
        import transformers

        config = transformers.AutoConfig.from_pretrained(folder)
        kind = getattr(transformers, config.architectures[0])
        self._torch = torch
        self._model = kind.from_pretrained(folder, dtype=torch.float32).eval()
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        # Whether a token, such as BOS, stands before every text.
        self.begins = bool(self._tokenizer("")["input_ids"])

    def score(self, context: str, continuation: str) -> tuple[list[float], bool]:
        """Return the log-probabilities of the continuation's tokens, and whether each is the likeliest."""
        encoded = self._tokenizer(context + continuation, return_offsets_mapping=True)
        whole = encoded["input_ids"]
        first = next(i for i, (_, end) in enumerate(encoded["offset_mapping"]) if end > len(context))
        with self._torch.no_grad():
            logits = self._model(input_ids=self._torch.tensor([whole])).logits[0]
        table = logits.log_softmax(-1)
        values = [table[i - 1, whole[i]].item() for i in range(first, len(whole))]
        return values, all(int(table[i - 1].argmax()) == whole[i] for i in range(first, len(whole)))
