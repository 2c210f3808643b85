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

from evalkit.errors import RequestRejected
from evalkit.media import keep_image, ready_messages
from evalkit.media.pixels import plain_png
from evalkit.media.sniff import look
from evalkit.model import Model
from evalkit.models.fake import FakeBackend
from evalkit.models.openai.media_probe import tone_wav
from evalkit.protocols import BackendTraits
from evalkit.types import Audio, Image, MediaSupport, Message
from tests.media.pictures import gradient, ready, saved, shown


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


def test_a_colour_profile_is_used_or_kept_but_never_that_of_another_colour_space() -> None:
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    kept = ready(saved(gradient(), "TIFF", icc_profile=srgb))
    assert shown(kept).info["icc_profile"] == srgb
    cmyk = ready(saved(PIL.Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF", icc_profile=b"damaged"))
    assert shown(cmyk).getpixel((0, 0)) == (255, 0, 0)
    assert "icc_profile" not in shown(cmyk).info
    assert cmyk.made.endswith("CMYK to RGB, its colour profile cannot be used")
    grey = ready(saved(PIL.Image.new("LAB", (8, 8), (137, 128, 128)), "TIFF", icc_profile=lab))
    assert shown(grey).getpixel((0, 0)) == pytest.approx((128, 128, 128), abs=4)
    assert grey.made.endswith("LAB to RGB by its colour profile")


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


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "image/heic.*heif-convert"),
        (b"\0\0\0\x18ftypmif1" + bytes(40), "image/heic.*heif-convert"),
        (
            b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
            r"image/svg\+xml.*rsvg-convert",
        ),
        (b"GIF89a" + bytes(3), "damaged, or in no format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "image/png"),
    ],
    ids=["empty", "heic", "heif", "svg", "gif", "png"],
)
def test_an_unreadable_file_is_refused_with_its_name_and_what_to_do(
    tmp_path: Path, data: bytes, said: str
) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(RequestRejected, match=rf"x\.jpg .*{said}") as refused:
        ready(Image.open(path))
    assert " object at 0x" not in str(refused.value)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {}),
        ("AVIF", {}),
    ],
)
def test_a_picture_that_is_cut_off_is_never_sent(kind: str, options: dict) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    whole = saved(PIL.Image.fromarray(noise), kind, **options).read()
    every = frozenset(f"image/{name}" for name in ("png", "jpeg", "gif", "bmp", "tiff", "webp", "avif"))
    for share in (0.2, 0.5, 0.9):
        cut = Image.of(whole[: int(len(whole) * share)])
        for takes in ({}, {"images": every}):
            with pytest.raises(RequestRejected, match="cannot be read as a picture"):
                ready(cut, **takes)


def test_a_photograph_that_ends_in_its_preview_is_noticed() -> None:
    """The end marker of the small picture in the EXIF is not that of the photograph."""
    preview = saved(gradient(), "JPEG").read()
    head = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(preview) + 8) + b"Exif\0\0" + preview
    photograph = head + saved(gradient(), "JPEG", quality=95).read()[2:]
    assert look(photograph).odd == ""
    assert "no end" in look(photograph[:-300]).odd


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (np.full((20, 20), 65535, np.uint16), 255),
        (np.full((20, 20), 0, np.uint16), 0),
        (np.full((20, 20), 32768, np.uint16), 128),
        (np.full((20, 20), 1.0, np.float32), 255),
        (np.full((20, 20), 0.5, np.float32), 128),
        (np.full((20, 20), 255.0, np.float32), 255),
        (np.full((20, 20), 0.0, np.float32), 0),
        (np.full((20, 20), -3.0, np.float32), 0),
        (np.full((20, 20), 65535, np.int32), 255),
    ],
)
def test_an_even_picture_keeps_its_grey(values: np.ndarray, white: int) -> None:
    """Spread from the lowest to the highest value, an all-white picture would be black."""
    sent = ready(saved(PIL.Image.fromarray(values), "TIFF"))
    assert shown(sent).getcolors() == [(400, white)]


def test_a_phones_photograph_is_its_first_picture(tmp_path: Path) -> None:
    """Behind it lies a gain map or a preview, which no viewer shows."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    behind = [gradient(20, 15).convert("L").convert("RGB")]
    upright = saved(gradient(), "MPO", save_all=True, append_images=behind, exif=exif)
    assert look(upright.read()).media_type == "image/jpeg"
    assert ready(upright).size == (30, 40)
    flat = saved(gradient(), "MPO", save_all=True, append_images=behind)
    assert ready(flat).read() == flat.read()
    assert ready(flat, max_side=20).size == (20, 15)
    motion = Image.of(saved(gradient(), "JPEG").read() + b"\0\0\0\x18ftypmp42" + bytes(9000))
    assert ready(motion).read() == motion.read(), "a short film behind it changes nothing"


def test_a_fax_has_square_pixels(tmp_path: Path) -> None:
    """204 x 98 pixels to the inch: shown pixel by pixel, a page is half as high as it should be."""
    fax = ready(saved(PIL.Image.new("1", (80, 40)), "TIFF", compression="group4", dpi=(204, 98)))
    assert (fax.size, shown(fax).mode) == ((80, 83), "L")
    assert "pixels made square, from 80x40 to 80x83" in fax.made
    assert ready(saved(PIL.Image.new("1", (80, 40)), "TIFF", dpi=(200, 200))).size == (80, 40)
    assert ready(saved(PIL.Image.new("1", (80, 40)), "TIFF", dpi=(200, 1))).size == (80, 40), "a wrong entry"


def test_a_file_written_again_is_never_shown_under_the_name_of_another(tmp_path: Path) -> None:
    path = tmp_path / "scratch.png"
    opened = []
    for colour in ("red", "green", "blue"):
        PIL.Image.new("RGB", (30, 30), colour).save(path)
        opened.append(Image.open(path))
    for stale in opened[:2]:
        with pytest.raises(RequestRejected, match=r"scratch\.png .*changed since it was opened"):
            ready(stale)
    assert shown(ready(opened[2])).getpixel((0, 0)) == (0, 0, 255)
    with pytest.raises(OSError, match="changed"):
        opened[0].read()


def test_a_picture_of_pillow_in_a_message_is_refused_with_the_way_to_open_it() -> None:
    with pytest.raises(RequestRejected, match=r"holds PIL\.Image\.Image where .*Image\.open\(path\)"):
        ready_messages((Message("user", (gradient(),)),), MediaSupport())


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(plain_png(4, 4, (1, 2, 3)))
    image = Image.open(path)
    path.unlink()
    with pytest.raises(RequestRejected, match=r"x\.png cannot be read: No such file"):
        ready(image)


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


async def test_the_stored_request_names_every_picture_and_how_it_was_made() -> None:
    red = Image.of(plain_png(9, 9, (255, 0, 0)))
    backend = FakeBackend(lambda request: "ok")
    backend.traits = BackendTraits(media=MediaSupport(max_side=16))
    model = Model(backend)
    await model.generate("Compare.", images=[saved(gradient(), "TIFF"), red])
    (call,) = model.calls
    (message,) = model.describe(call.request)["messages"]
    first, second, text = message["content"]
    assert first["size"] == [16, 12]
    assert first["made"] == "image/tiff to image/png; resized from 40x30 to 16x12"
    assert second == {"type": "image", "sha256": red.sha256, "media_type": "image/png"}
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
