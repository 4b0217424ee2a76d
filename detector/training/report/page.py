"""One page that says how good the network is: self-contained HTML, readable offline and in print."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from plotly.offline import get_plotlyjs

from detector.schema import NOTICE
from detector.statistics.bootstrap import UNKNOWN
from detector.training.report.plots import LABEL_NAMES
from detector.training.report.sentences import (
    EXPLAINED,
    GLOSSARY,
    HEADLINES,
    PART_TABLES,
    PART_TITLES,
    PLOT_WORDS,
    STYLE,
    TABLES,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import plotly.graph_objects as go

    from detector.model.card import ModelCard

SMALL = 100  # images of a whole cohort: with fewer the page begins with a warning
FEW = 50  # images: with fewer, an interval hides how little is known
_DECIMALS = 3  # of a share
_SMALL_WORDS = "differences between such figures and those of the network's card may well be chance."


def report_page(metrics: Mapping[str, Any], card: ModelCard, figures: Mapping[str, go.Figure]) -> str:
    """Write the report.

    Args:
        metrics: what `detector.training.measure.evaluate.summarise` gives.
        card: of the network.
        figures: the plots by name.

    Returns:
        A page that needs no other file and no network.
    """
    title = f"How {card.name} {card.version} did on {metrics['cohort']['name'] or 'labelled X-rays'}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="notice">{escape(NOTICE)}</p>',
        _about(metrics, card),
        _headlines(metrics["overall"]),
        _cohort(metrics["counts"]),
        *(_figure_table(heading, rows, metrics["overall"]) for heading, rows in TABLES),
        _operating_points(metrics["operating_points"]),
        *(_part_table(metrics, part) for part in ("by_source", "by_age_group", "by_view")),
        _questions(metrics),
        _original(metrics["original"]),
        _plots(figures),
        _rejected(metrics),
        _glossary(),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style><script>{get_plotlyjs()}</script></head>\n"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _about(metrics: Mapping[str, Any], card: ModelCard) -> str:
    counts, cohort = metrics["counts"]["overall"], metrics["cohort"]
    small = "" if counts["images"] >= SMALL else f"<p><b>Fewer than {SMALL} images: {_SMALL_WORDS}</b></p>"
    notes = "".join(f"<li>{escape(note)}</li>" for note in cohort["notes"])
    return small + (
        f"<p><b>{counts['images']:,} images of {counts['patients']:,} patients</b> were analysed, "
        f"{len(metrics['rejected']):,} refused, which stand in no figure. "
        f"Every interval is a 95 % interval: patients were drawn with replacement {cohort['resamples']:,} times, each "
        f"with all of their images. <b>n</b> is the number of images that a figure and its interval rest on, for a "
        f"sensitivity those with the disease alone. <span class='few'>†</span> marks fewer than {FEW}: there the "
        "interval, too, is only a guess. Thresholds, temperatures and bands were fixed on validation images before, "
        "and stand in the network's card.</p>"
        f"<p class='quiet'>Weights {escape(card.sha256[:16])}…, evaluated {escape(cohort['evaluated_at'])}.</p>"
        + (f"<ul>{notes}</ul>" if notes else "")
    )


def _headlines(overall: Mapping[str, Any]) -> str:
    tiles = [
        f"<div class='tile'><div class='name'>{escape(name)}</div><div class='value'>{_value(overall[key])}</div>"
        f"<div class='quiet'>{_interval(overall[key])}<br>n = {_count(overall[key])}</div></div>"
        for key, name in HEADLINES
        if key in overall
    ]
    return f"<section class='tiles'>{''.join(tiles)}</section>"


def _cohort(counts: Mapping[str, Any]) -> str:
    labels = list(counts["overall"]["labels"])
    rows = [["all", counts["overall"]]]
    for part in ("by_source", "by_age_group", "by_view"):
        if set(counts[part]) <= {UNKNOWN}:
            continue
        rows += [[f"{PART_TITLES[part]}: {key}", value] for key, value in counts[part].items()]
    return _section(
        "What it was measured on",
        _table(
            ["", "images", "patients", *(LABEL_NAMES[label] for label in labels)],
            (
                [name, f"{c['images']:,}", f"{c['patients']:,}", *(f"{c['labels'].get(k, 0):,}" for k in labels)]
                for name, c in rows
            ),
        ),
    )


def _figure_table(heading: str, names: Sequence[str], overall: Mapping[str, Any]) -> str:
    rows = [
        [EXPLAINED[name][0], _value(overall[name]), _interval(overall[name]), _count(overall[name]), EXPLAINED[name][1]]
        for name in names
        if name in overall
    ]
    return _section(heading, _table(["figure", "value", "95 % interval", "n", "what it means"], rows, words=True))


def _operating_points(points: Mapping[str, Any]) -> str:
    header = ["", *(f"{name} (from {point['threshold']:.3f} on)" for name, point in points.items())]
    first = next(iter(points.values()), {})
    rows = [
        [EXPLAINED[key][0], *(_cell(point[key]) for point in points.values())]
        for key in first
        if key in EXPLAINED and isinstance(first[key], dict)
    ]
    chosen = [
        "chosen on validation for",
        *(
            f"sensitivity {p['chosen_on']['sensitivity']:.3f}<br>specificity {p['chosen_on']['specificity']:.3f}"
            f"<br><span class='quiet'>{escape(p['chosen_on']['cohort'])}</span>"
            for p in points.values()
        ),
    ]
    words = (
        "<p>A predictive value depends on how common COVID-19 is among those who are X-rayed; the cohort's own "
        "share is no clinic's, so the values are worked out for 1, 5 and 20 %.</p>"
    )
    return _section("Operating points", words + _table(header, [chosen, *rows], escaped=True))


def _part_table(metrics: Mapping[str, Any], part: str) -> str:
    parts = metrics[part]
    if set(parts) <= {UNKNOWN}:  # nothing is said about it: one column would repeat the tables above
        return ""
    worst = metrics["worst_source"] if part == "by_source" else {}
    header = ["", *(escape(key) for key in parts), *(["worst"] if worst else [])]
    rows: list[list[str]] = []
    for heading, names in PART_TABLES:
        rows.append([heading])
        for name in names:
            cells = [figures[name] for figures in parts.values() if name in figures]
            if any(cell["value"] is not None for cell in cells):
                last = [escape(worst[name]["source"]) if name in worst else ""] if worst else []
                rows.append([EXPLAINED[name][0], *(_cell(cell) for cell in cells), *last])
    words = "<p>A dash: the images of this part can't have the figure, mostly because they are all of one class.</p>"
    return _section(f"By {PART_TITLES[part]}", words + _table(header, rows, escaped=True))


def _questions(metrics: Mapping[str, Any]) -> str:
    titles = {
        "covid19_against_other_pneumonias": (
            "COVID-19 against other pneumonias of the same source, area under the ROC curve: the source does not help"
        ),
        "pneumonia_called_covid19": "Other pneumonias called COVID-19 at the balanced point: share, to be low",
        "pneumonia_against_normal": (
            "Other pneumonias against normal of the same source by the three-class answer (1 - probability of normal), "
            "area under the ROC curve"
        ),
    }
    rows = [
        [escape(titles[question]), escape(source), _value(figure), _interval(figure), _count(figure)]
        for question, by_source in metrics["questions"].items()
        for source, figure in by_source.items()
    ]
    if not rows:
        return ""
    table = _table(["question", "source", "value", "95 % interval", "n"], rows, escaped=True)
    return _section("Within one source", table)


def _original(original: Mapping[str, Any]) -> str:
    names = ["accuracy", "precision", "recall", "f1", "auc"]
    rows = []
    for task, words in (("binary", "COVID-19 or not"), ("three_class", "three classes")):
        for way, figures in original[task].items():
            cells = [f"{figures[n]:.4f}" if way == "original" else _cell(figures[n]) for n in names]
            rows.append([words, "the original project" if way == "original" else f"ours, {way}", *cells])
    table = _table(["task", "", "accuracy", "precision", "recall", "F1", "AUC"], rows, escaped=True)
    return _section("Beside the original project", f"<p>{escape(original['note'])}</p>{table}")


def _plots(figures: Mapping[str, go.Figure]) -> str:
    if not figures:
        return ""
    drawn = [
        f"<figure>{_drawn(figure, f'plot-{name}')}<figcaption>{escape(_plot_words(name))}</figcaption></figure>"
        for name, figure in figures.items()
    ]
    return f"<section><h2>Plots</h2><div class='plots'>{''.join(drawn)}</div></section>"


def _drawn(figure: go.Figure, name: str) -> str:
    config = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    return figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config)


def _plot_words(name: str) -> str:
    return next(words for start, words in PLOT_WORDS.items() if name.startswith(start))


def _rejected(metrics: Mapping[str, Any]) -> str:
    if not metrics["rejected"]:
        return _section("Refused images", "<p>None was refused.</p>")
    counts = metrics["counts"]
    table = _table(["image", "code"], ([row["image"], row["code"]] for row in metrics["rejected"]))
    said = "; ".join(
        ", ".join(f"{count:,} {word} {key}" for key, count in counts[f"rejected_by_{part}"].items())
        for part, word in (("code", "as"), ("label", "labelled"), ("source", "of source"))
        if counts[f"rejected_by_{part}"]
    )
    return _section("Refused images", f"<p>{escape(said)}.</p><details><summary>Which ones</summary>{table}</details>")


def _glossary() -> str:
    entries = "".join(f"<dt>{escape(term)}</dt><dd>{escape(words)}</dd>" for term, words in GLOSSARY)
    return _section("Words", f"<dl>{entries}</dl>")


def _section(heading: str, inner: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{inner}</section>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, escaped: bool = False, words: bool = False) -> str:
    """A table; `escaped` cells are HTML already, the last column holds `words`."""
    clean = (lambda text: text) if escaped or words else escape
    head = "".join(f"<th scope='col'>{clean(cell)}</th>" for cell in header)
    body = "".join(_row([clean(cell) for cell in row], len(header)) for row in rows)
    kind = " class='words'" if words else ""
    table = f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='scroll' tabindex='0'>{table}</div>"


def _row(cells: Sequence[str], columns: int) -> str:
    """A row of a table; one cell alone is a heading over all columns."""
    if len(cells) == 1:
        return f"<tr class='task'><th colspan='{columns}' scope='rowgroup'>{cells[0]}</th></tr>"
    return f"<tr><th scope='row'>{cells[0]}</th>{''.join(f'<td>{cell}</td>' for cell in cells[1:])}</tr>"


def _cell(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"<span class='quiet' title='{escape(figure['reason'] or '')}'>–</span>"
    return f"{_value(figure)}<br><span class='quiet'>{_interval(figure)}<br>n = {_count(figure)}</span>"


def _value(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"<span class='quiet'>– ({escape(figure['reason'] or '')})</span>"
    return _number(figure["value"])


def _interval(figure: Mapping[str, Any]) -> str:
    low, high = figure["ci_low"], figure["ci_high"]
    if figure["value"] is None:
        return ""
    if low is None and high is None:
        return f"<span title='{escape(figure['reason'] or '')}'>no interval</span>"
    return f"{_number(low)} to {_number(high) if high is not None else 'no bound'}"


def _count(figure: Mapping[str, Any]) -> str:
    mark = " <span class='few'>†</span>" if figure["n"] < FEW else ""
    return f"{figure['n']:,}{mark}"


def _number(value: float) -> str:
    return f"{value:.{_DECIMALS}f}" if abs(value) < 10 else f"{value:.1f}"
