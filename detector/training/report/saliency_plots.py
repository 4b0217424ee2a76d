"""Plotly figures of an audit of the maps, from what ``saliency.json`` holds; one a measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from detector.schema import BINARY, THREE_CLASS
from detector.training.report.plots import BLUE, CLEAR, GREEN, GREY, LABEL_NAMES, ORANGE, faint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROW_HEIGHT, _FRAME_HEIGHT, _CURVE_HEIGHT = 26, 190, 420  # pixels

_TASKS = {BINARY.name: "binary", THREE_CLASS.name: "three-class"}
_MAPS = {
    "saliency": ("this map", ORANGE, "solid"),
    "random": ("random map", GREY, "dot"),
    "lung_prior": ("middle of the lungs (mean of all pictures)", BLUE, "dash"),
    "own_lungs": ("middle of this picture's lungs", GREEN, "dashdot"),
}
#: What parts are exchanged for: the ending of the file's name, and words.
_FILLS = {"another_class": ("", "another class's picture"), "blurred": ("_blurred", "the blurred picture")}
_RANDOMISED = {
    "binary": ("binary", ORANGE),
    "three_class": ("three-class, as shown", BLUE),
    "three_class_with_mean": ("three-class, mean not subtracted", GREY),
}


def saliency_plots(found: Mapping[str, Any]) -> dict[str, go.Figure]:
    """Every figure of an audit, by file name without its ending.

    Args:
        found: what ``saliency.json`` holds.
    """
    return {
        "saliency_in_lung": in_lung_plot(found["in_lung"]),
        "saliency_peak": peak_plot(found["in_lung"]),
        "saliency_randomisation": randomisation_plot(found["randomisation"]),
        **{
            f"saliency_{way}{end}": curve_plot([r for r in found["curves"] if r["filled_with"] == fill], way, words)
            for fill, (end, words) in _FILLS.items()
            for way in ("deletion", "insertion")
        },
    }


def in_lung_plot(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Median share of the evidence in the lungs, beside those of maps that equal the lungs and that know nothing."""
    figure = go.Figure()
    _add_points(figure, rows, "in_lung_fraction", "evidence in the lungs", ORANGE, "circle")
    _add_points(figure, rows, "grid_ceiling", "a map equal to the lungs, on this grid", GREY, "line-ns-open")
    _add_points(figure, rows, "lung_box_fraction", "lungs' share of what the network sees", BLUE, "diamond-open")
    _add_points(figure, rows, "lung_area_fraction", "lungs' share of the picture", GREEN, "square-open")
    return _rows_dressed(figure, rows, "Where the evidence lies: median share in the lungs", "share")


def peak_plot(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """How often the strongest cell lies in a lung."""
    figure = go.Figure()
    _add_points(figure, rows, "peak_in_lung", "peak in a lung", ORANGE, "circle")
    _add_points(figure, rows, "lung_box_fraction", "lungs' share of what the network sees", BLUE, "diamond-open")
    return _rows_dressed(figure, rows, "Where the strongest evidence lies", "share of the images")


def randomisation_plot(randomisation: Mapping[str, Any]) -> go.Figure:
    """Rank correlation with the trained network's map, along the steps."""
    figure = go.Figure()
    for name, steps in randomisation["maps"].items():
        words, colour = _RANDOMISED[name]
        places = [step["randomised_down_to"] for step in steps]
        for kind, dash in (("signed", "solid"), ("absolute", "dash")):
            _add_band(figure, places, _columns([s[kind] for s in steps]), f"{words}, {kind}", colour, dash)
    figure.add_hline(y=0, line={"color": GREY, "width": 1})
    count, seeds = randomisation["images"], randomisation["seeds"]
    title = f"Weights lost from the top: does the map go with them? ({count} images, {seeds} seeds)"
    return _dressed(figure, title, "randomised down to", "rank correlation").update_layout(height=_CURVE_HEIGHT)


def curve_plot(rows: Sequence[Mapping[str, Any]], way: str, filled_with: str) -> go.Figure:
    """Mean probability of the decided class while parts are taken out or put in, in the order of a map."""
    titles = [f"{_TASKS[row['task']]}: {LABEL_NAMES[row['class']]} (n = {row['n']})" for row in rows]
    figure = make_subplots(1, max(1, len(rows)), shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.03)
    for column, row in enumerate(rows, start=1):
        for name, (words, colour, dash) in _MAPS.items():
            band = row["maps"][name][way]["probability"]
            area = row["maps"][name][way]["auc"]["value"]
            hover = f"{words}: area {area:.3f}"
            _add_band(figure, row["fractions"], band, words, colour, dash, column=column, hover=hover)
    better = "lower is better" if way == "deletion" else "higher is better"
    title = f"{way.capitalize()}: probability of the class, by the order of a map ({better})"
    x_title = f"share {'exchanged for' if way == 'deletion' else 'put into'} {filled_with}"
    figure = _dressed(figure, title, x_title, "").update_yaxes(range=[0, 1])
    return figure.update_yaxes(title="probability", col=1).update_layout(height=_CURVE_HEIGHT)


def _columns(estimates: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    return {key: [estimate[key] for estimate in estimates] for key in ("value", "ci_low", "ci_high")}


def _name(row: Mapping[str, Any]) -> str:
    return f"{LABEL_NAMES[row['class']]} ({_TASKS[row['task']]}), {row['source']}, n = {row['n']}"


def _add_points(
    figure: go.Figure, rows: Sequence[Mapping[str, Any]], key: str, words: str, colour: str, symbol: str
) -> None:
    """One symbol a row, with its interval."""
    band = _columns([row[key] for row in rows])
    figure.add_scatter(
        x=band["value"],
        y=[_name(row) for row in rows],
        mode="markers",
        name=words,
        marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2, "color": colour}},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": _distances(band["value"], band["ci_high"]),
            "arrayminus": _distances(band["ci_low"], band["value"]),
            "thickness": 1,
            "width": 3,
        },
        hovertemplate="%{y}: %{x:.3f}<extra>" + words + "</extra>",
    )


def _distances(low: Sequence[float | None], high: Sequence[float | None]) -> list[float]:
    return [0.0 if a is None or b is None else b - a for a, b in zip(low, high, strict=True)]


def _add_band(
    figure: go.Figure,
    places: Sequence[Any],
    band: Mapping[str, Sequence[float | None]],
    words: str,
    colour: str,
    dash: str,
    *,
    column: int | None = None,
    hover: str | None = None,
) -> None:
    """A line with its interval around it; the first of a row of plots has the legend."""
    shared = {"x": list(places), "legendgroup": words}
    line = go.Scatter(
        y=band["value"],
        mode="lines",
        name=words,
        showlegend=column in {None, 1},
        line={"color": colour, "dash": dash, "width": 2},
        hovertemplate="%{x}: %{y:.3f}<extra>" + (hover or words) + "</extra>",
        **shared,
    )
    edges = [
        go.Scatter(
            y=band[key],
            mode="lines",
            line={"width": 0},
            fill=fill,
            fillcolor=faint(colour),
            showlegend=False,
            hoverinfo="skip",
            **shared,
        )
        for key, fill in (("ci_low", None), ("ci_high", "tonexty"))
    ]
    for trace in (*edges, line):
        figure.add_trace(trace, row=column and 1, col=column)


def _rows_dressed(figure: go.Figure, rows: Sequence[Mapping[str, Any]], title: str, x_title: str) -> go.Figure:
    figure = _dressed(figure, title, x_title, "").update_xaxes(range=[0, 1.02])
    return figure.update_yaxes(autorange="reversed", automargin=True).update_layout(
        height=_FRAME_HEIGHT + _ROW_HEIGHT * len(rows)
    )


def _dressed(figure: go.Figure, title: str, x_title: str, y_title: str) -> go.Figure:
    return figure.update_layout(
        title={"text": title, "font": {"size": 15}},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        legend={"orientation": "h", "y": -0.25},
        margin={"l": 10, "r": 10, "t": 70, "b": 10},
    ).update_xaxes(title=x_title, automargin=True).update_yaxes(title=y_title)  # fmt: skip
