"""The reading room at work: the question and the worklist at the side, the open image beside them."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.answers.answer import Question
from detector.errors import ModelError
from detector.model.calibration import BALANCED
from detector.schema import BINARY, TASKS, task_by_mode
from detector.ui import arrow_keys, resources
from detector.ui.case_view import render_case
from detector.ui.cases import Case, Failure
from detector.ui.gate_view import render_refusal
from detector.ui.names import literal
from detector.ui.session import session
from detector.ui.worklist import ARRIVAL, entries_of, neighbours, notes_of, render_progress, render_worklist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamlit.delta_generator import DeltaGenerator

    from detector.model.card import ModelCard
    from detector.model.engine import Engine
    from detector.ui.sources import Source
    from detector.ui.worklist import Entry

_FIRST_WAIT = 4  # seconds that a run of the page waits for its first image; after that the page looks again by itself
_POLL = 0.7  # seconds between two looks at a running analysis
_CASE_HEIGHT = 900  # pixels kept free for the first image, so that nothing jumps when it comes
_NAMED_FAILURES = 3


def render(
    sources: Sequence[Source], *, side: DeltaGenerator, list_place: DeltaGenerator, room: DeltaGenerator
) -> None:
    """Ask, analyse and answer.

    Args:
        sources: what to analyse.
        side: place of the question.
        list_place: place of the worklist.
        room: place of the open image.
    """
    try:
        card = resources.load_card()
        with side:
            question = render_question(card)
        with room:
            engine = _load_engine()
    except ModelError as error:
        st.error(words.MODEL_FAILED.format(cure=error.user_message), icon=":material/error:")
        return
    session().analyst.ask(sources, engine)
    _open_first(sources)
    entries = entries_of(sources, session().analyst, question)
    with list_place:
        _render_list_live(sources, question, card)
    with room:
        _render_room(entries, question, card, engine)
        arrow_keys.render()


def render_question(card: ModelCard) -> Question:
    """The mode toggle, and the operating point of the binary mode."""
    with st.container(horizontal=True, gap="medium"):
        mode = st.segmented_control(
            words.MODE, [t.mode for t in TASKS], default=BINARY.mode, required=True, format_func=words.MODES.get,
            help=words.MODE_HELP, key="mode", persist_state="session",
        )  # fmt: skip
        task = task_by_mode(mode)
        chosen = st.segmented_control(
            words.OPERATING_POINT,
            list(words.OPERATING_POINTS),
            default=BALANCED,
            required=True,
            format_func=words.OPERATING_POINTS.get,
            help=words.OPERATING_POINT_HELP + _measured(card),
            disabled=task is not BINARY,
            key="operating_point",
            persist_state="session",
        )
    return Question(mode, chosen)


def _measured(card: ModelCard) -> str:
    return "; ".join(
        words.OPERATING_POINT_MEASURED.format(
            name=words.OPERATING_POINTS[p.name], sensitivity=p.sensitivity, specificity=p.specificity
        )
        for p in card.calibration.operating_points.values()
    )


def _load_engine() -> Engine:
    """Load the network, and say so while it takes its seconds."""
    place = st.empty()
    if resources.is_loaded():
        return resources.load_engine()
    with place.container(height=_CASE_HEIGHT, border=False):
        st.info(words.LOADING, icon=":material/hourglass_top:")
    engine = resources.load_engine()
    place.empty()
    return engine


def _open_first(sources: Sequence[Source]) -> None:
    """Open the first image that has an answer, unless one of the list is open."""
    now = session()
    if now.opened in {source.identifier for source in sources}:
        return
    now.opened = _first_answered(sources)
    deadline = time.monotonic() + _FIRST_WAIT
    for source in sources:
        if now.opened is not None or now.analyst.is_left_out(source.identifier):
            break
        if now.analyst.wait_for(source.identifier, max(0.0, deadline - time.monotonic())) is None:
            return
        now.opened = _first_answered([source])
    now.opened = now.opened or sources[0].identifier


def _first_answered(sources: Sequence[Source]) -> str | None:
    """The first file whose image has been analysed."""
    result = session().analyst.result
    return next((source.identifier for source in sources if isinstance(result(source.identifier), Case)), None)


def _render_list_live(sources: Sequence[Source], question: Question, card: ModelCard) -> None:
    """The worklist, which looks at the analysis again and again while there is something to wait for."""
    now = session()
    busy = now.analyst.progress() is not None
    missing = now.opened is None or now.analyst.result(now.opened) is None
    draw = st.fragment(_render_list, run_every=_POLL if busy else None)
    draw(sources, question, card, busy=busy, missing=missing)


def _render_list(sources: Sequence[Source], question: Question, card: ModelCard, *, busy: bool, missing: bool) -> None:
    """One look at the list. Draws the whole page anew when the run has ended or the open image has its answer."""
    analyst = session().analyst
    running = analyst.progress() is not None
    if (busy and not running) or (missing and _has_something_to_open(sources)):
        _open_first(sources)
        st.rerun()
    entries = entries_of(sources, analyst, question)
    if len(sources) > 1:
        with st.container():  # its own place, see `render`
            render_progress(analyst)
        _render_way(entries, st.session_state.get("order") or ARRIVAL, partial(_go, sources, question))
        order = st.segmented_control(
            words.ORDER, list(words.ORDERS), default=ARRIVAL, required=True, format_func=words.ORDERS.get,
            help=words.ORDER_HELP, key="order", persist_state="session", on_change=st.rerun,
        )  # fmt: skip
        render_worklist(entries, order)
        _render_failures(entries)
        from detector.ui.exports import render_list_exports  # noqa: PLC0415 - with what writes PDF files

        render_list_exports(entries, question, card)


def _has_something_to_open(sources: Sequence[Source]) -> bool:
    now = session()
    if now.opened is not None:
        return now.analyst.result(now.opened) is not None
    return _first_answered(sources) is not None


def _render_failures(entries: Sequence[Entry]) -> None:
    """A sentence for each of the first files that have no answer, in one note; the list has them all."""
    failed = [e for e in entries if isinstance(e.result, Failure) and e.source.identifier != session().opened]
    lines = [f"**{literal(entry.source.name)}**: {' '.join(notes_of(entry))}" for entry in failed[:_NAMED_FAILURES]]
    if len(failed) > _NAMED_FAILURES:
        lines.append(words.MORE_FAILURES.format(count=len(failed) - _NAMED_FAILURES))
    if lines:
        st.error("  \n".join(lines), icon=":material/block:")


def _render_room(entries: Sequence[Entry], question: Question, card: ModelCard, engine: Engine) -> None:
    """The open image, or why there is none."""
    opened = session().opened
    entry = next((entry for entry in entries if entry.source.identifier == opened), entries[0])
    if isinstance(entry.result, Case):
        render_case(entry, entry.result, question, card, engine)
    elif isinstance(entry.result, Failure):
        render_refusal(entry, entry.result, engine)
    elif entry.left_out:
        st.info(words.LEFT_OUT_HINT, icon=":material/pause_circle:")
    else:
        st.caption(words.ANALYSING_ONE.format(name=literal(entry.source.name)))
        st.skeleton(_CASE_HEIGHT)


def _render_way(entries: Sequence[Entry], order: str, go: partial) -> None:
    """Previous and next, by button and by arrow key."""
    before, place, after = neighbours(entries, session().opened, order)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.button(
            words.PREVIOUS, icon=":material/chevron_left:", key="previous", shortcut="Left", disabled=before is None,
            on_click=go, args=(-1,),
        )  # fmt: skip
        st.caption(words.PLACE.format(place=place, total=len(entries)), width="content")
        st.button(
            words.NEXT, icon=":material/chevron_right:", key="next", shortcut="Right", disabled=after is None,
            on_click=go, args=(1,),
        )  # fmt: skip


def _go(sources: Sequence[Source], question: Question, step: int) -> None:
    """Open the file before or after the open one, in the order that is shown now."""
    now = session()
    order = st.session_state.get("order") or ARRIVAL
    entries = entries_of(sources, now.analyst, question)
    before, _, after = neighbours(entries, now.opened, order)
    now.opened = (before if step < 0 else after) or now.opened
    st.rerun()
