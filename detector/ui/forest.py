"""A forest plot: a line a cohort, its estimate and its interval, and chance."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from detector import words
from detector.ui.bars import dressed, error_bars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.ui.palette import Palette

CHANCE = 0.5  # of an AUROC
_ROW, _TEXT_LINE, _AROUND = 28, 16, 54  # pixels
_ABOVE = 9  # pixels from a line up to its words: beside it, on a phone, they would take the plot's room
_CHARACTERS = 32  # of a label in a line, so that the figures fit behind it on a phone


@dataclass(frozen=True)
class Line:
    """One line of a forest plot.

    Attributes:
        label: what was measured.
        value: the estimate.
        low: lower end of its 95 % interval.
        high: upper end.
        n: images that it rests on; None where it rests on other figures.
        tone: ``"main"``, ``"quiet"`` or ``"bad"``.
    """

    label: str
    value: float
    low: float
    high: float
    n: int | None = None
    tone: str = "quiet"

    @property
    def text(self) -> str:
        """The figures beside the line."""
        number = "" if self.n is None else words.OF_IMAGES.format(n=self.n)
        interval = "" if self.low == self.high else f" ({self.low:.2f} to {self.high:.2f})"
        return f"{self.value:.2f}{interval}{number}"


def forest_chart(lines: Sequence[Line], palette: Palette, *, bars: bool = False) -> go.Figure:
    """Draw the lines from top to bottom over one axis of AUROC; with `bars`, as bars from chance on."""
    tones = {"main": palette.ink, "quiet": palette.quiet_ink, "bad": palette.bad}
    colours, labels = [tones[line.tone] for line in lines], [line.label for line in lines]
    values = [line.value for line in lines]
    ends = error_bars(
        values, [line.low for line in lines], [line.high for line in lines],
        colour=palette.ink if bars else palette.quiet_ink, width=5,
    )  # fmt: skip
    if bars:
        lengths = [value - CHANCE for value in values]
        trace = go.Bar(
            x=lengths, base=CHANCE, y=labels, orientation="h", marker_color=colours, error_x=ends, width=0.3,
            hoverinfo="skip",
        )  # fmt: skip
    else:
        marker = {"size": 11, "color": colours, "symbol": "square"}
        trace = go.Scatter(x=values, y=labels, mode="markers", marker=marker, error_x=ends, hoverinfo="skip")
    figure = go.Figure(trace)
    wrapped = [textwrap.wrap(label, _CHARACTERS) for label in labels]
    for line, colour, parts in zip(lines, colours, wrapped, strict=True):
        for text, at, side, ink in (("<br>".join(parts), 0, "left", palette.ink), (line.text, 1, "right", colour)):
            figure.add_annotation(
                x=at, xref="paper", xanchor=side, y=line.label, yanchor="bottom", yshift=_ABOVE, borderpad=0,
                text=text, align="left", showarrow=False, font={"size": 12, "color": ink},
            )  # fmt: skip
    height = _ROW + _TEXT_LINE * max(map(len, wrapped))
    for row in range(len(lines)):  # chance, but for where words stand
        figure.add_shape(
            type="line", x0=CHANCE, x1=CHANCE, y0=row - 0.2, y1=row + 0.45,
            line={"color": palette.quiet_ink, "width": 1.5, "dash": "dot"},
        )  # fmt: skip
    lowest = min([*(line.low for line in lines), CHANCE - 0.05])
    figure.update_xaxes(
        range=[max(0.0, lowest), 1.0], showgrid=False, showline=True, linecolor=palette.line,
        fixedrange=True, tickformat=".1f",
        title=words.AUROC_AXIS, title_font={"size": 12, "color": palette.quiet_ink},
        tickfont={"size": 12, "color": palette.quiet_ink},
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showticklabels=False, fixedrange=True, showgrid=False)
    return dressed(figure, palette).update_layout(
        height=_AROUND + height * len(lines), margin={"l": 4, "r": 14, "t": 10, "b": 44}, showlegend=False
    )


def forest_alt(lines: Sequence[Line]) -> str:
    """The plot in words."""
    return "; ".join(f"{line.label}: {line.text}" for line in lines)
