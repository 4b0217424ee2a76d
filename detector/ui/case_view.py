"""The open file: what it shows (container `viewer`) and what the map says (container `evidence`).

The same containers stand at the same place for a file that was rejected or is still waiting. Nothing here runs the
network, but for the stability check that the reader asks for.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from detector import words
from detector.answers.pretest import judge
from detector.errors import DetectorError
from detector.ui.cases import Case, Failure
from detector.ui.names import shown_name
from detector.ui.screen import Screen, badges_of
from detector.ui.session import session
from detector.ui.viewer import render_viewer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from detector.answers.answer import Answer, Question, Verdict
    from detector.answers.site import Site
    from detector.model.card import ModelCard
    from detector.model.engine import Engine
    from detector.ui.worklist import Entry


_FIRST_PRE_TEST = 10  # percent


@st.fragment
def render_case(entry: Entry, question: Question, card: ModelCard, engine: Engine) -> None:
    """Pictures and evidence. A fragment: another class or window redraws this part of the page alone."""
    result, told = entry.result, None
    if isinstance(result, Case):
        told = _explained(result, question)
        screen = screen_of(entry, result, told)
    else:
        screen = empty_screen(entry)
    render_viewer(screen, entry.result.picture if entry.result else None, lambda: _native(entry))
    with st.container(key="evidence"):
        if isinstance(result, Case) and told is not None:
            _render_evidence(entry, result, told, card, engine)


def prepare(entry: Entry, question: Question) -> None:
    """Have ready what takes time, so that the answer and the pictures it belongs to are sent together."""
    if isinstance(entry.result, Case):
        entry.result.drawing(_explained(entry.result, question))
        with suppress(DetectorError):  # the viewer says so
            entry.result.picture.pixels  # noqa: B018 - decoded again where it has left the shelf


def screen_of(entry: Entry, case: Case, told: Answer) -> Screen:
    """What the viewer draws of an answered image."""
    image, task = case.screen_key, told.task
    name, title = shown_name(entry.source.name), words.map_title(told.target_class, told.question.against)
    radiograph = case.analysis.radiograph
    return Screen(
        image=image,
        subject=f"{image} {task.name}",
        shape=case.picture.shape,
        has_picture=True,
        has_more=(radiograph.rows, radiograph.columns) > case.picture.shape,
        titles=(name, title),
        alts=(words.XRAY_ALT.format(name=name), words.MAP_ALT.format(title=title, sentence=told.evidence_sentence)),
        badges=badges_of(told),
        classes=[(one, words.CLASSES[one]) for one in task.classes],
        target=told.target_class,
        against=told.question.against,
        drawing=case.drawing(told),
        full_scale=told.full_scale,
    )


def empty_screen(entry: Entry) -> Screen:
    """What the viewer draws of a file without an answer: its picture where there is one, and no map."""
    result, name = entry.result, shown_name(entry.source.name)
    picture = result.picture if isinstance(result, Failure) else None
    if isinstance(result, Failure):
        why = words.NO_MAP
    else:
        why = words.LEFT_OUT if entry.left_out else words.ANALYSING_ONE.format(name=name)
    if picture is None:
        return Screen(image=entry.source.identifier, empty=(words.NO_PICTURE if result else why, why))
    return Screen(
        image=f"{result.key[:16]} rejected" if isinstance(result, Failure) else entry.source.identifier,
        shape=(picture.shape[0], picture.shape[1]),
        has_picture=True,
        titles=(name, ""),
        alts=(words.REJECTED_ALT.format(name=name), why),
        empty=("", why),
    )


def _explained(case: Case, question: Question) -> Answer:
    """The answer with the map that the reader has chosen; the decision's class comes first."""
    told = case.answer(question)
    chosen = session().explained.get(f"{case.screen_key} {told.task.name}")
    if chosen is None or chosen[0] not in told.task.classes:
        return told
    target, against = chosen
    against = against if against in told.task.classes and against != target else None
    return case.answer(replace(question, target_class=target, against=against))


def _native(entry: Entry) -> np.ndarray:
    if not isinstance(entry.result, Case):
        raise TypeError(entry.source.identifier)
    return entry.result.native(entry.source.read())


def _render_evidence(entry: Entry, case: Case, told: Answer, card: ModelCard, engine: Engine) -> None:
    st.markdown(told.evidence_sentence)
    said, judged = st.columns([11, 9], gap="medium")
    with said:
        st.caption(words.MAP_CAUTION)
        with st.container(horizontal=True, gap="small"):
            from detector.ui.exports import render_case_exports  # noqa: PLC0415 - with what writes PDF files

            render_case_exports(entry, case, told)
            _render_stability_button(entry, case, engine)
            with st.popover(words.DETAILS, icon=":material/info:"):
                _render_details(case, card, engine)
    with judged:
        _render_judgement(told.verdict, told.question.site)


def _render_judgement(verdict: Verdict, site: Site | None) -> None:
    """The pre-test slider and what the answer makes of it; nothing where it can't change it."""
    if judge(verdict, _FIRST_PRE_TEST / 100, site=site) is None:
        return
    pre_test = st.slider(
        words.PRE_TEST, 1, 99, _FIRST_PRE_TEST, format="%d %%", help=words.PRE_TEST_HELP, key="pre_test",
        persist_state="session",
    )  # fmt: skip
    judgement = judge(verdict, pre_test / 100, site=site)
    if judgement is not None:
        st.markdown(judgement.headline, help=judgement.explanation)


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


def _render_details(case: Case, card: ModelCard, engine: Engine) -> None:
    test = card.performance.get("test")
    if test:
        binary, three = (_with_interval(test[f"{name}_auroc"]) for name in ("binary", "three_class_macro"))
        st.markdown(words.PERFORMANCE.format(n=test["binary_auroc"]["n"], binary=binary, three=three))
    for limit in card.limits:
        st.markdown(f"- {limit}")
    analysis = case.analysis
    radiograph, model = analysis.radiograph, analysis.model
    st.caption(
        f"{radiograph.file_format}, {radiograph.rows} × {radiograph.columns} pixels, SHA-256 {case.key[:16]}…  \n"
        f"{model.name} {model.version}, SHA-256 {model.sha256[:16]}…, {card.preprocessing}, "
        f"{analysis.analysed_at}  \n{words.PASSES.format(count=engine.forward_passes)}  \n{card.licence}"
    )


def _with_interval(estimate: Mapping[str, Any]) -> str:
    return f"{estimate['value']:.3f} ({estimate['ci_low']:.3f} to {estimate['ci_high']:.3f})"
