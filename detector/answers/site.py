"""What a hospital has measured on its own labelled X-rays, and how its answers are given from then on.

A site file is JSON: counts, quantiles and intervals; no picture and no patient. It belongs to the weights and the
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
from detector.model.calibration import probabilities_of
from detector.schema import BINARY, TASKS, OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.model.card import ModelCard
    from detector.schema import Task

FORMAT = 1
LARGEST_RATIO = 1e6  # what an infinite likelihood ratio is written as
LARGEST_FILE = 1_000_000  # bytes; a site file has some ten thousand
_A_YEAR = 365  # days after which equipment and patients may have changed
_LARGEST_NUMBER = LARGEST_RATIO
_TASK_KEYS = {"counts", "slope", "offsets", "quantiles", "operating_points", "figures"}


@dataclass(frozen=True)
class Figure:
    """A measured figure.

    Attributes:
        value: the figure.
        ci_low: lower end of its 95 % interval; None where it has none.
        ci_high: upper end.
        n: images that it rests on.
    """

    value: float
    ci_low: float | None
    ci_high: float | None
    n: int


@dataclass(frozen=True)
class SiteTask:
    """What was set for one task.

    Attributes:
        counts: class name to the labelled X-rays of that class.
        slope: factor of the network's calibrated logits.
        offsets: class name to what is added to its logit; the binary task has one, for COVID-19.
        quantiles: class name to the largest nonconformity, 1 - the network's own probability of the class, with which a
            picture still belongs to the class (`detector.statistics.conformal`).
        operating_points: name to threshold on the site's probability of COVID-19; empty for three-class.
        figures: name to what was measured here.
    """

    counts: Mapping[str, int]
    slope: float
    offsets: Mapping[str, float]
    quantiles: Mapping[str, float]
    operating_points: Mapping[str, OperatingPoint]
    figures: Mapping[str, Figure]

    def probabilities(self, task: Task, logits: np.ndarray) -> np.ndarray:
        """Probabilities (..., classes) among X-rays like the site's, of calibrated logits (..., task.logits)."""
        names = task.classes[: task.logits]
        return probabilities_of(task, self.slope * logits + np.array([self.offsets[name] for name in names]))

    def prediction_sets(self, task: Task, probabilities: np.ndarray) -> np.ndarray:
        """The classes that pictures may belong to, (N, classes) bool, of the network's own probabilities."""
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
        coverage: share of each class's pictures whose set holds the truth, promised on exchangeable pictures.
        images: labelled X-rays that it rests on.
        left_out: reason to how many were left out for it.
        tasks: task name to what was set; None where the X-rays did not allow it.
        reasons: task name to the sentence that says why not.
        sha256: of the file; empty where it has not been written.
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
        """One line beside every answer: where, on how many X-rays and when; and that it is old, where it is."""
        age = ((today or datetime.now(UTC).date()) - self.created).days
        said = words.SITE.format(name=self.name, images=self.images, month=f"{self.created:%B %Y}")
        return f"{said} {words.SITE_OLD}" if age > _A_YEAR else said

    def line(self, task: Task) -> str:
        """`sentence` beside an answer to a task; where that was not set, this and why."""
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
    """Read a site file and make sure that it belongs to this network and is sound.

    Raises:
        SiteError: if it is damaged, edited into nonsense, or was made for other weights or another preprocessing.
    """
    if len(data) > LARGEST_FILE:
        raise SiteError(f"a site file has at most {LARGEST_FILE} bytes. Received {len(data)}.")
    try:
        values = json.loads(data)
        _check(values.pop("checksum") == _checksum(values), "it was edited after it was made")
        _check(values["format"] == FORMAT, f"its format must be {FORMAT}")
        site = _site_of(values, hashlib.sha256(data).hexdigest())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SiteError(f"the site file cannot be read: {type(error).__name__}: {error}.") from error
    if (site.model_sha256, site.preprocessing) != (card.sha256, card.preprocessing):
        raise SiteError(
            f"the site file was made for weights {site.model_sha256[:12]} and {site.preprocessing!r}. "
            f"These are {card.sha256[:12]} and {card.preprocessing!r}."
        )
    return site


def _checksum(values: Mapping[str, Any]) -> str:
    """Finds an edit by hand; it is no signature."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _site_of(values: Mapping[str, Any], sha256: str) -> Site:
    _check(set(values["tasks"]) == {task.name for task in TASKS}, "tasks must be binary and three_class")
    tasks = {task.name: _task_of(values["tasks"][task.name], task) for task in TASKS}
    _check(any(task is not None for task in tasks.values()), "no task is set")
    _check(0 < _number(values["coverage"]) < 1, "coverage must lie between 0 and 1")
    reasons = {str(name): str(why) for name, why in values["reasons"].items()}
    _check(all(tasks[name] is not None or name in reasons for name in tasks), "a task that is not set has a reason")
    return Site(
        name=_text(values["name"]),
        created=date.fromisoformat(values["created"]),
        model_sha256=_text(values["model_sha256"]),
        preprocessing=_text(values["preprocessing"]),
        coverage=float(values["coverage"]),
        images=_count(values["images"]),
        left_out={str(name): _count(count) for name, count in values["left_out"].items()},
        tasks=tasks,
        reasons=reasons,
        sha256=sha256,
    )


def _task_of(values: Mapping[str, Any] | None, task: Task) -> SiteTask | None:
    if values is None:
        return None
    _check(set(values) == _TASK_KEYS, f"a task has the entries {sorted(_TASK_KEYS)}")
    for name in ("counts", "quantiles"):
        _check(tuple(values[name]) == task.classes, f"{name} must name {task.classes}")
    _check(tuple(values["offsets"]) == task.classes[: task.logits], "offsets must name the logits' classes")
    _check(_number(values["slope"]) > 0, "slope must be positive")
    quantiles = {name: _number(value) for name, value in values["quantiles"].items()}
    _check(all(0 <= value <= 1 for value in quantiles.values()), "quantiles must lie between 0 and 1")
    points = {name: OperatingPoint(**point) for name, point in values["operating_points"].items()}
    _check(bool(points) == (task is BINARY), "the binary task has operating points, the other has none")
    _check(all(0 < _number(point.threshold) < 1 for point in points.values()), "thresholds must lie between 0 and 1")
    return SiteTask(
        counts={name: _count(count) for name, count in values["counts"].items()},
        slope=_number(values["slope"]),
        offsets={name: _number(value) for name, value in values["offsets"].items()},
        quantiles=quantiles,
        operating_points=points,
        figures={name: _figure(figure) for name, figure in values["figures"].items()},
    )


def _figure(values: Mapping[str, Any]) -> Figure:
    low, high = (None if values[end] is None else _number(values[end]) for end in ("ci_low", "ci_high"))
    return Figure(_number(values["value"]), low, high, _count(values["n"]))


def _check(holds: bool, message: str) -> None:  # noqa: FBT001 - it is what is checked
    if not holds:
        raise SiteError(f"the site file is damaged: {message}.")


def _number(value: Any) -> float:
    _check(isinstance(value, int | float) and not isinstance(value, bool), f"a number was expected, not {value!r}")
    _check(math.isfinite(value) and abs(value) <= _LARGEST_NUMBER, f"{value} is out of range")
    return float(value)


def _count(value: Any) -> int:
    _check(isinstance(value, int) and not isinstance(value, bool) and value >= 0, f"{value!r} is no count")
    return int(value)


def _text(value: Any) -> str:
    _check(isinstance(value, str) and 0 < len(value) <= 200, "a text of at most 200 characters was expected")
    return str(value)
