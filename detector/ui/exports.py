"""What can be taken from the page: PDF, PNG, CSV and JSON of one image, PDF, CSV and JSON of the list.

Nothing here carries what a DICOM header says about a patient; a file's name is written only when the reader asks.
Each file is made when its button is pressed.
"""

from __future__ import annotations

import io
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import streamlit as st
from PIL import Image, ImageDraw, ImageFont

from detector import words
from detector.errors import DetectorError
from detector.report.pdf import Bar, CasePage, ListPages, case_pdf, list_pdf
from detector.report.rows import analysed_row, csv_line, failed_row
from detector.schema import COVID19, NOTICE
from detector.ui import stability_check
from detector.ui.bars import indeterminate_band
from detector.ui.cases import Case, all_warnings, evidence_sentence
from detector.ui.greyscale import shown
from detector.ui.judgement import disagreement, indeterminacy
from detector.ui.names import shown_name
from detector.ui.palette import LIGHT
from detector.ui.session import session
from detector.ui.viewer import painted
from detector.ui.worklist import decision_label

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.model.card import ModelCard
    from detector.schema import OperatingPoint, Prediction, Stability
    from detector.ui.session import Choices
    from detector.ui.viewer import Controls
    from detector.ui.worklist import Entry

_STRIP, _TYPE_SIZE = 34, 18  # pixels below the pictures of a PNG
_MIME = {"pdf": "application/pdf", "png": "image/png", "csv": "text/csv", "json": "application/json"}


def render_case_exports(entry: Entry, prediction: Prediction, controls: Controls, card: ModelCard) -> None:
    """The menu that saves one image's answer."""
    with st.popover(words.SAVE_CASE, icon=":material/download:"):
        named = st.checkbox(words.SAVE_NAME, help=words.SAVE_NAME_HELP, key="name_case")
        stability = session().stability.get(entry.answer.key)  # now: a file is made where there is no session
        makers: dict[str, Callable[[], bytes]] = {
            "pdf": lambda: case_pdf(case_page(entry, prediction, controls, card, named=named, stability=stability)),
            "png": lambda: case_png(entry.answer, prediction, controls),
            "csv": lambda: as_csv([row_of(entry, prediction, card, named=named)]),
            "json": lambda: as_json(row_of(entry, prediction, card, named=named)),
        }
        _render_buttons(makers, f"x-ray-{entry.number}", "case")


def render_list_exports(entries: Sequence[Entry], choices: Choices, card: ModelCard) -> None:
    """The menu that saves the whole list; what has not had its turn is left out."""
    done = [entry for entry in entries if entry.answer is not None]
    with st.popover(words.SAVE_LIST, icon=":material/download:", disabled=not done):
        named = st.checkbox(words.SAVE_NAME, help=words.SAVE_NAME_HELP, key="name_list")
        rows = partial(_rows, done, choices, card, named=named)
        makers: dict[str, Callable[[], bytes]] = {
            "pdf": lambda: list_pdf(list_pages(done, card, named=named)),
            "csv": lambda: as_csv(rows()),
            "json": lambda: as_json(rows()),
        }
        _render_buttons(makers, "worklist", "list")


def row_of(
    entry: Entry, prediction: Prediction | None, card: ModelCard, *, named: bool, mode: str = ""
) -> dict[str, Any]:
    """One line of results, as the command line writes it.

    Args:
        entry: a file that has had its turn.
        prediction: its answer; None for a file without one.
        card: of the network.
        named: whether the file's own name is written.
        mode: of the question; needed where there is no prediction.
    """
    path = entry.source.name if named else neutral_name(entry)
    case = entry.answer
    if isinstance(case, Case) and prediction is not None:
        scale = card.saliency_scale[prediction.task.name]
        summary = case.summary(prediction.task, prediction.target_class, scale)
        return analysed_row(path, case.analysis, prediction, summary=summary, explained=True)
    return failed_row(path, case.error or DetectorError(), mode=mode, model=card.info, sha256=case.key)


def neutral_name(entry: Entry) -> str:
    """What a file is called where its own name is not wanted."""
    return words.NEUTRAL_NAME.format(number=entry.number)


def as_csv(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as CSV with a header; the mark at the start tells spreadsheets that it is UTF-8."""
    return "".join(csv_line(row, header=place == 0) for place, row in enumerate(rows)).encode("utf-8-sig")


def as_json(rows: Any) -> bytes:
    """A row, or a list of them."""
    return (json.dumps(rows, indent=2, ensure_ascii=False) + "\n").encode()


def case_png(case: Case, prediction: Prediction, controls: Controls) -> bytes:
    """X-ray and map side by side as they are on the page, with the notice below."""
    image, overlay = _pictures(case, prediction, controls)
    pair = np.hstack([cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), overlay])
    sheet = Image.new("RGB", (pair.shape[1], pair.shape[0] + _STRIP), "black")
    sheet.paste(Image.fromarray(pair), (0, 0))
    size = min(_TYPE_SIZE, max(8, pair.shape[1] // 50))
    line = " · ".join([controls.look.title, words.DECISIONS[prediction.decision], *case.marks, NOTICE])
    font = ImageFont.load_default(size)
    ImageDraw.Draw(sheet).text((8, pair.shape[0] + _STRIP // 2), line, fill="white", font=font, anchor="lm")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def case_page(
    entry: Entry,
    prediction: Prediction,
    controls: Controls,
    card: ModelCard,
    *,
    named: bool,
    stability: Stability | None = None,
) -> CasePage:
    """The content of one image's PDF."""
    case = entry.answer
    image, overlay = _pictures(case, prediction, controls)
    point = prediction.operating_point
    return CasePage(
        title=words.DECISIONS[prediction.decision],
        subject=" · ".join([shown_name(entry.source.name) if named else neutral_name(entry), *case.marks]),
        image=image,
        overlay=overlay,
        captions=(words.XRAY_PANEL, f"{controls.look.title}. {words.MAP_CAUTION}"),
        bars=_bars(prediction, stability),
        threshold=point.threshold if point else None,
        band=indeterminate_band(prediction, card.calibration.bands[prediction.task.name]),
        findings=_findings(case, prediction, controls, card),
        warnings=all_warnings(case, prediction, card),
        provenance=_provenance(case, card),
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
        thumbnails=[e.answer.picture.small if e.answer.picture else None for e in entries],
        notice=NOTICE,
        provenance=f"{card.info.name} {card.info.version}, SHA-256 {card.info.sha256}. {card.licence}",
    )  # fmt: skip


def _render_buttons(makers: dict[str, Callable[[], bytes]], stem: str, key: str) -> None:
    for ending, make in makers.items():
        st.download_button(
            words.SAVE_AS[ending], make, f"{stem}.{ending}", _MIME[ending], key=f"save_{key}_{ending}",
            on_click="ignore", width="stretch",
        )  # fmt: skip


def _rows(entries: Sequence[Entry], choices: Choices, card: ModelCard, *, named: bool) -> list[dict[str, Any]]:
    return [row_of(entry, entry.prediction, card, named=named, mode=choices.task.mode) for entry in entries]


def _pictures(case: Case, prediction: Prediction, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
    """The X-ray, (H, W) uint8, and the map over it, (H, W, 3) uint8 RGB, as the page shows them."""
    image = shown(case.image, controls.greyscale)
    heatmap = case.heatmap(case.cam(prediction.task, controls.target, controls.against))
    return image, painted(image, heatmap, controls.look)


def _bars(prediction: Prediction, stability: Stability | None) -> list[Bar]:
    ends = stability_check.whiskers(stability, prediction.task) if stability else {}
    return [
        Bar(words.CLASSES[name], value, LIGHT.classes[name], *ends.get(name, (None, None)))
        for name, value in prediction.probabilities.items()
    ]


def _findings(case: Case, prediction: Prediction, controls: Controls, card: ModelCard) -> list[str]:
    sentence = evidence_sentence(case, prediction.task, controls.target, controls.look.full_scale)
    found = [f"{words.CLASSES[controls.target]}: {sentence}"]
    if prediction.operating_point is not None:
        found.append(_printed_point(prediction.operating_point))
    notes = (indeterminacy(prediction, card), disagreement(case, prediction, card))
    return [*found, *filter(None, notes)]


def _asked(entries: Sequence[Entry]) -> str:
    """The question and the operating point of a list, and when its last image was answered."""
    answered = [entry for entry in entries if entry.prediction is not None]
    if not answered:
        return ""
    prediction = answered[0].prediction
    point, when = prediction.operating_point, max(entry.answer.analysis.analysed_at for entry in answered)
    asked = words.PRINTED_QUESTION.format(mode=words.MODES[prediction.task.mode])
    said = [asked, _printed_point(point)] if point else [asked]
    return " ".join([*said, words.PRINTED_WHEN.format(when=when)])


def _printed_point(point: OperatingPoint) -> str:
    name = words.OPERATING_POINTS.get(point.name, point.name)
    return words.PRINTED_POINT.format(name=name, threshold=point.threshold, cohort=point.cohort)


def _provenance(case: Case, card: ModelCard) -> list[str]:
    analysis = case.analysis
    radiograph = analysis.radiograph
    return [
        f"{radiograph.file_format}, {radiograph.rows} × {radiograph.columns} pixels, SHA-256 {radiograph.sha256}",
        (
            f"{analysis.model.name} {analysis.model.version}, SHA-256 {analysis.model.sha256}, {card.preprocessing}, "
            f"{analysis.analysed_at}"
        ),
        card.licence,
    ]


def _printed(entry: Entry, *, named: bool) -> tuple[str, ...]:
    probability = f"{entry.prediction.probabilities[COVID19]:.1%}" if entry.prediction else ""
    name = shown_name(entry.source.name) if named else neutral_name(entry)
    failed = [entry.answer.message] if not isinstance(entry.answer, Case) else []
    return str(entry.number), decision_label(entry), probability, name, " ".join([*failed, *entry.warnings])
