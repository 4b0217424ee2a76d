"""One file's answer as the page keeps it: everything that is needed to draw it again without the network."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from detector import words
from detector.answers import overlay
from detector.answers.answer import Answer, NoAnswer, Question, answer
from detector.answers.pipeline import analyse
from detector.errors import DetectorError
from detector.model.gate import correct
from detector.read.image_io import name_warnings
from detector.read.sandbox import read_radiograph
from detector.schema import Correction
from detector.ui.greyscale import display_copy, native_copy
from detector.ui.screen import Drawing, layer_of, lines_of
from detector.ui.shelf import Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from detector.answers.pipeline import Analysis
    from detector.model.engine import Engine
    from detector.ui.shelf import Shelf

_LOG = logging.getLogger(__name__)

_MAP_SIDE = 256  # pixels of the longer side of the map that is drawn


@dataclass(frozen=True, eq=False)
class Case:
    """One analysed image.

    Attributes:
        key: SHA-256 of the file.
        picture: what is drawn of it.
        analysis: of the file; its radiograph keeps its shape but no pixels, so that two hundred cases stay small.
    """

    key: str
    picture: Picture
    analysis: Analysis
    _answers: dict[Question, Answer] = field(default_factory=dict, repr=False)
    _misnamed: dict[tuple[str, ...], Case] = field(default_factory=dict, repr=False)
    _drawings: dict[Question, Drawing] = field(default_factory=dict, repr=False)

    def under(self, name: str) -> Case:
        """The case as a file of this name: two files of the same bytes may promise different formats."""
        said = name_warnings(name, self.analysis.radiograph.file_format)
        if said and said not in self._misnamed:
            self._misnamed[said] = self._otherwise(replace(self.analysis, warnings=self.analysis.warnings + said))
        return self._misnamed[said] if said else self

    def left_as_it_came(self) -> Case:
        """The case after a correction that the gate had suggested, and then rejected."""
        return self._otherwise(replace(self.analysis, warnings=(*self.analysis.warnings, words.CORRECTION_REFUSED)))

    def without_suggestion(self) -> Case:
        """The case after a correction: what is still suggested would lead back."""
        return self._otherwise(replace(self.analysis, suggested_correction=None))

    def _otherwise(self, analysis: Analysis) -> Case:
        return replace(self, analysis=analysis, _answers={}, _misnamed={}, _drawings={})

    def native(self, data: bytes) -> np.ndarray:
        """The file's own pixels, decoded once more from its bytes and corrected as it was then.

        Raises:
            DetectorError: if they can't be decoded now.
        """
        return native_copy(self.with_pixels(data).radiograph.grey)

    @property
    def screen_key(self) -> str:
        """Identifier of the picture as it was analysed: one file, rotated or inverted, is another picture."""
        correction = self.analysis.correction
        return f"{self.key[:16]} {correction.quarter_turns % 4}{'i' if correction.inverted else ''}"

    @property
    def stability_key(self) -> Hashable:
        """What a stability check belongs to: this file as it was corrected."""
        return self.picture.key

    def answer(self, question: Question) -> Answer:
        """What a reader is told, made once for each question: every rerun of the page asks it of every image."""
        if question not in self._answers:
            self._answers[question] = answer(self.analysis, question)
        return self._answers[question]

    def heatmap(self, cam: np.ndarray, *, longer_side: int | None = None) -> np.ndarray:
        """Bring a map to the grid of the display copy, or to a coarser one of the same shape: (H, W) float32."""
        shape = self.picture.shape
        if longer_side is not None:
            shape = overlay.display_size(*shape, longer_side=longer_side)
        return overlay.to_heatmap(cam, overlay.scaled(self.analysis.geometry, *shape))

    def drawing(self, told: Answer) -> Drawing:
        """The map of one of this image's answers, drawn once: a reader steps back and forth."""
        if told.question not in self._drawings:
            heatmap = self.heatmap(told.cam, longer_side=_MAP_SIDE)
            self._drawings[told.question] = Drawing(
                layer_of(heatmap, told.full_scale), lines_of(heatmap, told.full_scale, self.picture.shape)
            )
        return self._drawings[told.question]

    def with_pixels(self, data: bytes) -> Analysis:
        """The analysis with its picture, decoded once more from the file's bytes and corrected as it was then.

        Raises:
            DetectorError: if it can't be decoded now.
        """
        return replace(self.analysis, radiograph=correct(read_radiograph(data), self.analysis.correction))


@dataclass(frozen=True, eq=False)
class Failure:
    """One file that has no answer.

    Attributes:
        key: SHA-256 of the file.
        told: why there is none.
        picture: as of a case, where it could be read and the gate rejected it; else None.
    """

    key: str
    told: NoAnswer
    picture: Picture | None = None

    def without_suggestion(self) -> Failure:
        """The same after a correction: what is still suggested would lead back."""
        return replace(self, told=replace(self.told, suggested_correction=None))


def analysed(
    key: str,
    data: bytes,
    engine: Engine,
    options: Mapping[str, Any] | None = None,
    *,
    shelf: Shelf,
    read: Callable[[], bytes],
) -> Case | Failure:
    """Analyse one file; whatever happens, the page gets something to show.

    Args:
        key: SHA-256 of the file.
        data: its bytes.
        engine: the network.
        options: of `pipeline.analyse`, where the reader has overridden the gate or turned the picture.
        shelf: of the session's pictures.
        read: gives the bytes again, when the picture has to be decoded once more.
    """
    try:
        analysis = analyse(data, engine, **(options or {}))
    except Exception as error:  # noqa: BLE001 - one file must not take the page down
        told = NoAnswer.of(error, name="an upload")
        _LOG.info("no answer (%s): %s", told.code, error)
        return Failure(key, told, _rejected_picture(key, data, shelf, read) if told.can_force else None)
    correction = analysis.correction
    image = display_copy(analysis.radiograph.grey)
    picture = Picture.put(shelf, (key, correction), image, lambda: _decoded(read, correction))
    return Case(key, picture, _without_pixels(analysis))


def _decoded(read: Callable[[], bytes], correction: Correction) -> np.ndarray:
    return display_copy(correct(read_radiograph(read()), correction).grey)


def _rejected_picture(key: str, data: bytes, shelf: Shelf, read: Callable[[], bytes]) -> Picture | None:
    """What the gate rejected, so that the reader can judge whether it is wrong; decoded again, which is seldom."""
    as_it_is = Correction()
    try:
        image = _decoded(lambda: data, as_it_is)
    except DetectorError:
        return None
    return Picture.put(shelf, (key, as_it_is), image, lambda: _decoded(read, as_it_is))


def _without_pixels(analysis: Analysis) -> Analysis:
    """The same record with pixels of the same shape that take no memory."""
    radiograph = analysis.radiograph
    none = np.broadcast_to(np.float32(0), radiograph.grey.shape)
    return replace(analysis, radiograph=replace(radiograph, grey=none))
