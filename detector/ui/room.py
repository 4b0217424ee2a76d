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
from detector.ui.palette import palette
from detector.ui.session import session
from detector.ui.upload import enter, render_upload

if TYPE_CHECKING:
    from types import ModuleType

_DRAWING = 0.4  # seconds for the browser to fetch and draw the upload, which imports would hold up
_STYLE = ASSETS / "page.css"


def render() -> None:
    """Draw the page from top to bottom; what needs the network comes last."""
    enter("reading")
    render_head()
    # Places that assets/page.css lays out: on a phone the answer is above the list.
    with st.container(key="desk"):
        places = {name: st.container(key=name) for name in ("mode", "point", "upload", "list", "room")}
    with places["upload"]:
        sources = render_upload()
    _reading().render(sources, places)


@cache
def _reading() -> ModuleType:
    """The rest of the page."""
    time.sleep(_DRAWING)
    from detector.ui import reading  # noqa: PLC0415

    return reading


def render_head() -> None:
    """Title and, in one line, what this is not; it is as high before it is accepted as after."""
    st.html(_STYLE)
    st.html(f"<style>:root {{ --on-primary: {palette().on_primary}; }}</style>")
    now = session()
    with st.container(key="head", horizontal=True, vertical_alignment="center", gap="medium"):
        st.title(words.TITLE, anchor=False, width="content")
        st.html(f'<p class="notice-line">{words.NOTICE_LINE} <span>{words.NOTICE_PRIVACY}</span></p>')
        with st.popover(words.ABOUT, icon=":material/info:"):
            for paragraph in (words.WELCOME_IS, words.WELCOME_IS_NOT, words.WELCOME_PRIVACY):
                st.markdown(paragraph)
        if not now.accepted:
            st.button(words.ACCEPT, key="accept", type="primary", on_click=_accept)


def _accept() -> None:
    session().accepted = True
