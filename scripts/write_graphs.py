"""Compile the networks of a models' folder, and note what was written in their cards.

    python -m scripts.write_graphs [FOLDER]

Building a network from its layers takes a second, its compiled form a tenth of that. To be run whenever weights change;
a form of other weights is never used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.model.card import DEFAULT_MODEL, LUNG_MODEL, MODELS
from detector.model.engine import compile_classifier
from detector.model.lungs import compile_lungs
from detector.model.network import GRAPHS, load_network, save_graph

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras


def write_graph(card_path: Path, compiled: Callable[[keras.Model], Any]) -> None:
    """Compile the network of one card; `compiled` makes a function of it."""
    card = json.loads(card_path.read_text(encoding="utf-8"))
    network = load_network(card_path.with_suffix(".keras"), card["sha256"])
    card["graph"] = save_graph(compiled(network), card_path.with_suffix(GRAPHS), weights=card["sha256"])
    card_path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def main(folder: str | Path = MODELS) -> None:
    """Compile the classifier and the lung fields."""
    write_graph(Path(folder) / f"{DEFAULT_MODEL}.json", compile_classifier)
    write_graph(Path(folder) / f"{LUNG_MODEL}.json", compile_lungs)


if __name__ == "__main__":
    main(*sys.argv[1:])
