"""Radiograph -> network input, and the geometry that leads back. Training and serving share this file.

What a hospital's equipment adds to a picture must not reach the network, because it names the hospital:

* the spectrum: every picture passes one 224-pixel grid, one low-pass filter and one 160-pixel grid;
* exposure, gamma and window: grey values are replaced by their rank among the pixels of the middle of the
  picture, so that any rising tone curve gives the same input;
* letterbox borders: flat rows and columns at the edges are cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector.schema import Geometry, NetworkInput

if TYPE_CHECKING:
    from detector.schema import Radiograph

PREPROCESSING_ID = "trim-area224-area160-gauss1.0-rank-v1"
INPUT_SIZE = 160

_WORKING_SIZE = 224  # the training pictures come at this size: everything passes through it
_BLUR_SIGMA = 1.0  # pixels at 160: removes what lies above 0.3 cycles a pixel, where sources differ most
_FLAT_RANGE = 0.04  # a line whose grey values stay within 4 % of full scale carries no anatomy
_TRIM_LIMIT = 0.3  # of a side: more than that is no border but a failed exposure
_RANK_KNOTS = 256  # quantiles that describe the tone curve
_RANK_MARGIN = 0.15  # share of each side left out of the ranking, so that borders don't move it
_RANK_SCALE = 2.0  # ranks in [0, 1] become [-1, 1], the range that the ImageNet weights expect


def preprocess(radiograph: Radiograph) -> NetworkInput:
    """Bring a radiograph to the form that the network was trained on.

    Args:
        radiograph: pixels (rows, columns) float32 in [0, 1].

    Returns:
        Pixels (160, 160, 1) float32 in [-1, 1], and their geometry.
    """
    return preprocess_pixels(radiograph.pixels)


def preprocess_pixels(pixels: np.ndarray) -> NetworkInput:
    """`preprocess` for a bare array (rows, columns) float32 in [0, 1].

    Raises:
        ValueError: if the array is not two-dimensional.
    """
    if pixels.ndim != 2:
        msg = f"pixels must be (rows, columns). Received shape {pixels.shape}."
        raise ValueError(msg)
    rows, columns = pixels.shape
    working = _resize(np.asarray(pixels, np.float32), _WORKING_SIZE, _WORKING_SIZE)
    top, left, height, width = content_box(working)
    square = _resize(working[top : top + height, left : left + width], INPUT_SIZE, INPUT_SIZE)
    square = cv2.GaussianBlur(square, (0, 0), _BLUR_SIGMA, borderType=cv2.BORDER_REFLECT_101)
    geometry = Geometry(
        rows=rows,
        columns=columns,
        top=top * rows / _WORKING_SIZE,
        left=left * columns / _WORKING_SIZE,
        height=height * rows / _WORKING_SIZE,
        width=width * columns / _WORKING_SIZE,
        size=INPUT_SIZE,
    )
    return NetworkInput(pixels=rank_standardise(square)[..., np.newaxis], geometry=geometry)


def content_box(image: np.ndarray) -> tuple[int, int, int, int]:
    """Find the picture inside flat borders.

    Args:
        image: (H, W) float32 in [0, 1].

    Returns:
        top, left, height, width in pixels; at most 30 % of a side is cut from each edge.
    """
    top, bottom = _flat_margins(np.ptp(image, axis=1))
    left, right = _flat_margins(np.ptp(image, axis=0))
    return top, left, image.shape[0] - top - bottom, image.shape[1] - left - right


def rank_standardise(image: np.ndarray) -> np.ndarray:
    """Replace grey values by their rank in the middle of the picture, scaled to [-1, 1].

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
    return (np.interp(image, knots, rank) * _RANK_SCALE - _RANK_SCALE / 2).astype(np.float32)


def _flat_margins(ranges: np.ndarray) -> tuple[int, int]:
    """Count the flat lines at the start and at the end; `ranges` is each line's maximum minus minimum."""
    limit = int(len(ranges) * _TRIM_LIMIT)
    busy = np.flatnonzero(ranges > _FLAT_RANGE)
    if busy.size == 0:
        return 0, 0
    return min(int(busy[0]), limit), min(int(len(ranges) - 1 - busy[-1]), limit)


def _resize(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Resize with area averaging, which neither rings nor aliases; bilinear where the image grows."""
    if image.shape == (rows, columns):
        return image
    shrinks = image.shape[0] >= rows and image.shape[1] >= columns
    return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
