"""Saliency on the network's grid -> heatmap on the image's grid -> colours.

A colour means the same number of logit units in every image and for every class. Nothing is rescaled per image: where
there is no evidence, the overlay is clear.
"""

from __future__ import annotations

import cv2
import numpy as np

from detector.schema import Geometry

DISPLAY_SIDE = 1024  # pixels of the longer side on the page and in saved overlays

#: Evidence for the class is vermilion, against it sky blue: the pair that Okabe and Ito (2008) made for
#: colour-blind readers, and that differs in lightness from the grey below. RGB in [0, 1].
FOR_COLOUR = np.array([0.90, 0.38, 0.0], np.float32)
AGAINST_COLOUR = np.array([0.34, 0.71, 0.91], np.float32)
_COLOURS = np.stack([np.ones(3), 255 * FOR_COLOUR, 255 * AGAINST_COLOUR], axis=1).astype(np.float32)

_NEARLY = 0.95  # share of a limit that counts as the limit
_BLOCK = 32  # rows that are blended at a time: their planes stay in the processor's cache


def to_heatmap(cam: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Map a cam back to the image that was uploaded.

    Args:
        cam: (h, w) float32 on the network's grid, in logit units.
        geometry: of the image.

    Returns:
        (rows, columns) float32 in the same units, bilinear between the cells' centres, 0 outside the network's box.
    """
    top, bottom = round(geometry.top), round(geometry.top + geometry.height)
    left, right = round(geometry.left), round(geometry.left + geometry.width)
    heatmap = np.zeros((geometry.rows, geometry.columns), np.float32)
    size = (max(1, right - left), max(1, bottom - top))
    inside = cv2.resize(np.asarray(cam, np.float32), size, interpolation=cv2.INTER_LINEAR)
    heatmap[top:bottom, left:right] = inside[: bottom - top, : right - left]
    return heatmap


def display_size(rows: int, columns: int, *, longer_side: int = DISPLAY_SIDE) -> tuple[int, int]:
    """Rows and columns of an image when its longer side is at most `longer_side` pixels.

    If a whole number of pixels can be averaged into one, with no remainder and for at most a twentieth of the size,
    they are: every displayed pixel is then the mean of its own, and shrinking takes a tenth of the time.
    """
    longest = max(rows, columns)
    whole = -(-longest // longer_side)
    fits = rows % whole == columns % whole == 0 and whole * longer_side * _NEARLY <= longest
    divisor = whole if fits else max(1.0, longest / longer_side)
    return max(1, round(rows / divisor)), max(1, round(columns / divisor))


def scaled(geometry: Geometry, rows: int, columns: int) -> Geometry:
    """Geometry of the same image shown at another size."""
    down, across = rows / geometry.rows, columns / geometry.columns
    return Geometry(
        rows=rows,
        columns=columns,
        top=geometry.top * down,
        left=geometry.left * across,
        height=geometry.height * down,
        width=geometry.width * across,
        size=geometry.size,
    )


def to_display(grey: np.ndarray, *, longer_side: int = DISPLAY_SIDE) -> np.ndarray:
    """Shrink (rows, columns), uint8 or float32 in [0, 1], to uint8 with a longer side of at most `longer_side`."""
    small = shrink(grey, longer_side=longer_side)
    return small if small.dtype == np.uint8 else cv2.convertScaleAbs(np.maximum(small, 0), alpha=255)


def shrink(image: np.ndarray, *, longer_side: int) -> np.ndarray:
    """Shrink (H, W) or (H, W, channels) of any dtype to a longer side of at most `longer_side`, if it is larger."""
    rows, columns = display_size(*image.shape[:2], longer_side=longer_side)
    if (rows, columns) == image.shape[:2]:
        return image
    return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)


def blend(image: np.ndarray, heatmap: np.ndarray, *, full_scale: float, opacity: float) -> np.ndarray:
    """Lay evidence over an image.

    Args:
        image: (H, W) uint8.
        heatmap: (H, W) float32 in logit units; positive values are evidence for the class.
        full_scale: evidence that is drawn at full opacity; more looks the same.
        opacity: of the strongest colour, in [0, 1].

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: if the shapes differ or the scale is not positive.
    """
    if image.shape != heatmap.shape:
        msg = f"image and heatmap must have one shape. Received {image.shape} and {heatmap.shape}."
        raise ValueError(msg)
    if full_scale <= 0:
        msg = f"full_scale must be positive. Received {full_scale}."
        raise ValueError(msg)
    per_unit = np.float32(opacity / full_scale)
    blended = np.empty((*image.shape, 3), np.uint8)
    for top in range(0, len(image), _BLOCK):
        rows = slice(top, top + _BLOCK)
        alpha = np.clip(heatmap[rows].astype(np.float32, copy=False) * per_unit, -opacity, opacity)
        blended[rows] = _blend_rows(image[rows], alpha)
    return blended


def _blend_rows(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lay signed opacity (H, W) float32 in [-1, 1] over (H, W) uint8: (H, W, 3) uint8."""
    # In every pixel one of the two is zero, so the blend is linear in three planes, and one matrix product does it.
    towards = np.maximum(alpha, 0)
    against = towards - alpha
    planes = cv2.merge([image * (1 - towards - against), towards, against])
    return cv2.convertScaleAbs(cv2.transform(planes, _COLOURS))
