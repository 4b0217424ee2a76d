"""Plotly figures of an evaluation: one file each, drawn alike by the page and by the report.

Colours are told apart by colour-blind readers (Okabe and Ito 2008), and a second cue, the dash, tells lines apart in
print. Backgrounds are clear and text takes the template's colour, so that a dark page can restyle them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from detector.run.files import make_folder, write_whole
from detector.schema import BACTERIAL_PNEUMONIA, BINARY, COVID19, NORMAL, NOT_COVID19, TASKS, THREE_CLASS
from detector.training.measure.cohort import truth_index
from detector.training.measure.curves import (
    coverage_curve,
    net_benefit_curve,
    precision_recall_curves,
    reliability_curve,
    roc_curves,
    treat_all_benefit,
)
from detector.training.measure.figures import confusion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike

    from detector.model.calibration import Calibration
    from detector.schema import Task
    from detector.statistics.bootstrap import Curve
    from detector.training.measure.cohort import Answers

ORANGE, BLUE, GREEN, GREY = "#D55E00", "#0072B2", "#009E73", "#6B7280"
CLEAR = "rgba(0,0,0,0)"  # a background that a dark page can restyle
LABEL_NAMES = {
    COVID19: "COVID-19",
    NOT_COVID19: "not COVID-19",
    NORMAL: "normal",
    BACTERIAL_PNEUMONIA: "bacterial pneumonia",
    "viral_pneumonia": "viral pneumonia",
    "pneumonia_unspecified": "pneumonia, germ unknown",
    "other_pneumonia": "other pneumonia",
}
TASK_NAMES = {BINARY.name: "COVID-19 or not", THREE_CLASS.name: "three classes"}

_CLASS_STYLE = {
    COVID19: (ORANGE, "solid"),
    NORMAL: (BLUE, "dash"),
    BACTERIAL_PNEUMONIA: (GREEN, "dot"),
}
_TASK_STYLE = {BINARY.name: (ORANGE, "solid"), THREE_CLASS.name: (BLUE, "dash")}
_HEIGHT = 420  # pixels
_DECIMALS = 5
_BAND_NOTE = "bands: 95 % intervals"


def evaluation_plots(
    answers: Answers, calibration: Calibration, *, training_log: Path | None = None
) -> dict[str, go.Figure]:
    """Every plot of an evaluation, by file name without its ending.

    Args:
        answers: of the cohort.
        calibration: of the network.
        training_log: lines of JSON that the training wrote; no training curves where None or missing.
    """
    figures: dict[str, go.Figure] = {}
    if answers.examples:
        asked = [task for task in TASKS if (truth_index(task, answers.labels) >= 0).any()]
        for task in asked:
            figures |= _task_plots(task, answers, calibration)
        figures["coverage"] = coverage_plot({t.name: coverage_curve(t, answers, calibration) for t in asked})
        prevalence = float(np.mean(answers.labels == COVID19))
        figures["net_benefit"] = net_benefit_plot(net_benefit_curve(answers, calibration), prevalence)
    if training_log is not None and training_log.is_file():
        rows = [json.loads(line) for line in training_log.read_text(encoding="utf-8").splitlines() if line.strip()]
        figures |= {"training": training_plot(rows)} if rows else {}
    return figures


def write_plots(figures: Mapping[str, go.Figure], folder: Path) -> None:
    """Write each figure to ``<name>.json``.

    Raises:
        OutputError: if the folder can't be written.
    """
    make_folder(folder)
    for name, figure in figures.items():
        write_whole(folder / f"{name}.json", f"{figure.to_json()}\n".encode())


def class_curve_plot(
    curves: Mapping[str, Curve], *, title: str, x_title: str, y_title: str, chance: bool = False
) -> go.Figure:
    """Curves of classes against the rest, with their bands; a class that the cohort lacks is left out."""
    figure = go.Figure()
    for name, curve in curves.items():
        _add_curve(figure, curve, LABEL_NAMES[name], *_CLASS_STYLE[name])
    if chance:
        _add_line(figure, [0, 1], [0, 1], "chance")
    count = next((curve.n for curve in curves.values()), 0)
    note = f"n = {count:,} images; {_BAND_NOTE}" if curves else "one class only: no curve"
    return _dressed(figure, title, note, x_title, y_title, unit=True)


def reliability_plot(task: Task, calibrated: Curve, raw: Curve) -> go.Figure:
    """Share that is right over the probability that was given, with the interval of each bin."""
    figure = go.Figure()
    _add_line(figure, [0, 1], [0, 1], "perfect")
    for curve, name, colour, symbol in (
        (raw, "before the temperature", GREY, "x"),
        (calibrated, "as shown to the reader", _TASK_STYLE[task.name][0], "circle"),
    ):
        figure.add_scatter(
            x=_rounded(curve.places),
            y=_rounded(curve.values),
            mode="markers+lines",
            name=name,
            line={"color": colour, "width": 1.5, "dash": "dot" if curve is raw else "solid"},
            marker={"symbol": symbol, "size": 8, "color": colour},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": _rounded(curve.ci_high - curve.values),
                "arrayminus": _rounded(curve.values - curve.ci_low),
                "width": 3,
                "thickness": 1,
            },
        )
    y_title = "share with COVID-19" if task is BINARY else "share of right answers"
    x_title = "probability of COVID-19" if task is BINARY else "probability of the answer"
    bins = len(calibrated.places)
    note = f"n = {calibrated.n:,} images in {bins} bins of about {calibrated.n // max(1, bins)}; bars: 95 % intervals"
    return _dressed(figure, f"Reliability, {TASK_NAMES[task.name]}", note, x_title, y_title, unit=True)


def confusion_plot(task: Task, found: Mapping[str, Sequence[int]]) -> go.Figure:
    """What images of each label were called: shares of the row as colour, counts as text."""
    counts = np.array(list(found.values()), int).reshape(-1, len(task.classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    text = [[f"{n:,}<br>{s:.1%}" for n, s in zip(*pair, strict=True)] for pair in zip(counts, shares, strict=True)]
    figure = go.Figure(
        go.Heatmap(
            z=_rounded(shares),
            x=[LABEL_NAMES[name] for name in task.classes],
            y=[f"{LABEL_NAMES[name]}<br>n = {sum(row):,}" for name, row in found.items()],
            text=text,
            texttemplate="%{text}",
            zmin=0,
            zmax=1,
            colorscale="Cividis",
            showscale=False,  # each cell says its share, and a phone has no room for a bar
            hovertemplate="%{y}<br>called %{x}: %{z:.1%}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True, title={"standoff": 12})
    note = f"n = {int(counts.sum()):,} images, each decided" + (", balanced operating point" if task is BINARY else "")
    return _dressed(figure, f"Confusion, {TASK_NAMES[task.name]}", note, "called", "label")


def coverage_plot(curves: Mapping[str, Curve]) -> go.Figure:
    """Error of the answers over the share of images that is answered."""
    figure = go.Figure()
    for name, curve in curves.items():
        _add_curve(figure, curve, f"{TASK_NAMES[name]} (n = {curve.n:,})", *_TASK_STYLE[name])
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(tickformat=".1%", rangemode="tozero")
    note = f"the surest images first; {_BAND_NOTE}"
    return _dressed(figure, "Error over coverage", note, "share of images answered", "error among them")


def net_benefit_plot(curve: Curve, prevalence: float) -> go.Figure:
    """Net benefit against treating everyone and no one (Vickers and Elkin 2006)."""
    figure = go.Figure()
    _add_curve(figure, curve, "treat by the network", ORANGE, "solid")
    everyone = [treat_all_benefit(prevalence, t) for t in curve.places]
    figure.add_scatter(
        x=_rounded(curve.places), y=_rounded(everyone), mode="lines", name="treat everyone",
        line={"color": BLUE, "dash": "dash", "width": 2},
    )  # fmt: skip
    _add_line(figure, [0, float(curve.places[-1])], [0, 0], "treat no one")
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(range=[-0.25 * max(prevalence, 0.04), 1.1 * max(prevalence, 0.04)])
    note = f"n = {curve.n:,}, {percent(prevalence)} of them with COVID-19; {_BAND_NOTE}"
    return _dressed(figure, "Net benefit", note, "probability from which one would treat", "net benefit")


def training_plot(rows: Sequence[Mapping[str, float]]) -> go.Figure:
    """Loss of the training, and areas and worst log-loss on validation, along the batches."""
    figure = go.Figure()
    for key, name, colour, dash, axis in (
        ("binary_auroc", "AUROC, COVID-19 or not", ORANGE, "solid", "y"),
        ("three_class_auroc", "macro AUROC, three classes", BLUE, "dash", "y"),
        ("train_loss", "training loss", GREY, "dot", "y2"),
        ("balanced_log_loss", "mean log-loss of hospital × finding", GREEN, "dashdot", "y2"),
    ):
        points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        if points:
            steps, values = zip(*points, strict=True)
            figure.add_scatter(
                x=list(steps), y=_rounded(values), name=name, yaxis=axis, mode="lines+markers",
                line={"color": colour, "dash": dash, "width": 2},
            )  # fmt: skip
    right = {"overlaying": "y", "side": "right"}
    figure.update_layout(yaxis2={"title": {"text": "loss, nats"}, **right, "rangemode": "tozero", "showgrid": False})
    note = f"{len(rows)} checkpoints; areas and worst log-loss on validation"
    _dressed(figure, "Training", note, "batches", "area under the ROC curve")
    return figure.update_layout(margin={"r": 72})


def _task_plots(task: Task, answers: Answers, calibration: Calibration) -> dict[str, go.Figure]:
    name = TASK_NAMES[task.name]
    return {
        f"roc_{task.name}": class_curve_plot(
            roc_curves(task, answers, calibration),
            title=f"ROC, {name}",
            x_title="false positive rate (1 - specificity)",
            y_title="sensitivity",
            chance=True,
        ),
        f"precision_recall_{task.name}": class_curve_plot(
            precision_recall_curves(task, answers, calibration),
            title=f"Precision and recall, {name}",
            x_title="recall (sensitivity)",
            y_title="precision at this cohort's prevalence",
        ),
        f"reliability_{task.name}": reliability_plot(
            task,
            reliability_curve(task, answers, calibration),
            reliability_curve(task, answers, calibration, raw=True),
        ),
        f"confusion_{task.name}": confusion_plot(task, confusion(task, answers, calibration)),
    }


def _add_curve(figure: go.Figure, curve: Curve, name: str, colour: str, dash: str) -> None:
    """A line and, below it, its band; both leave with one click on the legend."""
    known = np.isfinite(curve.values) & np.isfinite(curve.ci_low) & np.isfinite(curve.ci_high)
    x = curve.places[known]
    figure.add_scatter(
        x=_rounded(np.concatenate([x, x[::-1]])),
        y=_rounded(np.concatenate([curve.ci_high[known], curve.ci_low[known][::-1]])),
        fill="toself",
        fillcolor=faint(colour),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
        name=f"{name}, 95 % interval",
    )
    figure.add_scatter(
        x=_rounded(curve.places),
        y=_rounded(curve.values),
        mode="lines",
        name=name,
        legendgroup=name,
        line={"color": colour, "dash": dash, "width": 2.5},
    )


def _add_line(figure: go.Figure, x: list[float], y: list[float], name: str) -> None:
    figure.add_scatter(x=x, y=y, mode="lines", name=name, line={"color": GREY, "dash": "longdash", "width": 1})


def faint(colour: str) -> str:
    """The same colour for a band behind its line."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def percent(share: float) -> str:
    """A share as ``"80 %"``."""
    return f"{100 * share:.0f} %"


def _dressed(figure: go.Figure, title: str, note: str, x_title: str, y_title: str, *, unit: bool = False) -> go.Figure:
    if unit:
        figure.update_xaxes(range=[-0.01, 1.01])
        figure.update_yaxes(range=[-0.01, 1.02])
    figure.update_xaxes(title={"text": x_title})
    figure.update_yaxes(title={"text": y_title}, selector={"overlaying": None})
    return figure.update_layout(
        template="none",
        title={"text": f"{title}<br><sup>{note}</sup>", "x": 0, "xanchor": "left"},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        height=_HEIGHT,
        margin={"l": 64, "r": 16, "t": 64, "b": 96},
        legend={"orientation": "h", "y": -0.22, "x": 0},
        hovermode="closest",
    )


def _rounded(values: ArrayLike) -> list[Any]:
    """Lists of at most five decimals, None where there is no number: a tenth of the file."""
    array = np.round(np.asarray(values, float), _DECIMALS).astype(object)
    array[~np.isfinite(array.astype(float))] = None
    return list(array.tolist())
