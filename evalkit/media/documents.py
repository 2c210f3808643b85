"""Pictures from documents: pages of a PDF or TIFF file, frames of a DICOM file (windowed to 8 bits).

PDF needs pypdfium2 (``evalkit[pdf]``), DICOM pydicom (``evalkit[dicom]``).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.extras import load
from evalkit.media.kept import Made, kept
from evalkit.media.pixels import pillow, plain, png
from evalkit.media.sniff import look
from evalkit.types import Image, MediaSupport

Window = tuple[float, float]
_ONLY_PNG = MediaSupport(images=frozenset())  # no format is kept, so that every page becomes a PNG
_PERCENTILES = (0.5, 99.5)


def open_images(
    path: str | Path, *, pages: Sequence[int] | None = None, dpi: int = 150, window: Window | None = None
) -> tuple[Image, ...]:
    """Return the pictures of a file: an image itself, else its pages or frames, all or ``pages`` (from 1).

    ``dpi`` is for PDF. ``window`` is the centre and width for DICOM, in the units of its modality (Hounsfield
    for CT); by default the file's first window, else its 0.5th to 99.5th percentile. MONOCHROME1 is inverted,
    so that larger values are brighter. Raises ``UsageError`` for a file that cannot be read, and ``OSError``.
    """
    data = Path(path).read_bytes()
    source = Image.open(path)
    media_type = look(data).media_type
    recipe = f"{source.sha256} {media_type} {pages} {dpi} {window}"
    numbers = list(pages) if pages is not None else None
    if media_type == "application/pdf":
        return kept(recipe, lambda: _pdf(data, numbers, dpi, str(path)))
    if media_type == "application/dicom":
        return kept(recipe, lambda: _dicom(data, numbers, window, str(path)))
    if media_type in ("image/tiff", "image/gif", "image/webp"):
        frames = kept(recipe, lambda: _frames(data, numbers, media_type, str(path)))
        return frames or (source,)
    if numbers not in (None, [1]):
        raise UsageError(f"{path} ({media_type}) holds one picture; pages= is for PDF, TIFF and DICOM")
    return (source,)


def _page_indices(pages: list[int] | None, count: int, path: str) -> list[int]:
    """Return the indices (from 0) of ``pages``, by default of all. Raises ``UsageError``."""
    wrong = [page for page in pages or [] if not 1 <= page <= count]
    if wrong:
        raise UsageError(f"{path} has pages 1 to {count}, no page {wrong[0]}")
    return [page - 1 for page in pages] if pages is not None else list(range(count))


def _pdf(data: bytes, pages: list[int] | None, dpi: int, path: str) -> list[Made]:
    pypdfium2 = load("pypdfium2", "PDF")
    pillow()
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as problem:
        raise UsageError(f"{path} cannot be read as PDF: {problem}") from None
    pictures: list[Made] = []
    with document:
        for index in _page_indices(pages, len(document), path):
            page = document[index]
            picture = page.render(scale=dpi / 72).to_pil().convert("RGB")
            page.close()
            pictures.append((png(picture), f"page {index + 1} of a PDF at {dpi} dpi", picture.size))
    return pictures


def _frames(data: bytes, pages: list[int] | None, media_type: str, path: str) -> list[Made]:
    """Return the pages of a TIFF, GIF or WebP file; none for a single page: that is a plain picture."""
    try:
        with pillow().open(io.BytesIO(data)) as opened:
            count = getattr(opened, "n_frames", 1)
            indices = _page_indices(pages, count, path)
            pictures: list[Made] = []
            for index in indices if count > 1 else []:
                opened.seek(index)
                if page := plain(opened.copy(), media_type, _ONLY_PNG):
                    pictures.append((page[0], f"page {index + 1}; {page[1]}", page[2]))
            return pictures
    except (OSError, ValueError) as problem:
        raise UsageError(f"{path} cannot be read as {media_type}: {problem}") from None


def _dicom(data: bytes, pages: list[int] | None, window: Window | None, path: str) -> list[Made]:
    pydicom = load("pydicom", "DICOM")
    from pydicom.errors import InvalidDicomError
    from pydicom.pixels import pixel_array

    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        pixels = pixel_array(dataset)
    except (InvalidDicomError, AttributeError, NotImplementedError, RuntimeError, ValueError) as problem:
        reason = " ".join(str(problem).split())
        raise UsageError(
            f"{path} cannot be read as DICOM: {reason}. Compressed files may need "
            "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        ) from None
    frames = pixels if int(dataset.get("NumberOfFrames") or 1) > 1 else pixels[None]
    image_of = pillow().fromarray
    pictures: list[Made] = []
    for index in _page_indices(pages, len(frames), path):
        grey, method = _windowed(frames[index], dataset, window)
        picture = image_of(grey)
        pictures.append((png(picture), f"frame {index + 1} of DICOM; {method}", picture.size))
    return pictures


def _windowed(frame: Any, dataset: Any, window: Window | None) -> tuple[Any, str]:
    """Return a frame as 8-bit pixels, and the method: colours are only scaled, greys get a window."""
    import numpy as np
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

    kind = str(dataset.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(frame, dataset)
        shift = 8 * (colours.dtype.itemsize - 1)
        return (colours >> shift).astype(np.uint8), "palette colours"
    if frame.ndim == 3:
        shift = max(0, int(dataset.BitsStored) - 8)
        return (frame >> shift).astype(np.uint8), kind
    values = apply_modality_lut(frame, dataset)
    if window is None and not _own_window(dataset) and "VOILUTSequence" in dataset:
        table = np.asarray(apply_voi_lut(values, dataset, prefer_lut=True), dtype=np.float64)
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        grey, how = table / (2**bits - 1), "the file's own table (VOI LUT)"
    else:
        values = np.asarray(values, dtype=np.float64)
        low, high, how = _range(values, dataset, window)
        grey = (values - low) / max(high - low, 1e-12)
    grey = np.clip(grey, 0.0, 1.0)
    if kind == "MONOCHROME1":
        grey, how = 1.0 - grey, f"{how}, MONOCHROME1 inverted"
    return np.rint(grey * 255).astype(np.uint8), how


def _range(values: Any, dataset: Any, window: Window | None) -> tuple[float, float, str]:
    """Return the values that become black and white (DICOM PS3.3 C.11.2.1.2), and their source."""
    import numpy as np

    window = window or _own_window(dataset)
    if window is None:
        low, high = (float(v) for v in np.percentile(values, _PERCENTILES))
        return low, high, f"percentiles {_PERCENTILES[0]:g} to {_PERCENTILES[1]:g} ({low:g} to {high:g})"
    centre, width = window
    exact = str(dataset.get("VOILUTFunction") or "LINEAR") == "LINEAR_EXACT"
    middle, span = (centre, width) if exact else (centre - 0.5, max(width - 1, 1e-9))
    return middle - span / 2, middle + span / 2, f"window {centre:g}/{width:g}"


def _own_window(dataset: Any) -> Window | None:
    """Return the file's first window, or None. A sigmoid (VOILUTFunction) is treated as linear."""
    import numpy as np

    centres, widths = dataset.get("WindowCenter"), dataset.get("WindowWidth")
    if centres in (None, "") or widths in (None, ""):
        return None
    return float(np.atleast_1d(centres)[0]), float(np.atleast_1d(widths)[0])
