"""Makes the example pictures: each the mean of several aligned X-rays of one class, so no patient's picture.

    python scripts/make_composites.py --manifest ../shared/cxr/manifest.csv

X-rays are drawn from the training split, brought to one tone scale, aligned by an affine transform to their own
running mean (Evangelidis and Psarakis 2008, the ECC criterion), averaged, and sharpened by what averaging blurs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from detector.model.preprocess import rank_standardise
from detector.schema import BACTERIAL_PNEUMONIA, COVID19, NORMAL
from detector.training.data.manifest import Example, read_image, read_manifest

SOURCES = {NORMAL: "raddb", BACTERIAL_PNEUMONIA: "kaggle", COVID19: "raddb"}
COUNT = 12  # enough that no single patient can be made out, few enough that ribs and vessels remain
TRIMMED = 3  # highest and lowest values of each pixel left out
ROUNDS = 3  # of aligning to the mean of the last round
SIDE = 512
LEAST_FIT = 0.6  # least correlation with the mean: what does not fit after alignment is left out
SHARPEN_SIGMA, SHARPEN_AMOUNT = 6.0, 0.8
SEED = 2


def composite(images: list[np.ndarray]) -> np.ndarray:
    """Mean of aligned pictures: a list of (H, W) float32 in; (512, 512) uint8 out."""
    mean = np.mean(images, axis=0, dtype=np.float32)
    for _ in range(ROUNDS):
        aligned = [moved for image in images if (moved := align(image, mean)) is not None]
        mean = trimmed_mean(aligned)
    large = cv2.resize(mean, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    sharp = large + SHARPEN_AMOUNT * (large - cv2.GaussianBlur(large, (0, 0), SHARPEN_SIGMA))
    low, high = np.percentile(sharp, [0.5, 99.5])
    print(f"{len(aligned)} of {len(images)} aligned")
    return np.rint(np.clip((sharp - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def trimmed_mean(images: list[np.ndarray]) -> np.ndarray:
    """Mean of the middle values of each pixel, so that no single picture's lettering stays legible."""
    ordered = np.sort(images, axis=0)
    return ordered[TRIMMED:-TRIMMED].mean(axis=0, dtype=np.float32)


def align(image: np.ndarray, template: np.ndarray) -> np.ndarray | None:
    """Move a picture onto a template of the same shape; None if it does not fit."""
    matrix = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
    try:
        correlation, matrix = cv2.findTransformECC(template, image, matrix, cv2.MOTION_AFFINE, stop, None, 5)
    except cv2.error:  # did not converge
        return None
    if correlation < LEAST_FIT:
        return None
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, image.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def chosen(examples: list[Example], label: str, rng: np.random.Generator) -> list[Example]:
    """Draw X-rays of one class, of as many patients."""
    pool = [e for e in examples if e.label == label and e.source == SOURCES[label]]
    first_of_patient = list({e.patient_group: e for e in pool}.values())
    return [first_of_patient[i] for i in rng.choice(len(first_of_patient), COUNT, replace=False)]


def main() -> None:
    """Write one picture a class."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "assets" / "composites")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    examples = read_manifest(options.manifest, split="train")
    rng = np.random.default_rng(SEED)
    for label in SOURCES:
        images = [read_image(options.manifest.parent / e.image) for e in chosen(examples, label, rng)]
        picture = composite([(rank_standardise(image) + 1) / 2 for image in images])
        cv2.imwrite(str(options.out / f"{label}.png"), picture)


if __name__ == "__main__":
    main()
