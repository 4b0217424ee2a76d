"""Colours of the plots, told apart by colour-blind readers (Okabe and Ito 2008)."""

from __future__ import annotations

ORANGE, BLUE, GREEN, GREY = "#D55E00", "#0072B2", "#009E73", "#6B7280"
CLEAR = "rgba(0,0,0,0)"  # a background that a dark page can restyle


def faint(colour: str) -> str:
    """The same colour for a band behind its line."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
