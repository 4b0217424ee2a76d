"""A hospital's calibration, measured on its own labelled X-rays, and how answers are given by it.

A site file is JSON: counts, quantiles and intervals, but no pictures and no patients. It belongs to the weights and the
preprocessing that it was measured with.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from detector import words
from detector.errors import SiteError
from detector.model import checked
from detector.model.calibration import BALANCED, SENSITIVE, SPECIFIC, probabilities_of
from detector.schema import BINARY, TASKS, OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.model.card import ModelCard
    from detector.schema import Task

FORMAT = 1
LARGEST_RATIO = 1e6  # stands for an infinite likelihood ratio
LARGEST_FILE = 1_000_000  # bytes; a site file has about ten thousand
_A_YEAR = 365  # days after which equipment and patients may have changed
_TOO_LARGE = math.nextafter(LARGEST_RATIO, math.inf)  # for any number of the file


@dataclass(frozen=True)
class Figure:
    """A measured figure.

    Attributes:
        value: the figure.
        ci_low: lower end of its 95 % interval; None if it has none.
        ci_high: upper end.
        n: number of images that it is based on.
    """

    value: float
    ci_low: float | None
    ci_high: float | None
    n: int


@dataclass(frozen=True)
class SiteTask:
    """What was set for one task.

    Attributes:
        counts: class name to number of labelled X-rays of that class.
        slope: factor of the network's calibrated logits.
        offsets: class name to what is added to its logit; the binary task has one, for COVID-19.
        quantiles: class name to the largest nonconformity, 1 - the network's own probability of the class, with which a
            picture still belongs to the class (`detector.statistics.conformal`).
        operating_points: name to threshold on the site's probability of COVID-19; empty for three-class.
        figures: name to figure measured here.
    """

    counts: Mapping[str, int]
    slope: float
    offsets: Mapping[str, float]
    quantiles: Mapping[str, float]
    operating_points: Mapping[str, OperatingPoint]
    figures: Mapping[str, Figure]

    def probabilities(self, task: Task, logits: np.ndarray) -> np.ndarray:
        """Probabilities (..., classes) for X-rays like the site's, from calibrated logits (..., task.logits)."""
        names = task.classes[: task.logits]
        return probabilities_of(task, self.slope * logits + np.array([self.offsets[name] for name in names]))

    def prediction_sets(self, task: Task, probabilities: np.ndarray) -> np.ndarray:
        """The classes that pictures may belong to, (N, classes) bool, from the network's own probabilities."""
        sets: np.ndarray = 1 - probabilities <= np.array([self.quantiles[name] for name in task.classes])
        return sets


@dataclass(frozen=True, eq=False)
class Site:
    """A hospital's calibration.

    Attributes:
        name: as the hospital calls it.
        created: the day on which it was made.
        model_sha256: of the weights that it was made for.
        preprocessing: identifier that it was made for.
        coverage: share of each class's pictures whose set contains the truth, promised for exchangeable pictures.
        images: number of labelled X-rays that it is based on.
        left_out: reason to how many were left out for it.
        tasks: task name to what was set; None if the X-rays did not allow it.
        reasons: task name to the sentence that says why not.
        sha256: of the file; empty until it is written.
    """

    name: str
    created: date
    model_sha256: str
    preprocessing: str
    coverage: float
    images: int
    left_out: Mapping[str, int]
    tasks: Mapping[str, SiteTask | None]
    reasons: Mapping[str, str]
    sha256: str = ""

    def sentence(self, today: date | None = None) -> str:
        """One line beside every answer: where, on how many X-rays and when it was calibrated, and whether it is old."""
        age = ((today or datetime.now(UTC).date()) - self.created).days
        said = words.SITE.format(name=self.name, images=self.images, month=f"{self.created:%B %Y}")
        return f"{said} {words.SITE_OLD}" if age > _A_YEAR else said

    def line(self, task: Task) -> str:
        """`sentence` beside an answer to a task; if the task was not set, why not."""
        if self.tasks[task.name] is None:
            return words.SITE_WITHOUT_TASK.format(name=self.name, reason=self.reasons[task.name])
        return self.sentence()

    def to_json(self) -> str:
        """The text of the site file."""
        values = asdict(self)
        del values["sha256"]
        values = {"format": FORMAT, **values, "created": self.created.isoformat()}
        return json.dumps({**values, "checksum": _checksum(values)}, indent=2) + "\n"


def read_site(data: bytes, card: ModelCard) -> Site:
    """Read a site file and check that it belongs to this network and is sound.

    Raises:
        SiteError: if it is damaged or edited, or was made for other weights or another preprocessing.
    """
    if len(data) > LARGEST_FILE:
        raise SiteError(f"a site file has at most {LARGEST_FILE} bytes. Received {len(data)}.")
    try:
        values = json.loads(data)
        if values.pop("checksum") != _checksum(values):
            raise SiteError("the site file was edited after it was made.")
        if values["format"] != FORMAT:
            raise SiteError(f"the site file must have format {FORMAT}. Received {values['format']!r}.")
        site = _site_of(values, hashlib.sha256(data).hexdigest())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SiteError(f"the site file cannot be read: {type(error).__name__}: {error}.") from error
    if (site.model_sha256, site.preprocessing) != (card.sha256, card.preprocessing):
        raise SiteError(
            f"the site file was made for weights {site.model_sha256[:12]} and {site.preprocessing!r}. "
            f"These are {card.sha256[:12]} and {card.preprocessing!r}."
        )
    return site


def _checksum(values: Mapping[str, Any]) -> str:
    """A checksum that reveals edits by hand; it is not a signature."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _site_of(values: Mapping[str, Any], sha256: str) -> Site:
    names = [task.name for task in TASKS]
    found = checked.entries(values["tasks"], names, "tasks")
    tasks = {task.name: _task_of(found[task.name], task) for task in TASKS}
    reasons = {str(name): checked.text(why, "a reason") for name, why in values["reasons"].items()}
    unset = [name for name in names if tasks[name] is None]
    if len(unset) == len(names) or not reasons.keys() >= set(unset):
        raise ValueError(f"a task must be set, and each other have its reason. Received none for {unset}.")
    return Site(
        name=checked.text(values["name"], "name"),
        created=date.fromisoformat(values["created"]),
        model_sha256=checked.sha256(values["model_sha256"], "model_sha256"),
        preprocessing=checked.text(values["preprocessing"], "preprocessing"),
        coverage=checked.number(values["coverage"], "coverage", above=0, below=1),
        images=checked.count(values["images"], "images"),
        left_out={str(name): checked.count(count, str(name)) for name, count in values["left_out"].items()},
        tasks=tasks,
        reasons=reasons,
        sha256=sha256,
    )


def _task_of(values: Mapping[str, Any] | None, task: Task) -> SiteTask | None:
    if values is None:
        return None
    found = checked.entries(values, SiteTask.__dataclass_fields__, task.name)
    counts, quantiles = (checked.entries(found[name], task.classes, name) for name in ("counts", "quantiles"))
    offsets = checked.entries(found["offsets"], task.classes[: task.logits], "offsets")
    points = (BALANCED, SENSITIVE, SPECIFIC) if task is BINARY else ()
    return SiteTask(
        counts={name: checked.count(counts[name], f"counts: {name}") for name in task.classes},
        slope=checked.number(found["slope"], "slope", above=0, below=_TOO_LARGE),
        offsets={name: _number(value, f"offsets: {name}") for name, value in offsets.items()},
        quantiles={name: checked.share(quantiles[name], f"quantiles: {name}") for name in task.classes},
        operating_points=checked.operating_points(found["operating_points"], points),
        figures={name: _figure(figure, name) for name, figure in found["figures"].items()},
    )


def _figure(values: Mapping[str, Any], name: str) -> Figure:
    low, high = (
        None if values[end] is None else _number(values[end], f"{name}: {end}") for end in ("ci_low", "ci_high")
    )
    return Figure(_number(values["value"], name), low, high, checked.count(values["n"], f"{name}: n"))


def _number(value: Any, what: str) -> float:
    return checked.number(value, what, above=-_TOO_LARGE, below=_TOO_LARGE)
