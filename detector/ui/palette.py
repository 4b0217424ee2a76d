"""Colours of the page, chosen once for a dark reading room and for a light one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from detector.schema import BACTERIAL_PNEUMONIA, COVID19, INDETERMINATE, NORMAL, NOT_COVID19

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Palette:
    """Colours as CSS; text has at least 4.5 : 1 against the page's background (WCAG 2.2, 1.4.3).

    Attributes:
        ink: text and whatever must be seen first.
        quiet_ink: axes and titles.
        line: grid lines.
        band: what lies behind the bars where the answer is indeterminate.
        warned: marks of warnings.
        bad: figures that must not be overlooked.
        on_primary: text of a button of the theme's own colour.
        classes: class name to colour, none of them orange or blue: those mean "for" and "against" on the map.
    """

    ink: str
    quiet_ink: str
    line: str
    band: str
    warned: str
    bad: str
    on_primary: str
    classes: Mapping[str, str]


DARK = Palette(
    ink="#E8EAED",
    quiet_ink="#A7B0B8",
    line="#2C343B",
    band="rgba(167, 176, 184, 0.16)",
    warned="#E3C34B",
    bad="#FF7B72",
    on_primary="#14181F",
    classes={
        COVID19: "#E0679B",
        NOT_COVID19: "#8A96A3",
        NORMAL: "#4FB286",
        BACTERIAL_PNEUMONIA: "#A78BE8",
        INDETERMINATE: "#E3C34B",
    },
)
LIGHT = Palette(
    ink="#1B2126",
    quiet_ink="#4C5862",
    line="#DDE2E6",
    band="rgba(76, 88, 98, 0.14)",
    warned="#7D6200",
    bad="#B3261E",
    on_primary="#FFFFFF",
    classes={
        COVID19: "#B83A72",
        NOT_COVID19: "#65717C",
        NORMAL: "#1E7F5C",
        BACTERIAL_PNEUMONIA: "#7049BD",
        INDETERMINATE: "#8A6D00",
    },
)


def palette_of(base: str | None) -> Palette:
    """The palette of a theme's base, as the configuration has it; dark where it has none."""
    return LIGHT if base and "light" in base else DARK


def palette() -> Palette:
    """The palette of the page that is being drawn."""
    return palette_of(st.get_option("theme.base"))
