"""What a map says in numbers: how much of the evidence for a class lies in the lungs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector.schema import LungShare

if TYPE_CHECKING:
    from detector.schema import Geometry


def lung_share(cam: np.ndarray, lung_field: np.ndarray, geometry: Geometry) -> LungShare:
    """Measure how a map lies on the lung fields.

    Args:
        cam: (h, w) float32 on the network's grid; positive speaks for the class.
        lung_field: (size, size) bool on the network's input.
        geometry: of the image.

    Returns:
        The share of the positive evidence inside a lung (None where there is none), and the lungs' share of the image.

    Raises:
        ValueError: if the lung field is not on the network's input.
    """
    if lung_field.shape != (geometry.size, geometry.size):
        msg = f"lung_field must be {(geometry.size, geometry.size)}. Received {lung_field.shape}."
        raise ValueError(msg)
    fine = cv2.resize(np.asarray(cam, np.float32), lung_field.shape[::-1], interpolation=cv2.INTER_LINEAR)
    positive = np.maximum(fine, 0)
    total = float(positive.sum())
    box_share = geometry.height * geometry.width / (geometry.rows * geometry.columns)
    return LungShare(
        in_lung_fraction=float(positive[lung_field].sum()) / total if total > 0 else None,
        lung_area_fraction=float(lung_field.mean()) * box_share,
    )
