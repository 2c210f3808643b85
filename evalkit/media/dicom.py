"""Frames of a DICOM file as pictures of 8 bits, as a viewer shows them. Needs pydicom (``evalkit[dicom]``).

A frame's attributes stand in the functional groups of an enhanced file (of the frame, then shared by all
frames; DICOM PS3.3 C.7.6.16), else at the top of the file. ``grey.py`` turns its values into grey levels.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from evalkit.errors import UsageError
from evalkit.extras import load
from evalkit.media.grey import Attributes, Window, grey_levels
from evalkit.media.kept import Made
from evalkit.media.pixels import pillow, png, square

_GREYS = ("MONOCHROME1", "MONOCHROME2")
# The decoders return all of these as RGB.
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence")
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
_NEARLY_SQUARE = 1.1  # below this ratio of a pixel's sides the pixels stay as they are stored
# What pydicom raises for files that are cut off or damaged, from its parsers and its decoders.
_DAMAGED = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def dicom_frames(
    data: bytes, indices: Callable[[int], list[int]], window: Window | None, path: str
) -> list[Made]:
    """Return frames as PNG files; ``indices`` chooses them (from 0), given their number.

    Raises ``UsageError`` with the file and the reason, which names the missing or wrong attribute.
    """
    load("pydicom", "DICOM")
    with _readable(path):
        dataset = _dataset(data)
        count = int(dataset.get("NumberOfFrames") or 1)
    return [_frame(dataset, index, window, path) for index in indices(count)]


def _dataset(data: bytes) -> Any:
    """Return the file's data set, with the transfer syntax that is used where the file names none."""
    from pydicom import dcmread
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    dataset = dcmread(io.BytesIO(data), force=True)  # a file may lack the preamble and the meta information
    if not any(name in dataset for name in _PIXELS):
        kind = dataset.get("SOPClassUID")
        raise ValueError(f"it has no picture, no PixelData (7FE0,0010){f' ({kind.name})' if kind else ''}")
    if not getattr(dataset, "file_meta", None):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _frame(dataset: Any, index: int, window: Window | None, path: str) -> Made:
    """Return one frame: colours as they are, greys through the modality's units and a window."""
    import numpy as np
    from pydicom.pixels import pixel_array

    with _readable(path):
        attributes = Attributes(_homes(dataset, index), dataset)
        stored = pixel_array(dataset, index=index)
        kind = str(dataset.PhotometricInterpretation)
        if kind == "PALETTE COLOR":
            levels, how = _palette(stored, dataset), "palette colours"
        elif kind in _COLOURS:
            shift = max(0, int(dataset.BitsStored) - 8)
            levels, how = (stored >> shift).astype(np.uint8), kind
        elif kind in _GREYS:
            levels, how = grey_levels(stored, attributes, window, inverted=kind == "MONOCHROME1")
        else:
            raise ValueError(f"PhotometricInterpretation (0028,0004) {kind} is not supported")
        steps = [f"frame {index + 1} of DICOM", how]
        picture = square(pillow().fromarray(levels), _pixel_shape(attributes), steps)
    return png(picture), "; ".join(steps), picture.size


def _homes(dataset: Any, index: int) -> Iterator[Any]:
    """Yield the data sets that may hold a frame's attributes, the frame's own first."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for groups in (*frames[index : index + 1], *shared[:1]):
        for name in _GROUPS:
            yield from (groups.get(name) or ())[:1]
    yield dataset


def _palette(stored: Any, dataset: Any) -> Any:
    import numpy as np
    from pydicom.pixels import apply_color_lut

    colours = apply_color_lut(stored, dataset)
    if colours.dtype.itemsize > 1 and colours.max() > 255:  # some tables of 16 bits hold values of 8
        colours = colours >> 8
    return colours.astype(np.uint8)


def _pixel_shape(attributes: Attributes) -> float:
    """Return the height of a pixel over its width; 1 where it is nearly square or not stated."""
    for name in _SPACINGS:
        sides = attributes.numbers(name)
        if len(sides) == 2 and min(sides) > 0:
            shape = sides[0] / sides[1]
            return shape if max(shape, 1 / shape) >= _NEARLY_SQUARE else 1.0
    return 1.0


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Turn what pydicom raises for a damaged file into a ``UsageError``; its warnings are of no use here."""
    from pydicom.errors import BytesLengthException

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydicom")
            yield
    except (*_DAMAGED, BytesLengthException) as problem:
        reason = " ".join(str(problem).split()) or type(problem).__name__
        packages = (
            ". Install its decoders: pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
            if isinstance(problem, RuntimeError) and "decode" in reason.lower()
            else ""
        )
        raise UsageError(f"{path} cannot be read as DICOM: {reason.rstrip('.')}{packages}") from None
