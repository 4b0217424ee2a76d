"""The third page: the reader answers first, sees the program's answer then, and is told at the end how both did."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import plotly.graph_objects as go
import streamlit as st

from detector import words
from detector.answers.answer import Question
from detector.errors import ModelError, OutputError
from detector.model.calibration import BALANCED
from detector.report.blind import SURENESS, as_csv, roc_points, rows
from detector.run.blind import Asked, BlindRead, begin, go_on, readings_folder
from detector.schema import BINARY, NOTICE, TASKS
from detector.ui import bars, resources, site_view, upload
from detector.ui.case_view import screen_of
from detector.ui.cases import Case
from detector.ui.palette import palette
from detector.ui.room import render_head
from detector.ui.screen import Screen
from detector.ui.session import Session, session
from detector.ui.tables import STYLE, render_table
from detector.ui.viewer import render_viewer
from detector.ui.worklist import Entry, render_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.model.card import ModelCard
    from detector.model.engine import Engine
    from detector.ui.sources import Source

ADDRESS = "blind-read"
_PARAMETER = "read"  # of the page's address: a reload finds its read again
_POLL = 0.7  # seconds between two looks at a running analysis
_TABLE, _IMAGE, _LABEL = ".csv", "image", "label"
_LARGEST_TABLE = 1_000_000  # bytes
_UPLOAD_WIDTH = 340  # pixels, as wide as beside the list


def render() -> None:
    """Draw the page from top to bottom."""
    upload.enter(ADDRESS)
    render_head()
    with st.container(key="blind"):
        st.header(words.PAGE_BLIND, anchor=False)
        try:
            card, engine = resources.load_card(), resources.load_engine()
        except ModelError as error:
            st.error(words.MODEL_FAILED.format(cure=error.user_message), icon=":material/error:")
            return
        read = _under_way(card)
        if read is None:
            _render_start(card, engine)
        elif read.current is None:
            _render_end(read)
        else:
            _render_read(read, read.current, engine)


@st.cache_resource(show_spinner=False)
def _open_reads() -> WeakValueDictionary[str, Session]:
    """Sessions that read, by the read's identifier: a reloaded page takes the X-rays over from the one before."""
    return WeakValueDictionary()


def _under_way(card: ModelCard) -> BlindRead | None:
    """The session's read, or the one of the page's address; None where there is none."""
    now, identifier = session(), st.query_params.get(_PARAMETER, "")
    if now.blind is None and identifier:
        before = _open_reads().get(identifier)
        if before is not None and before is not now and before.blind is not None:
            now.take_over(before)
        found = now.blind or go_on(readings_folder(), identifier)
        if found is None or found.asked.model != card.sha256:
            st.error(words.BLIND_UNKNOWN)
            return None
        now.blind = found
    if now.blind is not None:
        st.query_params[_PARAMETER] = now.blind.identifier
        _open_reads()[now.blind.identifier] = now
    return now.blind


def _render_start(card: ModelCard, engine: Engine) -> None:
    """What is to be read, and how."""
    st.markdown(words.BLIND_LEAD)
    mode = st.segmented_control(
        words.MODE, [t.mode for t in TASKS], default=BINARY.mode, required=True, format_func=words.MODES.__getitem__,
        help=words.MODE_HELP, key="blind_mode",
    )  # fmt: skip
    pictures, labels = _uploaded()
    if not pictures:
        st.caption(words.BLIND_NONE)
    if not pictures or _is_waiting(pictures, engine):
        return
    found = {key: source.name for source in pictures for key in [_key(source)] if key}
    known = {key: labels[name] for key, path in found.items() if (name := _plain(path)) in labels}
    st.markdown(words.BLIND_READY.format(cases=len(found), labelled=len(known)))
    site = site_view.chosen(card)
    site_view.render_note()
    if st.button(words.BLIND_BEGIN, type="primary", key="blind_begin", disabled=not found):
        asked = Asked(mode or BINARY.mode, BALANCED, card.sha256, site.sha256 if site else "")
        try:
            session().blind = begin(readings_folder(), list(found), known, asked)
        except OutputError as error:
            session().blind_note = words.BLIND_NOT_SAVED.format(reason=error.user_message)
            session().blind = begin(None, list(found), known, asked)
        upload.keep_uploads()
        st.rerun()


def _uploaded() -> tuple[list[Source], dict[str, str]]:
    """The X-rays on the page, and the labels of a table among them, by name of the file."""
    with st.container(key="upload", width=_UPLOAD_WIDTH):
        listed = [source for source in upload.render_upload() if not source.identifier.startswith("example:")]
    labels: dict[str, str] = {}
    for table in (source for source in listed if source.name.lower().endswith(_TABLE)):
        labels |= labels_of(table.read())
    return [source for source in listed if not source.name.lower().endswith(_TABLE)], labels


def labels_of(table: bytes) -> dict[str, str]:
    """Labels by name of the file, in lower case and without its folder; nothing of what is no such table."""
    if len(table) > _LARGEST_TABLE:
        return {}
    reader = csv.DictReader(io.StringIO(table.decode("utf-8-sig", "replace")))
    if not {_IMAGE, _LABEL} <= set(reader.fieldnames or ()):
        return {}
    return {_plain(row[_IMAGE]): row[_LABEL].strip() for row in reader if row[_IMAGE] and (row[_LABEL] or "").strip()}


def _plain(path: str) -> str:
    return PurePath(path.replace("\\", "/")).name.lower()


def _key(source: Source) -> str | None:
    """SHA-256 of an X-ray that was analysed."""
    analyst = session().analyst
    return analyst.key(source.identifier) if isinstance(analyst.result(source.identifier), Case) else None


def _is_waiting(sources: Sequence[Source], engine: Engine) -> bool:
    """Ask for the answers; says how far they are, and draws the page anew when they are there."""
    analyst = session().analyst
    analyst.ask(sources, engine)
    if analyst.progress() is None:
        return False

    @st.fragment(run_every=_POLL)
    def look() -> None:
        if analyst.progress() is None:
            st.rerun()
        render_progress(analyst)

    look()
    return True


def _render_read(read: BlindRead, case: str, engine: Engine) -> None:
    """One X-ray: the reader's answer, then the program's."""
    now = session()
    pictures = [source for source in now.kept if not source.name.lower().endswith(_TABLE)]
    waiting = bool(pictures) and _is_waiting(pictures, engine)
    found = next((source for source in pictures if now.analyst.key(source.identifier) == case), None)
    result = now.analyst.result(found.identifier) if found else None
    if found is None or not isinstance(result, Case):
        if not waiting:
            _render_missing(read, engine)
        return
    place = read.cases.index(case) + 1
    st.progress(len(read.done) / len(read.cases), words.BLIND_PLACE.format(place=place, total=len(read.cases)))
    if now.blind_note:
        st.warning(now.blind_note)
    site = now.site if now.site is not None and now.site.sha256 == read.asked.site else None
    told = result.answer(Question(read.asked.mode, read.asked.operating_point, site=site))
    shown = Entry(place, replace(found, name=words.NEUTRAL_NAME.format(number=place)), result, told)
    is_answered = case in read.reads
    left, right = st.columns([7, 3], gap="medium")
    with left:
        screen = screen_of(shown, result, told) if is_answered else _covered(shown, result)
        render_viewer(screen, result.picture, lambda: result.native(found.read()))
    with right:
        if not is_answered:
            given, sure = _asked(read, case, words.BLIND_YOURS, words.BLIND_SURE, "first", None)
            ready = given is not None and sure is not None
            if st.button(words.BLIND_SHOW, type="primary", key="blind_show", disabled=not ready) and given and sure:
                _keep(partial(read.answer_first, case, given, sure, told))
            return
        verdict = told.verdict
        st.subheader(
            words.BLIND_PROGRAM.format(answer=words.headline(verdict.decision, verdict.probabilities)), anchor=False
        )
        chart = bars.probability_chart(verdict, palette=palette())
        bars.render_chart(chart, key="blind_bars", alt=bars.probability_alt(verdict))
        before = read.reads[case]
        given, sure = _asked(
            read, case, words.BLIND_AFTER, words.BLIND_AFTER_SURE, "second", (before.first, before.first_sure)
        )
        if st.button(words.BLIND_NEXT, type="primary", key="blind_next") and given and sure:
            _keep(partial(read.answer_second, case, given, sure))
        st.caption(NOTICE)


def _covered(entry: Entry, case: Case) -> Screen:
    """The X-ray alone: the map would be an answer."""
    radiograph = case.analysis.radiograph
    return Screen(
        image=case.screen_key,
        shape=case.picture.shape,
        has_picture=True,
        has_more=(radiograph.rows, radiograph.columns) > case.picture.shape,
        titles=(entry.source.name, ""),
        alts=(words.XRAY_ALT.format(name=entry.source.name), words.BLIND_HIDDEN),
        empty=("", words.BLIND_HIDDEN),
    )


def _asked(
    read: BlindRead, case: str, question: str, sureness: str, kind: str, before: tuple[str, int] | None
) -> tuple[str | None, int | None]:
    """The reader's class and how sure they are; None while they have not said."""
    given = st.segmented_control(
        question, read.asked.task.classes, format_func=words.CLASSES.__getitem__, default=before[0] if before else None,
        key=f"{kind}_{case}", width="stretch",
    )  # fmt: skip
    sure = st.segmented_control(
        sureness, SURENESS, format_func=words.BLIND_SURENESS.__getitem__, default=before[1] if before else None,
        key=f"{kind}_sure_{case}", width="stretch",
    )  # fmt: skip
    return given, sure


def _keep(answer: Callable[[], None]) -> None:
    try:
        answer()
    except OutputError as error:
        session().blind_note = words.BLIND_NOT_SAVED.format(reason=error.user_message)
    st.rerun()


def _render_missing(read: BlindRead, engine: Engine) -> None:
    """After a reload that came too late the X-rays are gone, and with them nothing else."""
    st.info(words.BLIND_MISSING.format(left=len(read.cases) - len(read.done)), icon=":material/upload_file:")
    pictures, _ = _uploaded()
    if pictures and not _is_waiting(pictures, engine) and any(_key(source) == read.current for source in pictures):
        upload.keep_uploads()
        st.rerun()


def _render_end(read: BlindRead) -> None:
    """How both did."""
    done = read.done
    what, value, number = zip(*rows(done, read.asked.task), strict=True)
    columns = zip(words.BLIND_COLUMNS, (what, value, number), strict=True)
    with st.container(key="blind_table"):
        st.html(STYLE)
        render_table(dict(columns), title=words.PAGE_BLIND)
    st.caption(words.BLIND_NOTE)
    curves = [(words.BLIND_READER, True), (words.BLIND_THE_PROGRAM, False)]
    points = {name: roc_points(done, read.asked.task, reader=reader) for name, reader in curves}
    if all(points.values()):
        bars.render_chart(_roc(points), key="blind_roc", alt=words.BLIND_ROC)
    st.download_button(words.BLIND_SAVE, as_csv(done), "blind-read.csv", "text/csv", key="blind_csv", on_click="ignore")
    if st.button(words.BLIND_AGAIN, key="blind_again"):
        session().blind = None
        st.query_params.pop(_PARAMETER, None)
        st.rerun()


def _roc(points: dict[str, list[tuple[float, float]]]) -> go.Figure:
    colours = palette()
    figure = go.Figure(layout={"title": words.BLIND_ROC, "height": 420})
    for name, curve in points.items():
        figure.add_trace(go.Scatter(x=[x for x, _ in curve], y=[y for _, y in curve], name=name, mode="lines+markers"))
    figure.update_xaxes(title=words.BLIND_ROC_AXES[0], range=[0, 1], gridcolor=colours.line)
    figure.update_yaxes(title=words.BLIND_ROC_AXES[1], range=[0, 1], gridcolor=colours.line)
    return bars.dressed(figure, colours)
