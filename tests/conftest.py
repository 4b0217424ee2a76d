"""Shared pictures and the shipped network: composites and made-up files, real samples where CXR_SAMPLES names them."""

import os
import shutil
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

ROOT = Path(__file__).resolve().parent.parent
COMPOSITES = ROOT / "assets" / "composites"


@pytest.fixture(scope="session")
def engine():
    """The shipped network, loaded once for all tests."""
    from detector.model.engine import Engine

    return Engine.load()


@pytest.fixture(scope="session")
def composite():
    """Bytes of the COVID-19 composite, a 512 x 512 8-bit PNG."""
    return (COMPOSITES / "covid19.png").read_bytes()


@pytest.fixture(scope="session")
def composite_pixels(composite):
    """The same composite as (512, 512) uint8."""
    return cv2.imdecode(np.frombuffer(composite, np.uint8), cv2.IMREAD_GRAYSCALE)


@pytest.fixture(scope="session")
def samples():
    """Folder of real sample files; tests that want it are left out where CXR_SAMPLES does not name one."""
    folder = os.environ.get("CXR_SAMPLES")
    if not folder:
        pytest.skip("CXR_SAMPLES does not name a folder of sample X-rays")
    return Path(folder)


@pytest.fixture(scope="session")
def cxr_data():
    """Folder of the training data; tests that want it are left out where CXR_DATA does not name one."""
    folder = os.environ.get("CXR_DATA")
    if not folder:
        pytest.skip("CXR_DATA does not name a folder with the manifest of the training data")
    return Path(folder)


def program(*names, package):
    """Path of a program that tests drive, the first of `names` that is there; `package` of Debian brings it.

    Without it the tests are left out, except where REQUIRE_SYSTEM_PACKAGES says that they must run.
    """
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        message = f"there is no {names[0]} (apt-get install {package})"
        (pytest.fail if os.environ.get("REQUIRE_SYSTEM_PACKAGES") else pytest.skip)(message)
    return found


def encode(pixels, extension=".png", *, parameters=()):
    """Encode an array as a picture file's bytes."""
    ok, encoded = cv2.imencode(extension, pixels, list(parameters))
    if not ok:
        raise ValueError(extension)
    return encoded.tobytes()


def make_dicom(stored, *, bits_stored=None, transfer_syntax=ExplicitVRLittleEndian, **elements):
    """Bytes of a computed radiograph of (rows, columns) stored values; elements by keyword, None removes one."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.Modality = "CR"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = stored.dtype.itemsize * 8
    dataset.BitsStored = bits_stored or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated == 16 else "OB"
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
