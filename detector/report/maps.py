"""An answer's map as files: the evidence over the X-ray, the X-ray alone, and the numbers themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2

from detector.answers import overlay

if TYPE_CHECKING:
    import numpy as np

    from detector.answers.answer import Answer
    from detector.schema import Geometry

OVERLAY_ENDING, HEATMAP_ENDING, XRAY_ENDING = ".overlay.png", ".heatmap.npy", ".xray.jpg"
XRAY_SIDE = 768  # pixels of the longer side of an X-ray in the gallery: half of a wide screen

_JPEG_QUALITY = 88
_OPACITY = 0.6


@dataclass(frozen=True, eq=False)
class Maps:
    """What is saved of one explained image, small until it is written.

    Attributes:
        overlay: a PNG file's bytes, the evidence over the image at display size.
        xray: a JPEG file's bytes, the image alone for the gallery.
        cam: (h, w) float32 on the network's grid, evidence for the target class in logit units.
        geometry: of the image.
    """

    overlay: bytes
    xray: bytes
    cam: np.ndarray
    geometry: Geometry

    @property
    def heatmap(self) -> np.ndarray:
        """(rows, columns) float32 of the image, 0 outside the network's box; as large as the image, so made anew."""
        return overlay.to_heatmap(self.cam, self.geometry)


def draw_maps(told: Answer) -> Maps:
    """Draw and encode what is saved for an explained image."""
    geometry = told.analysis.geometry
    image = overlay.to_display(told.analysis.radiograph.grey)
    shown = overlay.to_heatmap(told.cam, overlay.scaled(geometry, *image.shape))
    coloured = overlay.blend(image, shown, full_scale=told.full_scale, opacity=_OPACITY)
    return Maps(
        overlay=cv2.imencode(".png", cv2.cvtColor(coloured, cv2.COLOR_RGB2BGR))[1].tobytes(),
        xray=encode_jpeg(overlay.shrink(image, longer_side=XRAY_SIDE)),
        cam=told.cam,
        geometry=geometry,
    )


def encode_jpeg(image: np.ndarray, *, quality: int = _JPEG_QUALITY) -> bytes:
    """Encode (H, W) or BGR (H, W, 3) uint8."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
