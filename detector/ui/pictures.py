"""Arrays as addresses that a browser can draw."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import cv2

if TYPE_CHECKING:
    import numpy as np

_JPEG_QUALITY = 92


def jpeg_address(pixels: np.ndarray) -> str:
    """(H, W) or (H, W, 3) BGR uint8 as a data address."""
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def png_address(pixels: np.ndarray) -> str:
    """(H, W, 4) BGRA uint8 as a data address."""
    encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()


def thumbnail(image: np.ndarray, *, side: int = 64) -> str:
    """A small copy of (H, W) uint8 as a data address."""
    factor = side / max(image.shape)
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return jpeg_address(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
