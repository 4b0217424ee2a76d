"""Reads a manifest: a CSV file with one labelled radiograph a row."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector.errors import ManifestError
from detector.schema import BACTERIAL_PNEUMONIA, COVID19, NORMAL

if TYPE_CHECKING:
    from pathlib import Path

LABELS = (NORMAL, BACTERIAL_PNEUMONIA, "viral_pneumonia", "pneumonia_unspecified", "other_pneumonia", COVID19)
PNEUMONIAS = (BACTERIAL_PNEUMONIA, "viral_pneumonia", "pneumonia_unspecified", "other_pneumonia")  # not of COVID-19
SEVERAL = "several"  # hospitals of a collection of publications
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Example:
    """One row of a manifest.

    Attributes:
        image: path below the images' folder.
        label: one of `LABELS`.
        source: the collection, `""` where the manifest has none.
        split: ``"train"``, ``"val"`` or ``"test"``; `""` where the manifest has none.
        patient_group: unit of splitting and of the bootstrap; the image's own path where there is none.
        age_group: ``"adult"`` or ``"paediatric"``; `""` where the manifest has none.
        view: view position as the source says it; `""` where it does not.
        lung_mask: path of a mask made by a model, or `""`.
        lung_mask_drawn: path of a mask drawn by hand round the visible lung, or `""`.
        lung_mask_whole: path of a mask of the whole lung, or `""`; see `detector.training.fit.lungs`.
        hospital: where the picture was taken; ``"several"`` hospitals, or `""` where the manifest has none.
        finding: the source's own word, or `""`.
    """

    image: str
    label: str
    source: str = ""
    split: str = ""
    patient_group: str = ""
    age_group: str = ""
    view: str = ""
    lung_mask: str = ""
    lung_mask_drawn: str = ""
    lung_mask_whole: str = ""
    hospital: str = ""
    finding: str = ""

    @property
    def place(self) -> str:
        """The hospital, or the collection where that took its pictures from several or does not say."""
        return self.source if self.hospital in ("", SEVERAL) else self.hospital


def is_adult_opacity(example: Example) -> bool:
    """Whether it is an adult with a lung opacity of unknown germ, which is not COVID-19."""
    return example.label == "pneumonia_unspecified" and example.age_group == "adult"


def read_manifest(path: Path, *, split: str | None = None) -> list[Example]:
    """Read a manifest.

    Args:
        path: CSV file with at least the columns ``image`` and ``label``; the other attributes of `Example`
            are read where present.
        split: keep the rows of this split only.

    Raises:
        ManifestError: if the file can't be read, lacks a column, holds an unknown label or an empty selection.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a byte order mark
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"The manifest {path} cannot be read: {error}.") from error
    missing = {"image", "label"} - set(columns)
    if missing:
        raise ManifestError(f"A manifest needs the columns image and label. {path} lacks {sorted(missing)}.")
    examples = [_example(row, line) for line, row in enumerate(rows, start=2)]
    if split is not None:
        examples = [example for example in examples if example.split == split]
    if not examples:
        raise ManifestError(f"{path} has no rows" + (f" of split {split!r}." if split else "."))
    return examples


def read_image(path: Path) -> np.ndarray:
    """Read a training picture as (H, W) float32 in [0, 1].

    Raises:
        ManifestError: if it can't be opened or decoded.
    """
    try:
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise ManifestError(f"The image {path} cannot be read: {error}.") from error
    image = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) if encoded.size else None
    if image is None:
        raise ManifestError(f"The image {path} cannot be decoded.")
    return image.astype(np.float32) / np.float32(255)


def _example(row: dict[str, str], line: int) -> Example:
    if row["label"] not in LABELS:
        raise ManifestError(f"Line {line}: label must be one of {list(LABELS)}. Received {row['label']!r}.")
    if not row["image"]:
        raise ManifestError(f"Line {line}: image must be a path. Received nothing.")
    known = {name: row.get(name) or "" for name in Example.__dataclass_fields__}
    return Example(**{**known, "patient_group": known["patient_group"] or known["image"]})
