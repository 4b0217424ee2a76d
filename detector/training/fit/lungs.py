"""Fits the lung segmentation on the masks that the manifest names."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import cv2
import keras
import numpy as np
from keras import ops

from detector.errors import ManifestError
from detector.model.network import build_lung_network
from detector.model.preprocess import INPUT_SIZE, frame_picture, lung_input
from detector.statistics.metrics import Estimate, bootstrap
from detector.training.data.augmentation import augment, move
from detector.training.data.manifest import Example, read_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector.schema import Geometry

_LOG = logging.getLogger(__name__)

_FOLDS = 4
_SMOOTH = 1.0  # pixels: a picture without lungs has a Dice of one with an empty answer, not 0/0


@dataclass(frozen=True)
class LungFitConfig:
    """Everything that a run depends on, besides the manifest."""

    batches: int = 900
    batch_size: int = 16
    peak_learning_rate: float = 4e-3
    seed: int = 20261122


def fit_lungs(examples: Sequence[Example], images: Path, config: LungFitConfig) -> keras.Model:
    """Train on examples that have a mask, drawn by hand if there is one.

    Raises:
        ManifestError: if none has a mask.
    """
    examples = with_masks(examples)
    keras.utils.set_random_seed(config.seed)
    network = build_lung_network(INPUT_SIZE)
    schedule = keras.optimizers.schedules.CosineDecay(config.peak_learning_rate, config.batches)
    network.compile(keras.optimizers.Adam(schedule), loss=overlap_loss, jit_compile=False)
    pictures = [(read_image(images / e.image), read_image(images / mask_path(e))) for e in examples]
    for step in range(config.batches):
        rng = np.random.default_rng([config.seed, step])
        chosen = [pictures[i] for i in rng.integers(0, len(pictures), config.batch_size)]
        pairs = [augmented_pair(image, mask, int(rng.integers(2**31))) for image, mask in chosen]
        loss = network.train_on_batch(*(np.stack(part) for part in zip(*pairs, strict=True)))
        if (step + 1) % 50 == 0:
            _LOG.info("lungs: batch %d of %d, loss %.3f", step + 1, config.batches, float(loss))
    return network


def overlap_loss(mask, logits):  # noqa: ANN001, ANN201 - tensors of the backend
    """Cross-entropy plus one minus soft Dice (Milletari et al. 2016, arXiv:1606.04797)."""
    entropy = ops.mean(keras.losses.binary_crossentropy(mask, logits, from_logits=True))
    share = ops.sigmoid(logits)
    overlap = 2 * ops.sum(mask * share, axis=(1, 2, 3)) + _SMOOTH
    total = ops.sum(mask, axis=(1, 2, 3)) + ops.sum(share, axis=(1, 2, 3)) + _SMOOTH
    return entropy + ops.mean(1 - overlap / total)


def augmented_pair(image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Augment a picture and move its mask along.

    Args:
        image: (H, W) float32 in [0, 1].
        mask: (H, W) float32, 1 in a lung.
        seed: of both; `augment` moves first, so one seed moves both alike.

    Returns:
        Network input and mask on its grid, both (size, size, 1) float32.
    """
    network_input = lung_input(frame_picture(augment(image, np.random.default_rng(seed))))
    moved = move(mask, np.random.default_rng(seed))
    return network_input.pixels, mask_on_input(moved, network_input.geometry)


def mask_on_input(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Cut and scale a mask (H, W) like the network's input: (size, size, 1) float32 of zeros and ones."""
    top, left = round(geometry.top), round(geometry.left)
    box = mask[top : round(geometry.top + geometry.height), left : round(geometry.left + geometry.width)]
    resized = cv2.resize(box, (geometry.size, geometry.size), interpolation=cv2.INTER_AREA)
    return (resized > 0.5).astype(np.float32)[..., np.newaxis]


def dice(mask: np.ndarray, answer: np.ndarray) -> float:
    """Dice coefficient of two boolean masks of one shape: twice the overlap over the sum of the areas."""
    return float((2 * np.sum(mask & answer) + _SMOOTH) / (mask.sum() + answer.sum() + _SMOOTH))


def measure_dice(network: keras.Model, examples: Sequence[Example], images: Path, *, drawn: bool) -> Estimate:
    """Mean Dice with its patient-level interval, against the drawn masks or those made by a model."""
    kept = [e for e in examples if (e.lung_mask_drawn if drawn else e.lung_mask)]
    scores = np.array([_dice_of(network, e, images, drawn=drawn) for e in kept])
    return bootstrap(lambda index: float(scores[index].mean()), [e.patient_group for e in kept])


def cross_validated_dice(
    examples: Sequence[Example], images: Path, config: LungFitConfig, *, folds: int = _FOLDS
) -> Estimate:
    """Mean Dice against the drawn masks, each measured by a network that saw no picture of its patient.

    Args:
        examples: all that have a mask.
        images: folder that their paths are relative to.
        config: of each fold's training.
        folds: parts that the patients with a drawn mask are dealt into.
    """
    examples = with_masks(examples)
    drawn = [e for e in examples if e.lung_mask_drawn]
    patients = sorted({e.patient_group for e in drawn})
    fold_of = dict(zip(np.random.default_rng(config.seed).permutation(patients), cycle(range(folds)), strict=False))
    scores = np.zeros(len(drawn))
    for fold in sorted(set(fold_of.values())):
        network = fit_lungs([e for e in examples if fold_of.get(e.patient_group) != fold], images, config)
        for number, example in enumerate(drawn):
            if fold_of[example.patient_group] == fold:
                scores[number] = _dice_of(network, example, images, drawn=True)
    return bootstrap(lambda index: float(scores[index].mean()), [e.patient_group for e in drawn])


def with_masks(examples: Sequence[Example]) -> list[Example]:
    """Keep the examples that have a mask.

    Raises:
        ManifestError: if there are none.
    """
    kept = [e for e in examples if e.lung_mask or e.lung_mask_drawn]
    if not kept:
        raise ManifestError("No row of the manifest names a lung mask.")
    return kept


def mask_path(example: Example) -> str:
    """The better mask of an example: drawn before made by a model."""
    return example.lung_mask_drawn or example.lung_mask


def _dice_of(network: keras.Model, example: Example, images: Path, *, drawn: bool) -> float:
    network_input = lung_input(frame_picture(read_image(images / example.image)))
    mask = read_image(images / (example.lung_mask_drawn if drawn else example.lung_mask))
    truth = mask_on_input(mask, network_input.geometry)[..., 0] > 0.5
    answer = np.asarray(network.predict_on_batch(network_input.pixels[np.newaxis]))[0, ..., 0] > 0
    return dice(truth, answer)
