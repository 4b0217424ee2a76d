"""One file's answer as the page keeps it: everything that is needed to draw it again without the network."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from detector import words
from detector.answers import overlay
from detector.answers.evidence import sentence, summarise, warning
from detector.answers.pipeline import analyse
from detector.errors import DetectorError, RejectedError
from detector.model.gate import correct
from detector.read.image_io import name_warnings
from detector.read.sandbox import read_radiograph
from detector.schema import Correction
from detector.ui.greyscale import display_copy
from detector.ui.shelf import Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from detector.answers.pipeline import Analysis
    from detector.model.card import ModelCard
    from detector.model.engine import Engine
    from detector.schema import EvidenceSummary, Prediction, Task
    from detector.ui.shelf import Shelf

_LOG = logging.getLogger(__name__)

UNEXPECTED = "unexpected"


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
    _summaries: dict[tuple[str, str], EvidenceSummary] = field(default_factory=dict, repr=False)
    _misnamed: dict[tuple[str, ...], Case] = field(default_factory=dict, repr=False)

    def under(self, name: str) -> Case:
        """The case as a file of this name: two files of the same bytes may promise different formats."""
        said = name_warnings(name, self.analysis.radiograph.file_format)
        if said and said not in self._misnamed:
            analysis = replace(self.analysis, warnings=self.analysis.warnings + said)
            self._misnamed[said] = replace(self, analysis=analysis, _misnamed={})
        return self._misnamed[said] if said else self

    def left_as_it_came(self) -> Case:
        """The case after a correction that the gate had suggested, and then refused."""
        warnings = (*self.analysis.warnings, words.CORRECTION_REFUSED)
        return replace(
            self, analysis=replace(self.analysis, suggested_correction=None, warnings=warnings), _misnamed={}
        )

    @property
    def image(self) -> np.ndarray:
        """The display copy, (H, W) uint8 or uint16; decoded again where others have taken its place.

        Raises:
            DetectorError: if it can't be decoded now, on a machine that is short of time, memory or processes.
        """
        return self.picture.pixels

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of `image`, known without it."""
        return overlay.display_size(self.analysis.geometry.rows, self.analysis.geometry.columns)

    @property
    def thumbnail(self) -> str:
        """A small copy as a data address."""
        return self.picture.thumbnail

    @property
    def warnings(self) -> tuple[str, ...]:
        """What decoding and the gate had to say, as sentences."""
        return self.analysis.warnings

    @property
    def marks(self) -> tuple[str, ...]:
        """What the reader has decided about this image, as words that go wherever the answer goes."""
        forced, correction = getattr(self.analysis, "forced", None), getattr(self.analysis, "correction", None)
        turned = correction is not None and correction.quarter_turns % 4 != 0
        inverted = correction is not None and correction.inverted
        found = [words.TURNED] * turned + [words.INVERTED] * inverted
        return (*found, words.FORCED) if forced else tuple(found)

    @property
    def suggested_correction(self) -> Any:
        """How the picture might have to be turned or inverted, where the gate thinks so."""
        return getattr(self.analysis, "suggested_correction", None)

    def cam(self, task: Task, target_class: str, against: str | None = None) -> np.ndarray:
        """Evidence for a class, (h, w) on the network's grid; with `against`, for it rather than for that class."""
        cams = self.analysis.cams[task.name]
        cam = cams[task.classes.index(target_class)]
        return cam if against is None else cam - cams[task.classes.index(against)]

    def heatmap(self, cam: np.ndarray, *, longer_side: int | None = None) -> np.ndarray:
        """Bring a map to the grid of `image`, or to a coarser one of the same shape: (H, W) float32."""
        shape = self.shape if longer_side is None else overlay.display_size(*self.shape, longer_side=longer_side)
        return overlay.to_heatmap(cam, overlay.scaled(self.analysis.geometry, *shape))

    def summary(self, task: Task, target_class: str, full_scale: float) -> EvidenceSummary | None:
        """How the evidence for a class lies on the lungs, measured once; None where they are not known."""
        if self.analysis.lung_field is None:
            return None
        key = (task.name, target_class)
        if key not in self._summaries:
            cam = self.cam(task, target_class)
            self._summaries[key] = summarise(
                cam, self.analysis.lung_field, self.analysis.geometry, full_scale=full_scale
            )
        return self._summaries[key]


@dataclass(frozen=True, eq=False)
class Failure:
    """One file that has no answer.

    Attributes:
        key: SHA-256 of the file.
        message: the sentence that says why, and what to do.
        code: stable identifier of the reason.
        error: what was raised on purpose; None for a failure of ours.
        picture: as of a case, where it could be read and the gate refused it; else None.
    """

    key: str
    message: str
    code: str = UNEXPECTED
    error: DetectorError | None = None
    picture: Picture | None = None

    @property
    def thumbnail(self) -> str | None:
        """A small copy as a data address; None where there is no picture."""
        return None if self.picture is None else self.picture.thumbnail

    @property
    def refused(self) -> bool:
        """Whether the file is at fault, for a stated reason."""
        return isinstance(self.error, RejectedError)

    @property
    def can_force(self) -> bool:
        """Whether the reader may have it analysed all the same."""
        return bool(getattr(self.error, "can_force", False))

    @property
    def suggested_correction(self) -> Any:
        """How the picture would have to be turned or inverted, where that would help."""
        return getattr(self.error, "suggested_correction", None)


def evidence_sentence(case: Case, task: Task, target_class: str, full_scale: float) -> str:
    """Say where the evidence for a class lies."""
    summary = case.summary(task, target_class, full_scale)
    return words.NOT_MEASURED if summary is None else f"{sentence(summary)}."


def all_warnings(case: Case, prediction: Prediction, card: ModelCard) -> tuple[str, ...]:
    """What makes this answer less trustworthy, as sentences, whatever is being explained."""
    task = prediction.task
    summary = case.summary(task, prediction.target_class, card.saliency_scale[task.name])
    outside = None if summary is None else warning(summary, answered=prediction.explains_the_answer)
    return (*case.warnings, outside) if outside else case.warnings


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
    except DetectorError as error:
        _LOG.info("no answer (%s): %s", error.code, error)
        picture = _refused_picture(key, data, error, shelf, read)
        return Failure(key, error.user_message, error.code, _without_frames(error), picture)
    except Exception:  # noqa: BLE001 - one file must not take the page down; the log has the traceback
        _LOG.exception("unexpected failure on an upload")
        return Failure(key, words.UNEXPECTED)
    correction = analysis.correction
    image = display_copy(analysis.radiograph.grey)
    picture = Picture.put(shelf, (key, correction), image, lambda: _decoded(read, correction))
    return Case(key, picture, _without_pixels(analysis))


def _decoded(read: Callable[[], bytes], correction: Correction) -> np.ndarray:
    return display_copy(correct(read_radiograph(read()), correction).grey)


def _refused_picture(
    key: str, data: bytes, error: DetectorError, shelf: Shelf, read: Callable[[], bytes]
) -> Picture | None:
    """What the gate refused, so that the reader can judge whether it is wrong; decoded again, which is seldom."""
    if not getattr(error, "can_force", False):
        return None
    as_it_is = Correction()
    try:
        image = _decoded(lambda: data, as_it_is)
    except DetectorError:
        return None
    return Picture.put(shelf, (key, as_it_is), image, lambda: _decoded(read, as_it_is))


def _without_frames(error: DetectorError) -> DetectorError:
    """The same error without the frames that it was raised in: they hold the whole picture."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _without_pixels(analysis: Analysis) -> Analysis:
    """The same record with pixels of the same shape that take no memory."""
    radiograph = analysis.radiograph
    none = np.broadcast_to(np.float32(0), radiograph.grey.shape)
    return replace(analysis, radiograph=replace(radiograph, grey=none))
