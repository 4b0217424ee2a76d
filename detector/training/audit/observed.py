"""What the network saw in a cohort, kept in a file: logits, pooled features, signs of how each picture was taken."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import compress
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from detector.answers.pipeline import analyse_radiograph
from detector.errors import ManifestError, RejectedError
from detector.read.image_io import read_radiograph
from detector.run.files import make_folder, write_whole
from detector.schema import TASKS
from detector.training.measure.cohort import Answers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from detector.model.engine import Engine
    from detector.training.data.manifest import Example

_LOG = logging.getLogger(__name__)

_THREADS = 2
_SAVED_EVERY = 500  # images: what an interrupted run has to look at again
_SIGNS = ("longer_side", "grey", "spread", "unevenness")


@dataclass(frozen=True, eq=False)
class Observed:
    """What the network saw of N images, those that the gate rejected left out.

    Attributes:
        examples: the images.
        logits: task name to (N, task.logits).
        features: (N, channels) float32.
        signs: name of a sign to (N,), as `detector.answers.traits.Traits` has them.
    """

    examples: tuple[Example, ...]
    logits: dict[str, np.ndarray]
    features: np.ndarray
    signs: dict[str, np.ndarray]

    def only(self, keep: np.ndarray) -> Observed:
        """The images where `keep` (N,) is true."""
        return Observed(
            tuple(compress(self.examples, keep)),
            {name: values[keep] for name, values in self.logits.items()},
            self.features[keep],
            {name: values[keep] for name, values in self.signs.items()},
        )

    @property
    def answers(self) -> Answers:
        """The logits as an evaluation has them; without the maps' peaks, which were not kept."""
        peaks = {task.name: np.full(len(self.examples), np.nan) for task in TASKS}
        return Answers(self.examples, self.logits, peaks, ())


def observe(examples: Sequence[Example], images: Path, engine: Engine, path: Path) -> Observed:
    """Have the network look at images, or at those that are not in the file yet.

    Args:
        examples: the images.
        images: folder that their paths are relative to.
        engine: the network.
        path: ``.npz`` file that keeps what was seen; one of other weights is begun anew.

    Raises:
        ManifestError: if an image can't be read.
        OutputError: if the file can't be written.
    """
    known = _read(path, engine.card.sha256)
    todo = [example for example in examples if example.image not in known]

    def look(example: Example) -> dict[str, np.ndarray] | None:
        try:
            analysis = analyse_radiograph(read_radiograph((images / example.image).read_bytes()), engine)
        except OSError as error:
            raise ManifestError(f"{images / example.image} cannot be read: {error}.") from error
        except RejectedError:
            return None
        traits = analysis.traits
        if traits is None:
            raise TypeError("an analysis of this version has traits")
        signs = np.array([getattr(traits, name) for name in _SIGNS], np.float32)
        return {**analysis.logits, "features": traits.features, "signs": signs}

    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(todo), _SAVED_EVERY):
            part = todo[start : start + _SAVED_EVERY]
            for example, seen in zip(part, pool.map(look, part), strict=True):
                known[example.image] = seen
            _write(path, known, engine.card.sha256)
            _LOG.info("looked at %d of %d images", start + len(part), len(todo))
    kept = [(example, seen) for example in examples if (seen := known[example.image]) is not None]
    rows = [seen for _, seen in kept]
    signs = np.array([seen["signs"] for seen in rows], np.float32).reshape(-1, len(_SIGNS))
    return Observed(
        tuple(example for example, _ in kept),
        {t.name: np.array([seen[t.name] for seen in rows], float).reshape(-1, t.logits) for t in TASKS},
        np.array([seen["features"] for seen in rows], np.float32),
        dict(zip(_SIGNS, signs.T, strict=True)),
    )


def _read(path: Path, weights: str) -> dict[str, dict[str, np.ndarray] | None]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["weights"]) != weights:
                return {}
            columns: dict[str, Any] = {name: stored[name] for name in (*(t.name for t in TASKS), "features", "signs")}
            images, seen = stored["images"], stored["seen"]
    except (OSError, KeyError, ValueError, BadZipFile):
        return {}
    rows = iter(zip(*columns.values(), strict=True))
    return {str(image): dict(zip(columns, next(rows), strict=True)) if one else None
            for image, one in zip(images, seen, strict=True)}  # fmt: skip


def _write(path: Path, known: dict[str, dict[str, np.ndarray] | None], weights: str) -> None:
    rows = [seen for seen in known.values() if seen is not None]
    columns: dict[str, Any] = {name: np.array([seen[name] for seen in rows]) for name in (rows[0] if rows else {})}
    whether = [seen is not None for seen in known.values()]
    file = BytesIO()
    np.savez_compressed(file, weights=weights, images=list(known), seen=whether, **columns)
    make_folder(path.parent)
    write_whole(path, file.getvalue())
