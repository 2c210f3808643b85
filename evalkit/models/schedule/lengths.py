"""How long a reply will be, from an earlier run or as this run teaches; how many tokens it costs in all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from evalkit.media.sniff import look
from evalkit.models.schedule.prefix import QueuedRequest, characters
from evalkit.types import Image, Request

# The tokens of an earlier reply to a request; None where there was none.
Prior = Callable[[Request], int | None]

REMEMBERED = 50_000
_NOTHING = (0, 0)
_CHARS_PER_TOKEN = 4
# A picture before any was counted: pixels for each token, as Anthropic counts them, between what OpenAI takes
# for the smallest and what Anthropic takes at most; the last where the size cannot be told.
_PIXELS_PER_TOKEN, _SMALLEST, _LARGEST = 750, 85, 1_600


def prior(earlier: Mapping[str, float]) -> Prior:
    """Lengths by sample id as the scheduler asks for them."""

    def tokens(request: Request) -> int | None:
        known = earlier.get(request.sample.id) if request.sample else None
        return None if known is None else round(known)

    return tokens


class OutputLengthPredictor:
    """Predicts output tokens: as is known, else the mean seen of this prefix, of this beginning, of
    requests with the same ``max_tokens``; before anything is seen, ``max_tokens``."""

    ENOUGH = 3

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], tuple[int, int]] = {}

    def predict(self, queued: QueuedRequest, known: int | None) -> int:
        """Output tokens to expect, between 1 and ``max_tokens``; ``known`` from an earlier run or not."""
        request = queued.request
        if request.continuation is not None:
            return 1
        if known is None:
            known = self._learned(queued)
        return max(1, min(known, request.max_tokens))

    def _learned(self, queued: QueuedRequest) -> int:
        for key in self._keys(queued):
            n, total = self._seen.get(key, _NOTHING)
            if n >= self.ENOUGH:
                return total // n
        return queued.request.max_tokens

    def observe(self, queued: QueuedRequest, tokens: int) -> None:
        """Remember how long a reply was."""
        if len(self._seen) > REMEMBERED:
            self._seen = dict(itertools.islice(self._seen.items(), REMEMBERED // 2, None))
        for key in self._keys(queued):
            n, total = self._seen.get(key, _NOTHING)
            self._seen[key] = (n + 1, total + tokens)

    @staticmethod
    def _keys(queued: QueuedRequest) -> tuple[tuple[int, int], ...]:
        most = queued.request.max_tokens
        return (queued.group, most), (queued.chain[1] if len(queued.chain) > 1 else 0, most), (-1, most)


class TokenCostEstimator:
    """Predicts the tokens that a request takes of a rate: its reply, a quarter of its characters, and its
    pictures, as many for each as replies have counted so far; before that by their size."""

    def __init__(self) -> None:
        self.latest = 0.0
        self._pictures = self._tokens = 0.0

    def of(self, queued: QueuedRequest) -> float:
        """Tokens of prompt and reply to expect."""
        images = queued.request.images
        shown = len(images) * self._tokens / self._pictures if self._pictures else sum(map(_by_size, images))
        self.latest = queued.length + characters(queued.request) / _CHARS_PER_TOKEN + shown
        return self.latest

    def counted(self, queued: QueuedRequest, prompt: int, reply: int) -> float:
        """Tokens that a request took; ``prompt`` is 0 where the server does not count."""
        if not prompt:
            return queued.cost - queued.length + reply
        if images := queued.request.images:
            self._pictures += len(images)
            self._tokens += max(0.0, prompt - characters(queued.request) / _CHARS_PER_TOKEN)
        return float(prompt + reply)


def _by_size(image: Image) -> float:
    try:
        size = image.size or look(image.read()).size
    except OSError:  # the request itself will say so
        size = None
    if size is None:
        return _LARGEST
    return min(_LARGEST, max(_SMALLEST, size[0] * size[1] / _PIXELS_PER_TOKEN))
