"""The header of a PNG or JPEG, read before its pixels are decoded, and whether the file is complete.

Decoders silently fill missing parts with grey; walking from the first marker to the last finds them.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from detector import words
from detector.errors import AnimatedError, UnreadableError, UnsupportedFormatError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_PALETTE, _PNG_ALPHA_BIT = 3, 4  # colour type, PNG specification 11.2.1

_JPEG_SIGNATURE = b"\xff\xd8\xff"
_JPEG_END = 0xD9
_JPEG_START_OF_SCAN = 0xDA
_JPEG_RESTARTS = range(0xD0, 0xD8)
_JPEG_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7]")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # without tables and extensions, T.81 table B.1
_JPEG_CMYK_COMPONENTS = 4
_JPEG_MOST_SCANS = 200  # a progressive JPEG has about ten; each may take as long as a whole picture


@dataclass(frozen=True)
class PictureHeader:
    """A sound PNG or JPEG file's own description.

    Attributes:
        file_format: ``"PNG"`` or ``"JPEG"``.
        rows: height in pixels, as stored.
        columns: width in pixels, as stored.
        has_alpha: whether pixels may be transparent.
        warnings: what is unusual for a radiograph, one sentence each.
    """

    file_format: str
    rows: int
    columns: int
    has_alpha: bool = False
    warnings: tuple[str, ...] = ()


def read_picture_header(data: bytes) -> PictureHeader:
    """Recognise and check a picture file.

    Raises:
        UnsupportedFormatError: if the bytes begin neither like a PNG nor like a JPEG.
        UnreadableError: if the file is damaged or ends early.
        AnimatedError: if the PNG holds an animation.
    """
    if data.startswith(_PNG_SIGNATURE):
        return _read_png(data)
    if data.startswith(_JPEG_SIGNATURE):
        return _read_jpeg(data)
    raise UnsupportedFormatError("The file is neither PNG, JPEG nor DICOM.")  # its first bytes may be somebody's name


def _read_png(data: bytes) -> PictureHeader:
    """Walk the chunks (PNG specification 5): each has a checksum, and the last is IEND."""
    kinds: set[bytes] = set()
    position, header = len(_PNG_SIGNATURE), b""
    while b"IEND" not in kinds:
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if end > len(data):
            raise UnreadableError("The PNG ends inside a chunk.")
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise UnreadableError("The checksum of one of the PNG's chunks is wrong.")
        if not kinds:
            header = data[position + 8 : end - 4]
            if kind != b"IHDR" or len(header) != 13:
                raise UnreadableError("The PNG does not begin with its header chunk.")
        kinds.add(kind)
        position = end
    if b"acTL" in kinds:
        raise AnimatedError("The PNG is animated.")
    columns, rows = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, colour_type = header[8], header[9]
    warnings = []
    if depth < 8 and colour_type != _PNG_PALETTE:
        warnings.append(words.GREY_LEVELS_WARNING.format(levels=2**depth))
    if colour_type == _PNG_PALETTE:
        warnings.append(words.COLOUR_PALETTE_WARNING)
    if colour_type & _PNG_ALPHA_BIT:
        warnings.append(words.TRANSPARENCY_WARNING)
    has_alpha = bool(colour_type & _PNG_ALPHA_BIT) or b"tRNS" in kinds
    return PictureHeader("PNG", rows, columns, has_alpha, tuple(warnings))


def _read_jpeg(data: bytes) -> PictureHeader:
    """Walk the markers (ITU-T T.81 B.1) from the first segment to the end of the image."""
    position, frame, scans = 2, b"", 0
    while True:
        marker = _marker_at(data, position)
        if marker == _JPEG_END:
            break
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in _JPEG_RESTARTS or marker == 0x01:  # markers without a segment
            position += 2
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in _JPEG_FRAMES:
            if frame:  # the decoder uses the first one
                raise UnreadableError("The JPEG has more than one frame header.")
            frame = data[position + 4 : end]
        scans += marker == _JPEG_START_OF_SCAN
        if scans > _JPEG_MOST_SCANS:
            raise UnreadableError(f"The JPEG has more than {_JPEG_MOST_SCANS} scans.")
        position = _end_of_scan(data, end) if marker == _JPEG_START_OF_SCAN else end
    if len(frame) < 6:
        raise UnreadableError("The JPEG has no frame header.")
    cmyk = frame[5] == _JPEG_CMYK_COMPONENTS
    warnings = (words.CMYK_WARNING,) if cmyk else ()
    rows, columns = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    return PictureHeader("JPEG", rows, columns, warnings=warnings)


def _marker_at(data: bytes, position: int) -> int:
    if position + 1 >= len(data):
        raise UnreadableError("The JPEG ends before its end marker.")
    if data[position] != 0xFF:
        raise UnreadableError(f"The JPEG has no marker at byte {position}.")
    return data[position + 1]


def _end_of_scan(data: bytes, position: int) -> int:
    """Find the marker that ends entropy-coded bytes, in which 0xFF is followed by 0 or by a restart number."""
    found = _JPEG_MARKER_AFTER_SCAN.search(data, position)
    if found is None:
        raise UnreadableError("The JPEG ends inside its pixels.")
    return found.start()
