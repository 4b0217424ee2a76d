"""The worklist: every file that was dragged in, its answer as it comes, and the one that is open.

Order, filter and the open line are the browser's (assets/worklist.*): arrow keys that come faster than the server
answers lose nothing. `st.dataframe` has rows of one line, does not tell its order, and can't be scrolled from here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from detector import words
from detector.paths import ASSETS
from detector.schema import BACTERIAL_PNEUMONIA, COVID19, INDETERMINATE
from detector.ui.cases import Case, Failure
from detector.ui.names import visible
from detector.ui.palette import Palette, palette
from detector.ui.session import session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.answers.answer import Answer, Question
    from detector.ui.analyst import Analyst
    from detector.ui.sources import Source

_STATE = "worklist_parts"  # key of the component, and of what the browser tells
_SHEET = 50  # thumbnails a message: one that has not changed is sent as its hash


def _read(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


_list = st.components.v2.component(
    "worklist", html=_read("worklist.html"), css=_read("worklist.css"), js=_read("worklist.js")
)
_thumbnails = st.components.v2.component("thumbnails", js=_read("thumbnails.js"))


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


def render_progress(analyst: Analyst) -> None:
    """How far the analysis is, with a cancel that keeps what is done."""
    progress = analyst.progress()
    if progress is not None and progress.total > 1:
        left = words.time_left(progress.seconds_left)
        bar, stop = st.columns([3, 1], vertical_alignment="center")
        text = words.ANALYSING.format(done=progress.done, total=progress.total, left=left)
        bar.progress(progress.done / progress.total, text)
        stop.button(words.CANCEL, key="cancel", on_click=analyst.cancel, width="stretch")
    elif analyst.has_left_out:
        st.button(words.RESUME, key="resume", icon=":material/play_arrow:", on_click=_resume, args=(analyst,))


def render_worklist(entries: Sequence[Entry], changed: Callable[[], None]) -> None:
    """The list. Choosing a line opens its file; `changed` draws it."""
    now, colours = session(), palette()
    with st.container(key="thumbnails"):
        for start in range(0, len(entries), _SHEET):
            pictures = {
                entry.source.identifier: entry.result.picture.thumbnail
                for entry in entries[start : start + _SHEET]
                if entry.result and entry.result.picture
            }
            _thumbnails(key=f"thumbnails_{start}", data={"pictures": pictures})
    labels = {
        "worklist": words.WORKLIST,
        "previous": words.PREVIOUS,
        "next": words.NEXT,
        "place": words.PLACE,
        "totals": words.TOTALS,
        "order": words.ORDER,
        "warned": words.ROW_WARNED,
        "heads": [(name, *label) for name, label in words.HEADS.items()],
    }
    _list(
        key=_STATE,
        data={
            "rows": json.dumps([row_of(entry, colours) for entry in entries]),  # Streamlit encodes its data twice
            "opened": now.opened,
            "turn": now.turn,
            "kinds": list(words.KINDS.items()),
            "warned": colours.warned,
            "words": labels,
        },
        on_opened_change=lambda: _open(changed),
    )


def row_of(entry: Entry, colours: Palette) -> dict[str, Any]:
    """A line as the component draws, sorts and filters it."""
    answer, notes = entry.answer, notes_of(entry)
    return {
        "id": entry.source.identifier,
        "number": entry.number,
        "name": visible(entry.source.name),
        "kind": kind_of(entry),
        "said": decision_label(entry),
        "tone": colours.classes[answer.decision] if answer else None,
        "covid19": answer.probabilities[COVID19] if answer else None,
        "urgency": _urgency(entry),
        "finding": _finding(entry),
        "warnings": len(answer.warnings) if answer else 0,
        "notes": notes,
    }


def kind_of(entry: Entry) -> str:
    """What a line counts as in the totals: a decision, or its state without one; see `words.KINDS`."""
    if entry.answer is not None:
        return entry.answer.decision
    if isinstance(entry.result, Failure):
        return "rejected" if entry.result.told.status == "rejected" else "failed"
    return "left_out" if entry.left_out else "waiting"


def decision_label(entry: Entry) -> str:
    """A line's decision in a word or two, with its own probability."""
    if entry.answer is not None:
        return words.decision_line(entry.answer.decision, entry.answer.probabilities)
    if isinstance(entry.result, Failure):
        return words.REJECTED if entry.result.told.status == "rejected" else words.FAILED
    return words.LEFT_OUT if entry.left_out else words.WAITING


def notes_of(entry: Entry) -> list[str]:
    """What else is to be said of a line: reasons, marks and warnings, as sentences."""
    twin = [words.TWIN.format(number=entry.twin)] if entry.twin else []
    if isinstance(entry.result, Failure):
        return [*twin, entry.result.told.reason]
    if entry.answer is None:
        return twin
    return [*twin, *(f"{mark.capitalize()}." for mark in entry.answer.marks), *entry.answer.warnings]


def _urgency(entry: Entry) -> int:
    """Findings, then what the network can't tell, then what was rejected, then doubtful all-clears, then the rest."""
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


def _open(changed: Callable[[], None]) -> None:
    """Open the file that the browser names."""
    told = dict(st.session_state.get(_STATE) or {}).get("opened")
    if isinstance(told, dict) and isinstance(told.get("id"), str) and isinstance(told.get("turn"), int):
        now = session()
        now.opened, now.turn = told["id"], told["turn"]
        changed()
