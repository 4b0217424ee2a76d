"""The side-by-side picture as a DICOM secondary capture, with question, answer and notice burned in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from detector import words
from detector.answers.overlay import blend, scaled, to_display, to_heatmap
from detector.report.dicom_common import SERIES_DESCRIPTION, answer_lines, provenance_line, remarks
from detector.report.sheet import wrapped
from detector.schema import NOTICE

if TYPE_CHECKING:
    from detector.answers.answer import Answer
    from detector.report.dicom_common import Subject

_SIDE = 768  # pixels of each picture's longer side: two of them on a reading screen
_LEAST_WIDTH = 900  # of the sheet, so that a narrow picture leaves room for words
_OPACITY = 0.6
_TYPE, _LINE, _MARGIN = 18, 24, 12  # pixels


def secondary_capture(subject: Subject) -> SCImage:
    """Write the picture that `draw_sheet` draws as an image of the source's study, uncompressed RGB."""
    source = subject.source.dataset
    picture = SCImage(
        pixel_array=draw_sheet(subject.answer),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=source.StudyInstanceUID,
        patient_orientation=("L", "F"),
        **subject.common("sc"),
    )
    picture.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    picture.PatientOrientation = []  # two pictures side by side have no single one
    picture.BurnedInAnnotation = "YES" if source.get("BurnedInAnnotation") == "YES" else "NO"
    for keyword in ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"):  # the series' date and time say it
        delattr(picture, keyword)
    picture.DerivationDescription = words.DICOM_SC_DESCRIPTION
    picture.SourceImageSequence = [_reference(source)]
    if "LossyImageCompression" in source:
        picture.LossyImageCompression = source.LossyImageCompression
    return picture


def draw_sheet(answer: Answer) -> np.ndarray:
    """Draw the X-ray beside the map with words above and below: (H, W, 3) uint8 RGB."""
    image, overlay = _pictures(answer)
    rows, columns = image.shape
    width = max(2 * columns, _LEAST_WIDTH)
    font, bold = ImageFont.load_default(_TYPE), ImageFont.load_default(_TYPE + 6)
    pad = (width - 2 * columns) // 2
    captions = [(0, words.DICOM_XRAY_PANEL), (width // 2, _map_caption(answer))]
    texts = [*answer_lines(answer), *remarks(answer), provenance_line(answer), answer.analysis.analysed_at]
    below = [line for text in texts for line in wrapped(text, font, width - 2 * _MARGIN)]
    beside = [[at, wrapped(text, font, width // 2 - 2 * _MARGIN)] for at, text in captions]
    head, caption = 2 * _LINE, max(len(lines) for _, lines in beside) * _LINE + _MARGIN
    sheet = Image.new("RGB", (width, head + rows + caption + len(below) * _LINE + _MARGIN), "black")
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, head // 2), f"{SERIES_DESCRIPTION}. {NOTICE}", fill="white", font=bold, anchor="lm")
    sheet.paste(Image.fromarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)), (pad, head))
    sheet.paste(Image.fromarray(overlay), (pad + columns, head))
    for at, lines in beside:
        for place, line in enumerate(lines):
            draw.text((at + _MARGIN, head + rows + place * _LINE + 4), line, fill="silver", font=font)
    for place, line in enumerate(below):
        draw.text((_MARGIN, head + rows + caption + place * _LINE), line, fill="white", font=font)
    return np.asarray(sheet)


def _pictures(answer: Answer) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) uint8 and (H, W, 3) uint8 RGB of one size, small ones enlarged."""
    analysis = answer.analysis
    image = to_display(analysis.radiograph.grey, longer_side=_SIDE)
    heatmap = to_heatmap(answer.cam, scaled(analysis.geometry, *image.shape))
    return image, blend(image, heatmap, full_scale=answer.full_scale, opacity=_OPACITY)


def _map_caption(answer: Answer) -> str:
    name, against = words.CLASSES[answer.target_class], answer.question.against
    if against is None:
        return words.DICOM_MAP_PANEL.format(name=name, full_scale=answer.full_scale)
    return words.DICOM_MAP_PANEL_AGAINST.format(name=name, other=words.CLASSES[against], full_scale=answer.full_scale)


def _reference(source: Dataset) -> Dataset:
    """Names the source image and what became of it (PS3.3 C.7.6.1.1.4, CID 7202)."""
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    purpose = CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    reference.PurposeOfReferenceCodeSequence = [purpose]
    return reference
