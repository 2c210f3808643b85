"""Pictures out of documents: pages of a PDF or TIFF file, frames of a DICOM file, windowed to 8 bits.

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
_NOTHING = MediaSupport(images=frozenset())  # every page becomes a PNG of its own
_PERCENTILES = (0.5, 99.5)


def open_images(
    path: str | Path, *, pages: Sequence[int] | None = None, dpi: int = 150, window: Window | None = None
) -> tuple[Image, ...]:
    """The pictures of a file: one of a plain image, else its pages or frames, all or ``pages`` (from 1).

    ``dpi`` is for PDF. ``window`` is centre and width for DICOM, in the units of its modality (Hounsfield
    for CT); by default the file's own first window, else its 0.5th to 99.5th percentile. MONOCHROME1 is
    inverted, so that more is brighter. Raises ``UsageError`` for what cannot be read, and ``OSError``.
    """
    data = Path(path).read_bytes()
    source = Image.open(path)
    found = look(data)
    recipe = f"{source.sha256} {found.media_type} {pages} {dpi} {window}"
    wanted = list(pages) if pages is not None else None
    if found.media_type == "application/pdf":
        return kept(recipe, lambda: _pdf(data, wanted, dpi, str(path)))
    if found.media_type == "application/dicom":
        return kept(recipe, lambda: _dicom(data, wanted, window, str(path)))
    if found.media_type in ("image/tiff", "image/gif", "image/webp"):
        several = kept(recipe, lambda: _frames(data, wanted, found.media_type, str(path)))
        return several or (source,)
    if wanted not in (None, [1]):
        raise UsageError(f"{path} ({found.media_type}) holds one picture; pages= is for PDF, TIFF and DICOM")
    return (source,)


def _chosen(pages: list[int] | None, count: int, path: str) -> list[int]:
    """Places from 0 of the pages wanted."""
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
    made: list[Made] = []
    with document:
        for place in _chosen(pages, len(document), path):
            page = document[place]
            picture = page.render(scale=dpi / 72).to_pil().convert("RGB")
            page.close()
            made.append((png(picture), f"page {place + 1} of a PDF at {dpi} dpi", picture.size))
    return made


def _frames(data: bytes, pages: list[int] | None, media_type: str, path: str) -> list[Made]:
    """Pages of a TIFF file; none where it holds a single one, which is then treated as any picture."""
    try:
        with pillow().open(io.BytesIO(data)) as opened:
            count = getattr(opened, "n_frames", 1)
            places = _chosen(pages, count, path)
            made: list[Made] = []
            for place in places if count > 1 else []:
                opened.seek(place)
                one = plain(opened.copy(), media_type, _NOTHING)
                made += [(one[0], f"page {place + 1}; {one[1]}", one[2])] if one else []
            return made
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
        said = " ".join(str(problem).split())
        raise UsageError(
            f"{path} cannot be read as DICOM: {said}. Compressed files may need "
            "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        ) from None
    frames = pixels if int(dataset.get("NumberOfFrames") or 1) > 1 else pixels[None]
    image_of = pillow().fromarray
    made: list[Made] = []
    for place in _chosen(pages, len(frames), path):
        grey, how = _windowed(frames[place], dataset, window)
        picture = image_of(grey)
        made.append((png(picture), f"frame {place + 1} of DICOM; {how}", picture.size))
    return made


def _windowed(frame: Any, dataset: Any, window: Window | None) -> tuple[Any, str]:
    """A frame as 8-bit pixels, and how: colours as they are, greys by a window."""
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
    """The values that become black and white (DICOM PS3.3 C.11.2.1.2), and where they come from."""
    import numpy as np

    window = window or _own_window(dataset)
    if window is None:
        low, high = (float(v) for v in np.percentile(values, _PERCENTILES))
        return low, high, f"percentiles {_PERCENTILES[0]:g} to {_PERCENTILES[1]:g} ({low:g} to {high:g})"
    centre, width = window
    exact = str(dataset.get("VOILUTFunction") or "LINEAR") == "LINEAR_EXACT"
    middle, reach = (centre, width) if exact else (centre - 0.5, max(width - 1, 1e-9))
    return middle - reach / 2, middle + reach / 2, f"window {centre:g}/{width:g}"


def _own_window(dataset: Any) -> Window | None:
    """The file's first window. A sigmoid (VOILUTFunction) is drawn as the straight line of that window."""
    import numpy as np

    centres, widths = dataset.get("WindowCenter"), dataset.get("WindowWidth")
    if centres in (None, "") or widths in (None, ""):
        return None
    return float(np.atleast_1d(centres)[0]), float(np.atleast_1d(widths)[0])
