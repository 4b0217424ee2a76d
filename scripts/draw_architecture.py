"""Draws assets/architecture.svg from the layers of the shipped network.

python -m scripts.draw_architecture
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.model.network import FEATURE_LAYER, POOLING_LAYER, load_network
from detector.schema import TASKS

if TYPE_CHECKING:
    import keras

OUT = Path(__file__).resolve().parents[1] / "assets" / "architecture.svg"
TALLEST, GAP, TOP, LEFT, BELOW = 190, 10, 64, 28, 92
GROUND, INK, QUIET, LINE = "#F6F7F8", "#1B2126", "#4C5862", "#9AA5AE"
COLOURS = {"image": "#7B8794", "stem": "#5BB5E8", "unit": "#5BB5E8", "head": "#5BB5E8", "end": "#E6803C"}


@dataclass(frozen=True)
class Block:
    """One box: what it is, its grid's side in cells (1 behind the average), its channels."""

    kind: str
    label: str
    side: int
    channels: int

    @property
    def width(self) -> float:
        """Pixels: channels on a logarithmic scale."""
        return 14 + 7 * math.log2(self.channels)

    @property
    def height(self) -> float:
        """Pixels: the grid's side on a logarithmic scale."""
        return 26 + (TALLEST - 26) * math.log2(self.side) / 8


def blocks(network: keras.Model) -> list[Block]:
    """The boxes from the input to the two answers."""
    size = network.input_shape[1]
    found = [Block("image", "X-ray", size, 1)]
    last_of_unit = {layer.name.split("_")[0]: layer for layer in network.layers}
    for name, layer in last_of_unit.items():
        shape = layer.output.shape
        if name == "stem" or name.startswith("unit"):
            kind = "stem" if name == "stem" else "unit"
            label = "stem" if kind == "stem" else str(int(name.removeprefix("unit")) + 1)
            found.append(Block(kind, label, shape[1], shape[3]))
    features = network.get_layer(FEATURE_LAYER).output.shape
    pooled = network.get_layer(POOLING_LAYER).output.shape
    return [*found, Block("head", "map", features[1], features[3]), Block("end", "average", 1, pooled[1])]


def drawing(network: keras.Model) -> str:
    """The whole picture as SVG."""
    parts, x = [], float(LEFT)
    middle = TOP + TALLEST / 2
    for block in blocks(network):
        parts.append(_box(block, x, middle))
        x += block.width + GAP
    ends = [f"{task.logits} logit{'s' * (task.logits > 1)}, {task.mode}" for task in TASKS]
    for place, words in enumerate(ends):
        y = middle + (place - 0.5) * 54
        parts.append(f'<path d="M{x - GAP} {middle} L{x + 26} {y}" stroke="{LINE}" fill="none"/>')
        parts.append(f'<rect x="{x + 26}" y="{y - 17}" width="136" height="34" rx="5" fill="{COLOURS["end"]}"/>')
        parts.append(_text(x + 94, y + 5, words, size=13, ink=INK))
    width, height = x + 190, TOP + TALLEST + BELOW
    count = network.count_params()
    title = f"{count / 1e6:.2f} million weights, one forward pass"
    heading = _text(LEFT, 34, title, size=17, anchor="start", weight=600)
    note = "Units: convolution, depthwise convolution, convolution, with a shortcut where the shapes allow. "
    note += "Below each block: cells along a side of its grid, and its channels."
    footer = _text(LEFT, height - 22, note, size=13, anchor="start", ink=QUIET)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img" '
        f'font-family="Source Sans 3, Source Sans Pro, Helvetica, Arial, sans-serif">\n'
        f'<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>\n{heading}\n'
        + "\n".join(parts)
        + f"\n{footer}\n</svg>\n"
    )


def _box(block: Block, x: float, middle: float) -> str:
    y, centre = middle - block.height / 2, x + block.width / 2
    box = f'<rect x="{x:.1f}" y="{y:.1f}" width="{block.width:.1f}" height="{block.height:.1f}" rx="4" '
    box += f'fill="{COLOURS[block.kind]}" opacity="{0.55 if block.kind == "image" else 0.9}"/>'
    below = TOP + TALLEST
    words = [
        _text(centre, middle + 5, block.label, size=13, ink=INK, turn=block.width < 11 * len(block.label)),
        _text(centre, below + 18, str(block.side), size=12, ink=QUIET),
        _text(centre, below + 34, str(block.channels), size=12, ink=QUIET),
    ]
    return "\n".join([box, *words])


def _text(  # noqa: PLR0913 - one word each
    x: float, y: float, words: str, *, size: int, ink: str = INK, anchor: str = "middle", weight: int = 400,
    turn: bool = False,
) -> str:  # fmt: skip
    turned = f' transform="rotate(-90 {x:.1f} {y - 5:.1f})"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{ink}" '
        f'text-anchor="{anchor}"{turned}>{escape(words)}</text>'
    )


def main() -> None:
    """Draw the shipped network."""
    card = read_card(MODELS / f"{DEFAULT_MODEL}.json")
    network = load_network(MODELS / f"{DEFAULT_MODEL}.keras", card.sha256)
    OUT.write_text(drawing(network), encoding="utf-8")
    print(f"wrote {OUT}")


if __name__ == "__main__":
    main()
