"""Radiograph -> network input, and the geometry that leads back. Training and serving share this file.

What a hospital's equipment adds to a picture must not reach the network, because it identifies the hospital:

* exposure, gamma, window and the histogram equalisation of some archives: every picture is equalised inside its flat
  borders before any step mixes its pixels, so that all rising tone curves give the same picture; the network's input
  is ranked once more, among the pixels of its own middle;
* the spectrum: every picture passes through the same 224-pixel grid and low-pass filter;
* collimation, markers, borders, the size of the patient: the picture is cropped to the lungs, with a margin.

Two networks run in turn. The lung fields are found on the whole picture, without its flat borders (`lung_input`); the
classifier is given the picture around the lungs (`lung_crop`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from detector.model.levels import counts_of, levels_of
from detector.schema import Geometry, NetworkInput

PREPROCESSING_ID = "trim-equal-area224-gauss1.4-lungs160-rank-v3"
LUNG_PREPROCESSING_ID = "trim-equal-area224-area160-gauss1.0-rank-v2"
INPUT_SIZE = 160
WORKING_SIZE = 224  # the size of the training pictures: everything passes through it

_BLUR_SIGMA = 1.4  # pixels at 224: removes frequencies above 0.2 cycles per pixel, where sources differ most
_LUNG_BLUR_SIGMA = 1.0  # pixels at 160: the same filter, for the input of the lung fields
_FLAT_LEVELS = 10  # a line whose grey values span no more of the picture's levels than this carries no anatomy
_FLAT_SHARE = 0.08  # of the levels, if a picture has few of them
_GRAIN = 3  # pixels of the median filter that removes single specks from a border
_SAMPLED = 448  # least number of lines from which a picture's tone and borders are taken
_TRIM_LIMIT = 0.3  # of a side: more than that is a failed exposure, not a border
_LEAST_LUNG = 0.05  # of the picture: less means that the lungs were not found, and nothing is cropped
_ISLAND = 0.1  # of the larger lung's pixels: a smaller part is not a lung
_STRAY = 0.01  # of the lungs' pixels may lie beyond each edge of their box: splinters don't stretch it
_LUNG_MARGIN = 0.08  # of the lungs' height and width, kept on each side: the angles and the pleura belong to it
_MIDDLE_HEIGHT, _MIDDLE_WIDTH = 0.5, 0.6  # of the picture, about its middle, that is never cut off
_ONE_SIDED = 0.8  # of the lungs' pixels on one side of the picture's middle: the other lung was not found
_RANK_KNOTS = 256  # quantiles that describe the tone curve
_RANK_MARGIN = 0.15  # share of each side left out of the ranking, so that borders don't move it
_RANK_SCALE = 2.0  # ranks in [0, 1] become [-1, 1], the range that the ImageNet weights expect


@dataclass(frozen=True)
class Box:
    """A rectangle on the working grid, in whole pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The part of (H, W) inside the box; a view."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture on the working grid.

    Attributes:
        working: (224, 224) float32 in [0, 1], the whole picture, equalised and squashed to a square.
        content: where the picture lies inside flat borders.
        rows: height of the image that it was made from.
        columns: width of that image.
    """

    working: np.ndarray
    content: Box
    rows: int
    columns: int


def frame_picture(grey: np.ndarray) -> Frame:
    """Resize an image to the working grid and find its flat borders.

    Args:
        grey: (rows, columns) uint8, 255 = white, or float32 in [0, 1].

    Raises:
        ValueError: if the array is not two-dimensional.
    """
    tone = _tone(grey)
    working = _resize(_shortened(grey, tone.curve), WORKING_SIZE, WORKING_SIZE)
    return Frame(working, tone.content, *grey.shape)


def equalise(grey: np.ndarray) -> np.ndarray:
    """Replace grey values with their rank inside the picture's flat borders, before any step mixes pixels.

    Args:
        grey: (rows, columns) uint8, 255 = white, or float32 in [0, 1].

    Returns:
        (rows, columns) float32 in [0, 1], the same for every rising tone curve; a flat image gives 0.5.

    Raises:
        ValueError: if the array is not two-dimensional.
    """
    return _along(_tone(grey).curve, grey)


def lung_input(frame: Frame) -> NetworkInput:
    """Input of the lung network: the whole picture without its flat borders.

    Returns:
        Pixels (160, 160, 1) float32 in [-1, 1], and their geometry.
    """
    square = _resize(frame.content.cut(frame.working), INPUT_SIZE, INPUT_SIZE)
    square = cv2.GaussianBlur(square, (0, 0), _LUNG_BLUR_SIGMA, borderType=cv2.BORDER_REFLECT_101)
    geometry, no_lungs = _geometry(frame, frame.content, INPUT_SIZE), np.zeros((INPUT_SIZE, INPUT_SIZE), bool)
    return NetworkInput(rank_standardise(square)[..., np.newaxis], geometry, no_lungs)


def lung_crop(frame: Frame, lung_field: np.ndarray, *, size: int = INPUT_SIZE) -> NetworkInput:
    """Input of the classifier: the picture around the lungs, or all of it if they were not found.

    Args:
        frame: the picture.
        lung_field: (160, 160) bool on `lung_input`, true in a lung.
        size: side of the square input in pixels.

    Returns:
        Pixels (size, size, 1) float32 in [-1, 1], their geometry, and the lungs on the same grid.
    """
    lungs = lungs_on_frame(lung_field, frame.content)
    return crop(frame, lungs, lung_box(lungs, frame.content), size=size)


def lungs_on_frame(lung_field: np.ndarray, content: Box) -> np.ndarray:
    """Lay a lung field, found inside the content box, on the working grid.

    Args:
        lung_field: (size, size) bool; its `largest_parts` are kept.
        content: where the picture lies.

    Returns:
        (224, 224) bool.
    """
    lungs = np.zeros((WORKING_SIZE, WORKING_SIZE), bool)
    size, field = (content.width, content.height), largest_parts(lung_field).astype(np.float32)
    content.cut(lungs)[:] = cv2.resize(field, size, interpolation=cv2.INTER_LINEAR) > 0.5
    return lungs


def largest_parts(lung_field: np.ndarray) -> np.ndarray:
    """The two largest connected parts of (H, W) bool, the second only if it is not a speck: a body has two lungs."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(lung_field.astype(np.uint8), connectivity=4)
    areas = statistics[1:, cv2.CC_STAT_AREA]  # the first is the background
    kept = [part for part in np.argsort(-areas, kind="stable")[:2] if areas[part] >= _ISLAND * areas.max()]
    return np.isin(parts, np.array(kept, int) + 1)


def lung_box(lungs: np.ndarray, content: Box) -> Box:
    """The box around the lungs, with a margin.

    A white lung may be missed, and must not be cut off: the box always includes the middle of the picture and, if
    nearly all of the lung field lies on one side, its mirror image on the other.

    Args:
        lungs: (224, 224) bool.
        content: where the picture lies; the box stays inside it.

    Returns:
        The content box itself if less than 5 % of the picture is lung.
    """
    if lungs.mean() < _LEAST_LUNG:
        return content
    rows, columns = lungs.sum(axis=1), _columns(lungs, content)
    top, height = _span(rows, content.top, content.height, middle=_MIDDLE_HEIGHT)
    left, width = _span(columns, content.left, content.width, middle=_MIDDLE_WIDTH)
    return Box(top, left, height, width)


def crop(frame: Frame, lungs: np.ndarray, box: Box, *, size: int = INPUT_SIZE) -> NetworkInput:
    """Crop the working picture to a box, low-pass filtered, stretched to a square and standardised.

    Args:
        frame: the picture.
        lungs: (224, 224) bool.
        box: to crop to.
        size: side of the square in pixels.

    Returns:
        Pixels (size, size, 1) float32 in [-1, 1], their geometry, and the lungs on the same grid.
    """
    soft = cv2.GaussianBlur(frame.working, (0, 0), _BLUR_SIGMA, borderType=cv2.BORDER_REFLECT_101)
    square = cv2.resize(box.cut(soft), (size, size), interpolation=cv2.INTER_LINEAR)
    field = cv2.resize(box.cut(lungs).astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR) > 0.5
    return NetworkInput(
        pixels=rank_standardise(square)[..., np.newaxis], geometry=_geometry(frame, box, size), lung_field=field
    )


def content_box(image: np.ndarray) -> Box:
    """Find the picture inside flat borders.

    A line is flat if few of the levels that histogram equalisation leaves lie between its darkest and its lightest
    pixel, so that a picture and its equalised copy have the same borders.

    Args:
        image: (H, W) uint8, or float32 in [0, 1].

    Returns:
        The box; at most 30 % of a side is cut from each edge.
    """
    codes = image if image.dtype == np.uint8 else (image * 255 + 0.5).astype(np.uint8)
    equal = cv2.equalizeHist(codes)
    occur = np.bincount(equal.ravel(), minlength=256) > 0
    levels = cv2.medianBlur(cv2.LUT(equal, (np.cumsum(occur) - 1).astype(np.uint8)), _GRAIN)
    flat = min(_FLAT_LEVELS, _FLAT_SHARE * (np.count_nonzero(occur) - 1))
    top, bottom = _flat_margins(np.ptp(levels, axis=1) <= flat)
    left, right = _flat_margins(np.ptp(levels, axis=0) <= flat)
    return Box(top, left, image.shape[0] - top - bottom, image.shape[1] - left - right)


def rank_standardise(image: np.ndarray) -> np.ndarray:
    """Replace grey values with their rank in the middle of the picture, scaled to [-1, 1].

    The rank is the mid-point of the cumulative distribution (ties share one value), so that the result is the
    same for every strictly rising tone curve. A flat image gives zeros.

    Args:
        image: (H, W) float32.

    Returns:
        (H, W) float32 in [-1, 1].
    """
    rows, columns = (round(side * _RANK_MARGIN) for side in image.shape)
    middle = np.sort(image[rows : image.shape[0] - rows, columns : image.shape[1] - columns], axis=None)
    knots = np.unique(middle[np.linspace(0, middle.size - 1, _RANK_KNOTS).astype(int)])
    below = np.searchsorted(middle, knots, side="left")
    upto = np.searchsorted(middle, knots, side="right")
    rank = (below + upto) / (2 * middle.size)
    scaled: np.ndarray = np.interp(image, knots, rank) * _RANK_SCALE - _RANK_SCALE / 2
    return scaled.astype(np.float32)


def _geometry(frame: Frame, box: Box, size: int) -> Geometry:
    rows, columns = frame.rows, frame.columns
    return Geometry(
        rows=rows,
        columns=columns,
        top=box.top * rows / WORKING_SIZE,  # multiplied first, so that a whole picture's box has its exact sides
        left=box.left * columns / WORKING_SIZE,
        height=box.height * rows / WORKING_SIZE,
        width=box.width * columns / WORKING_SIZE,
        size=size,
    )


def _columns(lungs: np.ndarray, content: Box) -> np.ndarray:
    """Lung pixels in each column of the grid, (224,); mirrored if one side of the picture has nearly all."""
    columns: np.ndarray = lungs.sum(axis=0)
    inside = columns[content.left : content.left + content.width]
    sides = np.array([inside[: content.width // 2].sum(), inside[content.width // 2 :].sum()])
    if sides.max() <= _ONE_SIDED * sides.sum():
        return columns
    both: np.ndarray = columns.copy()
    both[content.left : content.left + content.width] += inside[::-1]
    return both


def _span(counts: np.ndarray, start: int, length: int, *, middle: float) -> tuple[int, int]:
    """First line and number of lines that contain the lungs; `counts` has the lung pixels in each line of the grid."""
    share = np.cumsum(counts) / np.sum(counts)
    first, last = (int(np.searchsorted(share, quantile)) for quantile in (_STRAY, 1 - _STRAY))
    margin = _LUNG_MARGIN * (last + 1 - first)
    inset = (1 - middle) / 2 * length
    first = max(start, round(min(first - margin, start + inset)))
    return first, min(start + length, round(max(last + 1 + margin, start + length - inset))) - first


def _flat_margins(flat: np.ndarray) -> tuple[int, int]:
    """Count the flat lines at the start and at the end of (lines,) bool."""
    limit = int(len(flat) * _TRIM_LIMIT)
    busy = np.flatnonzero(~flat)
    if busy.size == 0:
        return 0, 0
    return min(int(busy[0]), limit), min(int(len(flat) - 1 - busy[-1]), limit)


@dataclass(frozen=True, eq=False)
class _Tone:
    """The tone curve that equalises a picture, and where it lies inside its flat borders.

    Attributes:
        curve: (256,) or (65536,) float32, the rank of each grey level inside the content.
        content: on the working grid.
    """

    curve: np.ndarray
    content: Box


def _tone(grey: np.ndarray) -> _Tone:
    """Rank the grey levels of an image; every nth row and column is enough."""
    if grey.ndim != 2:
        msg = f"grey must be (rows, columns). Received shape {grey.shape}."
        raise ValueError(msg)
    down, across = (max(1, side // _SAMPLED) for side in grey.shape)
    sample = grey[::down, ::across]
    box = content_box(sample)
    counts = counts_of(box.cut(sample))
    curve = (np.cumsum(counts) - counts / 2) / counts.sum()  # mid-ranks: pixels of one level share one value
    top, bottom = (round(line * WORKING_SIZE / sample.shape[0]) for line in (box.top, box.top + box.height))
    left, right = (round(line * WORKING_SIZE / sample.shape[1]) for line in (box.left, box.left + box.width))
    return _Tone(curve.astype(np.float32), Box(top, left, max(1, bottom - top), max(1, right - left)))


def _along(curve: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Grey values -> float32 along a tone curve."""
    return cv2.LUT(grey, curve) if grey.dtype == np.uint8 else np.take(curve, levels_of(grey), mode="clip")


def _shortened(grey: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Equalise an image and, if it is much larger than the working grid, shorten it to the grid's rows, at full width.

    Each row of the grid is the mean of the rows that it covers, the first and the last weighted by the share that it
    covers. This is done a few rows at a time, because a large picture in float32 would push the networks' weights out
    of the processor's cache. Rows come first because adding rows is fastest.
    """
    if len(grey) < 2 * WORKING_SIZE or grey.shape[1] < WORKING_SIZE:
        return _along(curve, grey)
    short, step = np.empty((WORKING_SIZE, grey.shape[1]), np.float32), len(grey) / WORKING_SIZE
    for place in range(WORKING_SIZE):
        first, last = place * step, (place + 1) * step
        top, bottom = int(first), min(len(grey), math.ceil(last))
        rows = _along(curve, grey[top:bottom])
        rows[0] *= 1 - (first - top)
        rows[-1] *= 1 - (bottom - last)
        cv2.reduce(rows, 0, cv2.REDUCE_SUM, dst=short[place : place + 1])
    short /= np.float32(step)
    return short


def _resize(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Resize with area averaging, which neither rings nor aliases; bilinear if the image grows."""
    if image.shape == (rows, columns):
        return image
    shrinks = image.shape[0] >= rows and image.shape[1] >= columns
    return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
