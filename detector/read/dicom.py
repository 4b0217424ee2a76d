"""DICOM files -> pixels as a radiologist's screen would show them.

The order is the standard's (PS3.4 N.2): modality LUT, VOI LUT or window, presentation LUT. pydicom applies the
first two. This module refuses anything but a single greyscale radiograph, and uses no value that isn't a number.
"""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pydicom
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from detector import words
from detector.errors import (
    DecodingLimitError,
    DetectorError,
    NoContrastError,
    UnreadableError,
    UnsupportedDicomError,
    UnsupportedTransferSyntaxError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import FileDataset

_PREAMBLE_BYTES = 128  # PS3.10 section 7.1, followed by "DICM"
_EXECUTABLE_MAGIC = (b"MZ", b"\x7fELF", b"#!", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe")
_RADIOGRAPHY = frozenset({"CR", "DX", "RG", "OT", ""})  # PS3.3 C.7.3.1.1.1; OT and none occur in exports
#: Those terms of PS3.3 C.7.3.1.1.1 and C.7.6.3.1.2 that occur in practice
_TERMS = frozenset({
    "BI", "CT", "DOC", "ECG", "ES", "IO", "IVUS", "KO", "MG", "MR", "NM", "OCT", "OP", "OPT", "PR", "PT",
    "PX", "REG", "RF", "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "SC", "SEG", "SM", "SR", "US", "XA", "XC",
    "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR",
})  # fmt: skip
_INTEGER = re.compile(r"-?\d{1,10}")
_AGE = re.compile(r"(\d{3})([DWMY])")  # PS3.5 section 6.2, AS
_OF_A_YEAR = {"Y": 1, "M": 12, "W": 52.18, "D": 365.25}
_PERCENTILES = (0.5, 99.5)  # what a viewer shows where the file names no window
_GREYSCALE = frozenset({"MONOCHROME1", "MONOCHROME2"})
_LARGEST_SPACING = 10.0  # mm; a pixel of one centimetre shows no rib
_BLOCK = 256  # rows processed at a time
_FAR_OUTSIDE = 1e9  # beyond every 16-bit value after any sensible rescale

#: What is decoded, and by which of pydicom's plugins: by default pydicom tries each in turn, and GDCM on all.
_PLUGINS: dict[UID, str] = {
    ImplicitVRLittleEndian: "",
    ExplicitVRLittleEndian: "",
    ExplicitVRBigEndian: "",
    RLELossless: "pydicom",
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",  # with 8 bits: GDCM crashes on a damaged one
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
}
DECODED_SYNTAXES = frozenset(_PLUGINS)
_JPEG_2000_SYNTAXES = frozenset({JPEG2000Lossless, JPEG2000})
_GDCM_SYNTAXES = frozenset(syntax for syntax, plugin in _PLUGINS.items() if plugin == "gdcm")
_SYNTAXES_OF_ANY_BITS = _GDCM_SYNTAXES | {JPEGExtended12Bit}  # the frame's own bits are compared with the data set's
_JPEG_SYNTAXES = _SYNTAXES_OF_ANY_BITS | {JPEGBaseline8Bit, JPEGLSLossless, JPEGLSNearLossless}
_COMPRESSED_SYNTAXES = _JPEG_2000_SYNTAXES | _JPEG_SYNTAXES | {RLELossless}
_JPEG_END = b"\xff\xd9"
_RLE_HEADER_BYTES = 64
_MOST_RLE_BYTES_A_BYTE = 2  # a run of one byte takes two (PS3.5 G.3.1); more can only be meant to unpack to more
_MOST_PIXELS_A_BYTE = 2000  # radiographs are compressed to at most about 20 pixels per byte; a bomb claims millions
_PADDING_BYTES = 1024  # after the pixels; PS3.5 8.1.1 asks for an even number, some devices fill a sector
_JPEG_2000_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ with the image's size (ITU-T T.800 A.5.1)
_RLE_EXCESS = re.compile(r"RLE segment contains non-conformant padding - (\d+) vs\. (\d+) bytes")
_JPEG_FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xF7})  # ITU-T T.81 B.2.2, T.87 C.2.2


@dataclass(frozen=True, eq=False)
class DicomHeader:
    """A data set that has passed the checks that need no pixels."""

    dataset: FileDataset
    rows: int
    columns: int


@dataclass(frozen=True, eq=False)
class DicomImage:
    """Decoded pixels.

    Attributes:
        pixels: (rows, columns) float32 in [0, 1], bone white.
        view_position: (0018,5101), or None.
        warnings: what was assumed, one sentence each.
        age: (0010,1010) in years, or None.
    """

    pixels: np.ndarray
    view_position: str | None
    warnings: tuple[str, ...]
    age: float | None


def read_header(data: bytes) -> DicomHeader:
    """Read and check everything but the pixels.

    Raises:
        UnreadableError: if the data set is damaged or its values contradict each other.
        UnsupportedDicomError: if it is anything but one greyscale radiograph.
        UnsupportedTransferSyntaxError: if its compression is not decoded here.
    """
    if data.startswith(_EXECUTABLE_MAGIC):
        raise UnsupportedDicomError("The preamble begins like a program.")
    _check_transfer_syntax(data)
    with _reading():
        dataset = pydicom.dcmread(BytesIO(data))
        _lift_functional_groups(dataset)
    _check_kind(dataset)
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    _check_pixel_description(dataset)
    _check_compressed_size(dataset, rows, columns)
    return DicomHeader(dataset, rows, columns)


def decode(header: DicomHeader) -> DicomImage:
    """Decode the pixels and map them to the grey values of a screen.

    Raises:
        UnreadableError: if the pixels are incomplete or can't be decoded.
        NoContrastError: if all of them have the same value, or one is not finite.
    """
    dataset = header.dataset
    with _reading():
        _check_pixel_bytes(dataset, header.rows, header.columns)
    stored = _stored_values(dataset)
    if stored.shape != (header.rows, header.columns):
        raise UnreadableError(f"Rows and Columns say {header.rows} x {header.columns}. Decoded {stored.shape}.")
    entries, counts = _occurring(stored)
    padding = _is_padding(dataset, entries)
    values = _modality_values(dataset, entries)
    valid, valid_counts = values[~padding], counts[~padding]
    if valid.size == 0 or not np.isfinite(valid).all() or np.ptp(valid) == 0:
        raise NoContrastError("The DICOM pixels hold no contrast.")
    shown, window_notes = _voi_values(dataset, values, valid, valid_counts)
    shown[padding] = 0  # padding is background, whichever way the grey scale runs
    notes = _notes(dataset) + window_notes
    view, age = _text(dataset, "ViewPosition") or None, _years(_text(dataset, "PatientAge"))
    return DicomImage(_looked_up(stored, entries, shown), view, notes, age)


def _occurring(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values, at most 65536, in ascending order, and how often each occurs.

    Everything that follows is done once per value instead of once per pixel.
    """
    low, high = int(stored.min()), int(stored.max())
    counts = np.zeros(high - low + 1, np.int64)
    for block in _blocks(stored):
        counts += np.bincount((block.astype(np.int64) - low).ravel(), minlength=counts.size)
    entries = np.flatnonzero(counts)
    return (entries + low).astype(stored.dtype), counts[entries]


def _looked_up(stored: np.ndarray, entries: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Replace each stored value with its display value: (rows, columns) float32."""
    low = int(entries[0])
    table = np.zeros(int(entries[-1]) - low + 1, np.float32)
    table[entries.astype(np.int64) - low] = shown
    pixels = np.empty(stored.shape, np.float32)
    for block, target in zip(_blocks(stored), _blocks(pixels), strict=True):
        np.take(table, block.astype(np.int64) - low, out=target)
    return pixels


def _blocks(image: np.ndarray) -> Iterator[np.ndarray]:
    """Views of some rows each, so that the whole image needs no second copy."""
    return (image[top : top + _BLOCK] for top in range(0, len(image), _BLOCK))


def _check_transfer_syntax(data: bytes) -> None:
    """Read only the file meta information: a deflated data set can unpack to a thousand times its size."""
    file = BytesIO(data)
    file.seek(_PREAMBLE_BYTES + len("DICM"))
    with _reading():
        meta = read_dataset(
            file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag.group != 2
        )
        syntax = UID(str(meta.get("TransferSyntaxUID", "")))
    if not syntax:
        raise UnreadableError("The file meta information has no transfer syntax.")
    if not syntax.is_valid:  # and not quoted: a damaged length makes it out of what follows, names included
        raise UnsupportedTransferSyntaxError("(0002,0010) Transfer Syntax UID is no UID.")
    if syntax not in DECODED_SYNTAXES:
        raise UnsupportedTransferSyntaxError(f"Transfer syntax {syntax} ({syntax.name}) is not decoded.")


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what pydicom raises on damaged data into our error, and silence its advice to developers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DetectorError:
        raise
    except MemoryError as error:
        raise DecodingLimitError("The DICOM file needs more memory than there is.") from error
    except Exception as error:  # damaged values of a format this wide can raise anything
        # Its message may quote the file, and the file names a patient.
        raise UnreadableError(f"The DICOM file cannot be read ({type(error).__name__}).") from error


def _lift_functional_groups(dataset: FileDataset) -> None:
    """Place an enhanced object's grey scale where a plain one has it (PS3.3 C.7.6.16.2.9 and .10)."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in dataset.get(groups) or ():
            for macro in ("FrameVOILUTSequence", "PixelValueTransformationSequence"):
                for element in (element for item in group.get(macro) or () for element in item):
                    dataset.setdefault(element.tag, element)


def _check_kind(dataset: FileDataset) -> None:
    modality = _text(dataset, "Modality")
    if modality not in _RADIOGRAPHY:
        raise UnsupportedDicomError(f"(0008,0060) Modality is {_known(modality)}, not one of radiography.")
    if "PixelData" not in dataset:
        # Compressed data always have pixels; pydicom silently omits those without an end.
        missing = UnreadableError if dataset.file_meta.TransferSyntaxUID.is_encapsulated else UnsupportedDicomError
        raise missing("(7FE0,0010) Pixel Data is missing.")
    frames = _text(dataset, "NumberOfFrames") or "1"
    if frames != "1":
        raise UnsupportedDicomError(f"(0028,0008) Number of Frames is {_known(frames)}.")
    samples = _integer(dataset, "SamplesPerPixel")
    interpretation = _text(dataset, "PhotometricInterpretation")
    if samples != 1 or interpretation not in _GREYSCALE:
        raise UnsupportedDicomError(
            f"(0028,0004) Photometric Interpretation is {_known(interpretation)} with {samples} samples a pixel."
        )


def _known(value: str) -> str:
    """A value that a message may quote, a number or a term of the standard; anything else may be a name."""
    return repr(value) if value in _TERMS or _INTEGER.fullmatch(value) else "no known term"


def _check_pixel_description(dataset: FileDataset) -> None:
    allocated, stored = _integer(dataset, "BitsAllocated"), _integer(dataset, "BitsStored")
    if allocated not in {8, 16} or not 1 <= stored <= allocated:
        raise UnreadableError(f"(0028,0101) Bits Stored is {stored} of {allocated} allocated.")


def _check_compressed_size(dataset: FileDataset, rows: int, columns: int) -> None:
    """Compare a compressed frame's own size with the data set's, since a decoder allocates what the frame claims."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in _JPEG_2000_SYNTAXES | _JPEG_SYNTAXES:
        return
    frame = _frame(dataset)
    size, bits = (_jpeg_2000_size(frame), None) if syntax in _JPEG_2000_SYNTAXES else _jpeg_size(frame)
    if size != (rows, columns):
        raise UnreadableError(f"Rows and Columns say {rows} x {columns}. The compressed frame says {size}.")
    if syntax not in _SYNTAXES_OF_ANY_BITS:
        return
    allocated, stored = _integer(dataset, "BitsAllocated"), _integer(dataset, "BitsStored")
    if syntax == JPEGExtended12Bit and (bits, stored) != (8, 8):
        raise UnsupportedTransferSyntaxError(
            f"Transfer syntax {syntax} ({syntax.name}) is decoded with 8 bits alone, not with {bits} ({stored} stored)."
        )
    # GDCM believes the data set, whatever the frame holds, and a frame of more bits ends it.
    if bits is None or bits > allocated or allocated != (8 if bits <= 8 else 16):
        raise UnreadableError(f"(0028,0100) Bits Allocated is {allocated}. The compressed frame has {bits} bits.")


def _check_pixel_bytes(dataset: FileDataset, rows: int, columns: int) -> None:
    """Refuse pixel data whose length can't fit rows x columns, as far as that is known without decoding."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in _COMPRESSED_SYNTAXES:
        frame = _frame(dataset)
        if len(frame) * _MOST_PIXELS_A_BYTE < rows * columns:
            raise UnreadableError(f"{len(frame)} bytes are too few for {rows} x {columns} pixels.")
        most = _RLE_HEADER_BYTES + _MOST_RLE_BYTES_A_BYTE * _pixel_bytes(dataset, rows, columns)
        if syntax == RLELossless and len(frame) > most:
            raise DecodingLimitError(
                f"{len(frame)} bytes of RLE can unpack to far more than {rows} x {columns} pixels."
            )
        if syntax in _JPEG_SYNTAXES and not frame.rstrip(b"\0").endswith(_JPEG_END):
            raise UnreadableError("The compressed frame has no end marker.")  # CharLS looks for it for three seconds
        if syntax == JPEGBaseline8Bit:  # decoded again, small, for libjpeg's warnings, which Pillow hides
            cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        return
    excess = len(dataset.PixelData) - _pixel_bytes(dataset, rows, columns)
    if excess >= max(
        _pixel_bytes(dataset, 1, columns), _PADDING_BYTES
    ):  # Rows or Columns is wrong, and the picture would be cut or sheared
        raise UnreadableError(f"(7FE0,0010) Pixel Data holds {excess} bytes more than {rows} x {columns} pixels need.")


def _pixel_bytes(dataset: FileDataset, rows: int, columns: int) -> int:
    return rows * columns * _integer(dataset, "BitsAllocated") // 8


def _frame(dataset: FileDataset) -> bytes:
    with _reading():
        return get_frame(dataset.PixelData, 0, number_of_frames=1)


def _jpeg_2000_size(frame: bytes) -> tuple[int, int] | None:
    if not frame.startswith(_JPEG_2000_START) or len(frame) < 24:
        return None
    right, bottom, left, top = (int.from_bytes(frame[at : at + 4], "big") for at in range(8, 24, 4))
    return bottom - top, right - left


def _jpeg_size(frame: bytes) -> tuple[tuple[int, int] | None, int | None]:
    """Rows and columns, and bits per sample, of the frame header."""
    position = 2
    while position + 9 <= len(frame) and frame[position] == 0xFF:
        if frame[position + 1] in _JPEG_FRAME_MARKERS:
            bits, at = frame[position + 4], position + 5
            return (int.from_bytes(frame[at : at + 2], "big"), int.from_bytes(frame[at + 2 : at + 4], "big")), bits
        fill = frame[position + 1] == 0xFF
        position += 1 if fill else 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    return None, None


def _stored_values(dataset: FileDataset) -> np.ndarray:
    with _reading(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        stored: np.ndarray = pixel_array(dataset, decoding_plugin=_PLUGINS[dataset.file_meta.TransferSyntaxUID])
    _check_rle_length(dataset, [str(warning.message) for warning in said])
    return stored


def _check_rle_length(dataset: FileDataset, said: list[str]) -> None:
    """Refuse an RLE frame that holds more rows than Rows says; pydicom cuts them off and warns with both lengths."""
    for decoded, expected in (found.groups() for text in said if (found := _RLE_EXCESS.search(text))):
        if int(decoded) - int(expected) >= max(_integer(dataset, "Columns"), _PADDING_BYTES):
            raise UnreadableError(f"An RLE segment holds {decoded} bytes where {expected} are needed.")


def _is_padding(dataset: FileDataset, entries: np.ndarray) -> np.ndarray:
    """Which stored values mean a pixel outside the exposed field (PS3.3 C.7.5.1.1.2), as (values,) bool."""
    first = _integer_or_none(dataset, "PixelPaddingValue")
    if first is None:
        return np.zeros(entries.shape, bool)
    last = _integer_or_none(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    return (entries >= low) & (entries <= high)


def _modality_values(dataset: FileDataset, stored: np.ndarray) -> np.ndarray:
    """Apply the modality LUT or the rescale slope and intercept (PS3.3 C.11.1)."""
    with _reading():
        slope = dataset.get("RescaleSlope")
    if slope is not None and (not _is_number(slope) or float(slope) == 0):
        raise UnreadableError(f"(0028,1053) Rescale Slope is {_known(str(slope))}.")
    with _reading():
        return np.asarray(apply_modality_lut(stored, dataset), np.float64)


def _voi_values(
    dataset: FileDataset, values: np.ndarray, valid: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Apply the first VOI LUT or window (PS3.3 C.11.2); without a usable one, the range of the values.

    Args:
        dataset: holds the LUT or window.
        values: (values,) float64, to be shown.
        valid: those of them that are not padding.
        counts: how often each of `valid` occurs.

    Returns:
        (values,) float32 in [0, 1], and what was assumed.
    """
    notes: tuple[str, ...] = ()
    with _reading():
        has_lut = bool(dataset.get("VOILUTSequence"))
    if has_lut:
        return _on_screen(dataset, _apply_voi(dataset, values), _apply_voi(dataset, valid)), notes
    window = _window(dataset)
    if window.usable:
        if window.count > 1:
            notes = (words.WINDOWS_WARNING,)
        # pydicom's output range depends on bits and rescale; two values far outside any window give its ends.
        limits = _apply_voi(dataset, np.array([-_FAR_OUTSIDE, _FAR_OUTSIDE]))
        return _on_screen(dataset, _apply_voi(dataset, values), limits), notes
    if window.count:
        notes = (words.WINDOW_UNUSABLE_WARNING,)
    return _on_screen(dataset, values, _percentiles(valid, counts)), notes


@dataclass(frozen=True)
class _Window:
    """How many windows the file names, and whether the first one can be applied."""

    count: int
    usable: bool


def _window(dataset: FileDataset) -> _Window:
    centers, widths = _numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth")
    count = max(len(centers), len(widths))
    if not centers or not widths or not np.isfinite([centers[0], widths[0]]).all():
        return _Window(count, usable=False)
    linear = _text(dataset, "VOILUTFunction") in {"", "LINEAR"}
    return _Window(count, usable=widths[0] >= 1 if linear else widths[0] > 0)  # PS3.3 C.11.2.1.2


def _apply_voi(dataset: FileDataset, values: np.ndarray) -> np.ndarray:
    with _reading():
        return np.asarray(apply_voi_lut(values.copy(), dataset, index=0), np.float64)


def _percentiles(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`numpy.percentile` at `_PERCENTILES` of values that occur `counts` times each."""
    order = np.argsort(values)
    ends = np.cumsum(counts[order])
    at = np.array(_PERCENTILES) / 100 * (ends[-1] - 1)
    below, above = (values[order][np.searchsorted(ends, place, side="right")] for place in (np.floor(at), np.ceil(at)))
    limits: np.ndarray = below + (above - below) * (at - np.floor(at))
    return limits


def _on_screen(dataset: FileDataset, values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Scale values to float32 in [0, 1] between two limits, bone white.

    Where large values are dark, the distance from the upper limit is used, not one minus the result: so a MONOCHROME1
    file gives the same numbers as its MONOCHROME2 twin, to the bit.
    """
    low, high = float(limits.min()), float(limits.max())
    if high <= low or not np.isfinite(values).all():
        raise NoContrastError("The display values hold no contrast.")
    distance = high - values if _is_inverted(dataset) else values - low
    return np.clip(distance / (high - low), 0, 1).astype(np.float32)


def _is_inverted(dataset: FileDataset) -> bool:
    """Whether large values are dark: MONOCHROME1, or an inverse presentation LUT (PS3.3 C.8.11.3.1.2).

    The two say the same thing twice in a MONOCHROME1 file, so they invert once.
    """
    return (
        _text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
        or _text(dataset, "PresentationLUTShape") == "INVERSE"
    )


def _notes(dataset: FileDataset) -> tuple[str, ...]:
    notes = []
    if _text(dataset, "BurnedInAnnotation") == "YES":
        notes.append(words.BURNED_IN_WARNING)
    if _text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        notes.append(words.RAW_WARNING)
    spacings = _numbers(dataset, "PixelSpacing") + _numbers(dataset, "ImagerPixelSpacing")
    if not all(0 < spacing < _LARGEST_SPACING for spacing in spacings):
        notes.append(words.SPACING_WARNING)
    return tuple(notes)


def _text(dataset: FileDataset, keyword: str) -> str:
    with _reading():
        value = dataset.get(keyword)
        return "" if value is None else str(value).strip()


def _years(age: str) -> float | None:
    """An age string in years, e.g. ``"018M"`` is 1.5 (PS3.5 section 6.2); None if it is not valid."""
    found = _AGE.fullmatch(age)
    return int(found[1]) / _OF_A_YEAR[found[2]] if found else None


def _integer(dataset: FileDataset, keyword: str) -> int:
    value = _integer_or_none(dataset, keyword)
    if value is None:
        raise UnreadableError(f"{keyword} is missing or no number.")
    return value


def _integer_or_none(dataset: FileDataset, keyword: str) -> int | None:
    with _reading():
        value = dataset.get(keyword)
    return int(value) if isinstance(value, int) else None


def _numbers(dataset: FileDataset, keyword: str) -> list[float]:
    """Read a decimal string of any multiplicity; a value that is not a number becomes NaN, not an error."""
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError, OverflowError, NotImplementedError):  # "abc", or an unknown value representation
        return [np.nan]
    if value is None or value == "":
        return []
    several = value if isinstance(value, MultiValue) else [value]
    return [float(item) if _is_number(item) else np.nan for item in several]


def _is_number(value: Any) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except (ValueError, TypeError):
        return False
