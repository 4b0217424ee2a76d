"""Traits of many files, for a comparison that needs no labels."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector import words
from detector.answers.pipeline import analyse
from detector.errors import RejectedError
from detector.run.inputs import read_input
from detector.run.pool import in_order
from detector.run.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from detector.answers.traits import Traits
    from detector.model.engine import Engine

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FilesTraits:
    """What was found in files.

    Attributes:
        traits: of each picture that was analysed, each picture once.
        left_out: reason to number of files.
        failed: whether a file failed unexpectedly.
    """

    traits: tuple[Traits, ...]
    left_out: Mapping[str, int]
    failed: bool


def traits_of_files(files: Iterable[Path], engine: Engine) -> FilesTraits:
    """Analyse files, several side by side."""
    todo = list(files)

    def look(path: Path) -> tuple[str, Traits | None] | str:
        try:
            analysis = analyse(read_input(str(path)).data, engine)
        except RejectedError:
            return words.LEFT_OUT_REJECTED
        except Exception:  # noqa: BLE001 - one file must not end the run
            _LOG.exception("unexpected failure on %s", path)
            return words.LEFT_OUT_FAILED
        return analysis.radiograph.pixel_sha256, analysis.traits

    found: dict[str, Traits] = {}
    left_out: Counter[str] = Counter()
    with progress_bar(len(todo)) as bar:
        for seen in in_order(look, todo):
            if isinstance(seen, str):
                left_out[seen] += 1
            elif seen[0] in found or seen[1] is None:
                left_out[words.LEFT_OUT_REPEATS] += 1
            else:
                found[seen[0]] = seen[1]
            bar.update()
    return FilesTraits(tuple(found.values()), dict(left_out), words.LEFT_OUT_FAILED in left_out)
