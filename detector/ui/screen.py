"""What the viewer's component is given: pixels as they are, the map as a clear layer or as lines, words.

The component (assets/viewer.*) decides what is seen of it. Pixels travel apart from the rest, as raw bytes: Streamlit
sends a message that has not changed as its hash, and a JPEG would not survive a narrow window.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from detector import words
from detector.answers import overlay
from detector.answers.overlay import AGAINST_COLOUR, FOR_COLOUR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.answers.answer import Answer
    from detector.ui.greyscale import Greyscale

COLOUR, LINES = "colour", "lines"
STYLES = (COLOUR, LINES)

#: Pixels of the map's longer side: ten cells drawn smoothly need no more, and the browser enlarges them.
_LAYER_SIDE = 256
_LINES_SIDE = 384
_LINE_LEVELS = (0.25, 0.5, 0.75)  # of full colour
_SMOOTHED = 7  # points of an outline that are averaged: on a grid it climbs in steps


@dataclass(frozen=True)
class Look:
    """How the reader wants the map drawn, whatever the image.

    Attributes:
        map: whether the evidence is laid over the X-ray.
        style: ``"colour"`` or ``"lines"``.
        opacity: of the strongest colour and of the lines, in percent.
        keys: whether the viewer listens to the keyboard.
    """

    map: bool = True
    style: str = COLOUR
    opacity: float = 60
    keys: bool = True


def packed(key: str, image: np.ndarray) -> bytes:
    """Grey values, (H, W) uint8 or uint16, for the browser, which asks for them by their key.

    The head's length comes first (4 bytes), then the head as JSON, then the pixels row by row.
    """
    head = {"key": key, "rows": image.shape[0], "columns": image.shape[1], "deepest": int(np.iinfo(image.dtype).max)}
    written = json.dumps(head).encode()
    return b"".join([struct.pack("<I", len(written)), written, image.astype(image.dtype.newbyteorder("<")).tobytes()])


def layer_of(heatmap: np.ndarray, full_scale: float) -> str:
    """Evidence, (h, w) float32 in logit units, as a data address of a PNG, which the viewer brings to its size."""
    layer = evidence_layer(cv2.resize(heatmap, _size(heatmap, _LAYER_SIDE)), full_scale)
    png = cv2.imencode(".png", layer, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    return "data:image/png;base64," + base64.b64encode(png).decode()


def evidence_layer(heatmap: np.ndarray, full_scale: float) -> np.ndarray:
    """Colours of the evidence, clear where there is none: (h, w) float32 to (h, w, 4) uint8 BGRA.

    Laid over a grey picture it gives what `overlay.blend` gives at full opacity.
    """
    strength = np.rint(255 * np.clip(heatmap / np.float32(full_scale), -1, 1)).astype(np.int16)
    colours = np.rint(255 * np.stack([AGAINST_COLOUR[::-1], FOR_COLOUR[::-1]])).astype(np.uint8)
    layer = np.empty((*heatmap.shape, 4), np.uint8)
    layer[..., :3] = colours[(heatmap > 0).astype(np.intp)]
    layer[..., 3] = np.abs(strength)
    return layer


def painted(image: np.ndarray, heatmap: np.ndarray, full_scale: float, look: Look) -> np.ndarray:
    """The map laid over the X-ray as the viewer shows it, as one picture.

    Args:
        image: (H, W) uint8, as it is shown.
        heatmap: (H, W) float32.
        full_scale: evidence that gets full colour.
        look: how it is drawn.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    opacity = look.opacity / 100 if look.map else 0.0
    if look.style == COLOUR:
        return overlay.blend(image, heatmap, full_scale=full_scale, opacity=opacity)
    plain = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    drawn = plain.copy()
    for sign, colour in ((1, FOR_COLOUR), (-1, AGAINST_COLOUR)):
        for level in _LINE_LEVELS:
            outlines = outlines_of(sign * heatmap, level * full_scale)
            cv2.drawContours(drawn, outlines, -1, [round(255 * float(c)) for c in colour], 2, cv2.LINE_AA)
    return np.asarray(cv2.addWeighted(drawn, opacity, plain, 1 - opacity, 0))


def lines_of(heatmap: np.ndarray, full_scale: float, shape: tuple[int, int]) -> list[dict[str, Any]]:
    """Outlines of the evidence at quarters of full colour, as SVG paths over a picture of `shape`.

    Returns:
        For each side, ``{"towards": …, "path": …}``; a side without an outline is left out.
    """
    width, height = _size(heatmap, _LINES_SIDE)
    grid = cv2.resize(heatmap, (width, height))
    stretch = np.array([shape[1] / width, shape[0] / height])
    found = []
    for towards, sign in ((True, 1), (False, -1)):
        outlines = [
            stretch * (_smooth(outline[:, 0]) + 0.5)
            for level in _LINE_LEVELS
            for outline in outlines_of(sign * grid, level * full_scale)
        ]
        if outlines:
            found.append({"towards": towards, "path": " ".join(map(_path, outlines))})
    return found


def outlines_of(heatmap: np.ndarray, level: float) -> Sequence[np.ndarray]:
    """Closed outlines, (n, 1, 2) of columns and rows each, of where a map reaches a level."""
    return cv2.findContours((heatmap >= level).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]


def css(colour: np.ndarray) -> str:
    """(3,) RGB in [0, 1] as a colour of CSS."""
    return f"rgb({', '.join(str(round(255 * float(part))) for part in colour)})"


@dataclass(frozen=True)
class Drawing:
    """A map as the viewer draws it: a layer of colours as a data address, and outlines as `lines_of` gives them."""

    layer: str
    lines: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Screen:
    """Everything that is drawn of one file. Two panels: the X-ray, and the same with the evidence.

    Attributes:
        image: identifier of the file's picture as it was analysed; part and window are remembered under it.
        subject: of image and question; the class that is explained is remembered under it.
        shape: rows and columns of the display copy.
        has_picture: whether there is anything to draw.
        has_more: whether the file has more pixels than the display copy.
        titles: of the panels.
        alts: of the panels, in words.
        empty: what a panel without a picture says; nothing for one with a picture.
        badges: what was done to the picture, in capitals.
        classes: name and label of each class that can be explained.
        target: class that is explained.
        against: class that it is contrasted with.
        drawing: of the map; None where there is no answer.
        full_scale: evidence in full colour.
    """

    image: str
    subject: str = ""
    shape: tuple[int, int] = (1, 1)
    has_picture: bool = False
    has_more: bool = False
    titles: tuple[str, str] = ("", "")
    alts: tuple[str, str] = ("", "")
    empty: tuple[str, str] = ("", "")
    badges: tuple[str, ...] = ()
    classes: Sequence[tuple[str, str]] = ()
    target: str = ""
    against: str | None = None
    drawing: Drawing | None = None
    full_scale: float = 1.0


def badges_of(told: Answer, greyscale: Greyscale | None = None) -> tuple[str, ...]:
    """What was done to the picture, in capitals, on the screen and in everything that is saved.

    The grey scale is that of a saved picture; the viewer knows its own.
    """
    drawn = (words.BURNED_INVERTED,) if greyscale is not None and greyscale.inverted else ()
    return (*(words.BADGES[mark] for mark in told.marks), *drawn)


def message(screen: Screen, look: Look, labels: Mapping[str, Any]) -> dict[str, Any]:
    """The component's data; see assets/viewer.js."""
    drawn = screen.drawing
    return {
        "image": screen.image,
        "subject": screen.subject,
        "shape": screen.shape,
        "pixels": screen.image if screen.has_picture else None,
        "native": f"{screen.image} native" if screen.has_more else None,
        "titles": screen.titles,
        "alts": screen.alts,
        "empty": screen.empty,
        "badges": screen.badges,
        "classes": [{"name": name, "label": label} for name, label in screen.classes],
        "target": screen.target,
        "against": screen.against,
        "layer": None if drawn is None else drawn.layer,
        "lines": None if drawn is None else drawn.lines,
        "scale": None
        if drawn is None
        else {"full": round(screen.full_scale), "towards": css(FOR_COLOUR), "against": css(AGAINST_COLOUR)},
        "look": asdict(look),
        "words": dict(labels),
    }


def _size(image: np.ndarray, longer_side: int) -> tuple[int, int]:
    """Columns and rows of a picture brought to a longer side."""
    factor = longer_side / max(image.shape)
    return max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))


def _smooth(outline: np.ndarray) -> np.ndarray:
    """(n, 2) points of a closed outline, each the mean of its neighbourhood."""
    reach = min(_SMOOTHED, len(outline)) // 2
    centres = np.arange(0, len(outline), max(1, reach))
    neighbours = centres[:, np.newaxis] + np.arange(-reach, reach + 1)
    smooth: np.ndarray = outline[neighbours % len(outline)].mean(axis=1)
    return smooth


def _path(outline: np.ndarray) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in outline) + "Z"
