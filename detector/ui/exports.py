"""What can be taken from the page: PDF, PNG, CSV and JSON of one image, PDF, CSV and JSON of the list.

Nothing here carries what a DICOM header says about a patient; a file's name is written only when the reader asks.
Each file is made when its button is pressed.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import streamlit as st
from PIL import Image, ImageDraw, ImageFont

from detector import words
from detector.report.pdf import Bar, CasePage, ListPages, case_pdf, list_pdf
from detector.report.rows import Row, answer_row, csv_line, no_answer_row
from detector.schema import COVID19, NOTICE
from detector.ui import stability_check
from detector.ui.cases import Failure
from detector.ui.greyscale import shown
from detector.ui.names import shown_name
from detector.ui.palette import LIGHT
from detector.ui.session import session
from detector.ui.viewer import painted
from detector.ui.worklist import decision_label, notes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.answers.answer import Answer, Question, Verdict
    from detector.model.card import ModelCard
    from detector.schema import ModelInfo, OperatingPoint, Stability
    from detector.ui.cases import Case
    from detector.ui.viewer import Controls
    from detector.ui.worklist import Entry

_STRIP, _TYPE_SIZE = 34, 18  # pixels below the pictures of a PNG
_MIME = {"pdf": "application/pdf", "png": "image/png", "csv": "text/csv", "json": "application/json"}


def render_case_exports(entry: Entry, case: Case, told: Answer, controls: Controls) -> None:
    """The menu that saves one image's answer."""
    with st.popover(words.SAVE_CASE, icon=":material/download:"):
        named = st.checkbox(words.SAVE_NAME, help=words.SAVE_NAME_HELP, key="name_case")
        stability = session().stability.get(case.stability_key)  # now: a file is made where there is no session
        makers: dict[str, Callable[[], bytes]] = {
            "pdf": lambda: case_pdf(case_page(entry, case, told, controls, named=named, stability=stability)),
            "png": lambda: case_png(case, told, controls),
            "csv": lambda: as_csv([row_of(entry, told.question, told.analysis.model, named=named)]),
            "json": lambda: as_json(row_of(entry, told.question, told.analysis.model, named=named)),
        }
        _render_buttons(makers, f"x-ray-{entry.number}", "case")


def render_list_exports(entries: Sequence[Entry], question: Question, card: ModelCard) -> None:
    """The menu that saves the whole list; what has not had its turn is left out."""
    done = [entry for entry in entries if entry.result is not None]
    with st.popover(words.SAVE_LIST, icon=":material/download:", disabled=not done):
        named = st.checkbox(words.SAVE_NAME, help=words.SAVE_NAME_HELP, key="name_list")

        def rows() -> list[Row]:
            return [row_of(entry, question, card.info, named=named) for entry in done]

        makers: dict[str, Callable[[], bytes]] = {
            "pdf": lambda: list_pdf(list_pages(done, card, named=named)),
            "csv": lambda: as_csv(rows()),
            "json": lambda: as_json(rows()),
        }
        _render_buttons(makers, "worklist", "list")


def row_of(entry: Entry, question: Question, model: ModelInfo, *, named: bool) -> Row:
    """One line of results, as the command line writes it.

    Args:
        entry: a file that has had its turn.
        question: on the page. A map that the reader has chosen is not written: the line tells of the decision's own.
        model: the network, for a file without an answer.
        named: whether the file's own name is written.
    """
    path = entry.source.name if named else neutral_name(entry)
    if isinstance(entry.result, Failure):
        return no_answer_row(
            path, entry.result.told, mode=question.mode, model=model, sha256=entry.result.key, site=question.site
        )
    own = replace(question, target_class=None, against=None)
    return answer_row(path, entry.result.answer(own), explained=True)


def neutral_name(entry: Entry) -> str:
    """What a file is called where its own name is not wanted."""
    return words.NEUTRAL_NAME.format(number=entry.number)


def as_csv(rows: Sequence[Row]) -> bytes:
    """Rows as CSV with a header; the mark at the start tells spreadsheets that it is UTF-8."""
    return "".join(csv_line(row, header=place == 0) for place, row in enumerate(rows)).encode("utf-8-sig")


def as_json(rows: Row | list[Row]) -> bytes:
    """A row, or a list of them."""
    return (json.dumps(rows, indent=2, ensure_ascii=False) + "\n").encode()


def case_png(case: Case, told: Answer, controls: Controls) -> bytes:
    """X-ray and map side by side as they are on the page, with the notice below."""
    image, overlay = _pictures(case, told, controls)
    pair = np.hstack([cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), overlay])
    sheet = Image.new("RGB", (pair.shape[1], pair.shape[0] + _STRIP), "black")
    sheet.paste(Image.fromarray(pair), (0, 0))
    size = min(_TYPE_SIZE, max(8, pair.shape[1] // 50))
    line = " · ".join([controls.look.title, words.DECISIONS[told.decision], *told.marks, NOTICE])
    font = ImageFont.load_default(size)
    ImageDraw.Draw(sheet).text((8, pair.shape[0] + _STRIP // 2), line, fill="white", font=font, anchor="lm")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def case_page(
    entry: Entry, case: Case, told: Answer, controls: Controls, *, named: bool, stability: Stability | None = None
) -> CasePage:
    """The content of one image's PDF."""
    image, overlay = _pictures(case, told, controls)
    point = told.operating_point
    findings = [f"{words.CLASSES[told.target_class]}: {told.evidence_sentence}"]
    return CasePage(
        title=words.DECISIONS[told.decision],
        subject=" · ".join([shown_name(entry.source.name) if named else neutral_name(entry), *told.marks]),
        image=image,
        overlay=overlay,
        captions=(words.XRAY_PANEL, f"{controls.look.title}. {words.MAP_CAUTION}"),
        bars=_bars(told.verdict, stability),
        threshold=point.threshold if point else None,
        band=told.verdict.band,
        findings=[*findings, *filter(None, [point and _printed_point(point), told.why_indeterminate])],
        warnings=told.warnings,
        provenance=_provenance(told),
        notice=NOTICE,
    )


def list_pages(entries: Sequence[Entry], card: ModelCard, *, named: bool) -> ListPages:
    """The content of the worklist's PDF."""
    return ListPages(
        title=words.WORKLIST,
        subject=_asked(entries),
        columns=(words.COLUMN_IMAGE, "", words.COLUMN_DECISION, words.COLUMN_PROBABILITY, words.COLUMN_NAME,
                 words.COLUMN_WARNINGS),
        rows=[_printed(entry, named=named) for entry in entries],
        thumbnails=[e.result.picture.small if e.result and e.result.picture else None for e in entries],
        notice=NOTICE,
        provenance=f"{card.info.name} {card.info.version}, SHA-256 {card.info.sha256}. {card.licence}",
    )  # fmt: skip


def _render_buttons(makers: dict[str, Callable[[], bytes]], stem: str, key: str) -> None:
    for ending, make in makers.items():
        st.download_button(
            words.SAVE_AS[ending], make, f"{stem}.{ending}", _MIME[ending], key=f"save_{key}_{ending}",
            on_click="ignore", width="stretch",
        )  # fmt: skip


def _pictures(case: Case, told: Answer, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
    """The X-ray, (H, W) uint8, and the map over it, (H, W, 3) uint8 RGB, as the page shows them."""
    image = shown(case.image, controls.greyscale)
    return image, painted(image, case.heatmap(told.cam), controls.look)


def _bars(verdict: Verdict, stability: Stability | None) -> list[Bar]:
    ends = stability_check.whiskers(stability, verdict.task) if stability else {}
    return [
        Bar(words.CLASSES[name], value, LIGHT.classes[name], *ends.get(name, (None, None)))
        for name, value in verdict.probabilities.items()
    ]


def _asked(entries: Sequence[Entry]) -> str:
    """The question and the operating point of a list, and when its last image was answered."""
    answers = [entry.answer for entry in entries if entry.answer is not None]
    if not answers:
        return ""
    point, when = answers[0].operating_point, max(told.analysis.analysed_at for told in answers)
    asked = words.PRINTED_QUESTION.format(mode=words.MODES[answers[0].task.mode])
    said = [asked, _printed_point(point)] if point else [asked]
    return " ".join([*said, words.PRINTED_WHEN.format(when=when)])


def _printed_point(point: OperatingPoint) -> str:
    name = words.OPERATING_POINTS.get(point.name, point.name)
    return words.PRINTED_POINT.format(name=name, threshold=point.threshold, cohort=point.cohort)


def _provenance(told: Answer) -> list[str]:
    analysis, card = told.analysis, told.analysis.card
    radiograph = analysis.radiograph
    return [
        f"{radiograph.file_format}, {radiograph.rows} × {radiograph.columns} pixels, SHA-256 {radiograph.sha256}",
        f"{card.name} {card.version}, SHA-256 {card.sha256}, {card.preprocessing}, {analysis.analysed_at}",
        card.licence,
    ]


def _printed(entry: Entry, *, named: bool) -> tuple[str, ...]:
    probability = f"{entry.answer.probabilities[COVID19]:.1%}" if entry.answer else ""
    name = shown_name(entry.source.name) if named else neutral_name(entry)
    return str(entry.number), decision_label(entry), probability, name, " ".join(notes_of(entry))
