"""Pictures to measure with, made from the composites: no patient's picture."""

import itertools
from pathlib import Path

import cv2
import numpy as np

from tests.conftest import COMPOSITES, encode

_LABELS = ("covid19", "normal", "bacterial_pneumonia")
_DISTINCT = 500
_GRAIN = 3.0  # grey levels: a detector's noise, so that a JPEG has a radiograph's size


def composite(number, side):
    """The number-th picture, (side, side) uint8: a composite, moved by its number, so that no two are alike."""
    stored = cv2.imread(str(COMPOSITES / f"{_LABELS[number % 3]}.png"), cv2.IMREAD_GRAYSCALE)
    moved = np.roll(stored, (number // 3) % 40, axis=1)
    interpolation = cv2.INTER_AREA if side < stored.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(moved, (side, side), interpolation=interpolation)


def jpeg(number, side):
    """A JPEG of quality 95 with a detector's grain."""
    grain = np.random.default_rng(number).normal(0, _GRAIN, (side, side))
    noisy = np.clip(composite(number, side) + grain, 0, 255).astype(np.uint8)
    return encode(noisy, ".jpg", parameters=(cv2.IMWRITE_JPEG_QUALITY, 95))


def jpeg_of_bytes(number, size):
    """A JPEG of about so many bytes, whatever side that takes."""
    for side in itertools.count(900, 50):
        data = jpeg(number, side)
        if len(data) >= size:
            return data
    raise AssertionError


def write_folder(folder, count, side):
    """Write so many PNG files; returns their paths in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(encode(composite(number, side)))
    return paths


def numbered(folder, count, side=224):
    """So many files with names of their own, in a folder that is made, of 500 different pictures at most."""
    made = write_folder(folder, min(count, _DISTINCT), side)
    for number in range(len(made), count):
        Path(folder, f"{number:05d}.png").hardlink_to(made[number % len(made)])
    return folder
