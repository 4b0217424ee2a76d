"""Keeps the arrow keys for stepping through the list, also after a click on a segment, which would take them."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_SCRIPT = Path(__file__).resolve().parents[2] / "assets" / "arrow_keys.js"
_component = st.components.v2.component("arrow_keys", js=_SCRIPT.read_text(encoding="utf-8"))


def render() -> None:
    """Listen to the page; nothing is seen."""
    _component(key="arrow_keys")
