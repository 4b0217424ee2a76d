"""What the three DICOM results have in common: whom they belong to, what they are called, what they say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from detector import __version__, words
from detector.read.source import REQUIRED, UTF8, WHOSE, derived_uid

if TYPE_CHECKING:
    from pydicom.uid import UID

    from detector.answers.answer import Answer, Question
    from detector.read.source import SourceHeader
    from detector.schema import Correction

MANUFACTURER = "cxr-detector"
SERIES_DESCRIPTION = "RESEARCH, NOT FOR DIAGNOSIS"

_LONG_STRING = 64  # characters (PS3.5 section 6.2, LO)

#: Kind of result to the number of its series. High, to come after what the modality made.
SERIES_NUMBERS = {"sr": 9901, "sc": 9902, "pr": 9903}


@dataclass(frozen=True)
class Identity:
    """What identifies a set of results; the same image, weights and question have the same identifiers.

    Attributes:
        image: SOP Instance UID of the source.
        weights: SHA-256 of the network that answered.
        question: what was asked, and what was done to the picture before.
    """

    image: str
    weights: str
    question: str

    def instance_uid(self, kind: str) -> UID:
        """SOP Instance UID of a result of a kind, see `SERIES_NUMBERS`."""
        return derived_uid(self.image, self.weights, self.question, kind, "instance")

    def series_uid(self, kind: str) -> UID:
        """Series Instance UID of a result of a kind."""
        return derived_uid(self.image, self.weights, self.question, kind, "series")


def identity(image: str, weights: str, question: Question, correction: Correction) -> Identity:
    """Identify the results of a question before it is answered; image and weights as of `Identity`."""
    site = question.site and question.site.sha256
    asked = (question.mode, question.operating_point, question.target_class, question.against, site, correction)
    return Identity(image, weights, repr(asked))


@dataclass(frozen=True, eq=False)
class Subject:
    """One answer with the image that it belongs to.

    Attributes:
        answer: what is told.
        source: header of the image.
        identity: of the results.
        when: local time of the analysis.
    """

    answer: Answer
    source: SourceHeader
    identity: Identity
    when: datetime

    @classmethod
    def of(cls, answer: Answer, source: SourceHeader) -> Subject:
        """Bring an answer and its image together."""
        analysis = answer.analysis
        named = identity(source.sop_instance_uid, analysis.model.sha256, answer.question, analysis.correction)
        return cls(answer, source, named, datetime.fromisoformat(analysis.analysed_at).astimezone())

    @property
    def image(self) -> Dataset:
        """The source without its patient: highdicom quotes a name that it finds odd in a warning."""
        image = Dataset()
        image.update({e.tag: e for e in self.source.dataset if e.keyword not in WHOSE})
        for keyword in REQUIRED:
            setattr(image, keyword, None)
        return image

    def common(self, kind: str) -> dict[str, Any]:
        """Arguments that highdicom's constructors share."""
        model = self.answer.analysis.model
        return {
            "series_instance_uid": self.identity.series_uid(kind),
            "series_number": SERIES_NUMBERS[kind],
            "sop_instance_uid": self.identity.instance_uid(kind),
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": model.name,
            "software_versions": f"{__version__}, weights {model.version}"[:_LONG_STRING],
            "device_serial_number": model.sha256,
            "series_description": SERIES_DESCRIPTION,
        }

    def whole(self, result: Dataset) -> bytes:
        """Write a result, for the source's patient and study and with the analysis's time: one answer, one file."""
        day, time = self.when.strftime("%Y%m%d"), self.when.strftime("%H%M%S")
        result.pop("ContributingEquipmentSequence", None)  # highdicom's own, with the time at which it ran
        result.SeriesDate, result.SeriesTime = day, time
        for date in ("InstanceCreation", "Content", "PresentationCreation"):
            if f"{date}Date" in result:
                setattr(result, f"{date}Date", day)
                setattr(result, f"{date}Time", time)
        for keyword in WHOSE:
            if keyword in self.source.dataset:
                result[keyword] = self.source.dataset[keyword]
        result.Laterality = ""  # asked for where no body part says that it is not one of a pair (PS3.3 C.7.3.1)
        result.pop("SpecificCharacterSet", None)
        if not str(result).isascii():
            result.SpecificCharacterSet = UTF8
        file = BytesIO()
        result.save_as(file, enforce_file_format=True)
        return file.getvalue()


def answer_lines(answer: Answer) -> list[str]:
    """The question, the answer, and where the evidence lies: a line each."""
    return [_question_line(answer), _answer_line(answer), evidence_line(answer)]


def evidence_line(answer: Answer) -> str:
    """Where the evidence for the explained class lies."""
    return f"{words.DICOM_EVIDENCE.format(name=words.CLASSES[answer.target_class])} {answer.evidence_sentence}"


def _question_line(answer: Answer) -> str:
    asked = words.DICOM_QUESTION.format(mode=words.MODES[answer.task.mode])
    if (point := answer.operating_point) is None:
        return asked
    name = words.OPERATING_POINTS.get(point.name, point.name)
    return f"{asked} {words.DICOM_POINT.format(name=name, threshold=words.percent(point.threshold))}"


def _answer_line(answer: Answer) -> str:
    shares = ", ".join(f"{words.CLASSES[name]} {words.percent(value)}" for name, value in answer.probabilities.items())
    why = f" {answer.why_indeterminate}" if answer.why_indeterminate else ""
    return f"{words.headline(answer.decision, answer.probabilities)}. {shares}.{why}"


def provenance_line(answer: Answer) -> str:
    """Which network answered."""
    model = answer.analysis.model
    return f"{MANUFACTURER} {__version__}, {model.name} {model.version}, SHA-256 {model.sha256}"


def remarks(answer: Answer) -> list[str]:
    """What the reader has decided about the picture, and every warning."""
    return [*(f"{mark[:1].upper()}{mark[1:]}." for mark in answer.marks), *answer.warnings]
