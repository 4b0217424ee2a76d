"""X-ray and map side by side: one figure whose two panels zoom and pan together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from detector import words
from detector.answers import overlay
from detector.answers.overlay import AGAINST_COLOUR, FOR_COLOUR
from detector.ui.bars import CLEAR, dressed
from detector.ui.palette import DARK
from detector.ui.pictures import jpeg_address, png_address

if TYPE_CHECKING:
    from detector.ui.greyscale import Greyscale
    from detector.ui.palette import Palette

COLOUR, LINES = "colour", "lines"
STYLES = (COLOUR, LINES)

_TITLE_HEIGHT = 22
HEAD = 54  # pixels above the pictures: the colour bar, and the panels' titles
TOOLS = 34  # pixels at the right for the buttons
_LINE_LEVELS = (0.25, 0.5, 0.75)  # of full colour, in equal steps
#: Pixels of the map's longer side: ten cells drawn smoothly need no more, and the browser enlarges them.
SIDES = {COLOUR: 256, LINES: 64}


@dataclass(frozen=True)
class MapLook:
    """How the evidence is drawn.

    Attributes:
        title: what is explained, in words.
        full_scale: evidence in logit units that gets full colour.
        style: ``"colour"`` or ``"lines"``.
        opacity: of the strongest colour, and of the lines, in [0, 1].
    """

    title: str
    full_scale: float
    style: str = COLOUR
    opacity: float = 0.6


@dataclass(frozen=True)
class View:
    """The part of the X-ray that the reader has zoomed to, in its pixels.

    Attributes:
        across: left and right end.
        down: bottom and top end, as Plotly has it: rows grow downwards.
    """

    across: tuple[float, float]
    down: tuple[float, float]


@dataclass(frozen=True)
class Controls:
    """What the reader wants to see.

    Attributes:
        look: how the evidence is drawn.
        greyscale: how the X-ray is drawn.
    """

    look: MapLook
    greyscale: Greyscale


def comparison_figure(
    image: np.ndarray, heatmap: np.ndarray, look: MapLook, *, palette: Palette = DARK, view: View | None = None
) -> go.Figure:
    """X-ray and map side by side, at one size, zooming and panning together. Its height is the page's to choose.

    Args:
        image: (H, W) uint8, as it is shown.
        heatmap: (h, w) float32 over the same field, evidence for the class in logit units; may be coarser.
        look: how the evidence is drawn.
        palette: colours.
        view: what is shown of the X-ray; None for all of it.
    """
    figure = make_subplots(
        1, 2, shared_xaxes="all", shared_yaxes="all", horizontal_spacing=0.01,
        subplot_titles=(words.XRAY_PANEL, look.title),
    )  # fmt: skip
    source = jpeg_address(image)
    for column in (1, 2):
        figure.add_trace(go.Image(source=source, hoverinfo="skip", zsmooth="fast"), row=1, col=column)
    for trace in _map_traces(heatmap, image.shape, look):
        figure.add_trace(trace, row=1, col=2)
    figure.add_trace(_colour_bar(look.full_scale, palette), row=1, col=2)
    view = view or whole(image)
    figure.update_xaxes(visible=False, range=view.across, constrain="domain", matches="x")
    figure.update_yaxes(visible=False, range=view.down, constrain="domain", constraintoward="top", matches="y")
    for suffix in ("", "2"):
        figure.layout[f"yaxis{suffix}"].update(scaleanchor=f"x{suffix}", scaleratio=1)
    figure.update_annotations(font={"size": 14, "color": palette.quiet_ink})
    figure.add_annotation(
        text=words.COLOUR_BAR, x=0.49, xref="paper", xanchor="right", y=1, yref="paper", yanchor="bottom",
        yshift=_TITLE_HEIGHT + 4, showarrow=False, font={"size": 12, "color": palette.quiet_ink},
    )  # fmt: skip
    return dressed(figure, palette).update_layout(
        margin={"l": 0, "r": TOOLS, "t": HEAD, "b": 0, "autoexpand": False},
        dragmode="pan",
        showlegend=False,
        modebar={"orientation": "v", "bgcolor": CLEAR, "color": palette.quiet_ink, "activecolor": palette.ink},
    )


def whole(image: np.ndarray) -> View:
    """All of an image of (H, W)."""
    rows, columns = image.shape
    return View((-0.5, columns - 0.5), (rows - 0.5, -0.5))


def evidence_layer(heatmap: np.ndarray, full_scale: float) -> np.ndarray:
    """Colours of the evidence, clear where there is none: (h, w) float32 to (h, w, 4) uint8 BGRA.

    Laid over a grey picture it gives what `overlay.blend` gives at full opacity.
    """
    strength = np.clip(heatmap / np.float32(full_scale), -1, 1)[..., np.newaxis]
    colour = np.where(strength > 0, FOR_COLOUR[::-1], AGAINST_COLOUR[::-1])
    return np.rint(np.concatenate([colour, np.abs(strength)], axis=-1) * 255).astype(np.uint8)


def painted(image: np.ndarray, heatmap: np.ndarray, look: MapLook) -> np.ndarray:
    """The map laid over the X-ray as the figure shows it, as one picture.

    Args:
        image: (H, W) uint8, as it is shown.
        heatmap: (H, W) float32.
        look: how the evidence is drawn.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if look.style == COLOUR:
        return overlay.blend(image, heatmap, full_scale=look.full_scale, opacity=look.opacity)
    plain = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    drawn = plain.copy()
    for sign, colour in ((1, FOR_COLOUR), (-1, AGAINST_COLOUR)):
        for level in _LINE_LEVELS:
            above = (sign * heatmap >= level * look.full_scale).astype(np.uint8)
            outlines = cv2.findContours(above, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
            cv2.drawContours(drawn, outlines, -1, [round(255 * float(c)) for c in colour], 2, cv2.LINE_AA)
    return cv2.addWeighted(drawn, look.opacity, plain, 1 - look.opacity, 0)


def _map_traces(heatmap: np.ndarray, shape: tuple[int, int], look: MapLook) -> list:
    """The evidence as a coloured layer or as lines, stretched over a picture of (H, W)."""
    down, across = shape[0] / heatmap.shape[0], shape[1] / heatmap.shape[1]
    place = {"x0": across / 2 - 0.5, "dx": across, "y0": down / 2 - 0.5, "dy": down, "opacity": look.opacity}
    if look.style == COLOUR:
        layer = png_address(evidence_layer(heatmap, look.full_scale))
        return [go.Image(source=layer, hoverinfo="skip", zsmooth="fast", **place)]
    sides = ((1, FOR_COLOUR), (-1, AGAINST_COLOUR))
    return [_lines(heatmap * np.float32(sign), look.full_scale, _css(colour), place) for sign, colour in sides]


def _lines(heatmap: np.ndarray, full_scale: float, colour: str, place: dict) -> go.Contour:
    start, step, end = (full_scale * level for level in (_LINE_LEVELS[0], _LINE_LEVELS[0], _LINE_LEVELS[-1]))
    return go.Contour(
        z=heatmap.astype(np.float32),
        contours={"coloring": "none", "start": start, "end": end, "size": step},
        line={"color": colour, "width": 2},
        autocontour=False,
        showscale=False,
        hoverinfo="skip",
        **place,
    )


def _css(colour: np.ndarray) -> str:
    return f"rgb({','.join(str(round(255 * c)) for c in colour)})"


def _colour_bar(full_scale: float, palette: Palette) -> go.Scatter:
    """An empty trace that carries the colour bar."""
    quiet = {"color": palette.quiet_ink}
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        hoverinfo="skip",
        marker={
            "color": [0],
            "cmin": -full_scale,
            "cmax": full_scale,
            "colorscale": [[0, _css(AGAINST_COLOUR)], [0.5, palette.empty], [1, _css(FOR_COLOUR)]],
            "showscale": True,
            "colorbar": {
                "orientation": "h",
                "y": 1,
                "yanchor": "bottom",
                "ypad": _TITLE_HEIGHT,
                "thickness": 8,
                "len": 0.48,
                "x": 0.755,
                "outlinewidth": 0,
                "nticks": 5,
                "tickformat": ".0f",
                "tickfont": {"size": 11, **quiet},
            },
        },
    )
