"""Is this one frontal chest X-ray? What can be said from the pixels alone, before the network.

`check_image` refuses what can't be read at all and names what makes an answer less trustworthy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detector.errors import NoContrastError, NotAChestXrayError

if TYPE_CHECKING:
    from detector.schema import Radiograph

_SIDE_VIEWS = frozenset({"LL", "RL", "LATERAL"})  # (0018,5101), PS3.3 C.8.11.5
_SATURATED = 1 / 255  # within one 8-bit step of an end of the range
_SATURATED_SHARE = 0.5  # of all pixels: half a picture at one end shows no lung
_LEAST_CONTRAST = 0.02  # between the 2nd and 98th percentile: five of 255 grey levels
_LOW_CONTRAST = 0.12  # thirty grey levels; radiographs in use have more than a hundred
_LARGEST_ASPECT = 1.6  # of the longer to the shorter side; a chest film is 43 x 35 cm at most (1.23)
_SMALLEST_SIDE = 224  # the size of the training pictures


def check_image(radiograph: Radiograph) -> tuple[str, ...]:
    """Check the pixels of a decoded image.

    Returns:
        Warnings, as sentences; empty if nothing stands out.

    Raises:
        NotAChestXrayError: if the file itself says that it is a side view.
        NoContrastError: if the picture is blank but for a few pixels.
    """
    if radiograph.view_position in _SIDE_VIEWS:
        raise NotAChestXrayError(f"(0018,5101) View Position is {radiograph.view_position!r}.")
    pixels = radiograph.pixels
    low, high = np.percentile(pixels[:: _step(pixels.shape[0]), :: _step(pixels.shape[1])], [2, 98])
    if high - low < _LEAST_CONTRAST:
        raise NoContrastError(f"The pixels' 2nd and 98th percentile are {low:.3f} and {high:.3f}.")
    warnings = []
    if high - low < _LOW_CONTRAST:
        warnings.append("The picture has very little contrast.")
    if float(np.mean(pixels <= _SATURATED)) > _SATURATED_SHARE:
        warnings.append("More than half of the picture is black.")
    if float(np.mean(pixels >= 1 - _SATURATED)) > _SATURATED_SHARE:
        warnings.append("More than half of the picture is white.")
    if max(pixels.shape) > _LARGEST_ASPECT * min(pixels.shape):
        warnings.append("The picture is unusually long for a frontal chest X-ray; part of a chest may be missing.")
    if min(pixels.shape) < _SMALLEST_SIDE:
        warnings.append("The picture is smaller than those that the network has learnt from (224 pixels).")
    return tuple(warnings)


def _step(side: int) -> int:
    return max(1, side // 512)  # percentiles of every n-th pixel: the same to a grey level, far faster
