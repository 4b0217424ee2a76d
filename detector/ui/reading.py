"""The reading room at work: the question and the worklist at the side, the open image beside them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.answers.answer import Question
from detector.errors import ModelError
from detector.model.calibration import BALANCED
from detector.paths import ASSETS
from detector.schema import BINARY, TASKS
from detector.ui import resources, site_view
from detector.ui.answer_view import render_answer
from detector.ui.case_view import prepare, render_case
from detector.ui.cases import Case
from detector.ui.session import session
from detector.ui.worklist import entries_of, render_progress, render_worklist

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamlit.delta_generator import DeltaGenerator

    from detector.model.card import ModelCard
    from detector.model.engine import Engine
    from detector.ui.sources import Source

_FIRST_WAIT = 4  # seconds that a run of the page waits for its first image; after that the page looks again by itself
_POLL = 0.7  # seconds between two looks at a running analysis

_page = st.components.v2.component("page", js=(ASSETS / "page.js").read_text(encoding="utf-8"))


def render(sources: Sequence[Source], places: Mapping[str, DeltaGenerator]) -> None:
    """Ask, analyse and answer, in the containers of the mode, the operating point, the list and the open image."""
    try:
        card = resources.load_card()
        asked = render_question(card, places)
        with places["room"]:
            engine = _load_engine()
    except ModelError as error:
        st.error(words.MODEL_FAILED.format(cure=error.user_message), icon=":material/error:")
        return
    session().analyst.ask(sources, engine)
    _open_first(sources)
    with places["list"]:
        _render_list_live(sources, asked, card)
    with places["room"]:
        _render_room(sources, asked, card, engine)


def render_question(card: ModelCard, places: Mapping[str, DeltaGenerator]) -> Question:
    """The mode toggle, and the operating point of the binary mode, where no site's prediction sets decide."""
    site = site_view.chosen(card)
    with places["mode"]:
        mode = st.segmented_control(
            words.MODE, [t.mode for t in TASKS], default=BINARY.mode, required=True,
            format_func=words.MODES.__getitem__, help=words.MODE_HELP,
            key="question", persist_state="session", width="stretch",
        )  # fmt: skip
    with places["point"]:
        chosen = st.segmented_control(
            words.OPERATING_POINT,
            list(words.OPERATING_POINTS),
            default=BALANCED,
            required=True,
            format_func=words.OPERATING_POINTS.__getitem__,
            help=words.OPERATING_POINT_HELP + _measured(card),
            disabled=mode != BINARY.mode or (site is not None and site.tasks[BINARY.name] is not None),
            key="operating_point",
            persist_state="session",
            width="stretch",
        )
        site_view.render_note()
    return Question(mode or BINARY.mode, chosen or BALANCED, site=site)


def _measured(card: ModelCard) -> str:
    return "; ".join(
        words.OPERATING_POINT_MEASURED.format(
            name=words.OPERATING_POINTS[p.name],
            sensitivity=words.percent(p.sensitivity),
            specificity=words.percent(p.specificity),
        )
        for p in card.calibration.operating_points.values()
    )


def _load_engine() -> Engine:
    """Load the network, and say so while it takes its seconds."""
    place = st.empty()
    if resources.is_loaded():
        return resources.load_engine()
    with place.container(key="loading"):
        st.info(words.LOADING, icon=":material/hourglass_top:")
    engine = resources.load_engine()
    place.empty()
    return engine


def _open_first(sources: Sequence[Source]) -> None:
    """Open the list's first image that gets an answer, unless one of the list is open.

    Workers finish in any order, so the first is waited for; one that takes long gives way to what is there.
    """
    now = session()
    if now.opened in {source.identifier for source in sources}:
        return
    now.opened = None
    deadline = time.monotonic() + _FIRST_WAIT
    for source in sources:
        if now.analyst.is_left_out(source.identifier):
            break
        result = now.analyst.wait_for(source.identifier, max(0.0, deadline - time.monotonic()))
        if result is None or isinstance(result, Case):
            now.opened = source.identifier if result else _first_answered(sources)
            return
    now.opened = sources[0].identifier


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
    with st.container(key="progress"):
        render_progress(analyst)
    with st.container(key="worklist"):
        render_worklist(entries, changed=st.rerun)
    from detector.ui.exports import render_list_exports  # noqa: PLC0415 - with what writes PDF files

    render_list_exports(entries, question, card)
    if not running:
        from detector.ui.likeness_view import render_likeness  # noqa: PLC0415 - with SciPy, and asked of twenty X-rays

        render_likeness(entries, card)
    own = any(not source.identifier.startswith("example:") for source in sources)
    _page(key="page", data={"busy": running and own})


def _has_something_to_open(sources: Sequence[Source]) -> bool:
    now = session()
    if now.opened is not None:
        return now.analyst.result(now.opened) is not None
    return _first_answered(sources) is not None


def _render_room(sources: Sequence[Source], question: Question, card: ModelCard, engine: Engine) -> None:
    """The open file: what is told of it, its pictures, what the map says."""
    entries = entries_of(sources, session().analyst, question)
    entry = next((entry for entry in entries if entry.source.identifier == session().opened), entries[0])
    prepare(entry, question)
    render_answer(entry, engine)
    render_case(entry, question, card, engine)
