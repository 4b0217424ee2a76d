"""What the page shows for a file that has no answer: why, what helps, and the reader's way round the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from detector import words
from detector.errors import DetectorError
from detector.ui.greyscale import Greyscale, shown
from detector.ui.names import literal, shown_name
from detector.ui.pictures import jpeg_address
from detector.ui.session import session

if TYPE_CHECKING:
    from detector.model.engine import Engine
    from detector.ui.cases import Failure
    from detector.ui.shelf import Picture
    from detector.ui.worklist import Entry

_WIDTH = 450  # pixels: about a panel of the viewer


def render_refusal(entry: Entry, failure: Failure, engine: Engine) -> None:
    """The reason, and where the gate may be overridden or the picture turned, the buttons for it."""
    told, name = failure.told, literal(entry.source.name)
    st.header(words.GATE_TITLE, anchor=False)
    st.error(f"**{name}**: {told.reason}", icon=":material/block:")
    with st.container(horizontal=True):
        if told.suggested_correction is not None:
            render_correction(entry, told.suggested_correction, engine)
        if told.can_force:
            _render_retry(words.FORCE, "force", entry, engine, {"force": True})
    if told.can_force:
        st.caption(words.FORCE_HELP)
    if failure.picture is not None:
        _render_picture(failure.picture, shown_name(entry.source.name))


def _render_picture(picture: Picture, name: str) -> None:
    try:
        x_ray = shown(picture.pixels, Greyscale())
    except DetectorError:
        st.error(words.PICTURE_GONE, icon=":material/hourglass_disabled:")
    else:
        st.image(jpeg_address(x_ray), width=_WIDTH, alt=words.REFUSED_ALT.format(name=name))


def render_correction(entry: Entry, correction: Any, engine: Engine) -> None:
    """The button that turns or inverts a picture and analyses it again."""
    _render_retry(correction_label(correction), "correct", entry, engine, {"correction": correction})


def correction_label(correction: Any) -> str:
    """What a correction does, as the words on its button."""
    turned, inverted = correction.quarter_turns % 4 != 0, correction.inverted
    if turned and inverted:
        return words.CORRECT_BOTH
    return words.CORRECT_INVERT if inverted else words.CORRECT_TURN


def _render_retry(label: str, key: str, entry: Entry, engine: Engine, options: dict[str, Any]) -> None:
    if not st.button(label, key=f"{key}_{entry.source.identifier}"):
        return
    with st.spinner(words.ANALYSING_ONE.format(name=literal(entry.source.name))):
        session().analyst.again(entry.source, engine, options)
    st.rerun()
