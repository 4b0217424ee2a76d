"""The container `answer`: one message, the other task's answer beside it, what it is worth, and its warnings.

It is as high for every file, so that the pictures below it never move.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.answers.pretest import standing
from detector.schema import NOTICE
from detector.ui import bars
from detector.ui.cases import Case, Failure
from detector.ui.names import literal, visible
from detector.ui.palette import palette
from detector.ui.session import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.answers.answer import Answer, NoAnswer, Verdict
    from detector.model.engine import Engine
    from detector.schema import Correction
    from detector.ui.worklist import Entry

_SHOWN_CHIPS = 3


def render_answer(entry: Entry, engine: Engine) -> None:
    """What a reader is told of the open file."""
    result = entry.result
    with st.container(key="answer"), st.container(key="told"):
        if isinstance(result, Case) and entry.answer is not None:
            _render_told(entry, result, entry.answer, engine)
        elif isinstance(result, Failure):
            _render_no_answer(entry, result.told, engine)
        else:
            title, hint = (words.LEFT_OUT, words.LEFT_OUT_HINT) if entry.left_out else (words.WAITING, "")
            _write(("headline", title), ("worth", hint))
            _write(("file", visible(entry.source.name)), ("limits", NOTICE))
        if isinstance(result, Case) and entry.answer is not None:
            with st.container(key="bars"):
                _render_bars(result, entry.answer.verdict)


def _render_told(entry: Entry, case: Case, told: Answer, engine: Engine) -> None:
    verdict, other = told.verdict, told.other
    _write(
        ("headline", words.headline(verdict.decision, verdict.probabilities)),
        ("other", words.other_task(other.task.mode, other.decision, other.probabilities)),
        ("worth", standing(told)),
    )
    _render_chips(entry, told.warnings, case.analysis.suggested_correction, engine)
    file = " · ".join([visible(entry.source.name), *told.marks])
    _write(("file", file), ("limits", f"{words.LOOKS_FOR_NOTHING_ELSE} {NOTICE}"))


def _render_no_answer(entry: Entry, told: NoAnswer, engine: Engine) -> None:
    title = words.REJECTED_TITLE if told.status == "rejected" else words.FAILED_TITLE
    _write(("headline", title), ("reason", told.reason))
    with st.container(key="chips", horizontal=True, gap="small"):
        if told.suggested_correction is not None:
            render_correction(entry, told.suggested_correction, engine)
        if told.can_force:
            _render_retry(words.FORCE, words.FORCE_HELP, "force", entry, engine, None)
    _write(("file", visible(entry.source.name)), ("limits", NOTICE))


def _write(*lines: tuple[str, str]) -> None:
    """Lines of text, each of a class that assets/page.css knows; nothing in them is markup."""
    written = []
    for kind, text in lines:
        tag = "h2" if kind == "headline" else "p"
        written.append(f'<{tag} class="told-{kind}" title="{html.escape(text)}">{html.escape(text)}</{tag}>')
    st.html("".join(written))


def _render_chips(entry: Entry, warnings: Sequence[str], correction: Correction | None, engine: Engine) -> None:
    """A line of warnings, the gravest first; each opens on a click and moves nothing."""
    ordered = sorted(warnings, key=_weight)
    shown, rest = ordered[:_SHOWN_CHIPS], ordered[_SHOWN_CHIPS:]
    with st.container(key="chips", horizontal=True, gap="small"):
        for warning in shown:
            with st.popover(literal(chip_of(warning)), icon=":material/warning:"):
                st.markdown(literal_text(warning))
        if rest:
            with st.popover(words.MORE_CHIPS.format(count=len(rest)), icon=":material/warning:"):
                for warning in rest:
                    st.markdown(literal_text(warning))
        if correction is not None:
            render_correction(entry, correction, engine)


def chip_of(warning: str) -> str:
    """A warning in a few words."""
    for start, chip in words.CHIPS:
        if warning.startswith(start):
            return chip
    plain = warning.rstrip(".")
    return plain if len(plain) <= words.CHIP_LENGTH else f"{plain[: words.CHIP_LENGTH - 1].rstrip()}…"


def literal_text(sentence: str) -> str:
    """A sentence of ours or of a file, as text and not as markup."""
    return sentence.replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;")


def _weight(warning: str) -> int:
    """Place of a warning among the known ones; unknown ones come before what the reader did."""
    places = [place for place, (start, _) in enumerate(words.CHIPS) if warning.startswith(start)]
    return places[0] if places else len(words.CHIPS) - 3


def render_correction(entry: Entry, correction: Correction, engine: Engine) -> None:
    """The button that rotates or inverts a picture and analyses it again."""
    _render_retry(correction_label(correction), words.CORRECT_HELP, "correct", entry, engine, correction)


def correction_label(correction: Correction) -> str:
    """What a correction does, as the words on its button."""
    rotated = correction.quarter_turns % 4 != 0
    if rotated and correction.inverted:
        return words.CORRECT_BOTH
    return words.CORRECT_INVERT if correction.inverted else words.CORRECT_TURN


def _render_retry(
    label: str, explanation: str, key: str, entry: Entry, engine: Engine, correction: Correction | None
) -> None:
    if not st.button(label, help=explanation, key=f"{key}_{entry.source.identifier}"):
        return
    with st.spinner(words.ANALYSING_ONE.format(name=literal(entry.source.name))):
        if correction is None:
            session().analyst.force(entry.source, engine)
        else:
            session().analyst.correct(entry.source, engine, correction)
    st.rerun()


def _render_bars(case: Case, verdict: Verdict) -> None:
    stability = session().stability.get(case.stability_key)
    whiskers = bars.whiskers_of(stability, verdict.task) if stability else {}
    chart = bars.probability_chart(verdict, whiskers=whiskers, palette=palette())
    bars.render_chart(chart, key="probabilities", alt=bars.probability_alt(verdict, whiskers))
    if stability:
        span = max(high - low for low, high in whiskers.values())
        _write(("stable", words.STABLE.format(count=len(stability.perturbations), span=100 * span)))
