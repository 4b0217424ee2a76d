import hashlib
import struct
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from detector.errors import (
    AnimatedError,
    AspectRatioError,
    EmptyFileError,
    NoContrastError,
    TooLargeError,
    TooSmallError,
    TransparentError,
    UnreadableError,
    UnsupportedFormatError,
)
from detector.read import image_io
from detector.read.image_io import MAX_DICOM_BYTES, MAX_PICTURE_BYTES, read_radiograph
from tests.conftest import encode, make_dicom
from tests.read.test_picture_header import png_file, with_frame_size

RAMP = np.add.outer(np.arange(96), np.arange(0, 128)).astype(np.uint8)  # 96 rows, 128 columns, 0 to 222
PNG, JPEG = encode(RAMP), encode(RAMP, ".jpg")

#: EXIF orientation -> how a camera held that way stores the picture.
STORED_AS = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: np.transpose,
    6: np.rot90,
    7: lambda image: np.rot90(image, 2).T,
    8: lambda image: np.rot90(image, -1),
}


def saved(image, file_format="PNG", **options):
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def with_orientation(jpeg, orientation):
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


@pytest.fixture
def no_decoder(monkeypatch):
    def refuse(*_args):
        pytest.fail("pixels were decoded")

    monkeypatch.setattr(cv2, "imdecode", refuse)
    monkeypatch.setattr("detector.read.dicom.pixel_array", refuse)


def test_8_bit_png_is_divided_by_255():
    radiograph = read_radiograph(PNG)
    np.testing.assert_array_equal(radiograph.pixels, RAMP.astype(np.float32) / np.float32(255))
    assert radiograph.pixels.dtype == np.float32
    assert (radiograph.rows, radiograph.columns, radiograph.file_format) == (96, 128, "PNG")
    assert radiograph.warnings == ()
    assert radiograph.view_position is None


def test_file_hash_is_of_the_bytes():
    assert read_radiograph(PNG).sha256 == hashlib.sha256(PNG).hexdigest()


def test_one_picture_in_two_files_has_one_pixel_hash():
    other = encode(RAMP, parameters=(cv2.IMWRITE_PNG_COMPRESSION, 0))
    first, second = read_radiograph(PNG), read_radiograph(other)
    assert first.sha256 != second.sha256
    assert first.pixel_sha256 == second.pixel_sha256


def test_equal_pixels_have_one_hash_and_one_array_however_many_bits_store_them():
    eight, sixteen = read_radiograph(PNG), read_radiograph(encode(RAMP.astype(np.uint16) * 257))
    assert eight.pixel_sha256 == sixteen.pixel_sha256
    assert eight.grey.dtype == sixteen.grey.dtype == np.uint8
    np.testing.assert_array_equal(eight.grey, sixteen.grey)


def test_one_level_between_those_of_8_bits_keeps_16():
    stored = RAMP.astype(np.uint16) * 257
    stored[-1, -1] -= 1
    radiograph = read_radiograph(encode(stored))
    assert radiograph.grey.dtype == np.float32
    assert radiograph.pixel_sha256 != read_radiograph(PNG).pixel_sha256
    np.testing.assert_array_equal(radiograph.pixels, stored.astype(np.float32) / np.float32(65535))


def test_pixel_hash_tells_shapes_of_the_same_bytes_apart():
    turned = encode(RAMP.reshape(128, 96))
    assert read_radiograph(PNG).pixel_sha256 != read_radiograph(turned).pixel_sha256


@pytest.mark.parametrize("orientation", STORED_AS)
def test_exif_orientation_leads_to_one_picture(orientation):
    stored = np.ascontiguousarray(STORED_AS[orientation](RAMP))
    jpeg = with_orientation(encode(stored, ".jpg", parameters=(cv2.IMWRITE_JPEG_QUALITY, 100)), orientation)
    np.testing.assert_allclose(read_radiograph(jpeg).pixels, RAMP / 255, atol=3 / 255)


def test_16_bit_png_keeps_its_range():
    stored = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    radiograph = read_radiograph(encode(stored))
    np.testing.assert_allclose(radiograph.pixels, stored / 65535, atol=1e-7)
    assert len(np.unique(radiograph.pixels)) == 64 * 64
    assert radiograph.warnings == ()


@pytest.mark.parametrize(
    ("maximum", "scaled"), [pytest.param(32768, False, id="half-of-full-scale"), pytest.param(32767, True, id="below")]
)
def test_16_bit_png_is_scaled_only_below_half_of_full_scale(maximum, scaled):
    stored = np.linspace(0, maximum, 64 * 64).astype(np.uint16).reshape(64, 64)
    radiograph = read_radiograph(encode(stored))
    assert radiograph.pixels.max() == pytest.approx(1.0 if scaled else maximum / 65535)
    assert bool(radiograph.warnings) == scaled


def test_12_bits_in_16_bit_png_are_scaled_by_their_range_and_said():
    stored = np.linspace(100, 4095, 64 * 64).astype(np.uint16).reshape(64, 64)
    radiograph = read_radiograph(encode(stored))
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (0, 1)
    assert radiograph.warnings == ("The picture uses 12 of 16 bits; its own range was used.",)


GREY = Image.fromarray(RAMP)
TINTED = np.dstack([RAMP, RAMP, np.minimum(RAMP.astype(int) + 60, 255).astype(np.uint8)])


@pytest.mark.parametrize(
    ("data", "word"),
    [
        pytest.param(saved(GREY.convert("P")), "palette", id="palette"),
        pytest.param(saved(GREY.convert("LA")), "transparency", id="grey-alpha"),
        pytest.param(saved(GREY.convert("RGBA")), "transparency", id="colour-alpha"),
        pytest.param(saved(GREY.convert("1")), "2 grey levels", id="1-bit"),
        pytest.param(saved(GREY.convert("CMYK"), "JPEG"), "CMYK", id="cmyk"),
        pytest.param(encode(TINTED), "colour", id="tinted"),
    ],
)
def test_unusual_pixels_are_read_with_one_warning(data, word):
    radiograph = read_radiograph(data)
    assert radiograph.pixels.shape == RAMP.shape
    assert len(radiograph.warnings) == 1
    assert word in radiograph.warnings[0]


@pytest.mark.parametrize("data", [saved(GREY.convert("RGB")), saved(GREY.convert("RGB"), "JPEG")], ids=["png", "jpeg"])
def test_grey_stored_as_rgb_is_no_colour(data):
    radiograph = read_radiograph(data)
    np.testing.assert_allclose(radiograph.pixels, RAMP / 255, atol=4 / 255)
    assert radiograph.warnings == ()


def test_opaque_alpha_leaves_the_grey_values_alone():
    np.testing.assert_allclose(read_radiograph(saved(GREY.convert("RGBA"))).pixels, RAMP / 255, atol=1 / 255)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved(Image.merge("LA", (GREY, Image.new("L", GREY.size)))), id="grey-alpha"),
        pytest.param(saved(Image.merge("RGBA", (GREY, GREY, GREY, Image.new("L", GREY.size)))), id="colour-alpha"),
        pytest.param(saved(GREY.convert("P"), transparency=bytes(256)), id="palette"),
    ],
)
def test_fully_transparent_is_refused(data):
    with pytest.raises(TransparentError):
        read_radiograph(data)


def test_one_opaque_pixel_is_enough():
    alpha = np.zeros_like(RAMP)
    alpha[0, 0] = 255
    assert read_radiograph(saved(Image.merge("LA", (GREY, Image.fromarray(alpha))))).pixels.shape == RAMP.shape


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(b"", EmptyFileError, id="empty"),
        pytest.param(b"\0", UnsupportedFormatError, id="one-byte"),
        pytest.param(b"patient 17, chest", UnsupportedFormatError, id="text"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedFormatError, id="svg"),
        pytest.param(b"<!doctype html><p>", UnsupportedFormatError, id="html"),
        pytest.param(saved(GREY, "GIF"), UnsupportedFormatError, id="gif"),
        pytest.param(saved(GREY, "TIFF"), UnsupportedFormatError, id="tiff"),
        pytest.param(saved(GREY, "WEBP"), UnsupportedFormatError, id="webp"),
        pytest.param(b"%PDF-1.7\n", UnsupportedFormatError, id="pdf"),
        pytest.param(b"PK\x03\x04" + bytes(200), UnsupportedFormatError, id="zip"),
        pytest.param(make_dicom(RAMP)[132:], UnsupportedFormatError, id="dicom-without-preamble"),
        pytest.param(saved(GREY, save_all=True, append_images=[GREY.rotate(9)]), AnimatedError, id="apng"),
        pytest.param(encode(np.full((64, 64), 90, np.uint8)), NoContrastError, id="constant-png"),
        pytest.param(make_dicom(np.full((64, 64), 90, np.uint8)), NoContrastError, id="constant-dicom"),
    ],
)
def test_what_is_no_radiograph_is_refused(data, error):
    with pytest.raises(error):
        read_radiograph(data)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("data", [PNG, JPEG], ids=["png", "jpeg"])
def test_truncated_picture_is_refused(data, share):
    with pytest.raises(UnreadableError):
        read_radiograph(data[: int(len(data) * share)])


@pytest.mark.parametrize("missing", [4, 20, 200], ids=lambda missing: f"{missing}-bytes")
def test_png_with_sound_checksums_but_missing_pixels_is_refused(missing):
    packed = png_file(RAMP).packed
    with pytest.raises(UnreadableError):
        read_radiograph(png_file(RAMP, packed=packed[:-missing]).data)


def test_text_chunk_that_inflates_to_a_bomb_is_ignored():
    radiograph = read_radiograph(png_file(RAMP, text=b"a" * 20_000_000).data)
    np.testing.assert_array_equal(radiograph.pixels, read_radiograph(PNG).pixels)


def test_zip_behind_a_jpeg_changes_nothing():
    radiograph = read_radiograph(JPEG + b"PK\x03\x04" + bytes(500))
    assert radiograph.pixel_sha256 == read_radiograph(JPEG).pixel_sha256


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize(
    ("rows", "columns", "error"),
    [
        pytest.param(30000, 30000, TooLargeError, id="bomb"),
        pytest.param(5001, 10000, TooLargeError, id="one-row-over-50-megapixels"),
        pytest.param(63, 64, TooSmallError, id="one-row-under"),
        pytest.param(64, 63, TooSmallError, id="one-column-under"),
        pytest.param(1, 50000, TooSmallError, id="one-line"),
        pytest.param(0, 0, TooSmallError, id="nothing"),
        pytest.param(64, 257, AspectRatioError, id="one-column-too-wide"),
        pytest.param(257, 64, AspectRatioError, id="one-row-too-tall"),
    ],
)
@pytest.mark.parametrize("kind", ["png", "jpeg", "dicom"])
def test_size_is_refused_before_decoding(kind, rows, columns, error):
    data = {
        "png": lambda: png_file(RAMP, rows=rows, columns=columns).data,
        "jpeg": lambda: with_frame_size(JPEG, rows, columns),
        "dicom": lambda: make_dicom(RAMP, Rows=rows, Columns=columns),
    }[kind]()
    with pytest.raises(error):
        read_radiograph(data)


@pytest.mark.parametrize("shape", [(64, 64), (64, 256), (256, 64)], ids=str)
def test_smallest_side_and_largest_ratio_are_accepted(shape):
    pixels = np.arange(shape[0] * shape[1]).reshape(shape).astype(np.uint8)
    assert read_radiograph(encode(pixels)).pixels.shape == shape


def test_exactly_50_megapixels_pass_the_size_check():
    with pytest.raises(UnreadableError):  # for its missing pixels, not for its size
        read_radiograph(make_dicom(RAMP, Rows=5000, Columns=10000))


def test_picture_of_exactly_the_byte_limit_is_read():
    assert read_radiograph(JPEG.ljust(MAX_PICTURE_BYTES, b"\0")).rows == 96


@pytest.mark.usefixtures("no_decoder")
def test_picture_one_byte_over_the_limit_is_refused():
    with pytest.raises(TooLargeError):
        read_radiograph(JPEG.ljust(MAX_PICTURE_BYTES + 1, b"\0"))


def test_dicom_may_be_larger_than_a_picture_up_to_its_own_limit(monkeypatch):
    assert MAX_DICOM_BYTES > MAX_PICTURE_BYTES
    data = make_dicom(RAMP)
    monkeypatch.setattr(image_io, "MAX_PICTURE_BYTES", 1)
    monkeypatch.setattr(image_io, "MAX_DICOM_BYTES", len(data))
    assert read_radiograph(data).file_format == "DICOM"
    with pytest.raises(TooLargeError):
        read_radiograph(data + b"\0")


def test_dicom_carries_its_view_and_its_warnings():
    radiograph = read_radiograph(make_dicom(RAMP, ViewPosition="PA", BurnedInAnnotation="YES"))
    assert radiograph.view_position == "PA"
    assert len(radiograph.warnings) == 1


def test_warnings_of_header_and_range_are_joined():
    grey = (RAMP.astype(np.uint16) * 16)[..., np.newaxis]
    stored = np.concatenate([grey, grey, grey, np.full_like(grey, 65535)], axis=2)
    alpha, bits = read_radiograph(encode(stored)).warnings
    assert "transparency" in alpha
    assert "12 of 16 bits" in bits
