"""The pre-test slider, and what an answer makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.answers.pretest import judge
from detector.schema import BINARY

if TYPE_CHECKING:
    from detector.answers.answer import Verdict

_FIRST = 10  # percent


def render_judgement(verdict: Verdict) -> None:
    """The pre-test probability and the post-test probability. Only the binary question has likelihood ratios."""
    pre_test = st.slider(
        words.PRE_TEST, 1, 99, _FIRST, format="%d %%", help=words.PRE_TEST_HELP, key="pre_test",
        persist_state="session", disabled=verdict.task is not BINARY,
    )  # fmt: skip
    judgement = judge(verdict, pre_test / 100)
    st.markdown(judgement.headline)
    st.caption(judgement.explanation)
