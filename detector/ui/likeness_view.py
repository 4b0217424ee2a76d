"""Below the worklist, from twenty X-rays on: are they like those that the network learnt from?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.answers.likeness import LEAST, Comparison, compare, load_collections, sentences
from detector.errors import ModelError
from detector.paths import MODELS
from detector.report.likeness import checked
from detector.ui.cases import Case
from detector.ui.names import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.answers.likeness import Collections
    from detector.model.card import ModelCard
    from detector.ui.worklist import Entry

_STATE = "likeness"  # the last comparison and the X-rays that it was made of


@st.cache_resource(show_spinner=False)
def _collections(weights: str) -> Collections | None:
    """The shipped summary; None where there is none of these weights."""
    try:
        return load_collections(MODELS, weights)
    except ModelError:
        return None


def render_likeness(entries: Sequence[Entry], card: ModelCard) -> None:
    """What was found, in a line that opens; nothing for fewer X-rays."""
    cases = {entry.result.key: entry.result for entry in entries if isinstance(entry.result, Case)}
    collections = _collections(card.sha256) if len(cases) >= LEAST else None
    if collections is None:
        return
    found = _compared(cases, collections)
    with st.container(key="likeness"):
        icon = ":material/warning:" if found.differs else ":material/check:"
        with st.expander(words.LIKENESS_SHORT[found.differs], icon=icon):
            for sentence in [*sentences(found), *checked(collections.checked)]:
                st.markdown(escaped(sentence))


def _compared(cases: dict[str, Case], collections: Collections) -> Comparison:
    """The comparison, made anew when the list has changed: every look at the list asks for it."""
    known = st.session_state.get(_STATE)
    if known is None or known[0] != set(cases):
        traits = [case.analysis.traits for case in cases.values() if case.analysis.traits is not None]
        known = (set(cases), compare(traits, collections))
        st.session_state[_STATE] = known
    found: Comparison = known[1]
    return found
