"""Lung fields: a small segmentation network on the whole picture. The classifier's input is cropped to them.

They also show how much of the evidence lies in a lung.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.errors import ModelError
from detector.model.card import LUNG_MODEL, load_card
from detector.model.flatbuffer import FLATBUFFER, Flatbuffer, load_flatbuffer

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from detector.schema import NetworkInput

LUNGS = "lungs"  # output of the flatbuffer, logits of the input's shape


class LungFields:
    """A loaded segmentation network. Thread-safe; see `Flatbuffer`."""

    def __init__(self, run: Flatbuffer) -> None:
        self._run = run

    @classmethod
    def load(cls, folder: Path, preprocessing: str) -> LungFields:
        """Load ``<folder>/lungs.tflite``, after checking it against ``lungs.json`` and the preprocessing in use.

        Raises:
            ModelError: if a file is missing or damaged, or the card names another preprocessing.
        """
        path = folder / f"{LUNG_MODEL}.json"
        card = load_card(path)
        try:
            found, sha256, entry = (card[name] for name in ("preprocessing", "sha256", "tflite"))
        except KeyError as error:
            raise ModelError(f"The lung model's card {path} has no {error}.") from error
        if found != preprocessing:
            raise ModelError(f"{path} was trained with {found!r}. This is {preprocessing!r}.")
        return cls(load_flatbuffer(path.with_suffix(FLATBUFFER), entry, weights=sha256))

    def __call__(self, network_input: NetworkInput) -> np.ndarray:
        """Segment one image: (size, size) bool on the network's input, true in a lung."""
        logits = self._run(network_input.pixels)[LUNGS]
        return logits[0, ..., 0] > 0  # a probability of one half
