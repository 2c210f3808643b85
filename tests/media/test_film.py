"""Films: which frames are sent, at which times, and which files are refused."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from evalkit.errors import RequestRejected
from evalkit.media import ready_messages
from evalkit.types import Image, MediaSupport, Message, Text, Video
from tests.media.pictures import gradient, saved, shown

SECONDS = [30 + 60 * (n // 10) for n in range(40)]  # four seconds, each of another grey
CONTAINERS = {
    "film.mp4": {},
    "film.mkv": {},
    "film.webm": {"codec": "libvpx"},
    "film.avi": {},
    "live.webm": {"codec": "libvpx", "options": {"live": "1"}},  # as a browser records: no duration
    "live.mkv": {"options": {"live": "1"}},
    "fragments.mp4": {"options": {"movflags": "frag_keyframe+empty_moov"}},
    "h264.mp4": {"codec": "libx264"},  # its frames are stored in another order
    "raw.m4v": {"format": "m4v"},
    "raw.h264": {"codec": "libx264", "format": "h264"},  # no times at all
}


def write(path: Path, greys=SECONDS, *, codec="mpeg4", times=None, aspect=None, **options) -> Path:
    """Write a film of 64 x 48 pixels, a frame for each grey, ten a second or at ``times`` (seconds)."""
    import av

    base = Fraction(1, 10) if times is None else Fraction(1, 1000)
    times = [n / 10 for n in range(len(greys))] if times is None else times
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = base
        if aspect:
            stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        for grey, time in zip(greys, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(time / base), base
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def frames(path: Path, **sampling) -> list[Image]:
    message = Message("user", (Video.open(path, **sampling),))
    (ready,) = ready_messages((message,), MediaSupport())
    return list(ready.content)


def greys(images: list[Image]) -> list[float]:
    return [float(np.asarray(shown(image)).mean()) for image in images]


def near(values: list[float]) -> object:
    return pytest.approx(values, abs=9)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write(tmp_path / "film.mp4")


@pytest.mark.parametrize("sampling", [{"frames": 4}, {"fps": 1.0}])
def test_a_film_is_sent_as_the_frames_asked_for(film: Path, sampling: dict) -> None:
    video = Video.open(film, **sampling)
    (message,) = ready_messages(
        (Message("user", (Text("Watch:"), video, Text("What is it?"))),), MediaSupport()
    )
    assert [type(part) for part in message.content] == [Text, Image, Image, Image, Image, Text]
    greys = [np.asarray(shown(part)).mean() for part in message.content[1:5]]
    assert greys == pytest.approx([30, 90, 150, 210], abs=8)
    assert "of a film" in message.content[2].made


def test_a_whole_film_goes_only_to_servers_that_sample_it(film: Path) -> None:
    messages = (Message("user", (Video.open(film),)),)
    assert ready_messages(messages, MediaSupport(video=True)) == messages
    with pytest.raises(RequestRejected, match=r"frames=8.*\?video=file"):
        ready_messages(messages, MediaSupport())
    with pytest.raises(RequestRejected, match="more than 512"):
        ready_messages((Message("user", (Video.open(film, frames=1000),)),), MediaSupport())
    (film.parent / "not.mp4").write_bytes(b"nothing")
    with pytest.raises(RequestRejected, match="cannot be read as a film"):
        ready_messages((Message("user", (Video.open(film.parent / "not.mp4", frames=2),)),), MediaSupport())


@pytest.mark.parametrize("name", CONTAINERS)
def test_frames_are_chosen_by_what_is_there(tmp_path: Path, name: str) -> None:
    """Also without a length in the header, and without times of the frames."""
    path = write(tmp_path / name, **CONTAINERS[name])
    for sampling in ({"frames": 4}, {"fps": 1}):
        assert greys(frames(path, **sampling)) == near([30, 90, 150, 210])
    made = [image.made for image in frames(path, fps=1)]
    assert made == [f"frame {10 * n + 1} at {n}.000 s of a film of 4.000 s" for n in range(4)]


@pytest.mark.parametrize("name", ["late.mkv", "late.mp4"])
def test_a_film_that_does_not_start_at_0_is_sampled_from_its_first_frame(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, times=[5 + n / 10 for n in range(40)])
    assert greys(frames(path, fps=1)) == near([30, 90, 150, 210])
    assert greys(frames(path, frames=4)) == near([30, 90, 150, 210])
    assert frames(path, fps=1)[3].made.startswith("frame 31 at 3.000 s")


@pytest.mark.parametrize(
    ("count", "fps", "expected"),
    [
        (29, 1, [30, 30, 210]),  # 2.9 s: 0, 1 and 2 s
        (20, 1, [30, 30]),  # 2.0 s: the film is over at 2 s
        (21, 1, [30, 30, 210]),
        (29, 2, [30, 30, 30, 30, 210, 210]),
        (29, 0.5, [30, 210]),
        (3, 1, [30]),
    ],
)
def test_a_rate_covers_the_last_second(tmp_path: Path, count: int, fps: float, expected: list) -> None:
    path = write(tmp_path / "film.mp4", ([30] * 20 + [210] * 9)[:count])
    assert greys(frames(path, fps=fps)) == near(expected)


def test_a_variable_frame_rate_is_followed(tmp_path: Path) -> None:
    """What is on screen at a time, not the frame of that number."""
    path = write(tmp_path / "slides.mkv", [30, 90, 150, 210], times=[0, 0.1, 3, 3.5])
    assert greys(frames(path, fps=1)) == near([30, 90, 90, 150])
    assert [image.made.split(" of")[0] for image in frames(path, fps=1)] == [
        "frame 1 at 0.000 s",
        "frame 2 at 0.100 s",
        "frame 2 at 0.100 s",
        "frame 3 at 3.000 s",
    ]


@pytest.mark.parametrize("name", [name for name in CONTAINERS if not name.startswith("raw")])
@pytest.mark.parametrize("left", [0.3, 0.9, 0.995])
def test_a_film_that_is_cut_off_is_refused(tmp_path: Path, name: str, left: float) -> None:
    path = write(tmp_path / name, **CONTAINERS[name])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left)])
    with pytest.raises(RequestRejected, match=r"cut off|cannot be read as a film|contains no film"):
        frames(path, frames=4)


def test_a_whole_film_that_is_cut_off_is_not_sent_either(film: Path) -> None:
    film.write_bytes(film.read_bytes()[:-9])
    messages = (Message("user", (Video.open(film),)),)
    with pytest.raises(RequestRejected, match=r"film\.mp4 is cut off: .* 9 bytes are missing"):
        ready_messages(messages, MediaSupport(video=True))
    film.unlink()
    with pytest.raises(RequestRejected, match=r"film\.mp4 cannot be read: No such file"):
        ready_messages(messages, MediaSupport(video=True))


@pytest.mark.parametrize("name", ["film.mkv", "film.webm", "live.webm", "h264.mp4"])
def test_a_film_whose_second_half_never_arrived_is_refused(tmp_path: Path, name: str) -> None:
    """A download that reserved the space and broke off: the size is right, the rest is zeros."""
    path = write(tmp_path / name, **CONTAINERS[name])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(RequestRejected, match=r"cut off|cannot be read as a film|damaged"):
        frames(path, frames=4)


def test_bytes_behind_a_film_do_no_harm(film: Path) -> None:
    film.write_bytes(film.read_bytes() + b"\xff\xff\xff\xffSEFT, as phones write it" + bytes(64))
    assert greys(frames(film, frames=4)) == near([30, 90, 150, 210])


def test_a_sound_longer_than_the_film_is_no_cut(tmp_path: Path) -> None:
    import av

    path = tmp_path / "talk.mkv"
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("mpeg4", rate=10), container.add_stream("aac", rate=16000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for n, grey in enumerate([30] * 10 + [210] * 10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 10)
            container.mux(video.encode(frame))
        for n in range(60):
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            tone.sample_rate, tone.pts, tone.time_base = 16000, n * 1024, Fraction(1, 16000)
            container.mux(sound.encode(tone))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    assert greys(frames(path, frames=2)) == near([30, 210])
    assert frames(path, frames=1)[0].made.endswith("of a film of 2.000 s")


@pytest.mark.parametrize(("aspect", "size"), [((2, 1), (128, 48)), ((1, 2), (64, 96)), ((1, 1), (64, 48))])
def test_pixels_that_are_not_square_are_shown_square(tmp_path: Path, aspect: tuple, size: tuple) -> None:
    path = write(tmp_path / "film.mp4", aspect=aspect)
    (frame,) = frames(path, frames=1)
    assert frame.size == shown(frame).size == size
    assert ("made square" in frame.made) == (aspect != (1, 1))


def test_a_phone_held_upright_is_shown_upright(tmp_path: Path) -> None:
    """The rotation is in the track header: the matrix for a quarter turn clockwise."""
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:24] = 255  # white above
        for n in range(5):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    one = 1 << 16
    level = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    header = data.index(b"tkhd")
    matrix = data.index(level, header)
    turned = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    path.write_bytes(data[:matrix] + turned + data[matrix + 36 :])
    (frame,) = frames(path, frames=1)
    assert frame.size == (48, 64)
    grey = np.asarray(shown(frame).convert("L"))
    assert grey[:, 30:].mean() > 240 > 15 > grey[:, :18].mean(), "what was above is on the right"
    assert "turned by" in frame.made


def test_a_film_written_again_is_never_shown_under_the_name_of_another(tmp_path: Path) -> None:
    path = write(tmp_path / "film.mp4", [30] * 10)
    first = Video.open(path, frames=1)
    write(path, [210] * 10)
    with pytest.raises(RequestRejected, match=r"film\.mp4 .*changed since it was opened"):
        ready_messages((Message("user", (first,)),), MediaSupport())


def test_a_film_in_memory_is_read_as_its_file_is(film: Path) -> None:
    held = Video(Video.open(film).sha256, "video/mp4", data=film.read_bytes(), frames=4)
    (message,) = ready_messages((Message("user", (held,)),), MediaSupport())
    assert greys(list(message.content)) == near([30, 90, 150, 210])


@pytest.mark.parametrize("data", [b"nothing", b""])
def test_what_is_no_film_is_refused_by_name(data: bytes) -> None:
    held = Video("0" * 64, "video/mp4", data=data, frames=1)
    with pytest.raises(RequestRejected, match="film 000000000000 cannot be read") as refused:
        ready_messages((Message("user", (held,)),), MediaSupport())
    assert " object at 0x" not in str(refused.value)


def test_a_song_with_a_cover_is_no_film(tmp_path: Path) -> None:
    import av

    path = tmp_path / "song.mp3"
    cover = saved(gradient(), "JPEG").read()
    with av.open(str(path), "w", format="mp3") as container:
        sound = container.add_stream("mp3", rate=16000)
        picture = container.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 40, 30, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        for n in range(20):
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
            tone.sample_rate, tone.pts, tone.time_base = 16000, n * 1152, Fraction(1, 16000)
            container.mux(sound.encode(tone))
        packet = av.Packet(cover)
        packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1, 1000)
        container.mux(packet)
        container.mux(sound.encode(None))
    with pytest.raises(RequestRejected, match=r"song\.mp3 contains no film"):
        frames(path, frames=1)
