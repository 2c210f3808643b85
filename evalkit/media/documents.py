"""Pictures from documents: pages of PDF and TIFF, frames of DICOM, GIF, WebP and PNG.

PDF needs pypdfium2 (``evalkit[pdf]``), DICOM pydicom (``evalkit[dicom]``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from evalkit.errors import RequestRejected, UsageError
from evalkit.extras import load
from evalkit.media.grey import Window
from evalkit.media.kept import Made, kept
from evalkit.media.pixels import opened, picture_count, pillow, plain, png
from evalkit.media.sniff import look
from evalkit.types import Image, MediaSupport

_ONLY_PNG = MediaSupport(images=frozenset())  # no format is kept, so that every page becomes a PNG
_PHOTOGRAPHS = ("image/jpeg", "image/png")
_LARGEST_PAGE = 100_000_000  # pixels: an A0 poster at 250 dpi


def open_images(
    path: str | Path, *, pages: Sequence[int] | None = None, dpi: int = 150, window: Window | None = None
) -> tuple[Image, ...]:
    """Return the pictures of a file: an image itself, else its pages or frames, all or ``pages`` (from 1).

    ``dpi`` is for PDF. ``window`` is the centre and width for DICOM, in the units of its modality (Hounsfield
    for CT); by default the file's own table or window, else its range (see ``docs/multimodal.md``).
    MONOCHROME1 is inverted, so that larger values are brighter. Raises ``UsageError`` with file and page for
    what cannot be read, and ``OSError``.
    """
    if dpi <= 0 or (window is not None and not window[1] > 0):
        raise UsageError(f"dpi= and the width in window= must be above 0, not {dpi} and {window}")
    data = Path(path).read_bytes()
    info = look(data)
    sha256 = hashlib.sha256(data).hexdigest()
    source = Image(sha256, info.media_type, path=str(Path(path).resolve()))
    recipe = f"{source.sha256} {source.media_type} {pages} {dpi} {window}"
    choose = partial(_page_indices, list(pages) if pages is not None else None, str(path))
    if source.media_type == "application/pdf":
        return kept(recipe, lambda: _pdf(data, choose, dpi, str(path)))
    if source.media_type == "application/dicom":
        from evalkit.media.dicom import dicom_frames

        return kept(recipe, lambda: dicom_frames(data, choose, window, str(path)))
    if info.media_type in _PHOTOGRAPHS and "animation" not in info.odd:  # no need of Pillow
        choose(1)
        return (source,)
    return kept(recipe, lambda: _frames(data, choose, source.media_type, str(path))) or (source,)


def _page_indices(pages: list[int] | None, path: str, count: int) -> list[int]:
    """Return the indices (from 0) of ``pages``, by default of all. Raises ``UsageError``."""
    wrong = [page for page in pages or [] if not 1 <= page <= count]
    if wrong:
        known = f"pages 1 to {count}" if count != 1 else "one page or picture"
        raise UsageError(f"{path} has {known}, no page {wrong[0]}")
    return [page - 1 for page in pages] if pages is not None else list(range(count))


def _pdf(data: bytes, choose: partial[list[int]], dpi: int, path: str) -> list[Made]:
    pypdfium2 = load("pypdfium2", "PDF")
    pillow()
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as problem:
        raise UsageError(f"{path} cannot be read as PDF: {problem}") from None
    with document:
        if document.get_formtype() == pypdfium2.raw.FORMTYPE_XFA_FULL:
            raise UsageError(
                f"{path} is an XFA form, which only Adobe's reader shows: print it to a PDF first"
            )
        document.init_forms()  # without it, what is filled into the fields of a form is not shown
        return [_page(document, index, dpi, path, pypdfium2.PdfiumError) for index in choose(len(document))]


def _page(document: Any, index: int, dpi: int, path: str, failure: type[Exception]) -> Made:
    """Return one page of a PDF file. Raises ``UsageError`` with file and page."""
    try:
        page = document[index]
        width, height = (side * dpi / 72 for side in page.get_size())
        if width * height > _LARGEST_PAGE:
            raise UsageError(f"{path}: page {index + 1} has {width:.0f}x{height:.0f} pixels: lower dpi={dpi}")
        picture = page.render(scale=dpi / 72).to_pil().convert("RGB")
        page.close()
    except failure as problem:
        raise UsageError(f"{path}: page {index + 1} cannot be shown: {problem}") from None
    return png(picture), f"page {index + 1} of a PDF at {dpi} dpi", picture.size


def _frames(data: bytes, choose: partial[list[int]], media_type: str, path: str) -> list[Made]:
    """Return the pages of a TIFF, frames of an animation; none for a file that is one plain picture."""
    try:
        with opened(data, media_type, path) as picture:
            count = picture_count(picture)
            return [_frame(picture, index, media_type) for index in choose(count) if count > 1]
    except RequestRejected as problem:
        raise UsageError(str(problem)) from None


def _frame(picture: Any, index: int, media_type: str) -> Made:
    picture.seek(index)
    page = plain(picture.copy(), media_type, _ONLY_PNG)
    assert page is not None, "no format is kept"
    return page[0], f"page {index + 1}; {page[1]}", page[2]
