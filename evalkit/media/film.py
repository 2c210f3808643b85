"""Samples frames of a film as pictures, by number or by rate. Needs PyAV (``evalkit[video]``)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from evalkit.errors import RequestRejected
from evalkit.extras import load
from evalkit.media.kept import Made, kept
from evalkit.media.pixels import png
from evalkit.types import Image, Video

MOST_FRAMES = 512


def frames_of(video: Video) -> tuple[Image, ...]:
    """Return ``video.frames`` pictures, from the middles of as many equal parts, or ``fps`` per second.

    Raises ``RequestRejected`` for a file without a film or too many frames for one request.
    """
    return kept(f"{video.sha256} film {video.frames} {video.fps}", lambda: list(_sample(video)))


def _sample(video: Video) -> Iterator[Made]:
    av = load("av", "a film")
    name = video.path or f"film {video.sha256[:12]}"
    try:
        with av.open(video.path or io.BytesIO(video.read())) as container:
            if not container.streams.video:
                raise RequestRejected(f"{name} contains no film")
            times = _times(video, _duration(container, container.streams.video[0], av.time_base), name)
            yield from _frames_at(container, times)
    except (av.error.FFmpegError, OSError) as problem:
        raise RequestRejected(f"{name} cannot be read as a film: {problem}") from None


def _duration(container: Any, stream: Any, base: int) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / base if container.duration else 0.0


def _times(video: Video, duration: float, name: str) -> list[float]:
    count = video.frames or max(1, int(duration * (video.fps or 1.0) + 1e-6))
    if count > MOST_FRAMES:
        raise RequestRejected(
            f"{name}: {count} frames for one request are more than {MOST_FRAMES}; lower fps="
        )
    if video.frames:
        return [(i + 0.5) / count * duration for i in range(count)]
    return [i / (video.fps or 1.0) for i in range(count)]


def _frames_at(container: Any, times: list[float]) -> Iterator[Made]:
    """Yield the frame on screen at each time: the last one that began by then."""
    remaining = iter(times)
    time = next(remaining, None)
    current: Any = None
    for frame in container.decode(video=0):
        while time is not None and current is not None and frame.time > time + 1e-9:
            yield _picture(current)
            time = next(remaining, None)
        current = frame
        if time is None:
            return
    while time is not None and current is not None:
        yield _picture(current)
        time = next(remaining, None)


def _picture(frame: Any) -> Made:
    picture = frame.to_image()
    if degrees := getattr(frame, "rotation", 0):
        picture = picture.rotate(degrees, expand=True)
    return png(picture), f"frame at {frame.time:.3f} s of a film", picture.size
