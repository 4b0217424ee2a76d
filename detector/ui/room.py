"""The reading room's first look: title and upload. Everything else is imported once they are on their way.

Arrays, charts and pictures take half a second to import; a browser that has the upload doesn't notice it.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.paths import ASSETS
from detector.ui.session import session
from detector.ui.upload import render_upload

if TYPE_CHECKING:
    from types import ModuleType

_DRAWING = 0.4  # seconds for the browser to fetch and draw the upload, which imports would hold up
_STYLE = ASSETS / "page.css"


def render() -> None:
    """Draw the page from top to bottom; what needs the network comes last."""
    render_head()
    # Three places that assets/page.css lays out: on a phone the answer stands above the list.
    with st.container(key="desk"):
        side, list_place, room = (st.container(key=f"desk_{name}") for name in ("ask", "list", "room"))
    with side, st.container():  # its own place: what moves up or down while the page waits is seen twice
        sources = render_upload()
    _reading().render(sources, side=side, list_place=list_place, room=room)


@cache
def _reading() -> ModuleType:
    """The rest of the page."""
    time.sleep(_DRAWING)
    from detector.ui import reading  # noqa: PLC0415

    return reading


def render_head() -> None:
    """Title and, in one line, what this is not; until it is accepted, at length."""
    st.html(_STYLE)
    now = session()
    with st.container():  # one place: an upload that moves up when the notice goes forgets files on their way
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            st.title(words.TITLE, anchor=False, width="content")
            st.caption(words.DISCLAIMER if now.accepted else words.SUBTITLE, width="content")
        if not now.accepted:
            _render_welcome()


def _render_welcome() -> None:
    with st.container(border=True, key="welcome"):
        left, middle, right = st.columns([4, 4, 3], gap="medium", vertical_alignment="center")
        left.markdown(words.WELCOME_IS)
        middle.markdown(words.WELCOME_IS_NOT)
        with right:
            st.caption(words.WELCOME_PRIVACY)
            st.button(words.ACCEPT, key="accept", on_click=_accept, width="stretch")


def _accept() -> None:
    session().accepted = True
