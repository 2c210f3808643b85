"""Converts the media of a request to what its backend takes: kept if possible, else converted or refused."""

from __future__ import annotations

import asyncio
import functools
import os
from concurrent.futures import Executor, ThreadPoolExecutor

from msgspec.structs import replace

from evalkit.errors import RequestRejected
from evalkit.media.film_file import missing_bytes
from evalkit.media.kept import Made, kept
from evalkit.media.pixels import fitting, to_png
from evalkit.media.sniff import look
from evalkit.types import Audio, Image, MediaSupport, Message, Part, Text, Video

_DOCUMENTS = ("application/pdf", "application/dicom")


async def ready_soon(messages: tuple[Message, ...], takes: MediaSupport) -> tuple[Message, ...]:
    """Run ``ready_messages`` in a separate thread pool. Raises ``RequestRejected``.

    Conversions that wait for a thread must not delay the store and the requests in flight.
    """
    return await asyncio.get_running_loop().run_in_executor(_threads(), ready_messages, messages, takes)


@functools.cache
def _threads() -> Executor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="media")


def ready_messages(messages: tuple[Message, ...], takes: MediaSupport) -> tuple[Message, ...]:
    """Return messages with the media that ``takes`` allows. Raises ``RequestRejected`` with the reason."""
    return tuple(
        m
        if isinstance(m.content, str)
        else replace(m, content=tuple(ready for part in m.content for ready in _ready(part, takes)))
        for m in messages
    )


def _ready(part: Part, takes: MediaSupport) -> tuple[Part, ...]:
    match part:
        case Image():
            return (ready_image(part, takes),)
        case Audio():
            return (_ready_audio(part, takes),)
        case Video():
            return _ready_video(part, takes)
        case Text():
            return (part,)
    kind = f"{type(part).__module__}.{type(part).__name__}"
    raise RequestRejected(
        f"a message holds {kind} where it should hold Text, Image, Audio or Video: open files with "
        "Image.open(path), and bytes with Image.of(data)"
    )


def ready_image(image: Image, takes: MediaSupport) -> Image:
    """Return the picture itself, or its conversion. Raises ``RequestRejected``."""
    data = _bytes(image)
    info = look(data)
    name = _name(image)
    if info.media_type in _DOCUMENTS:
        raise RequestRejected(f"{name} is {info.media_type}: read it with evalkit.media.open_images(path)")
    fits = info.size is not None and fitting(info.size, takes) == info.size
    if info.media_type in takes.images and not info.odd and fits:
        return _unchanged(image, info.media_type)
    recipe = f"{image.sha256} {sorted(takes.images)} {takes.max_pixels} {takes.max_side}"

    def make() -> list[Made]:
        converted = to_png(data, info.media_type, takes, name)
        if converted is None:
            return []
        png, method, size = converted
        return [(png, f"{image.made}; {method}" if image.made else method, size)]

    pictures = kept(recipe, make)
    return pictures[0] if pictures else _unchanged(image, info.media_type)


def _unchanged(image: Image, media_type: str) -> Image:
    """Return the same bytes with their true media type, which a file's name may not show."""
    if media_type == image.media_type:
        return image
    return Image(image.sha256, media_type, image.path, image.data, image.made, image.size)


def _ready_audio(audio: Audio, takes: MediaSupport) -> Audio:
    if not takes.audio:
        raise RequestRejected("this model takes no sound")
    media_type = look(_bytes(audio)).media_type
    if media_type not in takes.audio:
        allowed = ", ".join(sorted(takes.audio))
        raise RequestRejected(f"{_name(audio)} is {media_type}: sounds are sent as {allowed}")
    return Audio(audio.sha256, media_type, audio.path, audio.data)


def _ready_video(video: Video, takes: MediaSupport) -> tuple[Part, ...]:
    _check_whole(video)
    if video.frames is None and video.fps is None:
        if takes.video:
            return (video,)
        raise RequestRejected(
            f"{_name(video)}: choose how to sample the film, Video.open(path, frames=8) or fps=1; "
            "a server that samples films itself (vLLM, SGLang) gets the file with ?video=file"
        )
    from evalkit.media.film import frames_of

    return tuple(ready_image(frame, takes) for frame in frames_of(video))


def _check_whole(video: Video) -> None:
    try:
        lacking = missing_bytes(video)
    except OSError as problem:
        raise RequestRejected(f"{_name(video)} cannot be read: {problem.strerror}") from None
    if lacking:
        raise RequestRejected(
            f"{_name(video)} is cut off: by its own headers {lacking:,} bytes are missing. Copy it again, or "
            "keep what is there: ffmpeg -i FILE -c copy NEW.mkv"
        )


def _bytes(part: Image | Audio | Video) -> bytes:
    try:
        return part.read()
    except OSError as problem:
        raise RequestRejected(f"{_name(part)} cannot be read: {problem.strerror}") from None


def _name(part: Image | Audio | Video) -> str:
    return part.path or f"{part.media_type} {part.sha256[:12]}"
