"""Small DICOM files, and the grey levels that are shown of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from evalkit.types import Image
from tests.media.pictures import shown

PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"  # the files that come with pydicom
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
