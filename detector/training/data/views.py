"""What the network is shown while it trains: pictures changed at random, cut to their lungs, and the lungs beside them.

The lung fields are found once, on the pictures as they are, and then moved along with every change; so a training costs
no segmentation, and a changed picture has the lungs of the unchanged one.
"""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector.model.preprocess import (
    INPUT_SIZE,
    WORKING_SIZE,
    Box,
    crop,
    frame_picture,
    lung_box,
    lung_input,
    lungs_on_frame,
)
from detector.training.data.augmentation import augment, convolve_at_random, move
from detector.training.data.manifest import read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from detector.schema import NetworkInput
    from detector.training.data.manifest import Example

_LOG = logging.getLogger(__name__)

_THREADS = 2
_CHUNK = 32  # pictures of one segmentation: one shape, compiled once
_LOOSE = 0.08  # of a side: how far each edge of the crop may miss the lungs' box, as it will in another hospital
_WHOLE = 0.05  # share of the training crops that are the whole picture, as it is where no lungs are found


@dataclass(frozen=True, eq=False)
class LungMasks:
    """Lung fields of pictures on the working grid, eight pixels a byte.

    Attributes:
        packed: image path to (224 * 224 / 8,) uint8.
    """

    packed: Mapping[str, np.ndarray]

    def __getitem__(self, image: str) -> np.ndarray:
        """The lungs of one picture, (224, 224) bool."""
        return np.unpackbits(self.packed[image]).reshape(WORKING_SIZE, WORKING_SIZE).astype(bool)


def find_lung_masks(
    examples: Sequence[Example],
    images: Path,
    segment: Callable[[np.ndarray], np.ndarray],
    *,
    cache: Path | None = None,
    lung_model: str = "",
) -> LungMasks:
    """Find the lungs of every picture, as the app will.

    Args:
        examples: whose pictures.
        images: folder that their paths are relative to.
        segment: from inputs (N, size, size, 1) to lung fields (N, size, size) bool.
        cache: file to keep them in; one that was made for other pictures or by another network is made anew.
        lung_model: SHA-256 of the lung network, for the cache.

    Raises:
        ManifestError: if a picture can't be read.
    """
    names = sorted({example.image for example in examples})
    fingerprint = hashlib.sha256("\n".join([lung_model, *names]).encode()).hexdigest()
    if cache and cache.exists():
        with np.load(cache) as saved:
            if str(saved["fingerprint"]) == fingerprint:
                return LungMasks(dict(zip(names, saved["packed"], strict=True)))
    _LOG.info("finding the lungs of %d pictures", len(names))
    packed = np.stack(list(_segmented(names, images, segment)))
    if cache:
        temporary = cache.with_suffix(".tmp.npz")
        np.savez(temporary, fingerprint=fingerprint, packed=packed)
        temporary.replace(cache)  # in one move: a kill leaves no torn file that a resumed run would stumble over
    return LungMasks(dict(zip(names, packed, strict=True)))


def read_working(path: Path) -> np.ndarray:
    """Read a picture on the working grid, (224, 224) float32 in [0, 1], its tone as it comes: framing equalises it.

    Raises:
        ManifestError: if it can't be read.
    """
    return cv2.resize(read_image(path), (WORKING_SIZE, WORKING_SIZE), interpolation=cv2.INTER_AREA)


def plain_view(image: np.ndarray, lungs: np.ndarray, *, size: int = INPUT_SIZE, cut: bool = True) -> NetworkInput:
    """The classifier's input of a picture as it is.

    Args:
        image: (224, 224) float32 in [0, 1].
        lungs: (224, 224) bool.
        size: side of the input.
        cut: whether it is cut to the lungs; otherwise it is the whole picture.
    """
    frame = frame_picture(image)
    return crop(frame, lungs, lung_box(lungs, frame.content) if cut else frame.content, size=size)


def change_picture(
    image: np.ndarray,
    lungs: np.ndarray,
    rng: np.random.Generator,
    *,
    size: int = INPUT_SIZE,
    cut: bool = True,
    style: float = 0.0,
) -> NetworkInput:
    """The classifier's input of a picture changed at random.

    Args:
        image: (224, 224) float32 in [0, 1].
        lungs: (224, 224) bool.
        rng: source of randomness.
        size: side of the input.
        cut: whether it is cut to the lungs, more or less.
        style: chance of a random convolution.
    """
    seed = int(rng.integers(2**31))
    changed = augment(image, np.random.default_rng(seed))  # moves first, so one seed moves both alike
    moved = move(lungs.astype(np.float32), np.random.default_rng(seed)) > 0.5
    if rng.random() < style:
        changed = convolve_at_random(changed, rng)
    frame = frame_picture(changed)
    box = loose_box(lung_box(moved, frame.content), rng) if cut and rng.random() > _WHOLE else frame.content
    return crop(frame, moved, box, size=size)


def loose_box(box: Box, rng: np.random.Generator) -> Box:
    """Move each edge of a box by up to 8 % of its side, inside the working grid."""
    top, bottom = _moved(box.top, box.height, rng)
    left, right = _moved(box.left, box.width, rng)
    return Box(top, left, bottom - top, right - left)


def _moved(start: int, length: int, rng: np.random.Generator) -> tuple[int, int]:
    first, last = (np.array([start, start + length]) + rng.uniform(-_LOOSE, _LOOSE, 2) * length).round().astype(int)
    return max(0, int(first)), min(WORKING_SIZE, int(last))


def _segmented(names: Sequence[str], images: Path, segment: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            frames = list(pool.map(lambda name: frame_picture(read_image(images / name)), chunk))
            inputs = np.zeros((_CHUNK, INPUT_SIZE, INPUT_SIZE, 1), np.float32)
            inputs[: len(frames)] = [lung_input(frame).pixels for frame in frames]
            for frame, field in zip(frames, segment(inputs), strict=False):  # the padding falls away
                yield np.packbits(lungs_on_frame(field, frame.content))
