"""Bytes -> Radiograph: PNG, JPEG or DICOM, recognised by content and never by name.

Headers are checked before pixels, so that a small file cannot ask for a large decode. A file that can't be decoded
completely is refused: half a radiograph would still get a confident answer.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector import words
from detector.errors import (
    AspectRatioError,
    EmptyFileError,
    NoContrastError,
    TooLargeError,
    TooSmallError,
    TransparentError,
    UnreadableError,
)
from detector.read.picture_header import PictureHeader, read_picture_header
from detector.schema import Radiograph, in_unit_range

if TYPE_CHECKING:
    from collections.abc import Callable

    _Decoded = tuple[np.ndarray, str, str | None, tuple[str, ...], float | None]  # pixels, format, view, warnings, age

MAX_PIXELS = 50_000_000  # the largest detectors have 4280 x 3520 = 15 million
MAX_PICTURE_BYTES = 25 * 2**20
MAX_DICOM_BYTES = 64 * 2**20  # a 4280 x 3520 16-bit radiograph is 30 MB
_DICOM_PREAMBLE = 128  # bytes, PS3.10 section 7.1
MIN_SIDE = 64
MAX_ASPECT_RATIO = 4.0

#: The format that a file extension promises. Any other extension, or none, promises nothing.
_ENDINGS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
    ".pdf": "PDF",
}
_COLOUR_TOLERANCE = 12 / 255  # JPEG's chroma rounding stays below it in grey pictures
_COLOURED_SHARE = 0.001  # one coloured pixel in a thousand is a compression artefact, not a colour picture
_BLOCK = 256  # rows at a time, where the whole picture would need several copies
_FULL_RANGE_SHARE = 0.5  # a 16-bit picture whose maximum lies below half of full scale holds fewer bits


def read_radiograph(
    data: bytes,
    *,
    on_size: Callable[[int], None] = lambda _pixels: None,
    on_grey: Callable[[np.ndarray], None] = lambda _grey: None,
) -> Radiograph:
    """Decode one file in this process; `detector.read.sandbox` does the same in a child with limits.

    Args:
        data: the file's bytes.
        on_size: called with the number of pixels as soon as the header has passed its checks.
        on_grey: called with the pixels as soon as they have passed their checks, before they are hashed.

    Returns:
        The image as displayed: orientation applied, bone white. Equal pictures give equal arrays, whatever files they
        come from.

    Raises:
        RejectedError: a subclass of it for every input that is not one sound radiograph; see `detector.errors`.
    """
    check_bytes(data)
    read = _read_dicom if is_dicom(data) else _read_picture
    grey, file_format, view_position, warnings, age = read(data, on_size)
    low, high = grey.min(), grey.max()
    if not (np.isfinite([low, high]).all() and low < high):  # a NaN anywhere makes both NaN
        raise NoContrastError(f"The pixels reach from {low} to {high}.")
    grey = np.ascontiguousarray(_of_fewest_bits(grey))
    on_grey(grey)
    pixel_hash = hashlib.sha256(np.array(grey.shape, "<u4").tobytes())
    pixel_hash.update(grey.data)  # a large image's copies would cost as much as its hash
    return Radiograph(
        grey=grey,
        file_format=file_format,
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_sha256=pixel_hash.hexdigest(),
        view_position=view_position,
        warnings=warnings,
        age=age,
    )


def is_dicom(data: bytes) -> bool:
    """Say whether the bytes are a DICOM file: a preamble of 128 bytes, then "DICM" (PS3.10 section 7.1)."""
    return data.startswith(b"DICM", _DICOM_PREAMBLE)


def check_bytes(data: bytes) -> None:
    """Check the number of bytes.

    Raises:
        EmptyFileError: if there are no bytes.
        TooLargeError: if there are more than a radiograph needs.
    """
    if not data:
        raise EmptyFileError("The file has no bytes.")
    limit = MAX_DICOM_BYTES if is_dicom(data) else MAX_PICTURE_BYTES
    if len(data) > limit:
        raise TooLargeError(f"The file has {len(data)} bytes; the limit is {limit}.")


def name_warnings(name: str, file_format: str) -> tuple[str, ...]:
    """Warn if a file's name promises a format other than that of its bytes; the bytes decide.

    Args:
        name: of the file, with or without a folder.
        file_format: of its bytes, as in `Radiograph`.
    """
    promised = next((kind for ending, kind in _ENDINGS.items() if name.lower().endswith(ending)), file_format)
    if promised == file_format:
        return ()
    return (words.MISNAMED_WARNING.format(promised=promised, found=file_format),)


def _read_dicom(data: bytes, on_size: Callable[[int], None]) -> _Decoded:
    from detector.read import dicom  # noqa: PLC0415 - takes half a second, which only the decoding process should spend

    header = dicom.read_header(data)
    _check_size(header.rows, header.columns)
    on_size(header.rows * header.columns)
    image = dicom.decode(header)
    return image.pixels, "DICOM", image.view_position, image.warnings, image.age


def _read_picture(data: bytes, on_size: Callable[[int], None]) -> _Decoded:
    header = read_picture_header(data)
    _check_size(header.rows, header.columns)
    on_size(header.rows * header.columns)
    encoded = np.frombuffer(data, np.uint8)
    if header.has_alpha:
        _check_transparency(_imdecode(encoded, cv2.IMREAD_UNCHANGED))
    # These flags apply the EXIF orientation, which IMREAD_UNCHANGED does not.
    stored = _imdecode(encoded, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    grey, colour_warnings = _to_grey(stored)
    grey, range_warnings = _of_full_range(grey)
    return grey, header.file_format, None, _joined(header, colour_warnings, range_warnings), None


def _joined(header: PictureHeader, *more: tuple[str, ...]) -> tuple[str, ...]:
    return header.warnings + tuple(warning for warnings in more for warning in warnings)


def _check_size(rows: int, columns: int) -> None:
    if rows * columns > MAX_PIXELS:
        raise TooLargeError(f"The image has {rows} x {columns} pixels; the limit is {MAX_PIXELS} in all.")
    if min(rows, columns) < MIN_SIDE:
        raise TooSmallError(f"The image has {rows} x {columns} pixels; each side needs {MIN_SIDE}.")
    if max(rows, columns) > MAX_ASPECT_RATIO * min(rows, columns):
        raise AspectRatioError(f"The image has {rows} x {columns} pixels; the sides' ratio may be {MAX_ASPECT_RATIO}.")


def _imdecode(encoded: np.ndarray, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(encoded, flags)
    except cv2.error as error:
        raise UnreadableError(f"The picture cannot be decoded: {error.err}.") from error
    if image is None:
        raise UnreadableError("The picture cannot be decoded.")
    return image


def _check_transparency(image: np.ndarray) -> None:
    """Refuse a fully transparent picture; `image` is (rows, columns) or (rows, columns, channels)."""
    if image.ndim == 3 and image.shape[2] in {2, 4} and not image[..., -1].any():
        raise TransparentError("Every pixel is fully transparent.")


def _to_grey(image: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert (rows, columns[, 3]) to (rows, columns) of the same dtype, with a warning if there was colour."""
    if image.ndim == 2:
        return image, ()
    coloured = sum(_coloured_pixels(image[top : top + _BLOCK]) for top in range(0, len(image), _BLOCK))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if coloured > _COLOURED_SHARE * grey.size:
        return grey, (words.COLOUR_WARNING,)
    return grey, ()


def _coloured_pixels(image: np.ndarray) -> int:
    """Count the pixels of (rows, columns, 3) whose channels differ."""
    tolerance = _COLOUR_TOLERANCE * np.iinfo(image.dtype).max
    blue, green, red = (image[..., channel].astype(np.int32) for channel in range(3))
    return int(np.count_nonzero((np.abs(blue - green) > tolerance) | (np.abs(green - red) > tolerance)))


def _of_full_range(grey: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Scale (rows, columns) uint16 to float32 in [0, 1] by the range that it holds; 8 bits are left as they are."""
    if grey.dtype == np.uint8:
        return grey, ()
    low, high = int(grey.min()), int(grey.max())
    full_scale = np.iinfo(grey.dtype).max
    if high >= full_scale * _FULL_RANGE_SHARE:
        return grey.astype(np.float32) / np.float32(full_scale), ()
    scaled = (grey.astype(np.float32) - low) / np.float32(max(high - low, 1))
    return scaled, (words.OWN_RANGE_WARNING.format(bits=high.bit_length()),)


def _of_fewest_bits(grey: np.ndarray) -> np.ndarray:
    """Convert float32 in [0, 1] to uint8 if `in_unit_range` restores it to the bit; otherwise leave it as it is."""
    if grey.dtype == np.uint8:
        return grey
    levels = np.empty(grey.shape, np.uint8)
    for top in range(0, len(grey), _BLOCK):
        block = grey[top : top + _BLOCK]
        levels[top : top + _BLOCK] = np.rint(block * 255)
        if not np.array_equal(in_unit_range(levels[top : top + _BLOCK]), block):
            return grey
    return levels
