"""Pages of PDF and TIFF, frames of animations: which are shown, and what is said of those that cannot be."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from evalkit.errors import RequestRejected, UsageError
from evalkit.media import open_images
from evalkit.media.sniff import look
from evalkit.types import Image
from tests.media.pictures import gradient, ready, saved, shown

COLOURS = ("red", "green", "blue")


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


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "AVIF"])
def test_frames_of_an_animation_are_chosen_as_the_message_says(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"moving.{kind.lower()}"
    first, *others = (PIL.Image.new("RGB", (16, 16), colour) for colour in COLOURS)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "AVIF" else {}
    first.save(path, kind, save_all=True, append_images=others, **options)
    with pytest.raises(RequestRejected, match=r"holds 3 pictures: choose with .*open_images\(path, pages"):
        ready(Image.open(path), images=frozenset({"image/png", "image/jpeg", "image/webp"}))
    (last,) = open_images(path, pages=[3])
    red, green, blue = shown(last).convert("RGB").getpixel((8, 8))
    assert blue > 250 > 5 > max(red, green)
    assert ready(last).read() == last.read()
    assert len(open_images(path)) == 3
    with pytest.raises(UsageError, match="pages 1 to 3, no page 4"):
        open_images(path, pages=[4])


def test_one_picture_is_its_own_first_page(tmp_path: Path) -> None:
    for kind in ("PNG", "JPEG", "MPO", "TIFF", "GIF", "WEBP"):
        path = tmp_path / "one"
        options = {"save_all": True, "append_images": [gradient(8, 8)]} if kind == "MPO" else {}
        path.write_bytes(saved(gradient(), kind, **options).read())
        (image,) = open_images(path, pages=[1])
        assert image.sha256 == Image.open(path).sha256
        with pytest.raises(UsageError, match="one page or picture, no page 2"):
            open_images(path, pages=[2])


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


def pdf(*objects: bytes) -> bytes:
    """Return a PDF file of objects that are numbered from 1, the first one its catalogue."""
    out, offsets = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size, start = len(objects) + 1, len(out)
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, start)
    return out + b"xref\n0 %d\n0000000000 65535 f \n%s%s" % (size, table, trailer)


def stream(data: bytes, fields: bytes = b"") -> bytes:
    return b"<</Length %d%s>>stream\n%s\nendstream" % (len(data), fields, data)


FORM = (
    b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]/DA(/Helv 0 Tf 0 g)"
    b"/DR<</Font<</Helv<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>>>",
    b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Annots[4 0 R]>>",
)
FIELD = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(hb)/V(11.2)/Rect[20 40 120 60]/F 4/P 3 0 R%s>>"


def test_what_is_filled_into_a_form_is_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "form.pdf"
    bar = stream(b"0 0 0 rg 0 0 100 20 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 100 20]")
    path.write_bytes(pdf(*FORM, FIELD % b"/AP<</N 5 0 R>>", bar))
    (page,) = open_images(path, dpi=72)
    assert np.asarray(shown(page).convert("L"))[42:58, 25:115].max() < 60


def test_a_field_without_an_appearance_shows_its_value(tmp_path: Path) -> None:
    path = tmp_path / "form.pdf"
    path.write_bytes(pdf(*FORM, FIELD % b"/DA(/Helv 12 Tf 0 g)"))
    (page,) = open_images(path, dpi=72)
    assert (np.asarray(shown(page).convert("L"))[40:60, 20:120] < 100).sum() > 30


def test_a_form_that_only_one_reader_shows_is_refused(tmp_path: Path) -> None:
    """Others show a page that says: please wait."""
    path = tmp_path / "xfa.pdf"
    root = FORM[0].replace(b"/AcroForm<<", b"/NeedsRendering true/AcroForm<</XFA 5 0 R")
    path.write_bytes(pdf(root, *FORM[1:], FIELD % b"", stream(b"<xdp/>")))
    with pytest.raises(UsageError, match=r"xfa\.pdf is an XFA form"):
        open_images(path)


def test_a_page_that_cannot_be_loaded_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    pages = b"<</Type/Pages/Kids[3 0 R 9 0 R]/Count 2>>"
    path.write_bytes(pdf(b"<</Type/Catalog/Pages 2 0 R>>", pages, FORM[2].replace(b"/Annots[4 0 R]", b"")))
    with pytest.raises(UsageError, match=r"report\.pdf: page 2 cannot be shown"):
        open_images(path)
    assert len(open_images(path, pages=[1])) == 1


def test_a_page_of_too_many_pixels_asks_for_a_lower_dpi(tmp_path: Path) -> None:
    path = tmp_path / "poster.pdf"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 14400 14400]>>"
    pages = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
    path.write_bytes(pdf(b"<</Type/Catalog/Pages 2 0 R>>", pages, page))
    with pytest.raises(UsageError, match=r"poster\.pdf: page 1 has 30000x30000 pixels: lower dpi=150"):
        open_images(path)
    assert open_images(path, dpi=10)[0].size == (2000, 2000)
    with pytest.raises(UsageError, match="above 0"):
        open_images(path, dpi=0)


def test_bytes_in_front_of_a_pdf_do_not_hide_it(tmp_path: Path) -> None:
    path = tmp_path / "mailed.pdf"
    path.write_bytes(b"\r\n\xef\xbb\xbf" + pdf(*FORM[:2], FORM[2].replace(b"/Annots[4 0 R]", b"")))
    assert look(path.read_bytes()).media_type == "application/pdf"
    assert open_images(path, dpi=72)[0].size == (200, 100)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_file_that_is_no_document_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.tif"
    for data in (b"", b"just text", b"II*\0" + struct.pack("<I", 8)):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"notes\.tif .*cannot be read as a picture") as refused:
            open_images(path)
        assert " object at 0x" not in str(refused.value)
