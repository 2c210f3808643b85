"""Notices pictures, sounds and films that a server dropped, by the prompt tokens that it counts.

Some servers drop what their chat template does not know, or all pictures but one, and answer the text alone.
But servers count in many ways: a small square may cost more than a wide strip (tiles), what lies in the
prompt cache may not be counted (Ollama), and ``image_tokens`` may always be 0. So a count that looks too low
is only a reason to measure: the same text with as many new pictures, and with one fewer. Only where both cost
the same, a picture was dropped.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from msgspec.structs import replace

from evalkit.errors import NotInstalled, RequestRejected
from evalkit.media.pixels import even_picture, plain_png
from evalkit.media.sniff import look
from evalkit.models.openai import wire
from evalkit.types import Audio, Image, Part, Request, Response, Usage, Video

_PICTURE = (64, 64)  # where a picture's size is unknown
_ADVICE = "Check that the model takes it, its chat template, and the server's limit of pictures in a prompt"


class ImageCost(NamedTuple):
    """What the probe learned of a server's counts.

    ``tokens``: prompt tokens of its picture (0: unknown). ``counted``: whether the usage names image tokens;
    False if it named 0 for a picture that was seen, None if it named nothing.
    """

    tokens: int = 0
    counted: bool | None = None


class ShownMedia:
    """Checks the replies of one backend.

    ``count`` asks a server for the prompt tokens of a request. During a probe, which compares by itself,
    nothing is checked.
    """

    def __init__(self, count: Callable[[Request], Awaitable[int]], *, probing: bool = False) -> None:
        self._count = count
        self._cost = ImageCost()
        self._known: set[type] = {Image, Audio, Video} if probing else set()  # kinds that cost tokens
        self._measuring = asyncio.Lock()

    def probed(self, cost: ImageCost, *, images: bool, audio: bool) -> None:
        """Take over what a probe found; a kind that it did not try is measured at its first use."""
        self._cost = cost
        self._known = {kind for kind, tried in ((Image, images), (Audio, audio)) if tried}

    async def check(self, request: Request, response: Response) -> None:
        """Raise ``RequestRejected`` if a measurement shows that the server dropped media of a request."""
        usage = response.usage
        for kind in dict.fromkeys(type(part) for part in wire.media_of(request)):
            if self._looks_free(kind, request, usage):
                async with self._measuring:
                    if self._looks_free(kind, request, usage):  # another reply may have cleared it
                        await self._measure(kind, request, usage)
                        self._learn(kind, request, usage)

    def _looks_free(self, kind: type, request: Request, usage: Usage) -> bool:
        """Return whether a reply's counts may mean that media of ``kind`` were dropped."""
        if not usage.prompt_tokens:
            return False  # nothing is counted: nothing can be measured
        if kind not in self._known:
            return True
        if kind is not Image:
            return False
        unnamed = usage.image_tokens == 0 or (usage.image_tokens is None and self._cost.counted)
        return (unnamed and self._cost.counted is not False) or (
            usage.prompt_tokens < len(request.images) * self._cost.tokens
        )

    async def _measure(self, kind: type, request: Request, usage: Usage) -> None:
        parts = [part for part in wire.media_of(request) if isinstance(part, kind)]
        size = await asyncio.to_thread(_largest, parts)
        fewer = await self._tokens(request, kind, len(parts) - 1, size)
        if len(parts) == 1 and usage.prompt_tokens > fewer:
            return
        shown = await self._tokens(request, kind, len(parts), size)
        if 0 < shown <= fewer:
            name = kind.__name__.lower()
            which = f"the {name}" if len(parts) == 1 else f"one of {len(parts)} {name}s"
            new = "new ones of {}x{}".format(*size) if size else "it"
            without = "without it" if len(parts) == 1 else "with one fewer"
            raise RequestRejected(
                f"the server dropped {which}: measured with {new}, the same text has {shown} prompt tokens, "
                f"and {fewer} {without}. {_ADVICE}"
            )

    async def _tokens(self, request: Request, kind: type, count: int, size: tuple[int, int] | None) -> int:
        """Return the prompt tokens of a request with ``count`` media of ``kind``, new to the server."""
        return await self._count(await asyncio.to_thread(_with_new, request, kind, count, size))

    def _learn(self, kind: type, request: Request, usage: Usage) -> None:
        """Take over the counts of a reply whose media were shown not to be dropped: they mean nothing."""
        self._known.add(kind)
        if kind is Image:
            least = min(self._cost.tokens, usage.prompt_tokens // len(request.images))
            self._cost = ImageCost(least, self._cost.counted if usage.image_tokens else False)


def _largest(parts: list[Image | Audio | Video]) -> tuple[int, int] | None:
    """Return the size of the largest picture; None if there is none."""
    sizes = [part.size or look(part.read()).size or _PICTURE for part in parts if isinstance(part, Image)]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _with_new(request: Request, kind: type, count: int, size: tuple[int, int] | None) -> Request:
    """Return a request for one output token with the first ``count`` of its parts of ``kind``.

    Pictures are replaced by ones of the same type that the server has never seen: its caches hold none of
    them.
    """
    left = count
    messages = []
    for message in request.messages:
        if isinstance(message.content, str):
            messages.append(message)
            continue
        parts: list[Part] = []
        for part in message.content:
            if not isinstance(part, kind):
                parts.append(part)
            elif left:
                left -= 1
                if isinstance(part, Image) and size:
                    part = new_picture(size, kind=part.media_type)
                parts.append(part)
        messages.append(replace(message, content=tuple(parts) or "?"))
    return replace(request, messages=tuple(messages), max_tokens=1)


def new_picture(
    size: tuple[int, int], colour: tuple[int, int, int] = (100, 100, 100), kind: str = "image/png"
) -> Image:
    """Return an even picture of about a ``colour`` that no server has seen before.

    It is a file of a ``kind``, or a PNG file where that cannot be written here.
    """
    red, green, blue = (value + byte % 32 for value, byte in zip(colour, os.urandom(3), strict=True))
    try:
        return Image.of(even_picture(*size, (red, green, blue), kind), kind)
    except (NotInstalled, KeyError, OSError):
        return Image.of(plain_png(*size, (red, green, blue)))
