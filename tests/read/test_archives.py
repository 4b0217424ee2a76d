"""What archives hold: JPEG Lossless, JPEG extended, enhanced objects, several images in a study."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    generate_uid,
)

from detector.errors import UnreadableError, UnsupportedDicomError, UnsupportedTransferSyntaxError
from detector.read import dicom, image_io, sandbox
from tests.conftest import encode, make_dicom
from tests.hostile import make

RAMP = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)
RAMP_12_BIT = RAMP.astype(np.uint16) * 28
STORED = {"8 bits": RAMP, "12 bits": RAMP_12_BIT, "signed": RAMP_12_BIT.astype(np.int16) - 2000}


@pytest.mark.parametrize("bits", STORED)
@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1], ids=lambda syntax: syntax.keyword)
def test_jpeg_lossless_gives_the_pixels_of_the_uncompressed_file(syntax, bits):
    stored = STORED[bits]
    plain = image_io.read_radiograph(make_dicom(stored))
    packed = make.encapsulated(make.compressed(syntax, stored), syntax, like=stored)
    assert sandbox.read_radiograph(packed).pixel_sha256 == plain.pixel_sha256


@pytest.fixture(scope="session")
def dcmcjpeg():
    """DCMTK's encoder, which owes nothing to the decoder under test."""
    path = shutil.which("dcmcjpeg")
    if path is None:
        pytest.skip("files of another encoder are left out: there is no dcmcjpeg (apt-get install dcmtk)")
    return path


@pytest.mark.parametrize(("option", "syntax"), [("+e1", JPEGLosslessSV1), ("+el", JPEGLossless)])
def test_jpeg_lossless_of_another_encoder_gives_the_same_pixels(dcmcjpeg, tmp_path, option, syntax):
    for stored in STORED.values():
        plain, packed = tmp_path / "plain.dcm", tmp_path / "packed.dcm"
        plain.write_bytes(make_dicom(stored))
        subprocess.run([dcmcjpeg, option, "+un", plain, packed], check=True)
        assert pydicom.dcmread(packed).file_meta.TransferSyntaxUID == syntax
        expected = image_io.read_radiograph(plain.read_bytes()).pixel_sha256
        assert sandbox.read_radiograph(packed.read_bytes()).pixel_sha256 == expected


def test_jpeg_extended_with_eight_bits_is_read():
    frame = encode(RAMP, ".jpg").replace(b"\xff\xc0", b"\xff\xc1", 1)
    read = sandbox.read_radiograph(make.encapsulated(frame, JPEGExtended12Bit, like=RAMP))
    plain = image_io.read_radiograph(make_dicom(RAMP))
    assert np.abs(read.pixels - plain.pixels).max() < 0.02  # a lossy form


@pytest.mark.parametrize("bits_stored", [12, 8])
def test_jpeg_extended_with_twelve_bits_is_rejected_by_name(bits_stored):
    frame = encode(RAMP, ".jpg").replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc1\x00\x0b\x0c", 1)
    like = RAMP_12_BIT if bits_stored == 12 else RAMP
    data = make.encapsulated(frame, JPEGExtended12Bit, like=like, BitsStored=bits_stored, HighBit=bits_stored - 1)
    with pytest.raises(UnsupportedTransferSyntaxError, match=r"1\.2\.840\.10008\.1\.2\.4\.51"):
        sandbox.read_radiograph(data)


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["cut", "ended again"])
def test_jpeg_lossless_that_was_cut_is_no_picture(end):
    frame = make.compressed(JPEGLosslessSV1, RAMP_12_BIT)
    with pytest.raises(UnreadableError):
        sandbox.read_radiograph(make.encapsulated(frame[: len(frame) // 2] + end, JPEGLosslessSV1, like=RAMP_12_BIT))


def test_each_compression_has_one_decoder(monkeypatch):
    asked = []
    monkeypatch.setattr(dicom, "pixel_array", lambda _, decoding_plugin: asked.append(decoding_plugin) or RAMP)
    frame = encode(RAMP, ".jpg")
    dicom.decode(dicom.read_header(make.encapsulated(frame, "1.2.840.10008.1.2.4.50", like=RAMP)))
    assert asked == ["pillow"]
    assert all(dicom._PLUGINS[syntax] for syntax in dicom._COMPRESSED_SYNTAXES)


def enhanced(**plain):
    """One frame whose window and rescale stand in functional groups, as in enhanced and multi-frame objects."""

    def change(dataset):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
        dataset.Modality, dataset.NumberOfFrames = "DX", "1"
        window, values, shared, own = Dataset(), Dataset(), Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = "1000", "500"
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = "2", "-100", "US"
        shared.PixelValueTransformationSequence, own.FrameVOILUTSequence = [values], [window]
        dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], [own]

    return make.changed(make_dicom(RAMP_12_BIT, bits_stored=12, **plain), change)


def test_enhanced_object_of_one_frame_is_shown_by_the_grey_scale_of_its_groups():
    grey_scale = {"WindowCenter": "1000", "WindowWidth": "500", "RescaleSlope": "2", "RescaleIntercept": "-100"}
    plain = make_dicom(RAMP_12_BIT, bits_stored=12, **grey_scale)
    assert sandbox.read_radiograph(enhanced()).pixel_sha256 == sandbox.read_radiograph(plain).pixel_sha256


def test_what_stands_in_the_plain_place_counts():
    plain = make_dicom(RAMP_12_BIT, bits_stored=12, WindowCenter="50", WindowWidth="20", RescaleSlope="1",
                       RescaleIntercept="0")  # fmt: skip
    read = sandbox.read_radiograph(
        enhanced(WindowCenter="50", WindowWidth="20", RescaleSlope="1", RescaleIntercept="0")
    )
    assert read.pixel_sha256 == sandbox.read_radiograph(plain).pixel_sha256


def test_multi_frame_object_of_two_frames_is_rejected():
    two = make.changed(
        enhanced(), lambda d: (setattr(d, "NumberOfFrames", "2"), setattr(d, "PixelData", d.PixelData * 2))
    )
    with pytest.raises(UnsupportedDicomError, match="Frames is '2'"):
        sandbox.read_radiograph(two)


def test_images_of_one_study_are_told_apart():
    study = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "Modality": "DX"}
    frontal = sandbox.read_radiograph(make_dicom(RAMP_12_BIT, ViewPosition="PA", InstanceNumber=1, **study))
    lateral = sandbox.read_radiograph(make_dicom(RAMP_12_BIT[::-1], ViewPosition="LL", InstanceNumber=2, **study))
    assert (frontal.view_position, lateral.view_position) == ("PA", "LL")
    assert frontal.pixel_sha256 != lateral.pixel_sha256


@pytest.mark.parametrize("elements", [{}, {"ViewPosition": ""}], ids=["missing", "empty"])
def test_cr_without_a_view_position_is_read_without_one(elements):
    read = sandbox.read_radiograph(make_dicom(RAMP_12_BIT, Modality="CR", **elements))
    assert read.view_position is None
    assert read.warnings == ()
