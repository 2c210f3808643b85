"""Samples frames of a film as pictures, by number or by rate. Needs PyAV (``evalkit[video]``).

Times are those of the frames themselves, from the film's first frame; what a header says about the length is
only used to notice that the end is missing.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from evalkit.errors import RequestRejected
from evalkit.extras import load
from evalkit.media.kept import Made, kept
from evalkit.media.pixels import png, square
from evalkit.types import Image, Video

MOST_FRAMES = 512
_COVER = 0x400  # FFmpeg's mark of a picture that stands for a song (AV_DISPOSITION_ATTACHED_PIC)
_ROUNDING_S = 0.002  # WebM and Matroska round each time to a millisecond
_MISSING_S = 0.5  # the shortest missing end that is noticed by its time


class _Span(NamedTuple):
    """When the first frame begins and when the last one ends, in seconds of the file's own clock."""

    start: float
    end: float

    @property
    def length(self) -> float:
        return self.end - self.start


def frames_of(video: Video) -> tuple[Image, ...]:
    """Return ``video.frames`` pictures, from the middles of as many equal parts, or ``fps`` per second.

    With ``fps`` they are the frames at 0, 1/fps, 2/fps, … seconds, as long as the film lasts. Raises
    ``RequestRejected`` for a file without a film, without its end, or with too many frames for one request.
    """
    return kept(f"{video.sha256} film {video.frames} {video.fps}", lambda: _sample(video))


def _sample(video: Video) -> list[Made]:
    av = load("av", "a film")
    name = video.path or f"film {video.sha256[:12]}"
    try:
        video.check()
        with _opened(video, av) as container:
            span = _span(container, _film(container, name), av.time_base, name)
        times = _times(video, span, name)
        with _opened(video, av) as container:
            stream = _film(container, name)
            return [
                _picture(*shown, stream, span, name) for shown in _on_screen(container, stream, times, span)
            ]
    except (av.error.FFmpegError, OSError) as problem:
        raise RequestRejected(f"{name} cannot be read as a film: {problem.strerror or problem}") from None


def _opened(video: Video, av: Any) -> Any:
    return av.open(video.path if video.data is None else io.BytesIO(video.data))


def _film(container: Any, name: str) -> Any:
    """Return the film's stream: a cover picture is none. Raises ``RequestRejected``."""
    for stream in container.streams.video:
        if not int(stream.disposition) & _COVER:
            return stream
    raise RequestRejected(f"{name} contains no film")


def _span(container: Any, film: Any, base: int, name: str) -> _Span:
    """Read the times of all packets, undecoded. Raises ``RequestRejected`` if the end is missing."""
    starts: list[float] = []
    ends = {stream.index: 0.0 for stream in container.streams}
    length = 0.0
    for packet in container.demux():
        if not packet.size or packet.is_discard:
            continue
        lasts = float((packet.duration or 0) * packet.time_base)
        is_film = packet.stream.index == film.index
        length += lasts if is_film else 0.0
        if packet.pts is not None:
            begins = float(packet.pts * packet.time_base)
            ends[packet.stream.index] = max(ends[packet.stream.index], begins + lasts)
            starts += [begins] if is_film else []
    if not starts:  # a raw stream has no clock: its frames follow each other
        return _Span(0.0, length)
    last, end = max(starts), ends[film.index]
    span = _Span(min(starts), end if end > last else last + _step(starts))
    there, declared = max(ends.values()), _declared(container, film, base)
    if declared - max(there, there - span.start) > _MISSING_S:
        raise RequestRejected(
            f"{name} is cut off: its header says {declared:.3f} s, and the last frame ends at {there:.3f} s"
        )
    return span


def _step(starts: list[float]) -> float:
    """Return the usual time from one frame to the next: how long the last one lasts if nothing says it."""
    steps = sorted(after - before for before, after in pairwise(sorted(starts)))
    return steps[len(steps) // 2] if steps else 0.0


def _declared(container: Any, film: Any, base: int) -> float:
    """Return the length by the headers, in seconds; 0 if none says it. An edit list may shorten a track."""
    track = None if film.duration is None else float(film.duration * film.time_base)
    whole = container.duration / base if container.duration else None
    return min((length for length in (track, whole) if length is not None), default=0.0)


def _times(video: Video, span: _Span, name: str) -> list[float]:
    """Return the times to show, in seconds from the first frame."""
    fps = video.fps or 1.0
    count = video.frames or max(1, math.ceil((span.length - _ROUNDING_S) * fps))
    if count > MOST_FRAMES:
        raise RequestRejected(
            f"{name}: {count} frames for one request are more than {MOST_FRAMES}; lower fps="
        )
    if video.frames:
        return [(i + 0.5) / count * span.length for i in range(count)]
    return [i / fps for i in range(count)]


def _on_screen(
    container: Any, stream: Any, times: Iterable[float], span: _Span
) -> Iterator[tuple[Any, int, float]]:
    """Yield the frame on screen at each time, the last one that began by then: with its number and time."""
    remaining = iter(times)
    time = next(remaining, None)
    current: tuple[Any, int, float] | None = None
    elapsed = 0.0
    for number, frame in enumerate(container.decode(stream), 1):
        begins = elapsed if frame.time is None else frame.time - span.start
        elapsed = begins + float((frame.duration or 0) * (frame.time_base or 0))
        while time is not None and current is not None and begins > time + _ROUNDING_S:
            yield current
            time = next(remaining, None)
        if time is None:
            return
        current = frame, number, begins
    while time is not None and current is not None:
        yield current
        time = next(remaining, None)


def _picture(frame: Any, number: int, begins: float, stream: Any, span: _Span, name: str) -> Made:
    """Return a frame as a player shows it: with square pixels and upright."""
    if frame.is_corrupt:
        raise RequestRejected(f"{name} is damaged: its frame {number}, at {begins:.3f} s, cannot be decoded")
    steps = [f"frame {number} at {begins:.3f} s of a film of {span.length:.3f} s"]
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    picture = square(frame.to_image(), 1 / aspect, steps)
    if degrees := frame.rotation:
        picture = picture.rotate(degrees, expand=True)
        steps.append(f"turned by {degrees} degrees")
    return png(picture), "; ".join(steps), picture.size
