"""X-rays of the hospital's archive, where one is configured: find, pick, analyse, send the results back.

Patients' names are asked for this list and shown on it. They stay in the session's memory and go with it: no row, log
or file of the page has them. The results name the patient, as the image does, and go to the image's own study alone.
"""

from __future__ import annotations

import itertools
import os
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.answers.answer import NoAnswer, Question
from detector.pacs.analyse import answer_dicom, store_missing
from detector.pacs.web import Archive, ArchiveError, Credentials, Wanted
from detector.ui import resources
from detector.ui.names import literal
from detector.ui.pacs_desk import Answered, Desk, Listed
from detector.ui.session import session
from detector.ui.sources import Source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from detector.pacs.web import Found

_LISTED = 100  # X-rays of a search: more are no list to pick from


def render() -> None:
    """Draw the page."""
    now = session()
    desk = now.pacs = now.pacs or Desk()
    st.title(words.PAGE_PACS, anchor=False)
    st.caption(words.PACS_LEAD)
    try:
        archive = Archive(os.environ[words.PACS_VARIABLE], Credentials.from_environment())
    except ValueError as error:
        st.error(words.PACS_ADDRESS.format(why=error), icon=":material/error:")
        return
    try:
        _render_search(desk, archive)
        picked = _render_list(desk)
        _render_work(desk, archive, picked)
    except ArchiveError as error:
        st.error(error.user_message, icon=":material/cloud_off:")


def _render_search(desk: Desk, archive: Archive) -> None:
    with st.form("pacs_search"), st.container(horizontal=True, vertical_alignment="bottom"):
        day: date | None = st.date_input(words.PACS_DAY, value="today", key="pacs_day")
        station = st.text_input(words.PACS_STATION, key="pacs_station")
        asked = st.form_submit_button(words.PACS_FIND, icon=":material/search:", key="pacs_find")
    if asked:
        wanted = Wanted(date=day.strftime("%Y%m%d") if day else "", station=station.strip())
        with st.spinner(words.PACS_FINDING):
            found = list(itertools.islice(archive.find(wanted), _LISTED + 1))
            names = {study: archive.patient_name(study) for study in {item.study for item in found[:_LISTED]}}
        desk.listed = [Listed(item, names[item.study]) for item in found[:_LISTED]]
        desk.are_more = len(found) > _LISTED


def _render_list(desk: Desk) -> list[Found]:
    """The X-rays with what came of each; returns those that are picked."""
    if desk.are_more:
        st.warning(words.PACS_MORE.format(count=_LISTED))
    if not desk.listed:
        st.caption(words.PACS_NONE)
    picked = []
    for item in desk.listed:
        found, answered = item.found, desk.answered.get(item.found.instance)
        about = (item.patient or words.PACS_NO_NAME, found.date, found.station, found.modality, found.view)
        if st.checkbox(literal(" · ".join(filter(None, about))), key=f"pick_{found.instance}"):
            picked.append(found)
        if answered is not None:
            st.caption(" · ".join(literal(told) for told in (answered.said, answered.sent) if told))
    return picked


def _render_work(desk: Desk, archive: Archive, picked: Sequence[Found]) -> None:
    modes = list(words.MODES)
    mode = st.segmented_control(
        words.MODE, modes, format_func=words.MODES.__getitem__, default=modes[0], key="pacs_mode"
    )
    waiting = [found for found in picked if (done := desk.answered.get(found.instance)) and done.results]
    with st.container(horizontal=True):
        if st.button(words.PACS_ANALYSE, disabled=not picked, icon=":material/play_arrow:", key="pacs_analyse"):
            _analyse(desk, archive, picked, Question(mode or modes[0], site=session().site))
            st.rerun()
        if st.button(words.PACS_SEND, disabled=not waiting, icon=":material/send:", key="pacs_send"):
            _send(desk, archive, waiting)
            st.rerun()


def _analyse(desk: Desk, archive: Archive, picked: Sequence[Found], question: Question) -> None:
    """Answer for each; in the reading room they can be looked at, fetched again when they are opened."""
    engine = resources.load_engine()
    now = session()
    for number, found in enumerate(picked, start=1):
        with st.spinner(words.PACS_WORKING.format(number=number, count=len(picked))):
            try:
                told, results = answer_dicom(archive.fetch(found), engine, question)
                desk.answered[found.instance] = Answered(words.headline(told.decision, told.probabilities), results)
            except ArchiveError:
                raise
            except Exception as error:  # noqa: BLE001 - one image must not end the work on the others
                desk.answered[found.instance] = Answered(NoAnswer.of(error, name=found.instance).reason)
        identifier = f"pacs:{found.instance}"
        if identifier not in {source.identifier for source in now.kept}:
            name = "_".join(filter(None, (found.date, found.station, found.view, str(number)))) + ".dcm"
            now.kept.append(Source(identifier, name, partial(archive.fetch, found)))


def _send(desk: Desk, archive: Archive, waiting: Sequence[Found]) -> None:
    for found in waiting:
        answered = desk.answered[found.instance]
        count = store_missing(archive, found.study, answered.results)
        told = words.PACS_SENT if count else words.PACS_THERE
        answered.sent = told.format(count=count, when=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S"))
        answered.results = {}
