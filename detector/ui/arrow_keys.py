"""Keeps the arrow keys for stepping through the list, also after a click on a segment, which would take them."""

from __future__ import annotations

import streamlit as st

from detector.paths import ASSETS

_SCRIPT = ASSETS / "arrow_keys.js"
_component = st.components.v2.component("arrow_keys", js=_SCRIPT.read_text(encoding="utf-8"))


def render() -> None:
    """Listen to the page; nothing is seen."""
    _component(key="arrow_keys")
