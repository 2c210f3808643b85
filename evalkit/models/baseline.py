"""Models without a network: the baselines that papers report, and the two that prove a scoring.

``lead`` the first sentences of the first passage; ``copy`` all of it; ``extract`` the sentences nearest to
the question; ``random`` any sentence; ``echo`` the question itself; ``empty`` nothing; ``gold`` the target.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable

from evalkit.data.sentences import split_sentences
from evalkit.errors import RequestRejected, UsageError, did_you_mean
from evalkit.models.spec import ModelSpec
from evalkit.protocols import Backend, BackendTraits, ProbeResult
from evalkit.rag.prompts import read_numbered, text_of
from evalkit.types import Request, Requirements, Response, ServerInfo, Usage

SENTENCES = 3
_WORD = re.compile(r"\w+")
_GOLD_LOGPROB, _OTHER_LOGPROB = -0.1, -1000.0

Cited = tuple[int | None, str]  # the passage's number, None for a text without numbers, and a sentence


class BaselineBackend(Backend):
    """``baseline:NAME``. Deterministic; token counts are words."""

    def __init__(self, spec: ModelSpec) -> None:
        if spec.name not in _BASELINES:
            raise UsageError(
                f"no such baseline: {spec.name!r}.{did_you_mean(spec.name, _BASELINES)} "
                f"Known: {', '.join(_BASELINES)}."
            )
        if spec.urls or spec.options:
            what = "a URL" if spec.urls else ", ".join(spec.options)
            raise UsageError(f"{spec.display} runs inside evalkit: it takes no server settings ({what})")
        self.name = spec.display
        self.traits = BackendTraits(cacheable=False, defaults=spec.defaults)
        self._baseline = spec.name
        self._answer = _BASELINES[spec.name]

    async def send(self, request: Request) -> Response:
        """Answer at once. Raises ``RequestRejected`` where the baseline needs a sample and there is none."""
        prompt = _prompt(request)
        if request.continuation is not None:
            logprob = self._logprob(request)
            # Greedy decoding writes what the baseline answers: of all that gold sees, the right one.
            greedy = self._baseline == "gold" and logprob == _GOLD_LOGPROB
            return Response(
                text="",
                logprobs=(logprob,),
                is_greedy=greedy,
                model=self.name,
                usage=_words(prompt, ""),
            )
        text = self._answer(request)
        return Response(text=text, model=self.name, usage=_words(prompt, text))

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Find the baseline: it is always there."""
        info = ServerInfo({"provider": "baseline", "model": self._baseline})
        return ProbeResult(self.name, info, self.traits)

    def _logprob(self, request: Request) -> float:
        """A log-probability for the choice of an answer: gold knows it, all others guess."""
        continuation = (request.continuation or "").strip()
        if self._baseline == "gold":
            return _GOLD_LOGPROB if continuation in _right(request) else _OTHER_LOGPROB
        return math.log((_hash(request, f"{_prompt(request)}\0{continuation}") + 1) / 2**32)


def lead(request: Request) -> str:
    """The first sentences of the first passage."""
    passages = _passages(request)
    number, text = passages[0]
    return _cite((number, sentence) for sentence in split_sentences(text)[:SENTENCES])


def copy(request: Request) -> str:
    """The first passage, whole."""
    return _cite(_passages(request)[:1])


def extract(request: Request) -> str:
    """The sentences nearest to the question that say different things, in the order of the text."""
    sentences = _sentences(request)
    question = request.sample.input if request.sample else _last_line(_prompt(request))
    chosen = most_relevant([text for _, text in sentences], question, SENTENCES)
    return _cite(sentences[i] for i in sorted(chosen))


def pick_random(request: Request) -> str:
    """A choice of the sample, or else a sentence of its passages; the same for the same sample and seed.

    Among choices it guesses anew for each prompt: under another order of the options too.
    """
    if request.sample and request.sample.choices:
        choices = request.sample.choices
        return choices[_hash(request, _prompt(request)) % len(choices)]
    sentences = _sentences(request)
    return _cite([sentences[_hash(request) % len(sentences)]]) if sentences else ""


def echo(request: Request) -> str:
    """The question, said back."""
    return request.sample.input if request.sample else _prompt(request)


def most_relevant(sentences: list[str], question: str, k: int) -> list[int]:
    """Indices of up to ``k`` sentences by maximal marginal relevance over tf-idf cosines, best first.

    Each step takes the sentence that is nearer to the question than to any sentence chosen before, by the
    largest margin (Carbonell and Goldstein, SIGIR 1998, with λ = ½); ties go to the earlier one. It ends
    where no sentence adds anything: the first is taken in any case.
    """
    vectors = _tf_idf([*sentences, question])
    asked = vectors.pop()
    near = [_cosine(vector, asked) for vector in vectors]
    alike = [0.0] * len(sentences)
    chosen: list[int] = []
    while len(chosen) < min(k, len(sentences)):
        margins = [(n - a, -i) for i, (n, a) in enumerate(zip(near, alike, strict=True)) if i not in chosen]
        margin, minus_index = max(margins)
        if chosen and margin <= 0:
            break
        chosen.append(-minus_index)
        alike = [
            max(a, _cosine(vector, vectors[-minus_index])) for a, vector in zip(alike, vectors, strict=True)
        ]
    return chosen


def _tf_idf(texts: list[str]) -> list[dict[str, float]]:
    """Unit vectors; the inverse document frequency is that over ``texts``, smoothed."""
    counts = [Counter(_WORD.findall(text.lower())) for text in texts]
    spread = Counter(word for count in counts for word in count)
    idf = {word: math.log((1 + len(texts)) / (1 + n)) + 1 for word, n in spread.items()}
    vectors = []
    for count in counts:
        vector = {word: n * idf[word] for word, n in count.items()}
        length = math.sqrt(sum(value * value for value in vector.values())) or 1.0
        vectors.append({word: value / length for word, value in vector.items()})
    return vectors


def _cosine(a: dict[str, float], b: dict[str, float]) -> float:
    if len(b) < len(a):
        a, b = b, a
    return sum(value * b[word] for word, value in a.items() if word in b)


def _gold(request: Request) -> str:
    if request.sample is None:
        raise RequestRejected("baseline:gold answers with a sample's target, and this request has no sample")
    return request.sample.targets[0] if request.sample.targets else ""


def _right(request: Request) -> set[str]:
    """Every spelling of the right answer: the target, and where the sample has choices, text and letter."""
    target = _gold(request).strip()
    choices = [choice.strip() for choice in request.sample.choices] if request.sample else []
    lettered = {chr(ord("A") + i): choice for i, choice in enumerate(choices)}
    for letter, choice in lettered.items():
        if target in (letter, choice):
            return {target, letter, choice}
    return {target}


def _prompt(request: Request) -> str:
    if request.prompt is not None:
        return request.prompt
    return text_of([message for message in request.messages if message.role == "user"])


def _passages(request: Request) -> list[tuple[int | None, str]]:
    """The numbered passages of the prompt; without any, its whole text."""
    prompt = _prompt(request)
    found = read_numbered(prompt)
    return list(found.items()) if found else [(None, prompt)]


def _sentences(request: Request) -> list[Cited]:
    return [(n, sentence) for n, text in _passages(request) for sentence in split_sentences(text)]


def _cite(sentences: Iterable[Cited]) -> str:
    return " ".join(text if n is None else f"{text} [{n}]" for n, text in sentences)


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _hash(request: Request, more: str = "") -> int:
    """32 bits that depend on the sample (or the prompt), the seed and the repeat only."""
    name = request.sample.id if request.sample else _prompt(request)
    key = f"{request.seed or 0}\0{request.repeat}\0{name}\0{more}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4])


def _words(prompt: str, text: str) -> Usage:
    return Usage(prompt_tokens=len(prompt.split()), completion_tokens=len(text.split()))


_BASELINES: dict[str, Callable[[Request], str]] = {
    "lead": lead,
    "copy": copy,
    "extract": extract,
    "random": pick_random,
    "empty": lambda request: "",
    "echo": echo,
    "gold": _gold,
}
