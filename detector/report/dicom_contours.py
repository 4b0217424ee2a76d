"""The evidence as contours on the original image: a grayscale softcopy presentation state (PS3.3 A.33.1).

A viewer lays its graphic layers over the image that the archive holds, at full resolution and with the reader's own
window. Coordinates are the standard's: pixels, edges at integers, columns first (PS3.3 C.10.5.1.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from highdicom import VOILUT, ModalityLUT, ModalityLUTTransformation, PresentationLUTTransformation
from highdicom.color import CIELabColor
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
    TextObject,
)

from detector import words
from detector.answers.overlay import AGAINST_COLOUR, FOR_COLOUR, to_heatmap
from detector.report.dicom_common import answer_lines, evidence_line
from detector.schema import NOTICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from detector.answers.answer import Answer
    from detector.report.dicom_common import Subject
    from detector.schema import Correction

#: Shares of full colour at which contours are drawn: a quarter is plainly seen on the page's map.
LEVELS = (0.25, 0.5, 0.75)

_CORNER = 0.5  # pixels from a pixel's centre to its edge
_TOLERANCE = 0.75  # pixels by which a line may leave the border that it follows
_MOST_POINTS = 8000  # of one line: the element's length has 16 bits (PS3.5 section 7.1.2)
_LEAST_AREA = 1e-4  # of the image: less is a speck that only hides what is under it
_LUNG_COLOUR, _TEXT_COLOUR = (160, 200, 160), (255, 255, 255)
_TEXT_BOX = (0.01, 0.01, 0.99, 0.16)  # of the displayed area, from its top left to its bottom right
_SHORT_TEXT = 1024  # characters (PS3.5 section 6.2, ST)


@dataclass(frozen=True, eq=False)
class Layer:
    """One graphic layer.

    Attributes:
        name: code string, unique among the layers.
        description: what a reader is told that it shows.
        colour: RGB in 0 to 255.
        lines: closed lines, (n, 2) float64 each: column and row on the stored image.
        label: short text beside the longest line; empty for none.
    """

    name: str
    description: str
    colour: tuple[int, int, int]
    lines: tuple[np.ndarray, ...]
    label: str = ""


def presentation_state(subject: Subject) -> GrayscaleSoftcopyPresentationState:
    """Lay an answer's evidence and lung outlines over its source, in a series of its own."""
    answer, source = subject.answer, subject.image
    layers = [layer for layer in evidence_layers(answer) if layer.lines]
    graphic_layers = [
        GraphicLayer(layer.name, order, layer.description[:64], CIELabColor.from_rgb(*layer.colour))
        for order, layer in enumerate(layers, 1)
    ]
    notes = GraphicLayer("NOTES", len(layers) + 1, words.DICOM_NOTES_LAYER, CIELabColor.from_rgb(*_TEXT_COLOUR))
    annotations = [_annotation(layer, drawn, source) for layer, drawn in zip(layers, graphic_layers, strict=True)]
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=[source],
        content_label="AI EVIDENCE",
        content_description=evidence_line(answer)[:64],
        graphic_layers=[*graphic_layers, notes],
        graphic_annotations=[*annotations, _notes(answer, notes, source)],
        modality_lut_transformation=_modality_lut(source),
        voi_lut_transformations=_voi_lut(source),
        presentation_lut_transformation=PresentationLUTTransformation(
            "INVERSE" if _is_inverted(source) != answer.analysis.correction.inverted else "IDENTITY"
        ),
        **subject.common("pr"),
    )
    turns = answer.analysis.correction.quarter_turns % 4
    if turns:  # the reader turned it anticlockwise; this element turns clockwise (PS3.3 C.10.6)
        state.ImageRotation, state.ImageHorizontalFlip = (360 - 90 * turns) % 360, "N"
    return state


def evidence_layers(answer: Answer) -> list[Layer]:
    """Lines around the lungs and around what speaks for and against the explained class, on the stored image.

    The last layer is drawn on top. A level that the map does not reach has no line.
    """
    analysis, name = answer.analysis, words.CLASSES[answer.target_class]
    if answer.question.against is not None:
        name = f"{name} rather than {words.CLASSES[answer.question.against]}"
    heatmap = to_heatmap(answer.cam, analysis.geometry)
    correction = analysis.correction
    lungs = to_heatmap(analysis.lung_field.astype(np.float32), analysis.geometry) >= 0.5
    layers = [Layer("LUNGS", words.DICOM_LUNGS_LAYER, _LUNG_COLOUR, outlines(lungs, correction))]
    for sign, side, text, colour in (
        (-1, "AGAINST", words.DICOM_AGAINST_LAYER, AGAINST_COLOUR),
        (1, "FOR", words.DICOM_FOR_LAYER, FOR_COLOUR),
    ):
        for share in LEVELS:
            level = share * answer.full_scale
            told = text.format(name=name, level=sign * level)
            lines = outlines(sign * heatmap >= level, correction)
            layers.append(Layer(f"{side} {100 * share:.0f}", told, _rgb(colour, share), lines, f"{sign * level:+.2f}"))
    return layers


def outlines(mask: np.ndarray, correction: Correction) -> tuple[np.ndarray, ...]:
    """Follow the borders of a region, holes included.

    Args:
        mask: (rows, columns) bool on the image as it was analysed.
        correction: what was done to the stored image before.

    Returns:
        Closed lines on the stored image, longest first, (n, 2) float64 each: column and row, through the centres of
        the region's outermost pixels.
    """
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    large = [line for line in found if cv2.contourArea(line) >= _LEAST_AREA * mask.size]
    lines = (_simplified(line) for line in sorted(large, key=len, reverse=True))
    return tuple(_on_stored(line + _CORNER, mask.shape, correction.quarter_turns) for line in lines)


def _simplified(line: np.ndarray) -> np.ndarray:
    """Leave out points that a straight line passes: (n, 1, 2) int to closed (n, 2) float64."""
    tolerance = _TOLERANCE
    short = cv2.approxPolyDP(line, tolerance, closed=True)
    while len(short) >= _MOST_POINTS:
        tolerance *= 2
        short = cv2.approxPolyDP(line, tolerance, closed=True)
    points = short[:, 0].astype(np.float64)
    return np.concatenate([points, points[:1]])


def _on_stored(line: np.ndarray, shape: tuple[int, ...], quarter_turns: int) -> np.ndarray:
    """Take points of the turned picture back to the stored one, one quarter at a time."""
    rows, columns = shape[:2]
    for _ in range(quarter_turns % 4):
        line = np.stack([rows - line[:, 1], line[:, 0]], axis=1)
        rows, columns = columns, rows
    return line


def _rgb(colour: np.ndarray, share: float) -> tuple[int, int, int]:
    """A colour in [0, 1], lighter for a lower level."""
    light = 1 - share
    red, green, blue = (round(255 * float(part + (1 - part) * light / 2)) for part in colour)
    return red, green, blue


def _annotation(layer: Layer, drawn: GraphicLayer, source: Dataset) -> GraphicAnnotation:
    lines = [GraphicObject("POLYLINE", line.astype(np.float32), "PIXEL") for line in layer.lines]
    labels = []
    if layer.label:
        top = layer.lines[0][np.argmin(layer.lines[0][:, 1])]
        labels = [TextObject(layer.label, "PIXEL", anchor_point=tuple(top), anchor_point_visible=False)]
    return GraphicAnnotation([source], drawn, graphic_objects=lines, text_objects=labels)


def _notes(answer: Answer, layer: GraphicLayer, source: Dataset) -> GraphicAnnotation:
    text = "\r\n".join([NOTICE, *answer_lines(answer)])[:_SHORT_TEXT]
    box = TextObject(text, "DISPLAY", bounding_box=_TEXT_BOX, text_justification="LEFT")
    return GraphicAnnotation([source], layer, text_objects=[box])


def _is_inverted(source: Dataset) -> bool:
    """Whether large values are dark; under a presentation state its own LUT says so, not the image's interpretation."""
    interpretation, shape = source.get("PhotometricInterpretation"), source.get("PresentationLUTShape")
    return bool(interpretation == "MONOCHROME1" or shape == "INVERSE")


def _modality_lut(source: Dataset) -> ModalityLUTTransformation | None:
    if "ModalityLUTSequence" in source:
        _, first, _, entries = _table(source.ModalityLUTSequence[0])
        return ModalityLUTTransformation(modality_lut=ModalityLUT("US", first, entries))
    if "RescaleSlope" in source:
        return ModalityLUTTransformation(float(source.RescaleIntercept), float(source.RescaleSlope), "US")
    return None


def _voi_lut(source: Dataset) -> Sequence[SoftcopyVOILUTTransformation] | None:
    if "VOILUTSequence" in source:
        _, first, bits, entries = _table(source.VOILUTSequence[0])
        return [SoftcopyVOILUTTransformation(voi_luts=[VOILUT(first, entries << (16 - bits))])]
    if "WindowCenter" in source:
        return [
            SoftcopyVOILUTTransformation(
                float(source.WindowCenter), float(source.WindowWidth), voi_lut_function=source.VOILUTFunction
            )
        ]
    return None


def _table(item: Dataset) -> tuple[int, int, int, np.ndarray]:
    """Descriptor and entries, (n,) uint16, of a look-up table."""
    count, first, bits = item.LUTDescriptor
    return count, first, bits, np.frombuffer(item.LUTData, "<u2").astype(np.uint16)
