"""What the page remembers between reruns: analysed cases, each with what is needed to draw it again.

A case holds the display copy of its picture and the maps on the network's grid, so that the toggle, the class and the
opacity redraw without the network and two hundred cases stay small.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from detector import overlay
from detector.errors import DetectorError
from detector.evidence import lung_share
from detector.image_io import name_warnings
from detector.pipeline import analyse
from detector.ui import figures, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from detector.classifier import Classifier
    from detector.schema import Geometry, LungShare, ModelInfo, Task

_LOG = logging.getLogger(__name__)

_LONGEST_NAME = 60  # characters shown of a file's name
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:@&])")
_MOSTLY = 0.5
_LEAST_LUNG = 0.05  # of the picture: less is no chest, or lungs that were not found
_LEAST_EVIDENCE = 0.05  # of full colour: what stays below it is drawn nearly clear, and is said in words


@dataclass(frozen=True, eq=False)
class Case:
    """One analysed image.

    Attributes:
        key: SHA-256 of the file.
        name: the file's name as shown, harmless as text.
        image: (H, W) uint8, at most 1,024 pixels on the longer side.
        geometry: of `image`.
        input_geometry: of the image as it was uploaded.
        logits: task name to (logits,).
        cams: task name to (classes, h, w), evidence on the network's grid.
        lung_field: (size, size) bool on the network's input, or None.
        warnings: sentences.
        file_format: ``"PNG"``, ``"JPEG"`` or ``"DICOM"``.
        model: which network answered.
        analysed_at: UTC, ISO 8601.
    """

    key: str
    name: str
    image: np.ndarray
    geometry: Geometry
    input_geometry: Geometry
    logits: Mapping[str, np.ndarray]
    cams: Mapping[str, np.ndarray]
    lung_field: np.ndarray | None
    warnings: tuple[str, ...]
    file_format: str
    model: ModelInfo
    analysed_at: str

    @cached_property
    def thumbnail(self) -> str:
        """A small copy as a data address; made once, because every rerun draws the whole worklist."""
        return figures.thumbnail(self.image)

    def cam(self, task: Task, target_class: str) -> np.ndarray:
        """Evidence for a class, (h, w) on the network's grid."""
        return self.cams[task.name][task.classes.index(target_class)]

    def heatmap(self, task: Task, target_class: str) -> np.ndarray:
        """Evidence for a class on the grid of `image`, (H, W)."""
        return overlay.to_heatmap(self.cam(task, target_class), self.geometry)

    def share(self, task: Task, target_class: str) -> LungShare | None:
        """How the evidence for a class lies on the lungs; None where they are not known."""
        if self.lung_field is None:
            return None
        return lung_share(self.cam(task, target_class), self.lung_field, self.input_geometry)


@dataclass(frozen=True)
class Failure:
    """One file that has no answer, and the sentence that says why."""

    key: str
    name: str
    message: str


@dataclass
class Session:
    """Results of one browser session by file content, so that no image is analysed twice."""

    results: dict[str, Case | Failure] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)  # upload's identifier -> SHA-256, so bytes are hashed once
    samples: list[tuple[str, bytes]] = field(default_factory=list)
    sample_notes: tuple[str, ...] = ()  # why some samples could not be fetched
    targets: dict[tuple[str, str], str] = field(default_factory=dict)  # (case, task) -> class that the reader chose
    opened: str | None = None  # key of the case that is on the screen
    lock: threading.Lock = field(default_factory=threading.Lock)  # a click starts a rerun beside the one still at work

    def key(self, identifier: str, read: Callable[[], bytes]) -> str:
        """SHA-256 of an upload, whose bytes are read the first time only."""
        if identifier not in self.keys:
            self.keys[identifier] = hashlib.sha256(read()).hexdigest()
        return self.keys[identifier]

    def analyse(self, key: str, name: str, data: bytes, classifier: Classifier) -> None:
        """Analyse an image, unless the session has already done so."""
        with self.lock:
            if key not in self.results:
                self.results[key] = _analysed(key, name, data, classifier)

    def keep_only(self, keys: set[str]) -> None:
        """Forget what is no longer on the page."""
        with self.lock:
            for key in self.results.keys() - keys:
                del self.results[key]

    def forget(self) -> None:
        """Let go of every picture and name: the session has ended."""
        self.keep_only(set())
        self.keys.clear()
        self.targets.clear()
        self.samples, self.sample_notes, self.opened = [], (), None


def literal(text: str) -> str:
    """Make text harmless: no markup, no control or direction marks, and of a bounded length.

    For widgets that read Markdown; a table or a chart takes `shown_name`.
    """
    return escaped(shown_name(text))


def escaped(text: str) -> str:
    """Take the meaning from Markdown's marks."""
    return _MARKDOWN.sub(r"\\\1", text)


def shown_name(text: str) -> str:
    """A file's name without what can't be seen, shortened in the middle."""
    visible = "".join(character if character.isprintable() else "�" for character in text)
    if len(visible) <= _LONGEST_NAME:
        return visible
    half = _LONGEST_NAME // 2
    return f"{visible[:half]}…{visible[-half:]}"


def evidence_sentence(
    case: Case, task: Task, target_class: str, full_scale: float, *, is_answer: bool = True
) -> tuple[str, bool]:
    """Say where the evidence lies; true beside it if that is a reason to distrust the answer.

    Only evidence for the class that was answered can be such a reason, hence `is_answer`.
    """
    name = texts.CLASSES[target_class]
    if float(case.cam(task, target_class).max()) < _LEAST_EVIDENCE * full_scale:
        return texts.NO_EVIDENCE.format(name=name), False
    share = case.share(task, target_class)
    if share is None or share.in_lung_fraction is None or share.lung_area_fraction < _LEAST_LUNG:
        return texts.NOT_MEASURED, False
    sentence = texts.LUNG_SENTENCE.format(share=share.in_lung_fraction, area=share.lung_area_fraction, name=name)
    outside = is_answer and share.in_lung_fraction < _MOSTLY
    return (f"{sentence} {texts.OUTSIDE_LUNGS.format(name=name)}" if outside else sentence), outside


def _analysed(key: str, name: str, data: bytes, classifier: Classifier) -> Case | Failure:
    try:
        analysis = analyse(data, classifier)
    except DetectorError as error:
        _LOG.info("no answer (%s): %s", error.code, error)
        return Failure(key, name, error.user_message)
    except Exception:  # noqa: BLE001 - one file must not take the page down; the log has the traceback
        _LOG.exception("unexpected failure on an upload")
        return Failure(key, name, texts.UNEXPECTED)
    image = overlay.to_display(analysis.radiograph.pixels)
    return Case(
        key=key,
        name=name,
        image=image,
        geometry=overlay.scaled(analysis.geometry, *image.shape),
        input_geometry=analysis.geometry,
        logits=analysis.logits,
        cams=analysis.cams,
        lung_field=analysis.lung_field,
        warnings=analysis.warnings + name_warnings(name, analysis.radiograph.file_format),
        file_format=analysis.radiograph.file_format,
        model=analysis.model,
        analysed_at=analysis.analysed_at,
    )
