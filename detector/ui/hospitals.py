"""On the second page: what a calibration of one's own gives, drawn many times from collections whose truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from detector import words
from detector.answers.pretest import EVALUATION, read_json
from detector.report.likeness import checked
from detector.ui.forest import Line, forest_alt, forest_chart
from detector.ui.names import escaped
from detector.ui.palette import palette

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SIZE = "50"  # X-rays of each class that a hospital has labelled
_ONE_BY_ONE = "one_by_one"


def render_hospitals() -> None:
    """The figure with its note; nothing where it was not measured."""
    lines = calibration_lines()
    if not lines:
        return
    st.subheader(words.SITES_TITLE, anchor=False)
    figure = forest_chart(lines, palette())
    figure.layout.shapes = ()  # half is chance for an area under a curve, and says nothing of a share
    figure.update_xaxes(title_text=words.SITES_AXIS)
    st.plotly_chart(figure, config={"displayModeBar": False}, theme=None, key="forest_hospitals", alt=forest_alt(lines))
    st.caption(" ".join([words.SITES_NOTE, *map(escaped, compared())]))


def calibration_lines(folder: Path = EVALUATION) -> list[Line]:
    """Coverage reached, sensitivity before and after and share of single answers, by cohort."""
    found = []
    for cohort, figures in ((read_json(folder / "sites.json") or {}).get("cohorts", {})).items():
        measured = figures.get(_SIZE) or figures.get(_ONE_BY_ONE) or {}
        for name, label in words.SITES_LINES.items():
            if name in measured:
                tone = "main" if name in words.SITES_AFTER else "quiet"
                found.append(_line(label.format(cohort=cohort), measured[name], tone))
    return found


def compared(folder: Path = EVALUATION) -> list[str]:
    """How a new hospital is told apart, in sentences."""
    return checked(read_json(folder / "compare.json") or {})


def _line(label: str, figure: Mapping[str, Any], tone: str) -> Line:
    return Line(label, figure["value"], figure["ci_low"], figure["ci_high"], None, tone)
