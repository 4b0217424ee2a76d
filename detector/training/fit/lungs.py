"""Fits the lung segmentation on the masks that the manifest names.

One definition: the whole lung, with the part behind the heart and the diaphragm, as people corrected it
(``lung_mask_whole``: 255 lung, 127 do not judge, 0 outside). Masks made by a model and masks drawn round the visible
lung leave the heart out; they are another definition, so nothing is learnt from them, and what they call lung is only
asked to lie inside (`measure_cover`).
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import keras
import numpy as np
from keras import ops

from detector.errors import ManifestError
from detector.model.network import build_lung_network
from detector.model.preprocess import INPUT_SIZE, WORKING_SIZE, frame_picture, largest_parts, lung_input
from detector.statistics import merit
from detector.statistics.bootstrap import Estimate, Resampling, Statistic
from detector.training.data.augmentation import augment, move
from detector.training.data.manifest import Example, read_image
from detector.training.data.views import read_working
from detector.training.fit.ahead import made_ahead
from detector.training.fit.classifier import RANDOM, initialise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector.schema import Geometry, NetworkInput

_LOG = logging.getLogger(__name__)

_SMOOTH = 1.0  # pixels: a picture without lungs has a Dice of one with an empty answer, not 0/0
_NOT_JUDGED = 127 / 255  # in a mask of the whole lung
_THREADS = 2


@dataclass(frozen=True)
class LungFitConfig:
    """Everything that a run depends on, besides the manifest.

    Attributes:
        batches: length of the run.
        batch_size: pictures a batch.
        peak_learning_rate: of Adam, falling along a cosine.
        initial: ``"random"``, or the path of a ``.keras`` file that the run goes on from.
        seed: of sampling, augmentation and initial weights.
    """

    batches: int = 900
    batch_size: int = 16
    peak_learning_rate: float = 4e-3
    initial: str = RANDOM
    seed: int = 20261122


@dataclass(frozen=True, eq=False)
class Masked:
    """A picture with its mask, both on the working grid.

    Attributes:
        image: (224, 224) float32 in [0, 1].
        lung: (224, 224) float32, 1 in a lung.
        judged: (224, 224) float32, 0 where the mask does not say.
    """

    image: np.ndarray
    lung: np.ndarray
    judged: np.ndarray


def fit_lungs(examples: Sequence[Example], images: Path, config: LungFitConfig) -> keras.Model:
    """Train on examples that have a mask of the whole lung; adults and children are drawn equally often.

    Raises:
        ManifestError: if none has a mask.
    """
    examples = with_masks(examples)
    keras.utils.set_random_seed(config.seed)
    network = build_lung_network(INPUT_SIZE)
    initialise(network, config.initial)
    schedule = keras.optimizers.schedules.CosineDecay(config.peak_learning_rate, config.batches)
    network.compile(keras.optimizers.Adam(schedule), loss=overlap_loss, jit_compile=False)
    with ThreadPoolExecutor(_THREADS) as pool:
        pictures = list(pool.map(lambda e: read_masked(e, images), examples))
    _, group, sizes = np.unique([e.age_group for e in examples], return_inverse=True, return_counts=True)
    chances = 1 / sizes[group] / len(sizes)

    def make(step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([config.seed, step])
        chosen = [pictures[i] for i in rng.choice(len(pictures), config.batch_size, p=chances)]
        pairs = [augmented_pair(picture, int(rng.integers(2**31))) for picture in chosen]
        return np.stack([pixels for pixels, _ in pairs]), np.stack([truth for _, truth in pairs])

    for step, (pixels, truth) in enumerate(made_ahead(make, range(config.batches)), start=1):
        loss = network.train_on_batch(pixels, truth)
        if step % 50 == 0:
            _LOG.info("lungs: batch %d of %d, loss %.3f", step, config.batches, float(loss))
    return network


def overlap_loss(truth: Any, logits: Any) -> Any:  # tensors of the backend
    """Cross-entropy plus one minus soft Dice (Milletari et al. 2016, arXiv:1606.04797), where the mask says something.

    Args:
        truth: (N, size, size, 2), the lung and what is judged; see `augmented_pair`.
        logits: (N, size, size, 1).
    """
    mask, judged = truth[..., :1], truth[..., 1:]
    entropy = ops.mean(ops.binary_crossentropy(mask, logits, from_logits=True) * judged)
    share = ops.sigmoid(logits) * judged
    overlap = 2 * ops.sum(mask * share, axis=(1, 2, 3)) + _SMOOTH
    total = ops.sum(mask, axis=(1, 2, 3)) + ops.sum(share, axis=(1, 2, 3)) + _SMOOTH
    return entropy + ops.mean(1 - overlap / total)


def read_masked(example: Example, images: Path) -> Masked:
    """Read a picture and its mask of the whole lung.

    Raises:
        ManifestError: if either can't be read.
    """
    mask = _on_working_grid(read_image(images / example.lung_mask_whole))
    judged = (np.abs(mask - _NOT_JUDGED) > 0.25).astype(np.float32)
    return Masked(read_working(images / example.image), (mask > 0.75).astype(np.float32), judged)


def augmented_pair(picture: Masked, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Augment a picture and move its mask along.

    Args:
        picture: with its mask.
        seed: of all changes; `augment` moves first, so one seed moves all alike.

    Returns:
        Network input (size, size, 1) and, on its grid, lung and what is judged (size, size, 2); float32.
    """
    network_input = lung_input(frame_picture(augment(picture.image, np.random.default_rng(seed))))
    moved = (move(part, np.random.default_rng(seed)) for part in (picture.lung, picture.judged))
    lung, judged = (mask_on_input(part, network_input.geometry) for part in moved)
    return network_input.pixels, np.concatenate([lung * judged, judged], axis=-1)


def mask_on_input(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Cut and scale a mask (H, W) like the network's input: (size, size, 1) float32 of zeros and ones."""
    top, left = round(geometry.top), round(geometry.left)
    box = mask[top : round(geometry.top + geometry.height), left : round(geometry.left + geometry.width)]
    resized = cv2.resize(box, (geometry.size, geometry.size), interpolation=cv2.INTER_AREA)
    return (resized > 0.5).astype(np.float32)[..., np.newaxis]


def dice(mask: np.ndarray, answer: np.ndarray) -> float:
    """Dice coefficient of two boolean masks of one shape: twice the overlap over the sum of the areas."""
    return float((2 * np.sum(mask & answer) + _SMOOTH) / (mask.sum() + answer.sum() + _SMOOTH))


def measure_dice(network: keras.Model, examples: Sequence[Example], images: Path) -> dict[str, Any]:
    """Mean Dice against the masks of the whole lung, over all and by source and age group, with intervals.

    What the mask does not judge takes no part, and of what the network finds the largest parts count, as in the app.
    """
    kept = [e for e in examples if e.lung_mask_whole]
    return dice_by_group(kept, np.array([dice_of(network, example, images) for example in kept]))


def measure_cover(network: keras.Model, examples: Sequence[Example], images: Path) -> Estimate:
    """Mean share of the masks drawn round the visible lung that the field covers: it should be nearly all."""
    drawn = [e for e in examples if e.lung_mask_drawn]

    def cover(example: Example) -> float:
        network_input = _whole_input(example, images)
        drawn_mask = _on_working_grid(read_image(images / example.lung_mask_drawn))
        mask = mask_on_input(drawn_mask, network_input.geometry)[..., 0] > 0.5
        return float(_answer(network, network_input.pixels)[mask].mean())

    shares = np.array([cover(example) for example in drawn])
    return _mean(shares, drawn)


def with_masks(examples: Sequence[Example]) -> list[Example]:
    """Keep the examples that have a mask of the whole lung.

    Raises:
        ManifestError: if there are none.
    """
    kept = [e for e in examples if e.lung_mask_whole]
    if not kept:
        raise ManifestError("No row of the manifest names a mask of the whole lung.")
    return kept


def dice_of(network: keras.Model, example: Example, images: Path) -> float:
    """Dice of one picture's field with its mask, where that judges."""
    picture = read_masked(example, images)
    network_input = _whole_input(example, images)
    lung, judged = (
        mask_on_input(part, network_input.geometry)[..., 0] > 0.5 for part in (picture.lung, picture.judged)
    )
    return dice(lung & judged, _answer(network, network_input.pixels) & judged)


def _whole_input(example: Example, images: Path) -> NetworkInput:
    """What the network is given of a picture as it is, its geometry on the working grid, where the masks are."""
    frame = frame_picture(read_image(images / example.image))
    return lung_input(replace(frame, rows=WORKING_SIZE, columns=WORKING_SIZE))


def _on_working_grid(mask: np.ndarray) -> np.ndarray:
    return cv2.resize(mask, (WORKING_SIZE, WORKING_SIZE), interpolation=cv2.INTER_NEAREST)  # 127 stays 127


def _answer(network: keras.Model, pixels: np.ndarray) -> np.ndarray:
    return largest_parts(np.asarray(network.predict_on_batch(pixels[np.newaxis]))[0, ..., 0] > 0)


def dice_by_group(examples: Sequence[Example], scores: np.ndarray) -> dict[str, Any]:
    """Mean of each example's score (N,), over all and by source and age group, with intervals over patients."""
    groups = np.array([f"{e.source}, {e.age_group or 'age not known'}" for e in examples])
    chosen = {"all": np.arange(len(examples))} | {str(g): np.flatnonzero(groups == g) for g in np.unique(groups)}
    return {name: asdict(_mean(scores[kept], [examples[i] for i in kept.tolist()])) for name, kept in chosen.items()}


def _mean(scores: np.ndarray, examples: Sequence[Example]) -> Estimate:
    """Mean score (N,) with its interval over patients."""
    measure = Statistic(partial(merit.share, scores), empty="no images")
    return Resampling([e.patient_group for e in examples]).estimate(measure)
