"""The probe of pictures and sounds: does the server show them to the model, or drop them in silence?"""

from __future__ import annotations

import io
import math
import os
import struct
import wave
from typing import TYPE_CHECKING

from evalkit.errors import ProbeError, RequestRejected
from evalkit.models.openai.shown import ImageCost, new_picture
from evalkit.types import Audio, Message, Part, Request, Response, Text, Usage

if TYPE_CHECKING:
    from evalkit.models.http import HTTPBackend

# Asked with and without a picture or a sound.
COLOUR, SOUND = "What colour is the image?", "What do you hear?"
_PICTURE = 64  # width and height of the probe's pictures, in pixels
_COLOURS = ((210, 10, 10), (10, 180, 10), (10, 10, 210))


async def check_images(backend: HTTPBackend) -> ImageCost:
    """Check that a picture, and then a second one, changes the token count or the reply.

    Return the tokens of a picture. A server that refuses two pictures passes. Raises ``ProbeError``.
    """
    question = Text(COLOUR)
    # New ones each time: some servers do not count what lies in their prompt cache.
    red, green, blue = (new_picture((_PICTURE, _PICTURE), colour) for colour in _COLOURS)
    plain = await _ask(backend, question)
    seen = await _ask(backend, red, question)
    if seen.usage.prompt_tokens == plain.usage.prompt_tokens and seen.text == plain.text:
        raise ProbeError(
            f"{backend.name}: the server drops images silently: a picture changed neither its token "
            "count nor its answer. Check that the model sees images, and its chat template"
        )
    try:
        both = await _ask(backend, green, blue, question)
    except RequestRejected:
        return ImageCost(counted=_counted(seen.usage))
    cost = seen.usage.prompt_tokens - plain.usage.prompt_tokens
    if cost > 0 and both.usage.prompt_tokens == seen.usage.prompt_tokens:
        raise ProbeError(
            f"{backend.name}: the server silently keeps one image of several: a second picture did not "
            "change its token count. Check its chat template and its limit of images in a prompt"
        )
    return ImageCost(cost, _counted(seen.usage))


def _counted(usage: Usage) -> bool | None:
    """Return whether a usage names the tokens of a picture that was seen; None if it names nothing."""
    return None if usage.image_tokens is None else usage.image_tokens > 0


async def check_audio(backend: HTTPBackend) -> None:
    """Check that a sound changes the token count or the reply. Raises ``ProbeError``."""
    question = Text(SOUND)
    plain = await _ask(backend, question)
    tone = tone_wav(hertz=400.0 + os.urandom(1)[0])  # a new one each time, as the pictures are
    heard = await _ask(backend, Audio.of(tone, "audio/wav"), question)
    if heard.usage.prompt_tokens == plain.usage.prompt_tokens and heard.text == plain.text:
        raise ProbeError(
            f"{backend.name}: the server drops sounds silently: a sound changed neither its token count "
            "nor its answer. Check that the model takes sound"
        )


async def _ask(backend: HTTPBackend, *parts: Part) -> Response:
    return await backend.send(Request(messages=(Message("user", parts),), max_tokens=16))


def tone_wav(seconds: float = 1.0, hertz: float = 440.0, rate: int = 16000) -> bytes:
    """Return a plain tone as a WAV file: one channel, 16 bits."""
    values = (round(12000 * math.sin(2 * math.pi * hertz * i / rate)) for i in range(round(seconds * rate)))
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"".join(struct.pack("<h", value) for value in values))
    return out.getvalue()
