import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from detector.errors import AnimatedError, UnreadableError, UnsupportedFormatError
from detector.read.picture_header import read_picture_header
from tests.conftest import encode

RAMP = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)  # 64 rows, 80 columns
PNG, JPEG = encode(RAMP), encode(RAMP, ".jpg")
SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))


@dataclass(frozen=True)
class PngFile:
    data: bytes
    packed: bytes


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(image, *, rows=None, columns=None, depth=8, colour_type=0, packed=None, text=None):
    """Write an 8-bit grey PNG by hand, with a header that may lie about it."""
    rows, columns = image.shape[0] if rows is None else rows, image.shape[1] if columns is None else columns
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in image)) if packed is None else packed
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, depth, colour_type, 0, 0, 0))
    texts = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(text)) if text else b""
    return PngFile(SIGNATURE + header + texts + chunk(b"IDAT", packed) + END, packed)


def frame_header(jpeg):
    """First and last byte of the frame header segment of a baseline JPEG."""
    start = jpeg.index(b"\xff\xc0")
    return start, start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")


def with_frame_size(jpeg, rows, columns):
    start, _ = frame_header(jpeg)
    return jpeg[: start + 5] + struct.pack(">HH", rows, columns) + jpeg[start + 9 :]


@pytest.mark.parametrize(("data", "file_format"), [(PNG, "PNG"), (JPEG, "JPEG")], ids=["png", "jpeg"])
def test_rows_come_before_columns(data, file_format):
    header = read_picture_header(data)
    assert (header.file_format, header.rows, header.columns) == (file_format, 64, 80)
    assert not header.has_alpha
    assert header.warnings == ()


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param((cv2.IMWRITE_JPEG_PROGRESSIVE, 1), id="progressive"),
        pytest.param((cv2.IMWRITE_JPEG_RST_INTERVAL, 1), id="restart-markers"),
        pytest.param((cv2.IMWRITE_JPEG_QUALITY, 100), id="best-quality"),
    ],
)
def test_every_kind_of_scan_is_walked_to_its_end(parameters):
    header = read_picture_header(encode(RAMP, ".jpg", parameters=parameters))
    assert (header.rows, header.columns) == (64, 80)


def test_fill_bytes_between_segments_are_skipped():
    assert read_picture_header(JPEG[:2] + b"\xff\xff\xff" + JPEG[2:]).rows == 64


def test_thumbnail_inside_a_segment_is_not_the_picture():
    thumbnail = encode(np.zeros((8, 8), np.uint8), ".jpg")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    assert read_picture_header(JPEG[:2] + segment + JPEG[2:]).rows == 64


def test_second_frame_header_cannot_hide_the_first_ones_size():
    start, end = frame_header(JPEG)
    bomb = with_frame_size(JPEG, 30000, 30000)
    with pytest.raises(UnreadableError, match="more than one frame"):
        read_picture_header(bomb[:-2] + JPEG[start:end] + bomb[-2:])


@pytest.mark.parametrize(
    ("depth", "colour_type", "has_alpha", "word"),
    [
        pytest.param(1, 0, False, "2 grey levels", id="1-bit"),
        pytest.param(4, 0, False, "16 grey levels", id="4-bit"),
        pytest.param(8, 3, False, "palette", id="palette"),
        pytest.param(1, 3, False, "palette", id="1-bit-palette"),
        pytest.param(8, 4, True, "transparency", id="grey-alpha"),
        pytest.param(8, 6, True, "transparency", id="colour-alpha"),
    ],
)
def test_unusual_png_has_one_warning(depth, colour_type, has_alpha, word):
    header = read_picture_header(png_file(RAMP, depth=depth, colour_type=colour_type).data)
    assert header.has_alpha == has_alpha
    assert len(header.warnings) == 1
    assert word in header.warnings[0]


def test_transparency_chunk_counts_as_alpha():
    data = png_file(RAMP).data
    at = data.index(b"IDAT") - 4
    assert read_picture_header(data[:at] + chunk(b"tRNS", b"\0\5") + data[at:]).has_alpha


def test_animation_chunk_is_refused():
    data = png_file(RAMP).data
    at = data.index(b"IDAT") - 4
    with pytest.raises(AnimatedError):
        read_picture_header(data[:at] + chunk(b"acTL", struct.pack(">II", 2, 0)) + data[at:])


@pytest.mark.parametrize("at", [17, len(PNG) // 2, len(PNG) - 5], ids=["header", "pixels", "end"])
def test_png_with_one_flipped_bit_is_refused(at):
    damaged = bytearray(PNG)
    damaged[at] ^= 1
    with pytest.raises(UnreadableError):
        read_picture_header(bytes(damaged))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(SIGNATURE, id="png-signature-alone"),
        pytest.param(SIGNATURE + END, id="png-without-header-chunk"),
        pytest.param(SIGNATURE + chunk(b"IHDR", bytes(12)) + END, id="png-short-header-chunk"),
        pytest.param(PNG[:-1], id="png-one-byte-short"),
        pytest.param(PNG[:-12], id="png-without-end-chunk"),
        pytest.param(PNG[: len(PNG) // 2], id="png-half"),
        pytest.param(b"\xff\xd8\xff", id="jpeg-signature-alone"),
        pytest.param(b"\xff\xd8\xff\xd9", id="jpeg-without-frame"),
        pytest.param(JPEG[:-1], id="jpeg-one-byte-short"),
        pytest.param(JPEG[:-2], id="jpeg-without-end-marker"),
        pytest.param(JPEG[: len(JPEG) // 3], id="jpeg-third"),
        pytest.param(JPEG[:2] + b"\xff\xe0\xff\xff" + JPEG[2:], id="jpeg-segment-beyond-the-end"),
        pytest.param(JPEG[:20] + b"\0" + JPEG[20:], id="jpeg-shifted-by-one-byte"),
    ],
)
def test_incomplete_or_damaged_picture_is_refused(data):
    with pytest.raises(UnreadableError):
        read_picture_header(data)


@pytest.mark.parametrize("data", [b"", b"GIF89a", PNG[1:], b"\xff\xd8"], ids=["empty", "gif", "shifted", "two-bytes"])
def test_other_signatures_are_named(data):
    with pytest.raises(UnsupportedFormatError, match="neither PNG"):
        read_picture_header(data)


def test_bytes_behind_the_end_are_not_read():
    assert read_picture_header(JPEG + b"PK\x03\x04" + bytes(99)) == read_picture_header(JPEG)
    assert read_picture_header(PNG + b"PK\x03\x04" + bytes(99)) == read_picture_header(PNG)
