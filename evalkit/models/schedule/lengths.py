"""Predicts the output tokens of a request, and its cost in tokens where a rate of tokens applies.

The length of a reply comes from an earlier run of the same sample; else from the mean over at least three
replies of this run, to requests with the same long prefix, the same first paragraph, or the same
``max_tokens`` (the first that has them); else it is ``max_tokens``. The cost of a request is its predicted
reply, a quarter of its characters, and its pictures: by their size, or by the mean of the replies so far.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from evalkit.media.sniff import look
from evalkit.models.schedule.prefix import QueuedRequest, characters
from evalkit.types import Image, Request

# Returns the tokens of an earlier reply to a request; None if there was none.
Prior = Callable[[Request], int | None]

REMEMBERED = 50_000
_NOTHING = (0, 0)
CHARS_PER_TOKEN = 4
# The tokens of a picture, before a server has counted one: pixels per token as Anthropic counts them, between
# OpenAI's smallest and Anthropic's largest number. The largest also stands for a picture of unknown size.
_PIXELS_PER_TOKEN, _MIN_PICTURE_TOKENS, _MAX_PICTURE_TOKENS = 750, 85, 1_600


def prior(earlier: Mapping[str, float]) -> Prior:
    """Return a function that looks up a request's sample in ``earlier``, the tokens by sample id."""

    def tokens(request: Request) -> int | None:
        length = earlier.get(request.sample.id) if request.sample else None
        return None if length is None else round(length)

    return tokens


class OutputLengthPredictor:
    """Predicts output tokens from the replies of this run (see the top of this file)."""

    MIN_REPLIES = 3

    def __init__(self) -> None:
        self._totals: dict[tuple[int, int], tuple[int, int]] = {}

    def predict(self, queued: QueuedRequest, earlier: int | None) -> int:
        """Return the output tokens to expect, 1 to ``max_tokens``; ``earlier``: those of an earlier reply."""
        request = queued.request
        if request.continuation is not None:
            return 1
        if earlier is None:
            earlier = self._mean(queued)
        return max(1, min(earlier, request.max_tokens))

    def _mean(self, queued: QueuedRequest) -> int:
        for key in self._keys(queued):
            n, total = self._totals.get(key, _NOTHING)
            if n >= self.MIN_REPLIES:
                return total // n
        return queued.request.max_tokens

    def observe(self, queued: QueuedRequest, tokens: int) -> None:
        """Record the tokens of a reply."""
        if len(self._totals) > REMEMBERED:
            self._totals = dict(itertools.islice(self._totals.items(), REMEMBERED // 2, None))
        for key in self._keys(queued):
            n, total = self._totals.get(key, _NOTHING)
            self._totals[key] = (n + 1, total + tokens)

    @staticmethod
    def _keys(queued: QueuedRequest) -> tuple[tuple[int, int], ...]:
        most = queued.request.max_tokens
        return (queued.group, most), (queued.chain[1] if len(queued.chain) > 1 else 0, most), (-1, most)


class TokenCostEstimator:
    """Estimates the tokens that a request takes from a rate (see the top of this file)."""

    def __init__(self) -> None:
        self.latest = 0.0
        self._pictures = self._picture_tokens = 0.0

    def estimate(self, queued: QueuedRequest) -> float:
        """Return the expected tokens of prompt and reply."""
        images = queued.request.images
        mean = self._picture_tokens / self._pictures if self._pictures else None
        picture_tokens = sum(map(tokens_by_size, images)) if mean is None else len(images) * mean
        self.latest = queued.length + characters(queued.request) / CHARS_PER_TOKEN + picture_tokens
        return self.latest

    def observe(self, queued: QueuedRequest, prompt: int, reply: int) -> float:
        """Learn from a reply and return the request's tokens; ``prompt`` is 0 if the server counts none."""
        if not prompt:
            return queued.cost - queued.length + reply
        if images := queued.request.images:
            self._pictures += len(images)
            self._picture_tokens += max(0.0, prompt - characters(queued.request) / CHARS_PER_TOKEN)
        return float(prompt + reply)


def tokens_by_size(image: Image) -> float:
    """Return about how many tokens a picture takes."""
    try:
        size = image.size or look(image.read()).size
    except OSError:  # sending the request will raise the error
        size = None
    if size is None:
        return _MAX_PICTURE_TOKENS
    return min(_MAX_PICTURE_TOKENS, max(_MIN_PICTURE_TOKENS, size[0] * size[1] / _PIXELS_PER_TOKEN))
