"""The viewer on the page: mounts its component, and keeps what the reader does there.

Moving, zooming, windowing and hiding the map happen in the browser alone. The server is told what is seen, because it
is saved so, and is asked for another map or for more pixels.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from detector import words
from detector.errors import DetectorError
from detector.paths import ASSETS
from detector.ui.greyscale import Greyscale
from detector.ui.screen import STYLES, Look, message, packed
from detector.ui.session import session

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from detector.ui.screen import Screen
    from detector.ui.shelf import Picture

_STATE = "viewer_parts"  # key of the component, and of what the browser tells


def _read(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


_viewer = st.components.v2.component(
    "viewer", html=_read("viewer.html"), css=_read("viewer.css"), js=_read("viewer.js")
)
_pixels = st.components.v2.component("pixels", js=_read("pixels.js"))


def render_viewer(screen: Screen, picture: Picture | None, native: Callable[[], np.ndarray]) -> None:
    """Both pictures, at the same place for every file.

    Args:
        screen: what is drawn.
        picture: of the file, None where it has none; where it can't be decoded again, the viewer says so.
        native: gives the file's own pixels; called when the reader has zoomed so far that they would be seen.
    """
    labels: dict[str, Any] = {**words.VIEWER, "shown_inverted": words.BURNED_INVERTED, "keys": words.VIEWER_KEYS}
    try:
        image = picture.pixels if picture else None
    except DetectorError:
        image = None
        screen = replace(screen, has_picture=False, has_more=False, empty=(words.PICTURE_GONE, ""))
    with st.container(key="viewer"):
        if image is not None:
            _pixels(key="pixels", data=packed(screen.image, image))
        told = _viewer(
            key=_STATE,
            data=message(screen, session().look, labels),
            on_seen_change=_take_seen,
            on_explained_change=_take_explained,
            on_native_change=lambda: None,
        )
        if told.native == screen.image:
            try:
                _pixels(key="native_pixels", data=packed(f"{screen.image} native", native()))
            except DetectorError:
                st.toast(words.PICTURE_GONE, icon=":material/hourglass_disabled:")


def _take_seen() -> None:
    """Keep how the reader has set window and map."""
    told = _told("seen")
    now = session()
    look = look_of(told, now.look)
    if look is not None:
        now.look = look
        now.greyscales[str(told["image"])] = greyscale_of(told)


def _take_explained() -> None:
    """Keep which class the reader wants explained."""
    told = _told("explained")
    if isinstance(told.get("subject"), str) and isinstance(told.get("target"), str):
        against = told.get("against")
        session().explained[told["subject"]] = (told["target"], against if isinstance(against, str) else None)


def look_of(told: dict[str, Any], before: Look) -> Look | None:
    """What the browser tells of the map; None where it tells nothing that can be."""
    try:
        opacity, style = float(told["opacity"]), told["style"]
        told["image"], float(told["level"]), float(told["window"])
    except (KeyError, TypeError, ValueError):
        return None
    if style not in STYLES or not 0 <= opacity <= 100:
        return None
    return replace(before, map=bool(told.get("map")), style=style, opacity=opacity, keys=bool(told.get("keys")))


def greyscale_of(told: dict[str, Any]) -> Greyscale:
    """What the browser tells of window and level, kept within what can be shown."""
    level, window = float(told["level"]), float(told["window"])
    if not (math.isfinite(level) and math.isfinite(window)):
        return Greyscale()
    return Greyscale(min(100.0, max(0.0, level)), min(100.0, max(1.0, window)), inverted=bool(told.get("inverted")))


def _told(name: str) -> dict[str, Any]:
    found = dict(st.session_state.get(_STATE) or {}).get(name)
    return dict(found) if isinstance(found, dict) else {}
