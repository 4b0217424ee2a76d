"""The bar chart of an answer, with operating point, indeterminate band and whiskers; how every chart is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import streamlit as st

from detector import words
from detector.schema import BINARY, COVID19
from detector.ui.palette import DARK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.answers.answer import Verdict
    from detector.schema import Stability, Task
    from detector.ui.palette import Palette

FONT = '"Source Sans", sans-serif'  # the page's own
CLEAR = "rgba(0,0,0,0)"
HEIGHT = 150  # pixels, for two bars and for three: the page must not jump with the question
_TOP, _BOTTOM = 22, 40
_LEFTMOST, _RIGHTMOST = 0.1, 0.7  # thresholds whose note fits when it is centred


def probability_chart(
    verdict: Verdict, *, whiskers: Mapping[str, tuple[float, float]] | None = None, palette: Palette = DARK
) -> go.Figure:
    """Horizontal bars of the probabilities, with the operating point where there is one.

    Whiskers, as of `whiskers_of`, reach from a class's lowest to its highest probability.
    """
    names = list(verdict.probabilities)
    values = [verdict.probabilities[name] for name in names]
    bars = go.Bar(
        x=values,
        y=[words.CLASSES[name] for name in names],
        orientation="h",
        marker_color=[palette.classes[name] for name in names],
        error_x=_whiskers(names, values, whiskers or {}, palette),
        hovertemplate="%{y}: %{x:.4f}<extra></extra>",
    )
    figures = [
        {
            "x": 1.02, "xref": "paper", "y": row, "yref": "y", "text": words.percent(value), "showarrow": False,
            "xanchor": "left", "font": {"size": 15, "color": palette.ink},
        }
        for row, value in enumerate(values)
    ]  # fmt: skip
    shapes, notes = _operating_point(verdict, palette)
    axis = {"gridcolor": palette.line, "zerolinecolor": palette.quiet_ink, "fixedrange": True}
    quiet = {"size": 12, "color": palette.quiet_ink}
    return go.Figure(bars, {  # at once: each later change is checked and copied with all that stands there
        **_dress(palette),
        "template": {},  # the default one would be sent with every answer
        "height": HEIGHT,
        "bargap": 0.4,
        "margin": {"l": 4, "r": 58, "t": _TOP, "b": _BOTTOM},
        "annotations": figures + notes,
        "shapes": shapes,
        "xaxis": {
            "range": [0, 1], "tickformat": ".0%", "tickfont": quiet,
            "title": {"text": words.PROBABILITY_AXIS, "font": quiet, "standoff": 6}, **axis,
        },
        "yaxis": {"autorange": "reversed", "automargin": True, "ticksuffix": "  ", **axis},
    })  # fmt: skip


def probability_alt(verdict: Verdict, whiskers: Mapping[str, tuple[float, float]] | None = None) -> str:
    """The bar chart in words."""
    bars = ", ".join(f"{words.CLASSES[name]} {words.percent(value)}" for name, value in verdict.probabilities.items())
    sentences = [words.PROBABILITY_ALT.format(bars=bars)]
    if verdict.threshold is not None:
        sentences.append(words.THRESHOLD_ALT.format(threshold=words.percent(verdict.threshold)))
    for name, (low, high) in (whiskers or {}).items():
        sentences.append(
            words.WHISKER_ALT.format(name=words.CLASSES[name], low=words.percent(low), high=words.percent(high))
        )
    return " ".join(sentences)


def whiskers_of(stability: Stability, task: Task) -> dict[str, tuple[float, float]]:
    """Class name to its lowest and highest probability over the changes of a stability check."""
    return {name: (measured.low, measured.high) for name, measured in stability.classes[task.name].items()}


def render_chart(figure: go.Figure, *, key: str, alt: str) -> None:
    """Draw a figure in its own colours and without Plotly's buttons; `alt` is the figure in words."""
    st.plotly_chart(figure, config={"displayModeBar": False}, theme=None, key=key, alt=alt)


def error_bars(
    values: Sequence[float], lows: Sequence[float], highs: Sequence[float], *, colour: str, width: int
) -> dict[str, Any]:
    """Plotly's error bars from values and the ends of their intervals; `width` is that of their caps, in pixels."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - value) for value, high in zip(values, highs, strict=True)],
        "arrayminus": [max(0.0, value - low) for value, low in zip(values, lows, strict=True)],
        "color": colour,
        "thickness": 2,
        "width": width,
    }


def dressed(figure: go.Figure, palette: Palette) -> go.Figure:
    """Give a figure the page's type and ground."""
    return figure.update_layout(**_dress(palette))


def _dress(palette: Palette) -> dict[str, Any]:
    return {
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"color": palette.ink, "size": 13, "family": FONT},
    }


def _operating_point(verdict: Verdict, palette: Palette) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Shapes and notes of the threshold and of the band around it; none where the question has no threshold."""
    threshold, row = verdict.threshold, BINARY.classes.index(COVID19)
    if threshold is None:
        return [], []
    tall = {"y0": row - 0.5, "y1": row + 0.5}
    shapes: list[dict[str, Any]] = [{
        "type": "line", "x0": threshold, "x1": threshold, "name": "operating point", **tall,
        "line": {"color": palette.ink, "width": 2, "dash": "dot"},
    }]  # fmt: skip
    if verdict.band is not None:
        shapes.append({
            "type": "rect", "x0": verdict.band[0], "x1": verdict.band[1], "name": "band", **tall,
            "fillcolor": palette.band, "line": {"width": 0}, "layer": "below",
        })  # fmt: skip
    note = {
        "x": threshold, "y": row - 0.5, "yanchor": "bottom", "showarrow": False,
        "text": words.THRESHOLD.format(threshold=words.percent(threshold)),
        "font": {"size": 12, "color": palette.quiet_ink}, "xanchor": _anchor(threshold),
    }  # fmt: skip
    return shapes, [note]


def _anchor(threshold: float) -> str:
    """Which side of a note stands at the threshold, so that a phone, where it is as wide as the plot, cuts off none."""
    if threshold < _LEFTMOST:
        return "left"
    return "center" if threshold <= _RIGHTMOST else "right"


def _whiskers(
    names: list[str], values: list[float], whiskers: Mapping[str, tuple[float, float]], palette: Palette
) -> dict[str, Any] | None:
    if not whiskers:
        return None
    ends = [whiskers.get(name, (value, value)) for name, value in zip(names, values, strict=True)]
    return error_bars(values, [low for low, _ in ends], [high for _, high in ends], colour=palette.ink, width=7)
