"""The second page: how good the network is, and where it fails. Every figure is read from the files in models/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import streamlit as st

from detector import words
from detector.errors import ModelError
from detector.paths import ASSETS
from detector.ui import measured, resources
from detector.ui.bars import dressed, render_chart
from detector.ui.forest import Line, forest_alt, forest_chart
from detector.ui.names import escaped
from detector.ui.palette import palette
from detector.ui.room import render_head
from detector.ui.tables import STYLE, render_table

if TYPE_CHECKING:
    from detector.model.card import ModelCard

_ARCHITECTURE = ASSETS / "architecture.svg"
_PLOT_HEIGHT = 420  # pixels
_ROW_HEIGHT, _AROUND_ROWS = 26, 190  # pixels of a figure that has a name a row
_WIDE = 3  # panels side by side that need the whole width
_OF_THE_MAPS, _OF_THE_TRAINING = "saliency", "training"
_NOT_A_CURVE = (_OF_THE_MAPS, _OF_THE_TRAINING)


def render() -> None:
    """Draw the page from top to bottom; nothing here needs the network."""
    render_head()
    try:
        card = resources.load_card()
    except ModelError as error:
        st.error(words.MODEL_FAILED.format(cure=error.user_message), icon=":material/error:")
        return
    with st.container(key="quality"):
        st.html(STYLE)
        st.header(words.PAGE_QUALITY, anchor=False)
        st.markdown(words.QUALITY_LEAD)
        _render_in_thirty_seconds(card)
        by_source, curves, audit, rejections, methods = st.tabs(words.TABS)
        with by_source:
            _render_sources()
            _render_hospitals()
        with curves:
            _render_plots()
        with audit:
            _render_audit()
            _render_saliency()
        with rejections:
            _render_rejections(card.gate)
        with methods:
            _render_architecture()
            _render_training()
            _render_candidates()
            _render_terms()
            st.caption(card.licence)


def _render_in_thirty_seconds(card: ModelCard) -> None:
    """What it is good for, in bars, people and sentences; beside it the original on its own mix."""
    bars, said = st.columns([11, 9], gap="large")
    with bars:
        st.markdown(f"**{words.QUALITY_BARS}**")
        _render_forest(measured.headline_lines(), "headline", bars=True)
        st.markdown(f"**{words.FREQUENCIES_TITLE}**  \n" + "  \n".join(measured.frequencies()))
        _render_original()
    with said:
        worst = measured.worst_group()
        if worst is not None:
            st.markdown(f"**{words.WORST_TITLE}**  \n:red[{escaped(worst)}]")
        st.markdown(f"**{words.NEW_HOSPITAL_TITLE}**  \n{escaped(measured.new_hospital())}")
        trusted = measured.maps_trusted()
        if trusted is not None:
            st.markdown(f"**{words.TRUST_TITLE}**  \n{escaped(trusted)}")
        limits = "\n".join(f"- {escaped(limit)}" for limit in card.limits)
        st.markdown(f"**{words.NEVER_SEEN_TITLE}**\n\n{limits}")


def _render_forest(lines: list[Line], key: str, *, bars: bool = False) -> None:
    if len(lines) > 1:
        render_chart(forest_chart(lines, palette(), bars=bars), key=f"forest_{key}", alt=forest_alt(lines))


def _render_original() -> None:
    table = measured.original_table()
    if table is None:
        return
    with st.expander(words.ORIGINAL_TITLE, expanded=True):
        render_table(table, title=words.ORIGINAL_TITLE)
        st.caption(words.ORIGINAL_NOTE)


def _render_sources() -> None:
    table = measured.source_table()
    if table is None:
        st.markdown(words.NOTHING_MEASURED)
        return
    _render_forest(measured.source_lines(), "sources")
    render_table(table, title=words.SOURCES_TITLE)
    st.caption(" ".join([words.SOURCES_NOTE, *(f"{escaped(reason)}." for reason in measured.reasons())]))


def _render_hospitals() -> None:
    cohorts = measured.calibration_lines()
    if not cohorts:
        return
    st.subheader(words.SITES_TITLE, anchor=False)
    for place, (cohort, lines) in zip(st.columns(len(cohorts), gap="large"), cohorts.items(), strict=True):
        figure = forest_chart(lines, palette())
        figure.layout.shapes = ()  # half is chance for an area under a curve, and says nothing of a share
        figure.update_xaxes(title_text=words.SITES_AXIS)
        with place:
            st.markdown(f"**{escaped(cohort)}**")
            render_chart(figure, key=f"forest_{cohort}", alt=f"{cohort}: {forest_alt(lines)}")
    st.caption(" ".join([words.SITES_NOTE, *map(escaped, measured.compared())]))


def _render_candidates() -> None:
    table = measured.candidate_table()
    if table is None:
        return
    st.subheader(words.CANDIDATES_TITLE, anchor=False)
    render_table(table, title=words.CANDIDATES_TITLE)
    st.caption(measured.candidate_note())


def _render_audit() -> None:
    st.subheader(words.AUDIT_TITLE, anchor=False)
    st.markdown(words.AUDIT_LEAD)
    lines = measured.audit_lines()
    if not lines:
        st.markdown(words.AUDIT_NONE)
        return
    _render_forest(lines, "audit")
    st.caption(words.AUDIT_NOTE)


def _render_saliency() -> None:
    sentences = measured.saliency_sentences()
    if not sentences:
        return
    st.subheader(words.SALIENCY_TITLE, anchor=False)
    st.markdown("\n".join(f"- {escaped(sentence)}" for sentence in sentences))
    drawn = [plot for plot in measured.plots() if plot.name.startswith(_OF_THE_MAPS)]
    if drawn:
        with st.expander(words.SALIENCY_PLOTS):
            _render_pairs(drawn)


def _render_rejections(gate: dict[str, Any]) -> None:
    table = measured.rejection_table(gate)
    if table is None:
        st.markdown(words.NOTHING_MEASURED)
        return
    render_table(table, title=words.TABS[3])
    st.caption(words.REJECTED_NOTE)


def _render_plots() -> None:
    drawn = [plot for plot in measured.plots() if not plot.name.startswith(_NOT_A_CURVE)]
    if drawn:
        _render_pairs(drawn)
    else:
        st.markdown(words.NOTHING_MEASURED)


def _render_training() -> None:
    """How the network came about, as the training wrote it down, or as the evaluation has drawn it."""
    drawn = [plot for plot in measured.plots() if plot.name.startswith(_OF_THE_TRAINING)]
    rows = measured.training_rows()
    if rows and not drawn:
        drawn = [measured.Plot(_OF_THE_TRAINING, words.TRAINING_TITLE, _training_figure(rows))]
    for plot in drawn:
        _render_plot(plot)


def _render_pairs(drawn: list[measured.Plot]) -> None:
    """Two figures a row; one with many panels has a row for itself."""
    wide = [plot for plot in drawn if len(list(plot.figure.select_xaxes())) >= _WIDE]
    columns = st.columns(2, gap="medium")
    for place, plot in enumerate(plot for plot in drawn if plot not in wide):
        with columns[place % 2]:
            _render_plot(plot)
    for plot in wide:
        _render_plot(plot)


def _render_plot(plot: measured.Plot) -> None:
    st.plotly_chart(_fitted(plot.figure), theme=None, key=f"plot_{plot.name}", alt=plot.title)


def _fitted(figure: go.Figure) -> go.Figure:
    """A figure in the page's colours, with room for each of its names."""
    colours = palette()
    lines = {"gridcolor": colours.line, "zerolinecolor": colours.line, "linecolor": colours.line}
    small = {"size": 12}
    figure = dressed(figure, colours).update_xaxes(**lines, title_font=small).update_yaxes(**lines, title_font=small)
    figure.update_annotations(font=small)
    values = (y for trace in figure.data if trace.y is not None for y in trace.y)
    names = {y for y in values if isinstance(y, str)}  # of the vertical axis
    if names:
        figure.update_yaxes(dtick=1, automargin=True)
    return figure.update_layout(height=max(_PLOT_HEIGHT, _AROUND_ROWS + _ROW_HEIGHT * len(names)), title_font_size=16)


def _training_figure(rows: list[dict[str, Any]]) -> go.Figure:
    """Validation figures along the training."""
    colours = palette()
    figure = go.Figure(layout={"title": words.TRAINING_TITLE})
    steps = [row["step"] for row in rows]
    for name, label in words.TRAINING_CURVES.items():
        if all(name in row for row in rows):
            figure.add_trace(go.Scatter(x=steps, y=[row[name] for row in rows], name=label, mode="lines+markers"))
    figure.update_xaxes(title=words.TRAINING_STEPS, gridcolor=colours.line)
    figure.update_yaxes(title=words.TRAINING_VALUE, gridcolor=colours.line)
    return figure.update_layout(legend={"orientation": "h", "y": -0.25})


def _render_architecture() -> None:
    if not _ARCHITECTURE.exists():
        return
    st.subheader(words.ARCHITECTURE_TITLE, anchor=False)
    st.image(str(_ARCHITECTURE), width="stretch", alt=words.ARCHITECTURE_ALT)
    st.caption(words.ARCHITECTURE_NOTE)


def _render_terms() -> None:
    st.subheader(words.TERMS_TITLE, anchor=False)
    st.markdown("\n".join(f"- **{term}**: {meaning}" for term, meaning in words.TERMS.items()))
