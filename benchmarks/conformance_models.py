"""Does the sglang: adapter do what it says, against a real SGLang server? Prints a table; exit code 1 if not.

    python benchmarks/conformance_models.py --url http://127.0.0.1:30000 --reference MODEL_DIR [--images]

``--reference`` is the folder that the server runs: its log-probabilities are computed again with
transformers. ``--images`` for a vision model that names the colour of a plain picture. The expected
answers are those of the tiny models that tests/servers/make_models.py makes.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec

from evalkit.errors import ProbeError, RequestRejected
from evalkit.media import ARMS, in_arm
from evalkit.media.pixels import plain_png
from evalkit.model import Model
from evalkit.models import load, wrap
from evalkit.stats import paired
from evalkit.types import Image, Needs, Response, Sample

Check = Callable[[argparse.Namespace], Awaitable[str]]

ANSWERS = {"What is the capital of France?": "Paris", "What is 2+2?": "4", "What is 3+5?": "8"}
CONTINUATIONS = {
    "What is the capital of France?": [" Paris", " Rome", "Paris\n", " the quick brown fox"],
    "The quick brown fox ": ["jumps over the lazy dog.", "sleeps"],
    "The quick br": ["own fox", "ead"],  # the border lies inside a token
    "Dose: 5 µ": ["g/kg ± 0.3", "l"],
    "Question: Which?\n": ["   Paris", "\n\nParis", "\tParis ", " "],  # white space in front and behind
    "日本の": ["首都は東京", " 東"],  # characters of several tokens each
    "Temperature: 38 ": ["°C 🌡️", "🌡️"],  # one character, cut into tokens, behind a space
    "<|im_start|>user\nHi<|im_end|>\n": ["<|im_start|>assistant\n4<|im_end|>", "4"],  # special tokens
    "<|endoftext|>": ["Paris", " Paris is the capital of France."],  # a text that begins: a token like BOS
    "A": [".", "B", " B"],  # one token of context
}
NO_CONTEXT = ["Paris", " Paris", "日本", "\n\nA"]  # scored where the tokenizer puts a token before every text
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 40, 220),
    "black": (5, 5, 5),
    "white": (250, 250, 250),
    "yellow": (240, 230, 30),
}
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}
TOLERANCE = 1e-3


@asynccontextmanager
async def connect(
    args: argparse.Namespace, params: str = "", provider: str = "sglang"
) -> AsyncIterator[Model]:
    """The served model, probed."""
    backend: Any = load(f"{provider}:{args.model}@{args.url}{params}")
    try:
        facts = await backend.probe(Needs())
        yield Model(wrap(backend, identity=facts.identity), defaults=backend.defaults, facts=facts)
    finally:
        await backend.close()


def expect(found: Any, wanted: Any) -> None:
    """Stop this check where the two differ."""
    if found != wanted:
        raise AssertionError(f"{found!r} instead of {wanted!r}")


async def check_probe(args: argparse.Namespace) -> str:
    """Server facts, and everything that a task can need."""
    backend: Any = load(f"sglang:{args.model}@{args.url}")
    facts = await backend.probe(Needs(logprobs=True, images=args.images, json_schema=True, regex=True))
    await backend.close()
    return f"SGLang {facts.identity['version']}, {facts.identity['dtype']}, context {facts.max_context}"


async def check_wrong_model(args: argparse.Namespace) -> str:
    """SGLang answers under any name: the probe must not."""
    backend = load(f"sglang:no-such-model@{args.url}")
    try:
        await backend.probe(Needs())
    except ProbeError as refused:
        return str(refused).partition(". ")[2][:60]
    finally:
        await backend.close()
    raise AssertionError("a model that is not served was accepted")


async def check_chat(args: argparse.Namespace) -> str:
    """Chat, streamed and whole, with usage."""
    for params in ("", "?stream=true"):
        async with connect(args, params) as model:
            for question, answer in ANSWERS.items():
                response = await model.generate(question, max_tokens=16)
                expect((response.text, response.finish_reason), (answer, "stop"))
                expect(response.usage.prompt_tokens > 0 and response.usage.completion_tokens > 0, True)
    return f"{len(ANSWERS)} answers right, streamed and whole"


async def check_native(args: argparse.Namespace) -> str:
    """Plain prompts through /generate, with the chat template written by hand."""
    async with connect(args, "?api=completions") as model:
        prompt = (
            "<|im_start|>system\nYou are a tiny test model.<|im_end|>\n"
            "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"
        )
        response = await model.generate(prompt, max_tokens=8)
        expect((response.text, response.finish_reason), ("4", "stop"))
        cut = await model.generate(prompt, max_tokens=1)
        expect(cut.finish_reason, "length")
    return f"answer right, {response.usage.prompt_tokens} prompt tokens"


async def scores(
    args: argparse.Namespace, params: str = "", pairs: dict[str, list[str]] = CONTINUATIONS
) -> list[Response]:
    """The log-probabilities of all continuations."""
    async with connect(args, params) as model:
        found = [await model.loglikelihood(context, rest) for context, rest in pairs.items()]
    return [response for group in found for response in group]


async def check_logprobs(args: argparse.Namespace) -> str:
    """Prompt log-probabilities, token by token, against transformers."""
    reference = Reference(args.reference)
    pairs = CONTINUATIONS | ({"": NO_CONTEXT} if reference.begins else {})
    wanted = [reference.score(c, r) for c, rest in pairs.items() for r in rest]
    worst, tokens = 0.0, 0
    for params in ("", "?logprobs=score"):
        for response, (logprobs, greedy) in zip(await scores(args, params, pairs), wanted, strict=True):
            found = response.logprobs or ()
            expect(len(found), len(logprobs))
            expect(response.is_greedy in (greedy, None if params else greedy), True)
            worst = max(worst, *(abs(a - b) for a, b in zip(found, logprobs, strict=True)))
            tokens += len(found)
    if worst > TOLERANCE:
        raise AssertionError(f"a log-probability is off by {worst:.2g}")
    if not reference.begins:
        await expect_no_context(args)
    said = "scored" if reference.begins else "refused"
    return f"{tokens} tokens, largest difference {worst:.1e}; an empty context is {said}"


async def expect_no_context(args: argparse.Namespace) -> None:
    """The first token of a text has no log-probability: that is said, and not made up."""
    async with connect(args) as model:
        try:
            await model.loglikelihood("", NO_CONTEXT[:1])
        except RequestRejected as refused:
            expect("no log-probability" in str(refused), True)
            return
    raise AssertionError("a first token was given a log-probability")


async def check_echo(args: argparse.Namespace) -> str:
    """The openai: adapter's echo gives what the native recipe gives, or says that it cannot."""
    native = await scores(args)
    async with connect(args, provider="openai") as model:
        pairs = [(context, rest) for context, group in CONTINUATIONS.items() for rest in group]
        same = refused = 0
        for (context, rest), own in zip(pairs, native, strict=True):
            try:
                (echoed,) = await model.loglikelihood(context, [rest])
            except RequestRejected:
                refused += 1
                continue
            if abs(echoed.logprob - own.logprob) > TOLERANCE:
                raise AssertionError(f"{rest!r}: {echoed.logprob} by echo, {own.logprob} natively")
            same += 1
    return f"{same} equal, {refused} refused (half characters)"


async def check_constraints(args: argparse.Namespace) -> str:
    """JSON schema and regex, in chat and natively."""
    for params in ("", "?api=completions"):
        async with connect(args, params) as model:
            response = await model.generate("Give JSON.", max_tokens=200, json_schema=SCHEMA)
            if response.finish_reason == "stop":
                expect(type(msgspec.json.decode(response.text)["answer"]), int)
            else:  # a model of this size may go on with digits or blanks; they still fit the schema
                expect(bool(re.match(r'\s*\{\s*"answer"\s*:\s*-?\d*', response.text)), True)
            response = await model.generate("What is 2+2?", max_tokens=8, regex="(yes|no)")
            expect(response.text in ("yes", "no"), True)
    return "kept in chat and in /generate"


async def check_overflow(args: argparse.Namespace) -> str:
    """Too long a request is rejected, not cut."""
    async with connect(args) as model:
        try:
            await model.generate("What is 2+2?", max_tokens=10**6)
        except RequestRejected as refused:
            expect("context length" in str(refused), True)
            return f"rejected with {refused.status}"
        raise AssertionError("a request longer than the context was answered")


async def check_throughput(args: argparse.Namespace) -> str:
    """Many requests at once, for the record."""
    async with connect(args) as model:
        start = time.perf_counter()
        replies = await asyncio.gather(
            *(model.generate("Tell me a story.", max_tokens=32) for _ in range(64))
        )
        seconds = time.perf_counter() - start
    return (
        f"{sum(r.usage.completion_tokens for r in replies) / seconds:.0f} tokens/s with 64 requests at once"
    )


async def check_images(args: argparse.Namespace) -> str:
    """The colour of a plain picture, sent byte for byte, and the server's count of image tokens."""
    async with connect(args) as model:
        right = counted = 0
        for name, colour in COLOURS.items():
            picture = Image.of(png(colour))
            response = await model.generate("What colour is the image?", images=[picture], max_tokens=8)
            right += response.text == name
            counted += bool(response.usage.image_tokens)
    expect((right, counted), (len(COLOURS), len(COLOURS)))
    return f"{right} of {len(COLOURS)} colours named, image tokens counted in {counted}"


async def check_several_images(args: argparse.Namespace) -> str:
    """Every picture of a message is counted: three cost three times what one costs."""
    pictures = [Image.of(png(colour)) for colour in COLOURS.values()][:3]
    async with connect(args) as model:
        ask = partial(model.generate, "What colour is the image?", max_tokens=4)
        counted = [(await ask(images=pictures[:n])).usage.image_tokens for n in (1, 2, 3)]
    one = counted[0] or 0
    expect((one > 0, counted), (True, [one, 2 * one, 3 * one]))
    return f"{counted} image tokens for 1, 2 and 3 pictures"


async def check_formats(args: argparse.Namespace) -> str:
    """WebP as it is, TIFF and CMYK converted: the model names the colour all the same."""
    import PIL.Image

    named = 0
    async with connect(args) as model:
        for made in ("WEBP RGB", "JPEG RGB", "TIFF RGB", "JPEG CMYK", "PNG RGBA"):
            kind, mode = made.split()
            out = io.BytesIO()
            PIL.Image.new("RGB", (56, 56), COLOURS["blue"]).convert(mode).save(out, kind)
            response = await model.generate(
                "What colour is the image?", images=[Image.of(out.getvalue())], max_tokens=8
            )
            named += response.text == "blue"
    expect(named, 5)
    return "WebP, JPEG, TIFF, CMYK, RGBA: all named"


async def check_reliance(args: argparse.Namespace) -> str:
    """The same questions with real, blank, shuffled and no pictures, compared pair by pair."""
    samples = [
        Sample(f"{name}-{n}", "What colour is the image?", name, images=(Image.of(png(colour, 56 + n)),))
        for name, colour in COLOURS.items()
        for n in range(4)
    ]
    scores: dict[str, list[float]] = {}
    async with connect(args) as model:
        for arm in ARMS:
            shown = list(in_arm(samples, arm))
            replies = await asyncio.gather(
                *(model.generate(s.input, images=s.images, max_tokens=8) for s in shown)
            )
            scores[arm] = [float(r.text == s.target) for r, s in zip(replies, shown, strict=True)]
    gaps = {arm: paired(scores["real"], scores[arm], low=0, high=1) for arm in ARMS[1:]}
    expect({arm: gap.ci[0] > 0 for arm, gap in gaps.items()}, dict.fromkeys(gaps, True))
    told = ", ".join(f"{arm} {gap.value:.2f} [{gap.ci[0]:.2f}, {gap.ci[1]:.2f}]" for arm, gap in gaps.items())
    return f"real less {told}"


def png(colour: tuple[int, int, int], size: int = 56) -> bytes:
    """A plain picture as a PNG file."""
    return plain_png(size, size, colour)


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
        self.begins = bool(self._tokenizer("")["input_ids"])  # puts a token, such as BOS, before every text

    def score(self, context: str, continuation: str) -> tuple[list[float], bool]:
        """Log-probabilities of the continuation's tokens, and whether each is the most probable one."""
        encoded = self._tokenizer(context + continuation, return_offsets_mapping=True)
        whole = encoded["input_ids"]
        first = next(i for i, (_, end) in enumerate(encoded["offset_mapping"]) if end > len(context))
        with self._torch.no_grad():
            logits = self._model(input_ids=self._torch.tensor([whole])).logits[0]
        table = logits.log_softmax(-1)
        values = [table[i - 1, whole[i]].item() for i in range(first, len(whole))]
        return values, all(int(table[i - 1].argmax()) == whole[i] for i in range(first, len(whole)))


def checks(args: argparse.Namespace) -> dict[str, Check]:
    """What to check, by name."""
    every: dict[str, Check] = {
        "probe": check_probe,
        "wrong model refused": check_wrong_model,
        "chat": check_chat,
        "native /generate": check_native,
        "JSON schema, regex": check_constraints,
        "context overflow": check_overflow,
        "echo equals native": check_echo,
        "throughput": check_throughput,
    }
    if args.reference:
        every["prompt logprobs equal transformers"] = check_logprobs
    if args.images:
        every["images"] = check_images
        every["several images"] = check_several_images
        every["image formats"] = check_formats
        every["image reliance"] = check_reliance
    return every


async def run(args: argparse.Namespace) -> bool:
    """All checks in turn, as a Markdown table. Returns whether every one passed."""
    print("| check | result | seconds | figures |\n|---|---|---|---|")
    passed = True
    for name, check in checks(args).items():
        start = time.perf_counter()
        try:
            result, figures = "pass", await check(args)
        except Exception as problem:  # noqa: BLE001 - a check that fails in any way is a line of the table
            result, figures, passed = "**FAIL**", f"{type(problem).__name__}: {problem}", False
        print(f"| {name} | {result} | {time.perf_counter() - start:.2f} | {figures} |", flush=True)
    return passed


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", required=True, help="http://127.0.0.1:30000")
    parser.add_argument("--model", default="tiny", help="the name it is served under")
    parser.add_argument("--reference", help="the folder of the model, for transformers")
    parser.add_argument("--images", action="store_true", help="the model sees images")
    sys.exit(0 if asyncio.run(run(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
