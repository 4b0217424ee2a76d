"""Labelled X-rays as a user has them: a manifest, or a folder whose sub-folders are named as labels."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.errors import ManifestError
from detector.schema import BACTERIAL_PNEUMONIA, COVID19, NORMAL
from detector.training.data.manifest import LABELS, SPLITS, Example, read_manifest

if TYPE_CHECKING:
    from pathlib import Path

_LOG = logging.getLogger(__name__)

#: What public collections and their users call the labels, in lower case without anything but letters and digits.
_SPELLINGS = {
    NORMAL: ("normal", "normals", "healthy", "nofinding", "nofindings", "negative"),
    BACTERIAL_PNEUMONIA: ("bacterialpneumonia", "pneumoniabacterial", "pneumoniabacteria", "bacterial", "bacteria"),
    "viral_pneumonia": ("viralpneumonia", "pneumoniaviral", "pneumoniavirus", "viral", "virus"),
    "pneumonia_unspecified": ("pneumonia", "pneumoniaunspecified", "unspecifiedpneumonia"),
    "other_pneumonia": ("otherpneumonia", "pneumoniaother", "otherpneumonias"),
    COVID19: ("covid19", "covid", "covid2019", "covid19pneumonia", "covidpneumonia", "sarscov2", "ncov", "2019ncov"),
}
_LABEL_OF = {spelling: label for label, spellings in _SPELLINGS.items() for spelling in spellings}
_NO_PICTURES = frozenset({"mask", "masks"})  # the COVID-19 Radiography Database keeps its lung masks beside its images


@dataclass(frozen=True)
class Labelled:
    """A cohort to measure on.

    Attributes:
        examples: the labelled images.
        images: folder that their paths are relative to.
        name: what it is, for the record, e.g. ``"test split of manifest.csv"``.
        notes: what was left out or not understood, as sentences.
    """

    examples: tuple[Example, ...]
    images: Path
    name: str
    notes: tuple[str, ...] = ()


def label_of(name: str) -> str | None:
    """Label that a folder's name means, in any case and punctuation; None if it means none."""
    return _LABEL_OF.get(re.sub(r"[^a-z0-9]", "", name.casefold()))


def labelled_folder(folder: Path) -> Labelled:
    """Read a folder that has a sub-folder for each label, e.g. ``COVID-19/`` and ``Normal/``.

    Every file below such a sub-folder counts, whatever its name, but hidden ones and those of folders of masks. What
    stands beside them is named in the notes and on the log.

    Raises:
        ManifestError: if no sub-folder is named as a label, or none of them holds a file.
    """
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    labels = {entry: label_of(entry.name) for entry in entries if entry.is_dir()}
    examples = [_example(path, folder, label) for entry, label in labels.items() if label for path in _files(entry)]
    if not examples:
        raise ManifestError(f"{folder} has no images below a sub-folder named as a label: {', '.join(LABELS)}.")
    notes = [f"The sub-folder {entry.name!r} is named as no label: left out." for entry in labels if not labels[entry]]
    loose = [entry for entry in entries if entry.is_file() and not entry.name.startswith(".")]
    if loose:
        notes.append(f"Files beside the labelled sub-folders are left out: {len(loose)}, {loose[0].name!r} first.")
    for note in notes:
        _LOG.warning("%s", note)
    return Labelled(tuple(examples), folder, f"folder {folder.resolve().name}", tuple(notes))


def labelled_manifest(path: Path, split: str | None = None, images: Path | None = None) -> Labelled:
    """Rows of a manifest: those of `split`; by default the test split, or all where the manifest has none of ours.

    Args:
        path: the CSV file.
        split: which rows.
        images: folder that the paths are relative to; the manifest's own where None.

    Raises:
        ManifestError: if the manifest can't be used or has no such rows.
    """
    examples = read_manifest(path)
    if split is None:
        split = "test" if any(e.split in SPLITS for e in examples) else ""
    kept = read_manifest(path, split=split) if split else examples
    name = f"{split} split of {path.name}" if split else path.name
    return Labelled(tuple(kept), images or path.parent, name)


def _example(path: Path, folder: Path, label: str) -> Example:
    image = path.relative_to(folder).as_posix()
    return Example(image=image, label=label, patient_group=image)


def _files(folder: Path) -> list[Path]:
    """Files below a folder, without hidden ones and those of folders of masks."""

    def counts(path: Path) -> bool:
        *folders, name = path.relative_to(folder).parts
        masks = any(part.casefold() in _NO_PICTURES for part in folders)
        return not masks and not any(part.startswith(".") for part in (*folders, name)) and path.is_file()

    return [path for path in sorted(folder.rglob("*")) if counts(path)]
