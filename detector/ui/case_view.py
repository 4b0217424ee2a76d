"""One image on the page: decision, warnings, bars, X-ray and map.

Nothing here runs the network, but for the stability check that the reader asks for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.errors import DetectorError
from detector.schema import NOTICE
from detector.ui import bars, stability_check, viewer, zoom
from detector.ui.gate_view import render_correction
from detector.ui.greyscale import Greyscale, shown
from detector.ui.judgement import render_judgement
from detector.ui.names import literal, shown_name
from detector.ui.palette import palette_of
from detector.ui.session import session
from detector.ui.viewer import COLOUR, STYLES, Controls, MapLook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.answers.answer import Answer, Question, Verdict
    from detector.model.card import ModelCard
    from detector.model.engine import Engine
    from detector.schema import Task
    from detector.ui.cases import Case
    from detector.ui.worklist import Entry

_CHART_CONFIG = {"displayModeBar": False}
_VIEWER_CONFIG = {
    "displaylogo": False,
    "scrollZoom": True,
    "displayModeBar": True,
    # All of the picture, not the part that the chart was last drawn with.
    "doubleClick": "autosize",
    "modeBarButtons": [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]],
}
_VIEWER, _BARS = "viewer_box", "bars_box"
_CLASS_MEAN = "mean"


@st.fragment
def render_case(entry: Entry, case: Case, question: Question, card: ModelCard, engine: Engine) -> None:
    """Everything about one image. A fragment: its controls redraw this part of the page alone."""
    told = case.answer(question)
    answer, chart = st.columns([9, 11], gap="medium")
    with answer:
        with st.container():
            _render_answer(entry, case, told, engine)
        buttons = st.container(horizontal=True, gap="small")
    with chart:
        _render_bars(case, told.verdict)
    told, controls = _render_controls(case, told)
    _render_viewer(entry, case, told, controls)
    said, judged = st.columns([11, 9], gap="medium")
    with said:
        st.markdown(_sentence(told))
        st.caption(f"{words.MAP_CAUTION} {words.VIEWER_HINT}")
    with judged:
        render_judgement(told.verdict)
    with buttons:
        _render_stability_button(entry, case, engine)
        from detector.ui.exports import render_case_exports  # noqa: PLC0415 - with what writes PDF files

        render_case_exports(entry, case, told, controls)
    _render_details(case, card, engine)


def _render_answer(entry: Entry, case: Case, told: Answer, engine: Engine) -> None:
    if told.warnings:
        st.warning("  \n".join(told.warnings), icon=":material/warning:")
    if case.analysis.suggested_correction is not None:
        render_correction(entry, case.analysis.suggested_correction, engine)
    st.header(words.DECISIONS[told.decision], anchor=False)
    st.caption(" · ".join([literal(entry.source.name), *map(literal, told.marks), NOTICE]))
    if told.why_indeterminate is not None:
        st.markdown(told.why_indeterminate)


def _render_bars(case: Case, verdict: Verdict) -> None:
    stability = session().stability.get(case.stability_key)
    whiskers = stability_check.whiskers(stability, verdict.task) if stability else None
    with st.container(key=_BARS):
        st.plotly_chart(
            bars.probability_chart(verdict, whiskers=whiskers, palette=_palette()),
            config=_CHART_CONFIG,
            theme=None,
            key="probabilities",
            alt=bars.probability_alt(verdict, whiskers),
        )
    if stability:
        span = stability_check.widest(stability, verdict.task)
        st.caption(words.STABLE.format(count=len(stability.perturbations), span=100 * span))


def _render_stability_button(entry: Entry, case: Case, engine: Engine) -> None:
    """The check, until it is done."""
    if case.stability_key in session().stability:
        return
    if not st.button(words.STABILITY, help=words.STABILITY_HELP, icon=":material/vibration:", key="stability"):
        return
    from detector.answers.stability import measure_stability  # noqa: PLC0415 - asked for seldom

    try:
        with st.spinner(words.STABILITY_RUNNING):
            found = measure_stability(case.with_pixels(entry.source.read()), engine)
    except DetectorError as error:
        st.error(error.user_message)
        return
    session().stability[case.stability_key] = found
    st.rerun()


def _render_controls(case: Case, told: Answer) -> tuple[Answer, Controls]:
    """What is explained and how it is drawn: the answer with that map, and its look."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        target = _render_target(case, told)
        against = _render_against(told.task, target)
        style = st.segmented_control(
            words.STYLE,
            STYLES,
            default=COLOUR,
            required=True,
            format_func=words.STYLES.get,
            key="style",
            persist_state="session",
        )
        with st.container(width=110):
            opacity = st.slider(
                words.OPACITY, 0, 100, 60, step=5, format="%d %%", key="opacity", persist_state="session"
            )
        with st.popover(words.GREYSCALE, icon=":material/contrast:"):
            greyscale = _render_greyscale(case)
    told = case.answer(replace(told.question, target_class=target, against=against))
    look = MapLook(words.map_title(target, against), told.full_scale, style=style, opacity=opacity / 100)
    return told, Controls(look, greyscale)


def _render_target(case: Case, told: Answer) -> str:
    """The class to explain. The decision's class comes first until the reader chooses another."""
    task, chosen = told.task, session().targets
    first = chosen.get((case.key, task.name), told.target_class)
    target = st.segmented_control(
        words.EXPLAIN,
        task.classes,
        default=first,
        required=True,
        format_func=words.CLASSES.get,
        key=f"explain_{case.key}_{task.name}_{told.target_class}",
    )
    if target != first:
        chosen[case.key, task.name] = target
    return target


def _render_against(task: Task, target: str) -> str | None:
    """The class that the evidence is contrasted with; the binary question has only one other."""
    others = [name for name in task.classes if name != target]
    if len(others) == 1:
        return None
    with st.container(width=150):
        against = st.selectbox(
            words.AGAINST,
            [_CLASS_MEAN, *others],
            format_func=lambda name: words.CLASSES.get(name, words.AGAINST_NONE),
            help=words.AGAINST_HELP,
            key=f"against_{target}",
        )
    return None if against == _CLASS_MEAN else against


def _render_greyscale(case: Case) -> Greyscale:
    """Level, window and inversion of this X-ray."""
    key = case.key[:16]
    level = st.slider(words.LEVEL, 0, 100, 50, format="%d %%", key=f"level_{key}", persist_state="session")
    window = st.slider(words.WINDOW, 2, 100, 100, format="%d %%", key=f"window_{key}", persist_state="session")
    inverted = st.toggle(words.INVERT, key=f"invert_{key}", persist_state="session")
    st.button(words.GREYSCALE_RESET, key="reset_greyscale", on_click=_reset_greyscale, args=(key,))
    return Greyscale(level, window, inverted)


def _reset_greyscale(key: str) -> None:
    st.session_state.update({f"level_{key}": 50, f"window_{key}": 100, f"invert_{key}": False})


def _render_viewer(entry: Entry, case: Case, told: Answer, controls: Controls) -> None:
    look = controls.look
    try:
        x_ray = shown(case.image, controls.greyscale)
    except DetectorError:
        st.error(words.PICTURE_GONE, icon=":material/hourglass_disabled:")
        return
    heatmap = case.heatmap(told.cam, longer_side=viewer.SIDES[look.style])
    figure = viewer.comparison_figure(x_ray, heatmap, look, palette=_palette(), view=zoom.view_of(case.key))
    with st.container(key=_VIEWER):
        st.html(_style(case))
        st.plotly_chart(
            figure,
            config=_VIEWER_CONFIG,
            theme=None,
            height="stretch",
            key="viewer",
            alt=words.VIEWER_ALT.format(name=shown_name(entry.source.name), title=look.title, sentence=_sentence(told)),
        )
    zoom.render_memory(_VIEWER, case.key)


def _sentence(told: Answer) -> str:
    """Where the evidence lies, for the class as such: a contrast has no share of its own."""
    return f"{words.CLASSES[told.target_class]}: {told.evidence_sentence}"


def _style(case: Case) -> str:
    """How high the charts are, known before they are drawn, so that nothing jumps.

    The pictures take the width that there is, but no more height than the window leaves them (assets/page.css).
    """
    rows, columns = case.shape
    height = f"calc((100cqw - {viewer.TOOLS}px) * {rows / columns / 2:.4f} + {viewer.HEAD}px)"
    return (
        f"<style>.st-key-{_BARS} {{ min-height: {bars.HEIGHT}px; }}"
        f" .st-key-{_VIEWER} {{ flex: none; height: min({height}, var(--viewer-height)); }}</style>"
    )


def _render_details(case: Case, card: ModelCard, engine: Engine) -> None:
    with st.expander(words.DETAILS):
        test = card.performance.get("test")
        if test:
            st.markdown(_performance(test))
        for limit in card.limits:
            st.markdown(f"- {limit}")
        analysis = case.analysis
        radiograph, model = analysis.radiograph, analysis.model
        st.caption(
            f"{radiograph.file_format}, {radiograph.rows} × {radiograph.columns} pixels, SHA-256 {case.key[:16]}…  \n"
            f"{model.name} {model.version}, SHA-256 {model.sha256[:16]}…, {card.preprocessing}, "
            f"{analysis.analysed_at}  \n{words.PASSES.format(count=engine.forward_passes)}  \n{card.licence}"
        )


def _performance(test: Mapping) -> str:
    binary, three = test["binary_auroc"], test["three_class_macro_auroc"]
    return words.PERFORMANCE.format(n=binary["n"], binary=_with_interval(binary), three=_with_interval(three))


def _with_interval(estimate: Mapping) -> str:
    return f"{estimate['value']:.3f} ({estimate['ci_low']:.3f} to {estimate['ci_high']:.3f})"


def _palette() -> bars.Palette:
    return palette_of(st.get_option("theme.base"))
