"""Checks for values from our own JSON files: model cards and site files.

Each function returns the value or raises `ValueError`, which the code that reads the file turns into its own error.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from detector.schema import TASKS, OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BEYOND_1 = math.nextafter(1, 2)  # a share of exactly 1 is one
_LONGEST_TEXT = 1000  # characters; the longest limit in a card has about three hundred
_SHA256 = re.compile(r"[0-9a-f]{64}")


def number(
    value: Any, what: str, *, least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> float:
    """A finite number of at least `least`, strictly between `above` and `below`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what} must be a finite number. Received {value!r}.")
    if not (least <= value and above < value < below):
        raise ValueError(f"{what} is out of range. Received {value!r}.")
    return float(value)


def share(value: Any, what: str) -> float:
    """A number from 0 to 1."""
    return number(value, what, least=0, below=_BEYOND_1)


def count(value: Any, what: str) -> int:
    """A whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{what} must be a count. Received {value!r}.")
    return value


def text(value: Any, what: str) -> str:
    """Text that isn't blank, of at most a thousand characters."""
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_TEXT:
        raise ValueError(f"{what} must be text of at most {_LONGEST_TEXT} characters. Received {value!r:.99}.")
    return value


def sha256(value: Any, what: str) -> str:
    """64 hexadecimal digits."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{what} must be a SHA-256. Received {value!r}.")
    return value


def entries(values: Any, names: Iterable[str], what: str) -> Mapping[str, Any]:
    """An object with exactly these entries."""
    if not isinstance(values, dict) or set(values) != set(names):
        found = sorted(values) if isinstance(values, dict) else values
        raise ValueError(f"{what} must have the entries {sorted(names)}. Received {found!r}.")
    return values


def of_tasks(values: Any, what: str, *, least: float = -math.inf, above: float = -math.inf) -> dict[str, float]:
    """A number for each task."""
    found = entries(values, [task.name for task in TASKS], what)
    return {name: number(value, f"{what}: {name}", least=least, above=above) for name, value in found.items()}


def operating_points(values: Any, names: Iterable[str]) -> dict[str, OperatingPoint]:
    """The operating points of these names."""
    found = entries(values, names, "operating_points")
    return {name: _operating_point(name, point) for name, point in found.items()}


def _operating_point(name: str, values: Any) -> OperatingPoint:
    what = f"operating point {name!r}"
    point = entries(values, OperatingPoint.__dataclass_fields__, what)
    if point["name"] != name:
        raise ValueError(f"{what} calls itself {point['name']!r}.")
    return OperatingPoint(
        name=name,
        threshold=number(point["threshold"], f"{what}: threshold", above=0, below=1),
        sensitivity=share(point["sensitivity"], f"{what}: sensitivity"),
        specificity=share(point["specificity"], f"{what}: specificity"),
        cohort=text(point["cohort"], f"{what}: cohort"),
    )
