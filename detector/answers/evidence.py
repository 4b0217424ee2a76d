"""A map in numbers and words: how much of the evidence for a class lies in the lungs, and in which zones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector import words
from detector.schema import ZONES, EvidenceSummary

if TYPE_CHECKING:
    from detector.schema import Geometry

_LEAST_LUNG = 0.05  # of the network's box: less means no chest, or lungs that were not found
_FAINT = 0.05  # of full colour: at an opacity of 60 % it changes a pixel by less than 8 of 255 grey levels
_MOSTLY = 0.5
_PART = 0.1  # of the lung field: a smaller component is a fragment, and goes with the nearer lung
_APART = 0.25  # of the field's width: centres of the two lungs are farther apart, two parts of one lung are not
_VALLEY = 0.5  # of the lower peak: two lungs that touch leave at most this much height between them
_NAMED_ZONES = 3  # a sentence that names more zones says nothing


def summarise(
    cam: np.ndarray, lung_field: np.ndarray, geometry: Geometry, *, full_scale: float = 0.0
) -> EvidenceSummary:
    """Measure where a map's evidence lies on the lung fields.

    Args:
        cam: (h, w) float32 on the network's grid, in logit units; positive values are evidence for the class.
        lung_field: (size, size) bool on the network's input. Lungs outside the network's box don't count.
        geometry: of the image.
        full_scale: evidence, in logit units, that is drawn in full colour (the card's ``saliency_scale``). A map is
            faint if its strongest evidence is below 5 % of it, or if there is no positive evidence at all.

    Returns:
        Shares of the positive evidence, after bilinear interpolation to the network's input.

    Raises:
        ValueError: if the lung field is not on the network's input, or the map is not (h, w).
    """
    _check(cam, lung_field, geometry)
    positive = positive_on_input(cam, geometry.size)
    total, box_share = float(positive.sum()), float(lung_field.mean())
    area = box_share * geometry.height * geometry.width / (geometry.rows * geometry.columns)
    measured = total > 0 and box_share >= _LEAST_LUNG
    inside = float(positive[lung_field].sum()) / total if measured else None
    return EvidenceSummary(
        in_lung_fraction=inside,
        lung_area_fraction=area,
        lung_box_fraction=box_share,
        ratio=None if inside is None else inside / area,
        peak_in_lung=peak_in_lung(cam, lung_field) if measured else None,
        zones=_zone_shares(positive / total, lung_field, geometry) if measured else dict.fromkeys(ZONES, 0.0),
        faint=total <= 0 or float(cam.max()) < _FAINT * full_scale,
        opposed=float(cam.min()) < min(0.0, -_FAINT * full_scale),
    )


def describe(
    cam: np.ndarray,
    lung_field: np.ndarray,
    geometry: Geometry,
    *,
    full_scale: float,
    target: str,
    against: str | None = None,
) -> str:
    """Say in a sentence what a map shows: mostly for the class or mostly against it, and where.

    Args:
        cam: (h, w) float32 on the network's grid, evidence for the target class in logit units; with `against`, for it
            rather than for that class.
        lung_field: (size, size) bool on the network's input.
        geometry: of the image.
        full_scale: evidence that is drawn in full colour.
        target: class that the map explains.
        against: class that it is contrasted with.
    """
    towards, opposite = (float(positive_on_input(sign * cam, geometry.size).sum()) for sign in (1, -1))
    speaks_for = towards >= opposite
    summary = summarise(cam if speaks_for else -cam, lung_field, geometry, full_scale=full_scale)
    return sentence(summary, target, against, speaks_for=speaks_for)


def sentence(summary: EvidenceSummary, target: str, against: str | None = None, *, speaks_for: bool = True) -> str:
    """Put a summary into words, e.g. "Mostly for COVID-19: both lower zones. 72 % of that evidence lies …".

    Args:
        summary: of the predominant evidence.
        target: class that the map explains.
        against: class that it is contrasted with.
        speaks_for: whether that is the evidence for the class; otherwise it is that against it.
    """
    name = words.NAMES[target]
    if summary.faint:
        return words.FAINT.format(name=name)
    if summary.in_lung_fraction is None:
        return words.NOT_MEASURED
    zones = _in_words(main_zones(summary))
    if against is not None:
        said = words.CONTRASTED if speaks_for else words.CONTRASTED_AGAINST
        return said.format(name=name, other=words.NAMES[against], zones=zones)
    if not speaks_for:
        return words.OPPOSED.format(name=name, zones=zones)
    return words.IN_LUNGS.format(
        name=name,
        zones=zones,
        share=words.percent(summary.in_lung_fraction),
        area=words.percent(summary.lung_area_fraction),
    )


def warning(summary: EvidenceSummary) -> str | None:
    """The warning if the evidence for the answer lies mostly outside the lungs; otherwise None."""
    outside = summary.in_lung_fraction is not None and summary.in_lung_fraction < _MOSTLY
    return words.OUTSIDE_WARNING if outside and not summary.faint else None


def positive_on_input(cam: np.ndarray, size: int) -> np.ndarray:
    """Evidence for the class, (size, size) float32 on the network's input, from (h, w); bilinear, then cut at 0."""
    return np.maximum(cv2.resize(np.asarray(cam, np.float32), (size, size), interpolation=cv2.INTER_LINEAR), 0)


def peak_in_lung(cam: np.ndarray, lung_field: np.ndarray) -> bool:
    """Whether the centre of the cell with most evidence lies in a lung; the first such cell if several are equal."""
    row, column = np.unravel_index(int(np.argmax(cam)), cam.shape)
    rows, columns = lung_field.shape
    return bool(lung_field[int((row + 0.5) * rows / cam.shape[0]), int((column + 0.5) * columns / cam.shape[1])])


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's rank correlation of two maps of one shape, in [-1, 1]; ties share their mean rank.

    Returns:
        None if a map is constant, because it has no ranks.
    """
    first, second = _mid_ranks(a), _mid_ranks(b)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def split_lungs(lung_field: np.ndarray, midline: float) -> tuple[np.ndarray, np.ndarray]:
    """Split a lung field into the two lungs.

    Components are grouped by their horizontal position. If that leaves one group, it is cut at the valley between its
    two peaks of height (lungs that touch); without a valley it is one lung, on its side of the midline.

    Args:
        lung_field: (H, W) bool.
        midline: column of the body's midline, as far as it is known.

    Returns:
        The patient's right lung (left in the picture) and left lung, (H, W) bool each; together the field. One is
        empty if only one lung was found.
    """
    columns = np.flatnonzero(lung_field.any(axis=0))
    if columns.size == 0:
        return lung_field.copy(), lung_field.copy()
    count, labels, stats, centres = cv2.connectedComponentsWithStats(lung_field.astype(np.uint8), connectivity=4)
    areas, places = stats[1:, cv2.CC_STAT_AREA], centres[1:, 0]
    parts = np.sort(places[areas >= _PART * areas.sum()])
    gaps = np.diff(parts)
    if gaps.size and gaps.max() >= _APART * (columns[-1] - columns[0] + 1):
        cut = (parts[gaps.argmax()] + parts[gaps.argmax() + 1]) / 2
        right = np.isin(labels, 1 + np.flatnonzero(places[: count - 1] < cut))
    else:
        right = lung_field & (np.arange(lung_field.shape[1]) < _cut_column(lung_field, midline))
    return right, lung_field & ~right


def thirds(lung: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Upper, middle and lower third, (H, W) bool each, of a lung by its own height; together the lung."""
    rows = np.flatnonzero(lung.any(axis=1))
    first, height = (rows[0], rows[-1] - rows[0] + 1) if rows.size else (0, 1)
    third = ((np.arange(lung.shape[0]) - first) * 3 // height)[:, np.newaxis]
    return tuple(lung & (third == k) for k in range(3))


def _mid_ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place.ravel()]


def _check(cam: np.ndarray, lung_field: np.ndarray, geometry: Geometry) -> None:
    if lung_field.shape != (geometry.size, geometry.size):
        msg = f"lung_field must be {(geometry.size, geometry.size)}. Received {lung_field.shape}."
        raise ValueError(msg)
    if cam.ndim != 2:
        msg = f"cam must be (h, w). Received shape {cam.shape}."
        raise ValueError(msg)


def _cut_column(lung_field: np.ndarray, midline: float) -> float:
    """Column that separates touching lungs; a column beyond the lung if there is only one."""
    heights = cv2.blur(lung_field.sum(axis=0, dtype=np.float32)[np.newaxis], (5, 1))[0]  # rough borders aren't valleys
    best_left, best_right = np.maximum.accumulate(heights), np.maximum.accumulate(heights[::-1])[::-1]
    lower_peak = np.minimum(best_left, best_right)
    depth = np.where(lung_field.any(axis=0), lower_peak - heights, -1)
    valley = int(depth.argmax())
    if heights[valley] <= _VALLEY * lower_peak[valley]:
        return valley
    centre = np.flatnonzero(lung_field.any(axis=0)).mean()
    return lung_field.shape[1] if centre < midline else 0


def _zone_shares(shares: np.ndarray, lung_field: np.ndarray, geometry: Geometry) -> dict[str, float]:
    midline = geometry.to_network(0, geometry.columns / 2)[1]  # the box may hold only one lung; the picture holds both
    zones = [zone for lung in split_lungs(lung_field, midline) for zone in thirds(lung)]
    return {name: float(shares[zone].sum()) for name, zone in zip(ZONES, zones, strict=True)}


def main_zones(summary: EvidenceSummary) -> list[str]:
    """The fewest zones that hold most of the evidence in the lungs; none if it is spread over many."""
    ordered = sorted(summary.zones, key=lambda name: -summary.zones[name])
    held = np.cumsum([summary.zones[name] for name in ordered])
    needed = int(np.searchsorted(held, _MOSTLY * held[-1])) + 1
    return [] if held[-1] <= 0 or needed > _NAMED_ZONES else ordered[:needed]


def _in_words(zones: list[str]) -> str:
    """Zones after a colon: ": both middle zones and right lower zone"; empty if there are none."""
    heights = [zone.split(" ", 1)[1] for zone in zones]
    named = dict.fromkeys(
        f"both {height}s" if heights.count(height) > 1 else zone for zone, height in zip(zones, heights, strict=True)
    )
    return words.ZONES_NAMED.format(zones=words.listed(list(named))) if named else ""
