"""Colours of the charts, chosen once for a dark reading room and for a light one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.schema import BACTERIAL_PNEUMONIA, COVID19, NORMAL, NOT_COVID19

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
        empty: what stands for no evidence in the colour bar.
        classes: class name to colour, told apart by colour-blind readers too (after Okabe and Ito 2008).
    """

    ink: str
    quiet_ink: str
    line: str
    band: str
    empty: str
    classes: Mapping[str, str]


DARK = Palette(
    ink="#E8EAED",
    quiet_ink="#A7B0B8",
    line="#2C343B",
    band="rgba(167, 176, 184, 0.16)",
    empty="rgb(40, 44, 48)",
    classes={COVID19: "#E6803C", NOT_COVID19: "#7B8794", NORMAL: "#5BB5E8", BACTERIAL_PNEUMONIA: "#C9A6E8"},
)
LIGHT = Palette(
    ink="#1B2126",
    quiet_ink="#4C5862",
    line="#DDE2E6",
    band="rgba(76, 88, 98, 0.14)",
    empty="rgb(225, 228, 231)",
    classes={COVID19: "#C2571A", NOT_COVID19: "#6B7680", NORMAL: "#1B7FB8", BACTERIAL_PNEUMONIA: "#8455B0"},
)


def palette_of(base: str | None) -> Palette:
    """The palette of a theme's base, as the configuration has it; dark where it has none."""
    return LIGHT if base and "light" in base else DARK
