"""Grey levels of a DICOM frame: stored values, to the units of the modality, to what a screen shows.

The three steps and their formulas are those of DICOM PS3.3: modality LUT or rescale (C.11.1), VOI LUT or
window (C.11.2), and the inversion of MONOCHROME1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from evalkit.media.pixels import white_of

Window = tuple[float, float]
_PERCENTILES = (0.5, 99.5)
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


class Attributes:
    """The attributes of one frame: looked up in its functional groups, then at the top of the file."""

    def __init__(self, homes: Iterable[Any], dataset: Any) -> None:
        self.homes, self.dataset = tuple(homes), dataset

    def home_of(self, *names: str) -> Any:
        """Return the first data set in which one of ``names`` has a value; None if none has."""
        return next((home for home in self.homes if any(not _empty(home.get(n)) for n in names)), None)

    def numbers(self, name: str, home: Any = None) -> list[float]:
        """Return the values of an attribute; an empty list if it is missing or empty.

        Raises ``ValueError`` with the attribute for a value that is no number.
        """
        home = self.home_of(name) if home is None else home
        value: Any = None if home is None else home.get(name)
        if _empty(value):
            return []
        try:
            found = [float(v) for v in ([value] if isinstance(value, (str, int, float)) else value)]
        except (TypeError, ValueError):
            found = [math.nan]
        if not all(map(math.isfinite, found)):
            raise ValueError(f"{_tag(name)} is {value!s:.40}, which is no number")
        return found

    def number(self, name: str, home: Any = None) -> float | None:
        """Return the first value of an attribute, or None."""
        return next(iter(self.numbers(name, home)), None)


class _Scale(NamedTuple):
    """A window of the file: the values between which greys lie, and the curve between them."""

    centre: float
    width: float
    function: str


def grey_levels(
    stored: Any, attributes: Attributes, window: Window | None, *, inverted: bool
) -> tuple[Any, str]:
    """Return a frame's stored values as grey levels 0 to 255, and how they were made.

    ``window`` (centre and width, in the units of the modality) replaces the file's own. Raises ``ValueError``
    with the attribute that is missing or wrong.
    """
    import numpy as np

    values = _in_units(stored, attributes, needed=window is not None)
    padding = _padding(stored, attributes)
    grey, how = _shown(values, values[~padding], attributes, window)
    if inverted:
        grey, how = 1.0 - grey, f"{how}, MONOCHROME1 inverted"
    grey[padding] = 0.0  # the background, in either kind
    how += ", padding black" if padding.any() else ""
    return np.rint(np.clip(grey, 0.0, 1.0) * 255).astype(np.uint8), how


def _in_units(stored: Any, attributes: Attributes, *, needed: bool) -> Any:
    """Return stored values in the units of the modality, as floats; unchanged if the file states no units."""
    import numpy as np

    if table := attributes.dataset.get("ModalityLUTSequence"):
        return _looked_up(stored, table[0], attributes.dataset)[0]
    home = attributes.home_of("RescaleSlope", "RescaleIntercept")
    if home is None:
        if needed and attributes.dataset.get("Modality") == "CT":
            raise ValueError(
                f"window= is in Hounsfield units, and the file has no {_tag('RescaleSlope')} and "
                f"{_tag('RescaleIntercept')}, neither at the top nor in functional groups"
            )
        return stored.astype(np.float64)
    slope, intercept = (attributes.number(name, home) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise ValueError(f"{_tag('RescaleSlope')} is 0, which makes all values equal")
    return stored * (1.0 if slope is None else slope) + (intercept or 0.0)


def _padding(stored: Any, attributes: Attributes) -> Any:
    """Return a mask of the pixels that are no part of the picture (PixelPaddingValue, PS3.3 C.7.5.1.1.2)."""
    import numpy as np

    first = attributes.number("PixelPaddingValue")
    if first is None or stored.dtype.kind == "f":
        return np.zeros(stored.shape, dtype=bool)
    last = attributes.number("PixelPaddingRangeLimit")
    ends = np.array([first, first if last is None else last]).astype(np.int64)
    low, high = np.sort(ends.astype(stored.dtype))  # -2000 may be written as 63536
    return (stored >= low) & (stored <= high)


def _shown(values: Any, inside: Any, attributes: Attributes, window: Window | None) -> tuple[Any, str]:
    """Return values as fractions of white: by ``window``, the file's table, its window, or their range."""
    if window is not None:
        centre, width = window
        function = _function(attributes, attributes.home_of("VOILUTFunction"))
        function = "LINEAR_EXACT" if function == "LINEAR" and width < 1 else function
        return _windowed(values, _Scale(centre, width, function)), f"window {centre:g}/{width:g}"
    if table := attributes.dataset.get("VOILUTSequence"):
        looked_up, white = _looked_up(values, table[0], attributes.dataset)
        return looked_up / white, "the file's own table (VOI LUT)"
    scales = list(_own_windows(attributes))
    for scale in scales:
        if _valid(scale):
            return _windowed(values, scale), f"window {scale.centre:g}/{scale.width:g}" + (
                f", {scale.function}" if scale.function != "LINEAR" else ""
            )
    low, high, how = _range(inside, attributes)
    wrong = f"its window {scales[0].centre:g}/{scales[0].width:g} is not valid; " if scales else ""
    return (values - low) / (high - low), wrong + how


def _own_windows(attributes: Attributes) -> Iterable[_Scale]:
    """Yield the file's windows; the first valid one is used."""
    home = attributes.home_of("WindowCenter", "WindowWidth")
    if home is None:
        return
    function = _function(attributes, home)
    centres, widths = attributes.numbers("WindowCenter", home), attributes.numbers("WindowWidth", home)
    for centre, width in zip(centres, widths, strict=False):
        yield _Scale(centre, width, function)


def _function(attributes: Attributes, home: Any) -> str:
    name = str((home.get("VOILUTFunction") if home is not None else None) or "LINEAR")
    if name not in _FUNCTIONS:
        raise ValueError(f"{_tag('VOILUTFunction')} is {name}; known are {', '.join(_FUNCTIONS)}")
    return name


def _valid(scale: _Scale) -> bool:
    return scale.width >= 1 if scale.function == "LINEAR" else scale.width > 0


def _windowed(values: Any, scale: _Scale) -> Any:
    """Return values as fractions of white by a window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    import numpy as np

    centre, width, function = scale
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -500.0, 500.0)))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1.0
    if width == 0:
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0.0, 1.0)


def _range(inside: Any, attributes: Attributes) -> tuple[float, float, str]:
    """Return the values that become black and white where the file has no valid window, and their source.

    Values of 8 bits are what a screen shows already. Of more bits, the outermost values are left out.
    """
    import numpy as np

    bits = int(attributes.dataset.get("BitsStored") or 64)
    signed = attributes.dataset.get("PixelRepresentation") == 1
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = _in_units(np.array([lowest, highest], dtype=np.float64), attributes, needed=False)
    full = float(ends.min()), float(ends.max())
    if bits <= 8 or not inside.size:
        return *full, f"the range of {bits} bits ({full[0]:g} to {full[1]:g})"
    low, high = (float(v) for v in np.percentile(inside, _PERCENTILES))
    how = f"percentiles {_PERCENTILES[0]:g} to {_PERCENTILES[1]:g} ({low:g} to {high:g})"
    if low == high:
        low, high = float(inside.min()), float(inside.max())
        how = f"lowest to highest value ({low:g} to {high:g})"
    if low == high:
        floats = "BitsStored" not in attributes.dataset
        low, high = (0.0, white_of(high, "F")) if floats else full
        how = f"one value, of {low:g} to {high:g}"
    return low, high, how


def _looked_up(values: Any, item: Any, dataset: Any) -> tuple[Any, float]:
    """Return values mapped by a lookup table, and the table's white (PS3.3 C.11.1.1)."""
    import numpy as np

    entries, first, bits = (int(v) for v in item.LUTDescriptor)
    entries = entries or 2**16
    if first >= 2**15 and values.min() < 0:
        first -= 2**16
    table = _table(item.LUTData, entries, little=dataset.file_meta.TransferSyntaxUID.is_little_endian)
    positions = np.clip(np.floor(values.astype(np.float64)) - first, 0, len(table) - 1).astype(np.int64)
    return table[positions].astype(np.float64), float(max(2**bits - 1, table.max()))


def _table(data: Any, entries: int, *, little: bool) -> Any:
    """Return the entries of a lookup table: numbers, or bytes with entries of 8 or 16 bits."""
    import numpy as np

    if isinstance(data, bytes):
        words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little else ">u2").astype("<u2")
    else:
        words = np.atleast_1d(np.asarray(data)).astype("<u2")
    table = words.view(np.uint8) if len(words) < entries else words
    if len(table) < entries:
        raise ValueError(f"a lookup table has {len(words)} of {entries} entries in {_tag('LUTData')}")
    return table[:entries]


def _empty(value: Any) -> bool:
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def _tag(name: str) -> str:
    """Return an attribute with its number: ``RescaleSlope (0028,1053)``."""
    from pydicom.datadict import tag_for_keyword

    number = tag_for_keyword(name) or 0
    return f"{name} ({number >> 16:04X},{number & 0xFFFF:04X})"
