"""An answer as DICOM objects for the study of its image: structured report, secondary capture, presentation state.

All three say what `Answer` says. Their identifiers follow from the image's, the weights' hash and the question, so
that an archive can be asked whether it holds them, and one that gets them twice holds them once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.report.dicom_common import SERIES_NUMBERS, Subject
from detector.report.dicom_contours import presentation_state
from detector.report.dicom_picture import secondary_capture
from detector.report.dicom_report import structured_report

if TYPE_CHECKING:
    from detector.answers.answer import Answer
    from detector.read.source import SourceHeader

#: Kind of result to the ending of its file's name.
ENDINGS = {kind: f".{kind}.dcm" for kind in SERIES_NUMBERS}


def write_results(answer: Answer, source: SourceHeader) -> dict[str, bytes]:
    """Write an answer as DICOM files, for the image whose header `source` is.

    Returns:
        ``"sr"``, ``"sc"`` and ``"pr"`` to a file's bytes. The same answer gives the same bytes.
    """
    subject = Subject.of(answer, source)
    return {
        "sr": subject.whole(structured_report(subject)),
        "sc": subject.whole(secondary_capture(subject)),
        "pr": subject.whole(presentation_state(subject)),
    }
