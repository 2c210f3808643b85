"""Files of DICOM: functional groups, missing parts, colours; what is said of those that cannot be shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from evalkit.errors import UsageError
from evalkit.media import open_images
from tests.media.dicoms import PACKAGED, RAMP, dicom, greys, item, made
from tests.media.pictures import shown


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


@pytest.mark.filterwarnings("ignore:Invalid value for VR")  # from writing the file
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"RescaleSlope": "nan", "RescaleIntercept": 0},
            r"RescaleSlope \(0028,1053\) is nan, which is no number",
        ),
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
