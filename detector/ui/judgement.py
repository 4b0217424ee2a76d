"""The pre-test slider, and what an answer makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.answers.pretest import judge

if TYPE_CHECKING:
    from detector.answers.answer import Verdict
    from detector.answers.site import Site

_FIRST = 10  # percent


def render_judgement(verdict: Verdict, site: Site | None = None) -> None:
    """The pre-test probability and what the answer makes of it; nothing where it can't change it."""
    if judge(verdict, _FIRST / 100, site=site) is None:
        return
    pre_test = st.slider(
        words.PRE_TEST, 1, 99, _FIRST, format="%d %%", help=words.PRE_TEST_HELP, key="pre_test",
        persist_state="session",
    )  # fmt: skip
    judgement = judge(verdict, pre_test / 100, site=site)
    if judgement is not None:
        st.markdown(judgement.headline, help=judgement.explanation)
