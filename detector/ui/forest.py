"""A forest plot: a line a cohort, its estimate and its interval, and chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from detector import words
from detector.ui.bars import dressed, error_bars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.ui.palette import Palette

CHANCE = 0.5  # of an AUROC
_ROW, _AROUND = 34, 64  # pixels


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
            x=lengths, base=CHANCE, y=labels, orientation="h", marker_color=colours, error_x=ends, width=0.55,
            hoverinfo="skip",
        )  # fmt: skip
    else:
        marker = {"size": 11, "color": colours, "symbol": "square"}
        trace = go.Scatter(x=values, y=labels, mode="markers", marker=marker, error_x=ends, hoverinfo="skip")
    figure = go.Figure(trace)
    for line, colour in zip(lines, colours, strict=True):
        figure.add_annotation(
            x=1.01, xref="paper", y=line.label, text=line.text, showarrow=False, xanchor="left",
            font={"size": 13, "color": colour},
        )  # fmt: skip
    figure.add_vline(x=CHANCE, line={"color": palette.quiet_ink, "width": 1.5, "dash": "dot"})
    lowest = min([*(line.low for line in lines), CHANCE - 0.05])
    figure.update_xaxes(
        range=[max(0.0, lowest), 1.0], gridcolor=palette.line, fixedrange=True, tickformat=".1f",
        title=words.AUROC_AXIS, title_font={"size": 12, "color": palette.quiet_ink},
        tickfont={"size": 12, "color": palette.quiet_ink},
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True, fixedrange=True, ticksuffix="  ", showgrid=False)
    return dressed(figure, palette).update_layout(
        height=_AROUND + _ROW * len(lines), margin={"l": 4, "r": 190, "t": 10, "b": 44}, showlegend=False
    )


def forest_alt(lines: Sequence[Line]) -> str:
    """The plot in words."""
    return "; ".join(f"{line.label}: {line.text}" for line in lines)
