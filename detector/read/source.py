"""DICOM bytes -> what the results need to know about their source: whose image it is, and how it is shown.

Results that go into a patient's study must name the patient, and the standard is strict about how. Archives are not:
values are too long, dates have dots, an age is "62". So every value is checked here against its value representation
(PS3.5 section 6.2). Invalid values are corrected where only one reading is possible, and left out otherwise.

This record accompanies an analysis on request, and goes only into DICOM results: never into JSON, CSV or a log.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import uuid
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from pydicom import config
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, ComputedRadiographyImageStorage

from detector.read import dicom

if TYPE_CHECKING:
    from collections.abc import Callable

#: Character set of results that contain more than ASCII.
UTF8 = "ISO_IR 192"  # PS3.3 C.12.1.1.2
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_UID_LENGTH = 64
_DATE = re.compile(r"(\d{4})[.\-]?(\d{2})[.\-]?(\d{2})")  # dots are ACR-NEMA's (PS3.5 section 6.2, DA)
_TIME = re.compile(r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)(\.\d{1,6})?)?)?")
_AGE = re.compile(r"\d{3}[DWMY]")
_CODE = re.compile(r"[A-Z0-9_ ]{0,16}")
_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f\\]")
_NAME_GROUP, _NAME_GROUPS, _NAME_PARTS = 64, 3, 5  # PS3.5 section 6.2, PN
_LARGEST_LUT = 2**16  # entries
_LARGEST_WORD = 2**16 - 1

_PEOPLE = ("PatientName", "ReferringPhysicianName")
_TEXTS = {
    "PatientID": 64, "IssuerOfPatientID": 64, "AccessionNumber": 16, "StudyID": 16, "StudyDescription": 64,
}  # fmt: skip
_DATES, _TIMES = ("PatientBirthDate", "StudyDate"), ("StudyTime",)
_SEXES = frozenset({"M", "F", "O"})
_CODES = (
    "Modality", "BodyPartExamined", "ViewPosition", "PhotometricInterpretation", "PresentationLUTShape",
    "BurnedInAnnotation",
)  # fmt: skip
#: What a result must have, even if empty: type 2 of the patient and the study (PS3.3 C.7.1.1, C.7.2.1).
REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName",
    "StudyID", "AccessionNumber",
)  # fmt: skip
#: Every attribute that says whose image it is.
WHOSE = (*_PEOPLE, *_TEXTS, *_DATES, *_TIMES, "PatientSex", "PatientAge")
_VOI_FUNCTIONS = frozenset({"LINEAR", "LINEAR_EXACT", "SIGMOID"})  # PS3.3 C.11.2.1.3
_LUT_SEQUENCES = ("VOILUTSequence", "ModalityLUTSequence")


@dataclass(frozen=True, eq=False)
class SourceHeader:
    """What results need to know about the DICOM image that they belong to.

    Attributes:
        dataset: patient, study, identifiers, and how the pixels are shown; every value valid, no pixels. It names a
            patient, so it is left out of the record's `repr`.
        notes: what was corrected or left out, as sentences without values.
    """

    dataset: Dataset = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def sop_instance_uid(self) -> str:
        """Identifies the image."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def patient_id(self) -> str:
        """(0010,0020), without surrounding spaces; empty if the file has none."""
        return str(self.dataset.PatientID)

    def to_json(self) -> str:
        """The record in the DICOM JSON model (PS3.18 F), with its notes; for a pipe, never for a file."""
        return str(self.dataset.to_json())

    @classmethod
    def from_json(cls, text: str, notes: tuple[str, ...]) -> SourceHeader:
        """The inverse of `to_json`.

        Raises:
            ValueError: if the text did not come from `to_json`.
        """
        try:
            return cls(Dataset.from_json(text), notes)
        except Exception as error:  # the text comes from a process that a hostile file may have taken over
            raise ValueError(f"The source cannot be read ({type(error).__name__}).") from error


def read_source(data: bytes) -> SourceHeader:
    """Read a DICOM file's source header in this process; `detector.read.sandbox` does the same in a child.

    Raises:
        RejectedError: a subclass of it, as `dicom.read_header` does.
    """
    header = dicom.read_header(data)
    return source_of(header.dataset, hashlib.sha256(data).hexdigest())


def source_of(dataset: Dataset, sha256: str) -> SourceHeader:
    """Copy the valid values of a data set.

    Args:
        dataset: an image's attributes, not to be trusted.
        sha256: of its file; missing identifiers are derived from it.
    """
    with config.disable_value_validation():  # a warning would quote invalid values; they are checked here
        return _checked(dataset, sha256)


def _checked(dataset: Dataset, sha256: str) -> SourceHeader:
    reader = _Reader(dataset)
    _identify(reader, dataset, sha256)
    for keyword in _PEOPLE:
        reader.take(keyword, _person)
    for keyword, length in _TEXTS.items():
        reader.take(keyword, partial(_words, length=length))
    for keyword in _DATES:
        reader.take(keyword, _date)
    for keyword in _TIMES:
        reader.take(keyword, _time)
    reader.take("PatientSex", lambda text: text.upper() if text.upper() in _SEXES else "")
    reader.take("PatientAge", lambda text: text if _AGE.fullmatch(text) else "")
    for keyword in _CODES:
        reader.take(keyword, lambda text: text.upper() if _CODE.fullmatch(text.upper()) else "")
    for keyword in REQUIRED:
        if keyword not in reader.kept:
            setattr(reader.kept, keyword, "")
    _describe_pixels(reader, dataset)
    if not str(reader.kept).isascii():
        reader.kept.SpecificCharacterSet = UTF8
    return SourceHeader(reader.kept, tuple(reader.notes))


def derived_uid(*parts: str) -> UID:
    """An identifier derived from `parts`, under the root that needs no registration (PS3.5 B.2)."""
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, chr(0).join(parts)).int}")


class _Reader:
    """Copies values one by one and notes what it had to change."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.kept = Dataset()
        self.notes: list[str] = []

    def take(self, keyword: str, valid: Callable[[str], str]) -> None:
        """Keep a value as `valid` returns it; an empty text leaves it out."""
        text = _text(self._dataset, keyword)
        checked = valid(text)
        if checked:
            setattr(self.kept, keyword, checked)
        if checked != text:
            self.note(keyword, "corrected" if checked else "left out")

    def note(self, keyword: str, what: str) -> None:
        tag = Tag(tag_for_keyword(keyword) or 0)
        self.notes.append(
            f"({tag.group:04X},{tag.element:04X}) {dictionary_description(tag)} is not valid; {what} in the results."
        )


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
        return "" if value is None else str(value).strip(" \0")
    except Exception:  # noqa: BLE001 - a damaged value can raise anything; it counts as none
        return ""


def _identify(reader: _Reader, dataset: Dataset, sha256: str) -> None:
    meta = getattr(dataset, "file_meta", Dataset())
    named = {
        "SOPClassUID": (_text(meta, "MediaStorageSOPClassUID"), str(ComputedRadiographyImageStorage)),
        "SOPInstanceUID": (_text(meta, "MediaStorageSOPInstanceUID"), str(derived_uid(sha256, "instance"))),
        "StudyInstanceUID": ("", str(derived_uid(sha256, "study"))),
        "SeriesInstanceUID": ("", str(derived_uid(sha256, "series"))),
    }
    for keyword, others in named.items():
        text = _text(dataset, keyword)
        setattr(reader.kept, keyword, next(uid for uid in (text, *others) if _is_uid(uid)))
        if not _is_uid(text):
            reader.note(keyword, "another one stands")


def _is_uid(text: str) -> bool:
    return len(text) <= _UID_LENGTH and _UID.fullmatch(text) is not None


def _describe_pixels(reader: _Reader, dataset: Dataset) -> None:
    """Copy how the image is shown, as far as it can be applied; invalid values were ignored when it was read."""
    kept = reader.kept
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        value = _value(dataset, keyword)
        if isinstance(value, int):
            setattr(kept, keyword, value)
    kept.SamplesPerPixel = 1
    lossy = _text(dataset, "LossyImageCompression") == "01" or _is_lossy(dataset)
    if lossy:
        kept.LossyImageCompression = "01"
    for sequence in _LUT_SEQUENCES:
        if (item := _lut(dataset, sequence)) is not None:
            setattr(kept, sequence, [item])
    if "ModalityLUTSequence" not in kept:
        slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
        if slope and intercept is not None:
            kept.RescaleSlope, kept.RescaleIntercept = _decimal(slope), _decimal(intercept)
    if "VOILUTSequence" not in kept:
        center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
        function = _text(dataset, "VOILUTFunction") or "LINEAR"
        if center is not None and width is not None and width >= 1 and function in _VOI_FUNCTIONS:
            kept.WindowCenter, kept.WindowWidth, kept.VOILUTFunction = _decimal(center), _decimal(width), function


def _decimal(number: float) -> str:
    """A number as a decimal string of at most 16 characters (PS3.5 section 6.2, DS)."""
    return f"{number:.9g}"


def _is_lossy(dataset: Dataset) -> bool:
    syntax = _text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID")
    return "lossy" in UID(syntax).name.lower() or "Baseline" in UID(syntax).name


def _value(dataset: Dataset, keyword: str) -> Any:
    with contextlib.suppress(Exception):
        return dataset.get(keyword)
    return None


def _number(dataset: Dataset, keyword: str) -> float | None:
    """The first number of an element; None where there is none."""
    text = _text(dataset, keyword).strip("[]").split(",")[0].strip(" '")
    with contextlib.suppress(ValueError):
        number = float(text)
        if abs(number) < float("inf"):  # and no NaN
            return number
    return None


def _lut(dataset: Dataset, sequence: str) -> Dataset | None:
    """The first look-up table of a sequence, its entries as 16-bit words; None if there is no complete one.

    See PS3.3 C.11.1.1.1. A table that begins below zero is left out: its descriptor would need two representations.
    """
    try:
        item = dataset[sequence].value[0]
        count, first, bits = (int(value) for value in item.LUTDescriptor)
        data = item.LUTData
        if isinstance(data, bytes):
            data = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]
        words = b"".join((int(entry) & _LARGEST_WORD).to_bytes(2, "little") for entry in data)
    except Exception:  # noqa: BLE001 - a damaged table can raise anything; it counts as none
        return None
    count = count or _LARGEST_LUT
    if len(words) != 2 * count or not 0 <= first <= _LARGEST_WORD or not 8 <= bits <= 16:
        return None
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [count % _LARGEST_LUT, first, bits])
    table.add_new("LUTData", "OW", words)
    return table


def _words(text: str, *, length: int | None = None) -> str:
    return _NOT_TEXT.sub(" ", text).replace("\N{REPLACEMENT CHARACTER}", "")[:length].strip()


def _person(text: str) -> str:
    """A name of at most three groups of five components, each group within its length."""
    groups = _words(text).split("=")[:_NAME_GROUPS]
    return "=".join("^".join(group.split("^")[:_NAME_PARTS])[:_NAME_GROUP].strip() for group in groups).rstrip("=")


def _date(text: str) -> str:
    found = _DATE.fullmatch(text)
    if not found:
        return ""
    year, month, day = map(int, found.groups())
    with contextlib.suppress(ValueError):
        return date(year, month, day).strftime("%Y%m%d").zfill(8)
    return ""


def _time(text: str) -> str:
    found = _TIME.fullmatch(text)
    return "".join(part for part in found.groups() if part) if found else ""
