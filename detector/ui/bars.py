"""The bar chart of an answer: probabilities, operating point, indeterminate band, whiskers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from detector import words
from detector.schema import BINARY, COVID19
from detector.ui.palette import DARK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.answers.answer import Verdict
    from detector.ui.palette import Palette

FONT = '"Source Sans", sans-serif'  # the page's own
CLEAR = "rgba(0,0,0,0)"
HEIGHT = 150  # pixels, for two bars and for three: the page must not jump with the question
_TOP, _BOTTOM = 22, 40


def probability_chart(
    verdict: Verdict,
    *,
    whiskers: Mapping[str, tuple[float, float]] | None = None,
    palette: Palette = DARK,
) -> go.Figure:
    """Horizontal bars of the probabilities, with the operating point where there is one.

    Args:
        verdict: the answer.
        whiskers: class name to lowest and highest probability under mild changes of the picture.
        palette: colours.
    """
    names = list(verdict.probabilities)
    values = [verdict.probabilities[name] for name in names]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=[words.CLASSES[name] for name in names],
            orientation="h",
            marker_color=[palette.classes[name] for name in names],
            error_x=_whiskers(names, values, whiskers or {}, palette),
            hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        )
    )
    for row, value in enumerate(values):
        figure.add_annotation(
            x=1.02, xref="paper", y=row, yref="y", text=words.percent(value), showarrow=False, xanchor="left",
            font={"size": 15, "color": palette.ink},
        )  # fmt: skip
    if verdict.threshold is not None:
        _draw_operating_point(figure, verdict.threshold, verdict.band, palette)
    axis = {"gridcolor": palette.line, "zerolinecolor": palette.quiet_ink, "fixedrange": True}
    quiet = {"size": 12, "color": palette.quiet_ink}
    figure.update_xaxes(
        range=[0, 1], tickformat=".0%", title=words.PROBABILITY_AXIS, title_font=quiet, tickfont=quiet,
        title_standoff=6, **axis,
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True, ticksuffix="  ", **axis)
    return dressed(figure, palette).update_layout(
        height=HEIGHT, bargap=0.4, margin={"l": 4, "r": 58, "t": _TOP, "b": _BOTTOM}
    )


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


def dressed(figure: go.Figure, palette: Palette) -> go.Figure:
    """Give a figure the page's type and ground."""
    return figure.update_layout(
        paper_bgcolor=CLEAR, plot_bgcolor=CLEAR, font={"color": palette.ink, "size": 13, "family": FONT}
    )


def _draw_operating_point(
    figure: go.Figure, threshold: float, band: tuple[float, float] | None, palette: Palette
) -> None:
    row = (BINARY.classes.index(COVID19) - 0.5, BINARY.classes.index(COVID19) + 0.5)
    if band is not None:
        figure.add_shape(
            type="rect", x0=band[0], x1=band[1], y0=row[0], y1=row[1], fillcolor=palette.band, line_width=0,
            layer="below", name="band",
        )  # fmt: skip
    figure.add_shape(
        type="line", x0=threshold, x1=threshold, y0=row[0], y1=row[1], name="operating point",
        line={"color": palette.ink, "width": 2, "dash": "dot"},
    )  # fmt: skip
    figure.add_annotation(
        x=threshold, y=row[0], yanchor="bottom", text=words.THRESHOLD.format(threshold=words.percent(threshold)),
        showarrow=False, font={"size": 12, "color": palette.quiet_ink}, xanchor="left" if threshold < 0.5 else "right",
    )  # fmt: skip


def _whiskers(
    names: list[str], values: list[float], whiskers: Mapping[str, tuple[float, float]], palette: Palette
) -> dict | None:
    if not whiskers:
        return None
    ends = [whiskers.get(name, (value, value)) for name, value in zip(names, values, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - value) for (_, high), value in zip(ends, values, strict=True)],
        "arrayminus": [max(0.0, value - low) for (low, _), value in zip(ends, values, strict=True)],
        "color": palette.ink,
        "thickness": 2,
        "width": 7,
    }
