"""Grey levels of DICOM are those that a viewer shows; pydicom's own functions are the other source."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing, pixel_array

from evalkit.errors import UsageError
from evalkit.media import open_images
from tests.media.dicoms import PACKAGED, RAMP, dicom, greys, item, made
from tests.media.pictures import shown


def as_pydicom_shows(dataset: Dataset, frame: np.ndarray) -> np.ndarray:
    """Return grey levels 0 to 255 by pydicom's functions, whose results lie between the ends of its range."""
    values = apply_voi_lut(apply_modality_lut(frame, dataset), dataset)
    if "VOILUTSequence" in dataset:
        low, high = 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    else:
        low, high = apply_windowing(np.array([-1e5, 1e5]), dataset)
    grey = np.rint((values - low) / (high - low) * 255)
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def windowed_files() -> list[Path]:
    """Return the files in pydicom's package that have greys and a window, and can be decoded here."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(PACKAGED.rglob("*")):
            if path.suffix in (".dcm", "") and path.is_file() and path.name not in ("README", "DICOMDIR"):
                dataset = pydicom.dcmread(path, force=True)
                if "WindowCenter" in dataset and "PixelData" in dataset:
                    found.append(path)
    return found


@pytest.mark.parametrize("path", windowed_files(), ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_packaged_files_have_the_greys_of_pydicom(path: Path) -> None:
    dataset = pydicom.dcmread(path, force=True)
    try:
        pixels = pixel_array(dataset)
    except (RuntimeError, ValueError):  # cut off, or a codec that is not installed
        with pytest.raises(UsageError, match="cannot be read as DICOM"):
            open_images(path)
        return
    (image,) = open_images(path)
    difference = np.abs(greys(image) - as_pydicom_shows(dataset, pixels))
    assert difference.max() <= 1


FUNCTIONS = [
    {"WindowCenter": 2000, "WindowWidth": 1500},
    {"WindowCenter": 2000, "WindowWidth": 1500, "VOILUTFunction": "LINEAR_EXACT"},
    {"WindowCenter": 2000, "WindowWidth": 1500, "VOILUTFunction": "SIGMOID"},
    {"WindowCenter": 2000, "WindowWidth": 1},
    {"WindowCenter": 0.5, "WindowWidth": 0.25, "VOILUTFunction": "LINEAR_EXACT", "RescaleSlope": 0.0003},
    {"WindowCenter": [40, -600], "WindowWidth": [400, 1500], "RescaleIntercept": -1024},
    {"WindowCenter": 500, "WindowWidth": 900, "PhotometricInterpretation": "MONOCHROME1"},
]


@pytest.mark.parametrize("fields", FUNCTIONS)
@pytest.mark.parametrize("signed", [False, True])
def test_each_function_of_a_window_is_that_of_pydicom(tmp_path: Path, fields: dict, signed: bool) -> None:
    values = RAMP.astype(np.int16) - 2000 if signed else RAMP
    fields = {"RescaleSlope": 1, "RescaleIntercept": 0, **fields} if "Rescale" in str(fields) else fields
    dataset = made(tmp_path / "x.dcm", values, **fields)
    dataset.save_as(tmp_path / "x.dcm")
    (image,) = open_images(tmp_path / "x.dcm")
    assert np.abs(greys(image) - as_pydicom_shows(dataset, values)).max() <= 1
    assert len(np.unique(greys(image))) >= 2


@pytest.mark.parametrize(
    ("descriptor", "data"),
    [
        ([4096, 0, 16], np.linspace(0, 65535, 4096) ** 1.2 % 65536),
        ([256, 1000, 16], np.arange(256)[::-1] * 257),
        ([100, 2000, 12], np.linspace(0, 4095, 100)),
    ],
)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_tables_of_a_file_are_those_of_pydicom(
    tmp_path: Path, descriptor: list, data: np.ndarray, as_bytes: bool
) -> None:
    entries = data.astype("<u2")
    table = item(LUTDescriptor=descriptor)
    table.add_new(0x00283006, "OW" if as_bytes else "US", entries.tobytes() if as_bytes else entries.tolist())
    for name in ("VOILUTSequence", "ModalityLUTSequence"):
        if name == "ModalityLUTSequence" and descriptor[2] == 12:
            continue  # pydicom takes tables of 8 and 16 bits
        window = {} if name[0] == "V" else {"WindowCenter": 120, "WindowWidth": 200}
        dataset = made(tmp_path / "x.dcm", RAMP, **{name: [table]}, **window)
        dataset.save_as(tmp_path / "x.dcm")
        (image,) = open_images(tmp_path / "x.dcm")
        expected = as_pydicom_shows(dataset, RAMP)
        assert np.abs(greys(image) - expected).max() <= 1


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


@pytest.mark.parametrize(
    "fields",
    [
        {"WindowCenter": 0, "WindowWidth": 0},
        {"WindowCenter": 2000, "WindowWidth": -1000},
        {"WindowCenter": 2000, "WindowWidth": 0.5},
        {"WindowCenter": 2000, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 2000},
        {"WindowCenter": [], "WindowWidth": [400]},
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"RescaleSlope": 1},
        {"RescaleIntercept": -1024},
    ],
)
def test_empty_and_invalid_fields_are_as_if_they_were_missing(tmp_path: Path, fields: dict) -> None:
    plain = open_images(dicom(tmp_path / "plain.dcm", RAMP))[0]
    image = open_images(dicom(tmp_path / "x.dcm", RAMP, **fields))[0]
    assert np.abs(greys(image) - greys(plain)).max() <= 1
    assert "percentiles" in image.made
    invalid = fields.get("WindowWidth") is not None and fields.get("WindowCenter")
    assert ("is not valid" in image.made) == bool(invalid or fields.get("WindowWidth") == 0)


def test_the_first_valid_window_is_used(tmp_path: Path) -> None:
    path = dicom(tmp_path / "x.dcm", RAMP, WindowCenter=[0, 2000], WindowWidth=[0, 1000])
    assert "window 2000/1000" in open_images(path)[0].made


def test_padding_is_black_and_does_not_count(tmp_path: Path) -> None:
    """Around the round picture of a scanner lie values far outside; a range over all would be their range."""
    values = RAMP.astype(np.int16) - 1000
    values[:, :30] = -32000
    for kind in ("MONOCHROME2", "MONOCHROME1"):
        fields = {"PixelPaddingValue": -32000, "PhotometricInterpretation": kind}
        (image,) = open_images(dicom(tmp_path / f"{kind}.dcm", values, **fields))
        grey = greys(image)
        assert grey[:, :30].max() == 0
        assert sorted((grey[0, 31], grey[0, -2])) == pytest.approx([2, 253], abs=2)
        assert "padding black" in image.made
    (ranged,) = open_images(
        dicom(tmp_path / "range.dcm", values, PixelPaddingValue=-32000, PixelPaddingRangeLimit=-31000)
    )
    assert greys(ranged)[:, :30].max() == 0
    whole = np.full((4, 4), 7, np.uint16)
    assert greys(open_images(dicom(tmp_path / "all.dcm", whole, PixelPaddingValue=7))[0]).max() == 0


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (np.full((8, 8), 65535, np.uint16), 255),
        (np.full((8, 8), 0, np.uint16), 0),
        (np.full((8, 8), 32767, np.int16), 255),
        (np.full((8, 8), -32768, np.int16), 0),
        (np.full((8, 8), 200, np.uint8), 200),
    ],
)
def test_a_frame_of_one_value_keeps_its_grey(tmp_path: Path, values: np.ndarray, white: int) -> None:
    assert np.unique(greys(open_images(dicom(tmp_path / "x.dcm", values))[0])).tolist() == [white]


def test_eight_bits_without_a_window_are_shown_as_they_are(tmp_path: Path) -> None:
    """An ultrasound picture or a screenshot has the values of a screen."""
    values = np.tile(np.arange(20, 180, dtype=np.uint8), (10, 1))
    assert (greys(open_images(dicom(tmp_path / "us.dcm", values))[0]) == values).all()


def test_a_mask_with_few_pixels_is_seen(tmp_path: Path) -> None:
    values = np.zeros((100, 100), np.uint16)
    values[5, 5] = 1
    assert greys(open_images(dicom(tmp_path / "seg.dcm", values))[0])[5, 5] == 255
