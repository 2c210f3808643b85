"""Models that run inside evalkit: the baselines that papers report, and two that test a task's scoring.

- ``lead``: the first sentences of the first passage;  ``copy``: the whole first passage
- ``extract``: the sentences nearest to the question;  ``random``: a random sentence or choice
- ``echo``: the question itself
- ``gold``: the target, which should score best;  ``empty``: nothing, which should score worst

Where the prompt shows options under letters, ``gold`` and ``random`` reply with a letter, as a model would.
No baseline calls tools, except ``gold`` where the task gives the calls of a perfect reply.
"""

from __future__ import annotations

import hashlib
import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable

from evalkit.data.sentences import split_sentences
from evalkit.errors import RequestRejected, UsageError, did_you_mean
from evalkit.models.spec import ModelSpec
from evalkit.protocols import Backend, BackendTraits, ProbeResult
from evalkit.rag.prompts import read_numbered, text_of
from evalkit.types import Request, Requirements, Response, Sample, ServerInfo, Usage

SENTENCES = 3
_WORD = re.compile(r"\w+")
_GOLD_LOGPROB, _OTHER_LOGPROB = -0.1, -1000.0

Cited = tuple[int | None, str]  # the passage's number, None for a text without numbers, and a sentence


class BaselineBackend(Backend):
    """``baseline:NAME``. Replies are deterministic; token counts are counts of words."""

    def __init__(self, spec: ModelSpec) -> None:
        if spec.name not in _BASELINES:
            raise UsageError(
                f"no such baseline: {spec.name!r}.{did_you_mean(spec.name, _BASELINES)} "
                f"Known: {', '.join(_BASELINES)}."
            )
        if settings := [*spec.for_server, *spec.options]:
            raise UsageError(
                f"{spec.display} runs inside evalkit and takes no server settings ({', '.join(settings)})"
            )
        self.name = spec.display
        self.traits = BackendTraits(cacheable=False, defaults=spec.defaults, free=True)
        self._baseline = spec.name
        self._answer = _BASELINES[spec.name]

    async def send(self, request: Request) -> Response:
        """Answer a request. Raises ``RequestRejected`` if a sample is needed and the request has none."""
        prompt = _prompt(request)
        if request.continuation is not None:
            logprob = self._logprob(request)
            # Greedy decoding of gold would write the right continuation.
            greedy = self._baseline == "gold" and logprob == _GOLD_LOGPROB
            return Response(
                text="",
                logprobs=(logprob,),
                is_greedy=greedy,
                model=self.name,
                usage=_words(prompt, ""),
            )
        if request.reference_calls and self._baseline == "gold":
            return Response(
                text="", model=self.name, usage=_words(prompt, ""), tool_calls=request.reference_calls
            )
        text = self._answer(request)
        return Response(text=text, model=self.name, usage=_words(prompt, text))

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Return the baseline's name and traits; there is nothing to check."""
        info = ServerInfo({"provider": "baseline", "model": self._baseline})
        return ProbeResult(self.name, info, self.traits)

    def _logprob(self, request: Request) -> float:
        """Return the continuation's log-probability: gold knows the answer, other baselines draw a number."""
        continuation = (request.continuation or "").strip()
        if self._baseline == "gold":
            return _GOLD_LOGPROB if continuation in _right_answers(request) else _OTHER_LOGPROB
        return math.log((_hash(request, f"{_prompt(request)}\0{continuation}") + 1) / 2**32)


def lead(request: Request) -> str:
    """Return the first sentences of the first passage."""
    passages = _passages(request)
    number, text = passages[0]
    return _cite((number, sentence) for sentence in split_sentences(text)[:SENTENCES])


def copy(request: Request) -> str:
    """Return the whole first passage."""
    return _cite(_passages(request)[:1])


def extract(request: Request) -> str:
    """Return the sentences most relevant to the question and least alike, in the order of the text."""
    sentences = _sentences(request)
    question = request.sample.input if request.sample else _last_line(_prompt(request))
    chosen = most_relevant([text for _, text in sentences], question, SENTENCES)
    return _cite(sentences[i] for i in sorted(chosen))


def pick_random(request: Request) -> str:
    """Return a random choice of the sample, or without choices a random sentence of the passages.

    The result depends on sample, seed and repeat; among choices also on the prompt, so that another order of
    the options is another guess.
    """
    if request.sample and request.sample.choices:
        index = _hash(request, _prompt(request)) % len(request.sample.choices)
        return _letter(request.sample, index, _prompt(request)) or request.sample.choices[index]
    sentences = _sentences(request)
    return _cite([sentences[_hash(request) % len(sentences)]]) if sentences else ""


def echo(request: Request) -> str:
    """Return the question."""
    return request.sample.input if request.sample else _prompt(request)


def most_relevant(sentences: list[str], question: str, k: int) -> list[int]:
    """Return the indices of up to ``k`` sentences by maximal marginal relevance (MMR), best first.

    The similarity is the cosine of tf-idf vectors. Each step takes the sentence whose similarity to the
    question exceeds that to the chosen sentences by the largest margin (Carbonell and Goldstein, SIGIR 1998,
    with λ = ½); ties go to the earlier sentence. After the first sentence, only positive margins count.
    """
    vectors = _tf_idf([*sentences, question])
    question_vector = vectors.pop()
    relevance = [_cosine(vector, question_vector) for vector in vectors]
    redundancy = [0.0] * len(sentences)
    chosen: list[int] = []
    while len(chosen) < min(k, len(sentences)):
        pairs = enumerate(zip(relevance, redundancy, strict=True))
        margins = [(near - alike, -i) for i, (near, alike) in pairs if i not in chosen]
        margin, minus_index = max(margins)
        if chosen and margin <= 0:
            break
        chosen.append(-minus_index)
        alike = [_cosine(vector, vectors[-minus_index]) for vector in vectors]
        redundancy = list(map(max, redundancy, alike))
    return chosen


def _tf_idf(texts: list[str]) -> list[dict[str, float]]:
    """Return tf-idf vectors of length 1, with the smoothed inverse document frequency over ``texts``."""
    counts = [Counter(_WORD.findall(text.lower())) for text in texts]
    document_counts = Counter(word for count in counts for word in count)
    idf = {word: math.log((1 + len(texts)) / (1 + n)) + 1 for word, n in document_counts.items()}
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
    sample = _known(request)
    letter = _letter(sample, sample.answers[0], _prompt(request)) if sample.answers else None
    return letter or (sample.targets[0] if sample.targets else "")


def _known(request: Request) -> Sample:
    if request.sample is None:
        raise RequestRejected("baseline:gold answers with a sample's target, and this request has no sample")
    return request.sample


def _letter(sample: Sample, index: int, prompt: str) -> str | None:
    """Return the letter under which a prompt shows a choice, None if it shows none.

    Of several letters with the same text it is the one at the choice's own place.
    """
    text = r"\s+".join(map(re.escape, sample.choices[index].split())) if index < len(sample.choices) else ""
    shown = rf"(?<!\w)([A-Z])[.):\]]{{1,2}}\**\s*{text}[*.,;]*(?=\s*(?:$|\(?[A-Z][.):\]]))"
    letters = re.findall(shown, prompt, re.MULTILINE) if text else []
    own = string.ascii_uppercase[index : index + 1]
    return own if own in letters else letters[-1] if letters else None


def _right_answers(request: Request) -> set[str]:
    """Return every spelling of the right answer: the target; for a choice, its text and its letter."""
    sample = _known(request)
    if sample.answers:
        right = [i for i in sample.answers if i in range(len(sample.choices))]
        return {
            name for i in right for name in (string.ascii_uppercase[i : i + 1], sample.choices[i].strip())
        }
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
    """Return the numbered passages of the prompt, or its whole text if there are none."""
    prompt = _prompt(request)
    passages = read_numbered(prompt)
    return list(passages.items()) if passages else [(None, prompt)]


def _sentences(request: Request) -> list[Cited]:
    return [(n, sentence) for n, text in _passages(request) for sentence in split_sentences(text)]


def _cite(sentences: Iterable[Cited]) -> str:
    return " ".join(text if n is None else f"{text} [{n}]" for n, text in sentences)


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _hash(request: Request, more: str = "") -> int:
    """Return 32 bits that depend on sample (or else prompt), seed, repeat and ``more`` only."""
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
