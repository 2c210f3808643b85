"""Pictures, sounds and films: what is sent as it is, what is converted and how, what is refused and why."""

from __future__ import annotations

import io
import json
import struct
import wave
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from evalkit.errors import RequestRejected, SetupError, UsageError
from evalkit.media import in_arm, interleaved, keep_image, open_images, ready_messages
from evalkit.media.pixels import plain_png
from evalkit.media.sniff import look
from evalkit.model import Model
from evalkit.models.fake import FakeBackend
from evalkit.models.openai.probe import tone_wav
from evalkit.protocols import BackendTraits
from evalkit.types import Audio, Image, MediaSupport, Message, Sample, Text, Video


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))


def ready(image: Image, **limits) -> Image:
    (message,) = ready_messages((Message("user", (image,)),), MediaSupport(**limits))
    (part,) = message.content
    assert isinstance(part, Image)
    return part


def shown(image: Image) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(image.read()))


def saved(picture: PIL.Image.Image, kind: str, **options) -> Image:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return Image.of(out.getvalue(), f"image/{kind.lower()}")


def gradient(width: int = 40, height: int = 30) -> PIL.Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return PIL.Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))


@pytest.mark.parametrize(
    "image",
    [
        saved(gradient(), "PNG"),
        saved(gradient(), "JPEG", quality=80),
        saved(gradient(), "JPEG", progressive=True),
        saved(gradient().convert("L"), "JPEG"),
        saved(gradient().convert("P"), "PNG"),
        saved(gradient().convert("RGBA"), "PNG"),  # an alpha channel that hides nothing
    ],
    ids=["png", "jpeg", "progressive", "grey", "palette", "opaque alpha"],
)
def test_what_every_server_reads_is_sent_byte_for_byte(image: Image) -> None:
    sent = ready(image)
    assert sent.read() == image.read()
    assert (sent.sha256, sent.made) == (image.sha256, "")


def test_the_type_comes_from_the_bytes_not_from_the_name(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(saved(gradient(), "JPEG").read())
    assert Image.open(path).media_type == "image/png"
    assert ready(Image.open(path)).media_type == "image/jpeg"


@pytest.mark.parametrize(
    ("kind", "options"), [("TIFF", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("GIF", {})]
)
def test_other_formats_become_png_without_loss(kind: str, options: dict) -> None:
    picture = gradient() if kind != "GIF" else gradient().convert("P")
    image = saved(picture, kind, **options)
    sent = ready(image)
    assert sent.media_type == "image/png"
    assert (np.asarray(shown(sent).convert("RGB")) == np.asarray(shown(image).convert("RGB"))).all()
    assert sent.made == f"image/{kind.lower()} to image/png"
    assert sent.size == (40, 30)


def test_webp_is_sent_as_it_is_where_the_server_takes_it() -> None:
    image = saved(gradient(), "WEBP")
    takes = frozenset({"image/png", "image/jpeg", "image/webp"})
    assert ready(image, images=takes).read() == image.read()


def test_sixteen_bits_are_spread_over_eight() -> None:
    """Read as they are, a server cuts them at 255: a radiograph of 12 bits becomes white."""
    values = np.linspace(100, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        sent = ready(saved(PIL.Image.fromarray(values), kind))
        grey = np.asarray(shown(sent))
        assert (grey.min(), grey.max(), grey.dtype) == (0, 255, np.uint8)
        assert abs(grey.astype(float) - (values - 100.0) / 3995 * 255).max() < 1
        assert "grey values 100 to 4095 spread over 8 bits" in sent.made


def test_cmyk_becomes_rgb() -> None:
    sent = ready(saved(gradient().convert("CMYK"), "JPEG", quality=100, subsampling=0))
    assert shown(sent).mode == "RGB"
    assert sent.made.endswith("CMYK to RGB")
    assert np.abs(np.asarray(shown(sent), float) - np.asarray(gradient(), float)).mean() < 4


def test_what_is_transparent_lies_on_white() -> None:
    """A server that drops the alpha channel would show black lines on black."""
    drawing = PIL.Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    drawing.putpixel((3, 4), (0, 0, 0, 255))
    sent = ready(saved(drawing, "PNG"))
    assert shown(sent).convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert shown(sent).convert("RGB").getpixel((3, 4)) == (0, 0, 0)
    assert "transparency on white" in sent.made
    palette = gradient().convert("P")
    palette.info["transparency"] = palette.getpixel((5, 5))
    cut = ready(saved(palette, "PNG", transparency=palette.info["transparency"]))
    assert shown(cut).convert("RGB").getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotation_in_the_exif_is_carried_out(orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    image = saved(gradient(), "JPEG", exif=exif, quality=95)
    sent = ready(image)
    if orientation == 1:
        assert sent.read() == image.read()
        return
    assert sent.size == ((30, 40) if orientation > 4 else (40, 30))
    assert "turned upright" in sent.made
    turned = PIL.ImageOps.exif_transpose(shown(image))
    assert (np.asarray(shown(sent)) == np.asarray(turned)).all()
    assert shown(sent).getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        ({"max_side": 20}, (20, 15)),
        ({"max_pixels": 300}, (20, 15)),
        ({"max_side": 40, "max_pixels": 48}, (8, 6)),
    ],
)
def test_a_resize_is_made_only_when_asked_for_and_recorded(limits: dict, size: tuple[int, int]) -> None:
    image = saved(gradient(), "PNG")
    sent = ready(image, **limits)
    assert sent.size == shown(sent).size == size
    assert f"resized from 40x30 to {size[0]}x{size[1]}" in sent.made
    assert ready(image, max_side=40).read() == image.read(), "what fits is left alone"


def test_a_conversion_is_made_once_and_is_the_same_bytes_again(tmp_path: Path) -> None:
    image = saved(gradient(), "TIFF")
    first = ready(image)
    again = ready(Image.of(image.read(), "image/tiff"))
    assert (first.sha256, first.path) == (again.sha256, again.path)
    Path(first.path or "").unlink()
    assert ready(image).sha256 == first.sha256


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"not a picture at all", "cannot be read as a picture"),
        (b"", "cannot be read as a picture"),
        (saved(gradient(), "JPEG").read()[:200], "cannot be read as a picture"),
        (b"%PDF-1.7\n", "open_images"),
        (bytes(128) + b"DICM", "open_images"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(RequestRejected, match=said):
        ready(Image.of(data))


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(plain_png(4, 4, (1, 2, 3)))
    image = Image.open(path)
    path.unlink()
    with pytest.raises(RequestRejected, match=r"x\.png cannot be read: No such file"):
        ready(image)


def test_a_file_of_several_pictures_asks_which(tmp_path: Path) -> None:
    pages = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    path = tmp_path / "stack.tiff"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(RequestRejected, match=r"3 pictures: choose with .*open_images"):
        ready(Image.open(path))
    second, third = open_images(path, pages=[2, 3])
    assert shown(second).getpixel((0, 0)) == (0, 128, 0)
    assert shown(third).getpixel((0, 0)) == (0, 0, 255)
    assert second.made.startswith("page 2")
    assert len(open_images(path)) == 3
    with pytest.raises(UsageError, match="pages 1 to 3, no page 4"):
        open_images(path, pages=[4])


def test_pages_of_a_pdf(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    pages = [PIL.Image.new("RGB", (100, 50), colour) for colour in ("red", "blue")]
    pages[0].save(path, "PDF", save_all=True, append_images=pages[1:], resolution=50)
    first, second = open_images(path, dpi=100)
    assert first.size == second.size == (200, 100)
    red, green, blue = shown(second).getpixel((100, 50))
    assert blue > 240 > 20 > max(red, green)
    assert second.made == "page 2 of a PDF at 100 dpi"
    assert ready(second).read() == second.read()
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    with pytest.raises(UsageError, match=r"broken\.pdf cannot be read as PDF"):
        open_images(tmp_path / "broken.pdf")


def dicom(path: Path, values: np.ndarray, **fields) -> Path:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        ExplicitVRLittleEndian,
        SecondaryCaptureImageStorage,
    )
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.Rows, made.Columns = values.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, int(values.dtype == np.int16)
    made.PixelData = values.tobytes()
    for name, value in fields.items():
        setattr(made, name, value)
    made.save_as(path)
    return path


def test_dicom_is_windowed_in_the_units_of_its_modality(tmp_path: Path) -> None:
    """A CT in Hounsfield units, window 40/400: -160 is black, 239 white (DICOM PS3.3 C.11.2.1.2)."""
    hounsfield = np.array([[-1000, -160, 40, 239, 3000, 0]], np.int16)
    path = dicom(
        tmp_path / "ct.dcm",
        (hounsfield + 1024).astype(np.uint16),
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=[40, 500],
        WindowWidth=[400, 2000],
    )
    (image,) = open_images(path)
    grey = np.asarray(shown(image))[0]
    assert list(grey[[0, 1, 3, 4]]) == [0, 0, 255, 255]
    assert grey[2] == pytest.approx(255 * (40 - 39.5 + 199.5) / 399, abs=1)
    assert image.made == "frame 1 of DICOM; window 40/400"
    (lung,) = open_images(path, window=(-600, 1500))
    assert lung.sha256 != image.sha256
    assert "window -600/1500" in lung.made


def test_dicom_without_a_window_uses_percentiles_and_monochrome1_is_inverted(tmp_path: Path) -> None:
    values = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
    (plain,) = open_images(dicom(tmp_path / "a.dcm", values))
    (inverted,) = open_images(dicom(tmp_path / "b.dcm", values, PhotometricInterpretation="MONOCHROME1"))
    assert np.asarray(shown(plain))[0, 0] == 0
    assert np.asarray(shown(plain))[99, 99] == 255
    assert (255 - np.asarray(shown(inverted), int) == np.asarray(shown(plain), int)).mean() > 0.99
    assert "percentiles 0.5 to 99.5" in plain.made
    assert "MONOCHROME1 inverted" in inverted.made


def test_dicom_with_a_table_of_its_own(tmp_path: Path) -> None:
    """Computed radiographs often carry a VOI LUT instead of a window."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    table = Dataset()
    table.add_new(0x00283002, "US", [4, 10, 8])  # four entries, the first for 10, of 8 bits
    table.add_new(0x00283006, "US", [0, 51, 204, 255])
    values = np.array([[5, 10, 11, 12, 13, 99]], np.uint16)
    (image,) = open_images(dicom(tmp_path / "cr.dcm", values, VOILUTSequence=Sequence([table])))
    assert list(np.asarray(shown(image))[0]) == [0, 0, 51, 204, 255, 255]
    assert "VOI LUT" in image.made


def test_frames_of_a_dicom_file(tmp_path: Path) -> None:
    values = np.stack([np.full((4, 4), level, np.uint16) for level in (0, 50, 100)])
    path = dicom(tmp_path / "cine.dcm", values, NumberOfFrames=3, WindowCenter=50.5, WindowWidth=101)
    assert [int(np.asarray(shown(i))[0, 0]) for i in open_images(path)] == [0, 128, 255]
    (last,) = open_images(path, pages=[3])
    assert last.made.startswith("frame 3 of DICOM")
    (tmp_path / "broken.dcm").write_bytes(path.read_bytes()[:300])
    with pytest.raises(UsageError, match=r"broken\.dcm cannot be read as DICOM"):
        open_images(tmp_path / "broken.dcm")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Four seconds at ten frames a second, each second of another grey."""
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(40):
            grey = np.full((48, 64, 3), 30 + 60 * (n // 10), np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


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


def test_sounds_are_wav_or_mp3(tmp_path: Path) -> None:
    takes = MediaSupport(audio=frozenset({"audio/wav", "audio/mpeg"}))
    tone = Audio.of(tone_wav(0.1), "application/octet-stream")
    (message,) = ready_messages((Message("user", (tone,)),), takes)
    assert message.content[0].media_type == "audio/wav"
    with wave.open(io.BytesIO(message.content[0].read())) as file:
        assert file.getnframes() == 1600
    assert look(b"ID3\x04" + bytes(20)).media_type == "audio/mpeg"
    assert look(b"\xff\xfb\x90\x00" + bytes(20)).media_type == "audio/mpeg"
    with pytest.raises(RequestRejected, match="takes no sound"):
        ready_messages((Message("user", (tone,)),), MediaSupport())
    with pytest.raises(RequestRejected, match=r"audio/ogg: sounds are sent as audio/mpeg, audio/wav"):
        ready_messages((Message("user", (Audio.of(b"OggS" + bytes(20)),)),), takes)


RED, GREEN = Image.of(plain_png(9, 9, (255, 0, 0))), Image.of(plain_png(9, 9, (0, 255, 0)))


def test_pictures_stand_where_the_text_names_them() -> None:
    message = interleaved("Is <image2> darker than\n<image1>\nor not?", [RED, GREEN])
    assert message.content == (Text("Is"), GREEN, Text("darker than"), RED, Text("or not?"))
    assert interleaved("First <image>, then <image>", [RED, GREEN]).content == (
        Text("First"),
        RED,
        Text(", then"),
        GREEN,
    )
    assert interleaved("What is this?", [RED, GREEN]).content == (RED, GREEN, Text("What is this?"))
    assert interleaved("Again <image1> <image1>", [RED]).content == (Text("Again"), RED)
    assert interleaved("Look: <image1>", []).content == (Text("Look:"),)


def samples(n: int = 12) -> list[Sample]:
    return [
        Sample(f"s{i}", "?", images=(Image.of(plain_png(20 + i, 10, (i, 0, 0))),), cluster=f"c{i // 2}")
        for i in range(n)
    ]


def test_arms() -> None:
    real = samples()
    assert list(in_arm(real, "real")) == real
    assert all(sample.images == () for sample in in_arm(real, "none"))
    for before, after in zip(real, in_arm(real, "blank"), strict=True):
        (grey,) = after.images
        assert shown(grey).size == shown(before.images[0]).size
        assert shown(grey).getcolors() == [(grey.size[0] * grey.size[1], (128, 128, 128))]
        assert (after.id, after.cluster, after.input) == (before.id, before.cluster, before.input)


def test_a_shuffled_picture_is_another_samples_and_always_the_same_one() -> None:
    real = samples()
    shuffled = list(in_arm(real, "shuffled"))
    pool = {sample.images[0].sha256 for sample in real}
    for before, after in zip(real, shuffled, strict=True):
        assert after.images[0].sha256 != before.images[0].sha256
        assert after.images[0].sha256 in pool
    assert [s.images for s in in_arm(list(reversed(real)), "shuffled")][::-1] == [s.images for s in shuffled]
    assert len({s.images[0].sha256 for s in shuffled}) > 4
    with pytest.raises(SetupError, match="pictures of other samples"):
        list(in_arm([Sample("a", "?", images=(RED,)), Sample("b", "?", images=(RED,))], "shuffled"))


def test_a_size_that_only_pillow_can_tell_is_kept_by_blank() -> None:
    tiff = saved(gradient(33, 21), "TIFF")
    (sample,) = in_arm([Sample("a", "?", images=(tiff,))], "blank")
    assert shown(sample.images[0]).size == (33, 21)


async def test_the_stored_request_names_every_picture_and_how_it_was_made() -> None:
    backend = FakeBackend(lambda request: "ok")
    backend.traits = BackendTraits(media=MediaSupport(max_side=16))
    model = Model(backend)
    await model.generate("Compare.", images=[saved(gradient(), "TIFF"), RED])
    (call,) = model.calls
    (message,) = model.describe(call.request)["messages"]
    first, second, text = message["content"]
    assert first["size"] == [16, 12]
    assert first["made"] == "image/tiff to image/png; resized from 40x30 to 16x12"
    assert second == {"type": "image", "sha256": RED.sha256, "media_type": "image/png"}
    assert text == {"type": "text", "text": "Compare."}
    assert backend.requests[0].messages[0].content[0].sha256 == first["sha256"]


def test_bytes_of_a_hub_row_are_kept_on_disk_once(tmp_path: Path) -> None:
    data = plain_png(5, 5, (1, 1, 1))
    one, other = keep_image(data, "image/png"), keep_image(data)
    assert one.data is None
    assert one.path == other.path
    assert one.read() == data


def test_headers_that_lie_do_no_harm() -> None:
    png, jpeg = plain_png(8, 8, (0, 0, 0)), saved(gradient(), "JPEG").read()
    for cut in range(0, 120, 3):
        look(png[:cut])
        look(jpeg[:cut])
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 2**31)
    look(b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif)
    assert look(json.dumps({"a": 1}).encode()).media_type == "application/octet-stream"
