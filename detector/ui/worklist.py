"""The worklist: every file that was dragged in, its answer as it comes, and the one that is open."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from detector import words
from detector.schema import BACTERIAL_PNEUMONIA, COVID19, INDETERMINATE
from detector.ui.cases import Case, Failure
from detector.ui.names import shown_name
from detector.ui.session import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.answers.answer import Answer, Question
    from detector.ui.analyst import Analyst
    from detector.ui.sources import Source

ARRIVAL, URGENCY = "arrival", "urgency"
_ROW_HEIGHT, _HEADER_HEIGHT, _SHOWN_ROWS = 52, 37, 8


@dataclass(frozen=True)
class Entry:
    """One line of the worklist.

    Attributes:
        number: place in the order of arrival, from 1.
        source: the file.
        result: what is known about it; None before its turn.
        answer: of an analysed image, to the question on the page.
        twin: number of an earlier file with the same content.
        left_out: whether the reader has cancelled before its turn.
    """

    number: int
    source: Source
    result: Case | Failure | None = None
    answer: Answer | None = None
    twin: int | None = None
    left_out: bool = False


def entries_of(sources: Sequence[Source], analyst: Analyst, question: Question) -> list[Entry]:
    """The lines of the worklist, in order of arrival."""
    found: list[Entry] = []
    first: dict[str, int] = {}
    for number, source in enumerate(sources, start=1):
        key, result = analyst.key(source.identifier), analyst.result(source.identifier)
        if isinstance(result, Case):
            result = result.under(source.name)
        twin = first.setdefault(key, number) if key else number
        found.append(
            Entry(
                number,
                source,
                result,
                result.answer(question) if isinstance(result, Case) else None,
                twin=twin if twin != number else None,
                left_out=analyst.is_left_out(source.identifier),
            )
        )
    return found


def in_order(entries: Sequence[Entry], order: str) -> list[Entry]:
    """Sort the lines: by arrival, or by what needs a reader's eyes first."""
    if order == ARRIVAL:
        return list(entries)
    return sorted(entries, key=lambda entry: (_urgency(entry), -_finding(entry), entry.number))


def render_progress(analyst: Analyst) -> None:
    """How far the analysis is, with a cancel that keeps what is done."""
    progress = analyst.progress()
    if progress is not None and progress.total > 1:
        left = words.time_left(progress.seconds_left)
        bar, stop = st.columns([4, 1], vertical_alignment="center")
        text = words.ANALYSING.format(done=progress.done, total=progress.total, left=left)
        bar.progress(progress.done / progress.total, text)
        stop.button(words.CANCEL, key="cancel", on_click=analyst.cancel, width="stretch")
    elif analyst.has_left_out:
        st.button(words.RESUME, key="resume", icon=":material/play_arrow:", on_click=_resume, args=(analyst,))


def render_worklist(entries: Sequence[Entry], order: str) -> None:
    """The table. Selecting a line opens its file."""
    shown = in_order(entries, order)
    identifiers = [entry.source.identifier for entry in shown]
    # Another order is another widget: a row number kept over a new list would open another patient's image.
    key = "worklist_" + hashlib.sha256("\n".join(identifiers).encode()).hexdigest()[:16]
    opened = session().opened
    row = identifiers.index(opened) if opened in identifiers else 0
    if _selected(key) != row:
        st.session_state[key] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    st.dataframe(
        _table(shown),
        column_config=_COLUMNS,
        hide_index=True,
        row_height=_ROW_HEIGHT,
        height=_HEADER_HEIGHT + _ROW_HEIGHT * min(len(shown), _SHOWN_ROWS),
        on_select=lambda: _open(key, identifiers),
        selection_mode=["single-row-required", "single-cell"],  # a click anywhere in a line opens it
        key=key,
        alt=words.WORKLIST,
        placeholder="",
    )


def neighbours(entries: Sequence[Entry], opened: str | None, order: str) -> tuple[str | None, int, str | None]:
    """The files before and after the open one in the order shown, and its place, from 1."""
    identifiers = [entry.source.identifier for entry in in_order(entries, order)]
    place = identifiers.index(opened) if opened in identifiers else 0
    before = identifiers[place - 1] if place > 0 else None
    return before, place + 1, identifiers[place + 1] if place + 1 < len(identifiers) else None


def decision_label(entry: Entry) -> str:
    """A line's decision in a word or two."""
    if entry.answer is not None:
        return words.DECISION_LABELS[entry.answer.decision]
    if isinstance(entry.result, Failure):
        return words.REFUSED if entry.result.told.status == "rejected" else words.FAILED
    return words.LEFT_OUT if entry.left_out else words.WAITING


def notes_of(entry: Entry) -> list[str]:
    """What is said of a line besides its decision, as sentences."""
    twin = [words.TWIN.format(number=entry.twin)] if entry.twin else []
    if isinstance(entry.result, Failure):
        return [*twin, entry.result.told.reason]
    if entry.answer is None:
        return twin
    return [*twin, *(f"{mark.capitalize()}." for mark in entry.answer.marks), *entry.answer.warnings]


_COLUMNS: dict[str, Any] = {
    words.COLUMN_IMAGE: st.column_config.ImageColumn(width=52),
    words.COLUMN_DECISION: st.column_config.TextColumn(width=140),
    words.COLUMN_PROBABILITY: st.column_config.ProgressColumn(format="%.1f %%", min_value=0, max_value=100, width=108),
    words.COLUMN_NOTES: st.column_config.NumberColumn(width=34, help=words.COLUMN_NOTES_HELP),
    words.COLUMN_NAME: st.column_config.TextColumn(width=150),
    words.COLUMN_WARNINGS: st.column_config.TextColumn(width=360),
}


def _table(entries: Sequence[Entry]) -> dict[str, list]:
    return {
        words.COLUMN_IMAGE: [e.result.thumbnail if e.result else None for e in entries],
        words.COLUMN_DECISION: [decision_label(entry) for entry in entries],
        words.COLUMN_PROBABILITY: [100 * e.answer.probabilities[COVID19] if e.answer else None for e in entries],
        words.COLUMN_NOTES: [len(notes_of(entry)) or None for entry in entries],
        words.COLUMN_NAME: [shown_name(entry.source.name) for entry in entries],
        words.COLUMN_WARNINGS: [" ".join(notes_of(entry)) for entry in entries],
    }


def _urgency(entry: Entry) -> int:
    """Findings, then what the network can't tell, then what it refused, then doubtful all-clears, then the rest."""
    if entry.answer is None:
        return 2 if isinstance(entry.result, Failure) else 5
    if entry.answer.decision in {COVID19, BACTERIAL_PNEUMONIA}:
        return 0
    if entry.answer.decision == INDETERMINATE:
        return 1
    return 3 if entry.answer.warnings else 4


def _finding(entry: Entry) -> float:
    """Probability of any disease that was asked for."""
    if entry.answer is None:
        return 0.0
    found = entry.answer.probabilities
    return found[COVID19] + found.get(BACTERIAL_PNEUMONIA, 0.0)


def _resume(analyst: Analyst) -> None:
    """Take the rest up, by a run of the whole page: the list alone queues nothing."""
    analyst.resume()
    st.rerun()


def _selected(key: str) -> int | None:
    state = st.session_state.get(key)
    rows = state["selection"]["rows"] if state else []
    return rows[0] if rows else None


def _open(key: str, identifiers: Sequence[str]) -> None:
    """Open the line that was ticked or clicked: the one of the two that is not open yet."""
    selection = st.session_state[key]["selection"]
    rows = [*selection["rows"], *(row for row, _ in selection["cells"])]
    chosen = [identifiers[row] for row in rows if row < len(identifiers) and identifiers[row] != session().opened]
    if chosen:
        session().opened = chosen[0]
        st.rerun()
