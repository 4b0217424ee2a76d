"""Remembers where the reader has zoomed to: a chart that is drawn anew begins with all of its picture.

Streamlit gives a Plotly chart another identity whenever its figure changes, so the browser builds a new chart, and what
`uirevision` would keep is gone. The zoom therefore travels with the figure.
"""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from detector.paths import ASSETS
from detector.ui.viewer import View

_MEMORY, _STATE = "zoom_memory", "zoom"
_SCRIPT = ASSETS / "zoom.js"
_component = st.components.v2.component("zoom", js=_SCRIPT.read_text(encoding="utf-8"))


def view_of(case_key: str) -> View | None:
    """What is shown of an image; None where the reader has not zoomed into it."""
    return parsed(dict(st.session_state.get(_MEMORY) or {}).get(_STATE), case_key)


@st.fragment
def render_memory(box: str, case_key: str) -> None:
    """Listen to the chart in a container. A fragment: a zoom draws nothing anew.

    Args:
        box: key of the container.
        case_key: of the image that it shows.
    """
    _component(key=_MEMORY, data={"box": box, "image": case_key}, on_zoom_change=lambda: None)


def parsed(told: Any, case_key: str) -> View | None:
    """What the browser tells; None where it is about another image, all of it, or no zoom at all."""
    try:
        if told["image"] != case_key:
            return None
        ends = [float(end) for axis in ("across", "down") for end in told[axis]]
        left, right, bottom, top = ends
    except (KeyError, TypeError, ValueError):
        return None
    if not all(map(math.isfinite, ends)) or left >= right or top >= bottom:
        return None
    return View((left, right), (bottom, top))
