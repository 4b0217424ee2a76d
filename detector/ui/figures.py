"""Plotly figures of the page, from records and arrays; no Streamlit here."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import cv2
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from detector.overlay import AGAINST_COLOUR, FOR_COLOUR, blend
from detector.schema import BACTERIAL_PNEUMONIA, COVID19, NORMAL, NOT_COVID19
from detector.ui import texts

if TYPE_CHECKING:
    import numpy as np

    from detector.schema import Prediction

#: One colour a class, told apart by colour-blind readers too (Okabe and Ito 2008).
CLASS_COLOURS = {COVID19: "#E6803C", NOT_COVID19: "#7B8794", NORMAL: "#5BB5E8", BACTERIAL_PNEUMONIA: "#C9A6E8"}

_FONT = '"Source Sans", sans-serif'  # the page's own
_INK, _QUIET_INK, _CLEAR = "#E8EAED", "#A7B0B8", "rgba(0,0,0,0)"
_AXIS = {
    "gridcolor": "#2C343B",
    "zerolinecolor": "#59636C",
    "title_font": {"size": 12, "color": _QUIET_INK},
    "tickfont": {"size": 12, "color": _QUIET_INK},
    "title_standoff": 6,
}
_BAR_HEIGHT, _AXIS_HEIGHT = 46, 74  # pixels
_PANEL_WIDTH, _PANEL_HEIGHT = 450, 430  # pixels: a panel on a wide screen
_TITLE_HEIGHT = 24
VIEWER_HEAD = 92  # pixels above the pictures: the colour bar with its title, and the panels' titles
_JPEG_QUALITY = 92


def probability_chart(prediction: Prediction) -> go.Figure:
    """Horizontal bars of the probabilities, with the operating point where there is one."""
    names = list(prediction.probabilities)
    values = [prediction.probabilities[name] for name in names]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=[texts.CLASSES[name] for name in names],
            orientation="h",
            marker_color=[CLASS_COLOURS[name] for name in names],
            text=[f"{value:.1%}" for value in values],
            textposition="auto",
            textfont_size=15,
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        )
    )
    if prediction.operating_point is not None:
        threshold = prediction.operating_point.threshold
        figure.add_shape(
            type="line", x0=threshold, x1=threshold, y0=-0.45, y1=0.45, line={"color": _INK, "width": 2, "dash": "dot"}
        )
        figure.add_annotation(
            x=threshold, y=-0.5, yanchor="bottom", text=texts.THRESHOLD.format(threshold=threshold), showarrow=False,
            font={"size": 11, "color": _QUIET_INK}, xanchor="left" if threshold < 0.5 else "right",
        )  # fmt: skip
    figure.update_xaxes(range=[0, 1], tickformat=".0%", title=texts.PROBABILITY_AXIS, fixedrange=True, **_AXIS)
    figure.update_yaxes(autorange="reversed", fixedrange=True, automargin=True, ticksuffix="  ")
    height = _BAR_HEIGHT * len(names) + _AXIS_HEIGHT
    return _dressed(figure).update_layout(height=height, bargap=0.35, margin={"l": 4, "r": 30, "t": 20, "b": 44})


def probability_alt(prediction: Prediction) -> str:
    """The bar chart in words."""
    bars = ", ".join(f"{texts.CLASSES[name]} {value:.1%}" for name, value in prediction.probabilities.items())
    return texts.PROBABILITY_ALT.format(bars=bars)


def comparison_figure(
    image: np.ndarray, heatmap: np.ndarray, *, target_class: str, full_scale: float, opacity: float
) -> go.Figure:
    """X-ray and map side by side, at one size, zooming and panning together.

    Args:
        image: (H, W) uint8.
        heatmap: (H, W) float32, evidence for the class in logit units.
        target_class: what is explained.
        full_scale: evidence that is drawn at full opacity.
        opacity: of the strongest colour, in [0, 1].
    """
    titles = (texts.XRAY_PANEL, texts.MAP_PANEL.format(name=texts.CLASSES[target_class]))
    figure = make_subplots(1, 2, shared_xaxes="all", shared_yaxes="all", horizontal_spacing=0.01, subplot_titles=titles)
    overlay = blend(image, heatmap, full_scale=full_scale, opacity=opacity)
    for column, pixels in enumerate((image, cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR)), start=1):
        figure.add_trace(go.Image(source=_data_address(pixels), hoverinfo="skip"), row=1, col=column)
    figure.add_trace(_colour_bar(full_scale), row=1, col=2)
    rows, columns = image.shape
    figure.update_xaxes(visible=False, range=[-0.5, columns - 0.5], constrain="domain", matches="x")
    figure.update_yaxes(visible=False, range=[rows - 0.5, -0.5], constrain="domain", constraintoward="top", matches="y")
    for suffix in ("", "2"):
        figure.layout[f"yaxis{suffix}"].update(scaleanchor=f"x{suffix}", scaleratio=1)
    return _dressed(figure).update_layout(
        height=min(_PANEL_HEIGHT, round(_PANEL_WIDTH * rows / columns)) + VIEWER_HEAD,
        margin={"l": 0, "r": 0, "t": VIEWER_HEAD, "b": 0},
        dragmode="zoom",
        showlegend=False,
    )


def thumbnail(image: np.ndarray, *, side: int = 64) -> str:
    """A small copy of (H, W) uint8 as a data address."""
    factor = side / max(image.shape)
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return _data_address(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _colour_bar(full_scale: float) -> go.Scatter:
    """An empty trace that carries the colour bar."""
    against, towards = (
        f"rgb({','.join(str(round(255 * c)) for c in colour)})" for colour in (AGAINST_COLOUR, FOR_COLOUR)
    )
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        hoverinfo="skip",
        marker={
            "color": [0],
            "cmin": -full_scale,
            "cmax": full_scale,
            "colorscale": [[0, against], [0.5, "rgb(40,44,48)"], [1, towards]],
            "showscale": True,
            "colorbar": {
                "orientation": "h",
                "y": 1,
                "yanchor": "bottom",
                "ypad": _TITLE_HEIGHT,
                "thickness": 9,
                "len": 0.48,
                "x": 0.755,
                "outlinewidth": 0,
                "nticks": 5,
                "tickformat": "+.0f",
                "tickfont": {"size": 11, "color": _QUIET_INK},
                "title": {"text": texts.COLOUR_BAR, "side": "top", "font": {"size": 12, "color": _QUIET_INK}},
            },
        },
    )


def _data_address(pixels: np.ndarray) -> str:
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode()


def _dressed(figure: go.Figure) -> go.Figure:
    figure.update_annotations(font={"size": 14, "color": _QUIET_INK})
    return figure.update_layout(
        paper_bgcolor=_CLEAR, plot_bgcolor=_CLEAR, font={"color": _INK, "size": 13, "family": _FONT}
    )
