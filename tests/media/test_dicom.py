"""DICOM: the grey levels are those that a viewer shows; pydicom's own functions are the other source."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing, pixel_array
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from evalkit.errors import UsageError
from evalkit.media import open_images
from evalkit.types import Image
from tests.media.pictures import shown

PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"
RAMP = np.tile(np.arange(0, 4096, 41, dtype=np.uint16), (20, 1))


def made(path: Path, values: np.ndarray, **fields) -> Dataset:
    """Return a data set of 16-bit greys, a frame for each table of ``values``."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        SecondaryCaptureImageStorage,
        generate_uid(),
    )
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    dataset.Rows, dataset.Columns = values.shape[-2:]
    if values.ndim == 3:
        dataset.NumberOfFrames = len(values)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def dicom(path: Path, values: np.ndarray, **fields) -> Path:
    made(path, values, **fields).save_as(path)
    return path


def item(**fields) -> Dataset:
    dataset = Dataset()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def greys(image: Image) -> np.ndarray:
    return np.asarray(shown(image)).astype(int)


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


def test_frames_of_a_dicom_file(tmp_path: Path) -> None:
    values = np.stack([np.full((4, 4), level, np.uint16) for level in (0, 50, 100)])
    path = dicom(tmp_path / "cine.dcm", values, NumberOfFrames=3, WindowCenter=50.5, WindowWidth=101)
    assert [int(np.asarray(shown(i))[0, 0]) for i in open_images(path)] == [0, 128, 255]
    (last,) = open_images(path, pages=[3])
    assert last.made.startswith("frame 3 of DICOM")
    (tmp_path / "broken.dcm").write_bytes(path.read_bytes()[:300])
    with pytest.raises(UsageError, match=r"broken\.dcm cannot be read as DICOM"):
        open_images(tmp_path / "broken.dcm")


HOUNSFIELD = np.array([[-1000, -160, 40, 239, 3000]], np.int16)


def groups(rescale: Dataset | None = None, window: Dataset | None = None) -> Dataset:
    found = Dataset()
    if rescale is not None:
        found.PixelValueTransformationSequence = [rescale]
    if window is not None:
        found.FrameVOILUTSequence = [window]
    return found


def test_an_enhanced_file_keeps_rescale_and_window_in_functional_groups(tmp_path: Path) -> None:
    """Without them air is black and everything else, soft tissue too, white."""
    stored = np.stack([HOUNSFIELD + 1024] * 2).astype(np.uint16)
    rescale = item(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU")
    shared = groups(rescale, item(WindowCenter=40, WindowWidth=400))
    path = dicom(tmp_path / "ct.dcm", stored, Modality="CT", SharedFunctionalGroupsSequence=[shared])
    for images in (open_images(path), open_images(path, window=(40, 400))):
        assert [greys(image)[0].tolist() for image in images] == [[0, 0, 128, 255, 255]] * 2


def test_each_frame_has_its_own_rescale_and_window(tmp_path: Path) -> None:
    stored = np.stack([np.full((1, 3), [0, 100, 200], np.uint16)] * 2)
    frames = [
        groups(item(RescaleIntercept=0, RescaleSlope=1), item(WindowCenter=100.5, WindowWidth=201)),
        groups(item(RescaleIntercept=50, RescaleSlope=2), item(WindowCenter=250.5, WindowWidth=401)),
    ]
    at_the_top = {"RescaleSlope": 9, "RescaleIntercept": 9, "WindowCenter": 9, "WindowWidth": 9}
    path = dicom(tmp_path / "mr.dcm", stored, PerFrameFunctionalGroupsSequence=frames, **at_the_top)
    first, second = open_images(path)
    assert greys(first)[0].tolist() == [0, 128, 255]
    assert greys(second)[0].tolist() == [0, 128, 255]
    assert "window 250.5/401" in second.made
    (alone,) = open_images(path, pages=[2])
    assert alone.sha256 == second.sha256


def test_a_window_in_hounsfield_units_needs_the_rescale_of_a_ct(tmp_path: Path) -> None:
    path = dicom(tmp_path / "ct.dcm", RAMP, Modality="CT")
    with pytest.raises(UsageError, match=r"ct\.dcm .*RescaleSlope \(0028,1053\).*functional groups"):
        open_images(path, window=(40, 400))
    assert len(np.unique(greys(open_images(path)[0]))) > 90
    with pytest.raises(UsageError, match="above 0"):
        open_images(path, window=(40, 0))


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


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, r"RescaleSlope \(0028,1053\) is 0"),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, r"VOILUTFunction \(0028,1056\)"),
        ({"PhotometricInterpretation": "HSV"}, r"\(0028,0004\)"),
        ({"BitsAllocated": 13}, "Bits Allocated"),
    ],
)
def test_a_wrong_attribute_is_named(tmp_path: Path, fields: dict, said: str) -> None:
    path = dicom(tmp_path / "x.dcm", RAMP, **fields)
    with pytest.raises(UsageError, match=rf"x\.dcm cannot be read as DICOM: .*{said}"):
        open_images(path)


@pytest.mark.parametrize("name", ["Rows", "PhotometricInterpretation", "PixelRepresentation", "PixelData"])
def test_a_missing_attribute_is_named(tmp_path: Path, name: str) -> None:
    dataset = made(tmp_path / "x.dcm", RAMP)
    tag = dataset[name].tag
    del dataset[name]
    dataset.save_as(tmp_path / "x.dcm")
    with pytest.raises(UsageError, match=rf"x\.dcm .*\({tag.group:04X},{tag.element:04X}\)"):
        open_images(tmp_path / "x.dcm")


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


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_file_without_preamble_is_read(tmp_path: Path, syntax: str) -> None:
    dataset = made(tmp_path / "x.dcm", RAMP, WindowCenter=2000, WindowWidth=2000)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "x.dcm")
    whole = (tmp_path / "x.dcm").read_bytes()
    expected = greys(open_images(tmp_path / "x.dcm")[0])
    meta = whole.index(b"\x08\0\x16\0")  # SOPClassUID, the first element of the data set
    for start in (132, meta):  # without the preamble; without the meta information too
        (tmp_path / "bare").write_bytes(whole[start:])
        assert (greys(open_images(tmp_path / "bare")[0]) == expected).all()


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"PixelAspectRatio": [2, 1]}, (100, 40)),
        ({"PixelAspectRatio": [1, 2]}, (200, 20)),
        ({"PixelSpacing": [3.0, 1.0]}, (100, 60)),
        ({"PixelSpacing": [1.05, 1.0]}, (100, 20)),  # nearly square: no pixel is changed
        ({"PixelSpacing": [0.5, 0.5], "PixelAspectRatio": [2, 1]}, (100, 20)),
    ],
)
def test_pixels_that_are_not_square_are_shown_square(tmp_path: Path, fields: dict, size: tuple) -> None:
    (image,) = open_images(dicom(tmp_path / "x.dcm", RAMP, **fields))
    assert image.size == shown(image).size == size


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_small_odd.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "SC_rgb_rle_16bit_2frame.dcm",
        "examples_ybr_color.dcm",
        "examples_jpeg2k.dcm",
    ],
)
def test_colours_are_rgb(name: str) -> None:
    dataset = pydicom.dcmread(PACKAGED / name)
    pixels = pixel_array(dataset) >> (dataset.BitsStored - 8)
    frames = pixels if pixels.ndim == 4 else pixels[None]
    images = open_images(PACKAGED / name)
    assert len(images) == len(frames)
    for image, frame in zip(images[:3], frames[:3], strict=True):
        assert (np.asarray(shown(image)) == frame).all()


def test_palette_colours_of_16_bits_that_hold_8_are_not_black(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2]], np.uint8)
    tables = {}
    for name, colour in (("Red", [255, 0, 9]), ("Green", [0, 255, 9]), ("Blue", [0, 0, 9])):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = np.array(colour, "<u2").tobytes()
    fields = {"PhotometricInterpretation": "PALETTE COLOR", **tables}
    (image,) = open_images(dicom(tmp_path / "x.dcm", values, **fields))
    assert np.asarray(shown(image))[0].tolist() == [[255, 0, 0], [0, 255, 0], [9, 9, 9]]


def test_what_holds_no_picture_is_named_for_what_it_is() -> None:
    with pytest.raises(UsageError, match=r"rtplan\.dcm .*no PixelData \(7FE0,0010\) \(RT Plan Storage\)"):
        open_images(PACKAGED / "rtplan.dcm")


def test_a_damaged_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    """Cut off or changed anywhere: refused, or shown, but never another exception."""
    random = np.random.default_rng(5)
    outcomes: list[str] = []
    for name in ("CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_small_odd_jpeg.dcm", "JPEG2000.dcm"):
        whole = (PACKAGED / name).read_bytes()
        for n in range(30):
            data = bytearray(whole)
            if n < 15:
                data = data[: random.integers(200, len(data))]
            else:
                for place in random.integers(132, min(len(data), 4000), 4):
                    data[place] = random.integers(256)
            (tmp_path / "x.dcm").write_bytes(data)
            try:
                open_images(tmp_path / "x.dcm")
            except UsageError as problem:
                outcomes.append(str(problem))
    assert len(outcomes) > 40
    assert all("x.dcm" in said and " object at 0x" not in said for said in outcomes)
