"""One page that says how good the network is: self-contained HTML, readable offline and in print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from detector.schema import NOTICE
from detector.training.measure.cohort import UNKNOWN
from detector.training.report import sentences
from detector.training.report.plots import LABEL_NAMES
from detector.training.report.site import figure_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import plotly.graph_objects as go

    from detector.model.card import ModelCard

SMALL = 100  # images of a whole cohort: with fewer the page begins with a warning
FEW = 50  # images: with fewer, an interval hides how little is known
_DECIMALS = 3  # of a share


def report_page(metrics: Mapping[str, Any], card: ModelCard, figures: Mapping[str, go.Figure]) -> str:
    """Write the report.

    Args:
        metrics: what `detector.training.measure.evaluate.summarise` gives.
        card: of the network.
        figures: the plots by name.

    Returns:
        A page that needs no other file and no network.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": _number, "label": LABEL_NAMES.__getitem__, "of_site": figure_label}
    points = metrics["operating_points"]
    return environment.get_template("evaluation.html").render(
        title=f"How {card.name} {card.version} did on {metrics['cohort']['name'] or 'labelled X-rays'}",
        notice=NOTICE,
        metrics=metrics,
        card=card,
        words=sentences,
        cohorts=_cohorts(metrics["counts"]),
        measured=_measured,
        within=_within(metrics.get("within_one_hospital")),
        point_names=[f"{name} (from {point['threshold']:.3f} on)" for name, point in points.items()],
        point_figures=[key for key in next(iter(points.values()), {}) if key in sentences.EXPLAINED],
        rejections=_rejections(metrics["counts"]),
        plots=[(_drawn(figure, f"plot-{name}"), _plot_words(name)) for name, figure in figures.items()],
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - the library's own script
        small=SMALL,
        few=FEW,
        unknown=UNKNOWN,
    )


def _cohorts(counts: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Everything, then each part of which something is known, with its counts."""
    rows = [("all", counts["overall"])]
    for part, title in sentences.PART_TITLES.items():
        if not set(found := counts.get(part, {})) <= {UNKNOWN}:
            rows += [(f"{title}: {key}", value) for key, value in found.items()]
    return rows


def _measured(names: Sequence[str], parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those of the figures that any part has."""
    known = {name for figures in parts.values() for name, figure in figures.items() if figure["value"] is not None}
    return [name for name in names if name in known]


def _within(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Each hospital and view with both answers, then each hospital over all its views."""
    if found is None:
        return {}
    return {**found["strata"], **{f"{hospital}, all views": part for hospital, part in found["pooled"].items()}}


def _rejections(counts: Mapping[str, Any]) -> str:
    return "; ".join(
        ", ".join(f"{count:,} {word} {key}" for key, count in counts[f"rejected_by_{part}"].items())
        for part, word in (("code", "as"), ("label", "labelled"), ("source", "of source"))
        if counts[f"rejected_by_{part}"]
    )


def _drawn(figure: go.Figure, name: str) -> Markup:
    config = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    drawn = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config)
    return Markup(drawn)  # noqa: S704 - Plotly escapes what it is given


def _plot_words(name: str) -> str:
    return next(words for start, words in sentences.PLOT_WORDS.items() if name.startswith(start))


def _number(value: float | None) -> str:
    """A figure, or an end of its interval, which may have none."""
    if value is None:
        return "no bound"
    return f"{value:.{_DECIMALS}f}" if abs(value) < 10 else f"{value:.1f}"
