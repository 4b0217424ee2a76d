"""What can be taken from the page: PDF, PNG, CSV and JSON of one image, PDF, CSV and JSON of the list.

Nothing here carries what a DICOM header says about a patient, but for the DICOM objects, which belong into the
patient's study; a file's name is written only when the reader asks. Each file is made when its button is pressed.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.answers.pretest import standing
from detector.read.sandbox import read_source
from detector.report.pdf import Bar, CasePage, ListPages, case_pdf, list_pdf
from detector.report.rows import Row, answer_row, csv_line, no_answer_row
from detector.report.sheet import Panels, sheet_png
from detector.schema import COVID19, NOTICE
from detector.ui.bars import whiskers_of
from detector.ui.cases import Failure
from detector.ui.greyscale import Greyscale, shown
from detector.ui.names import shown_name
from detector.ui.palette import LIGHT
from detector.ui.screen import Look, badges_of, painted
from detector.ui.session import Session, session
from detector.ui.worklist import decision_label, notes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from detector.answers.answer import Answer, Question, Verdict
    from detector.model.card import ModelCard
    from detector.schema import ModelInfo, Stability
    from detector.ui.cases import Case
    from detector.ui.worklist import Entry

_MIME = {
    "pdf": "application/pdf", "png": "image/png", "csv": "text/csv", "json": "application/json",
    "zip": "application/zip",
}  # fmt: skip


def render_case_exports(entry: Entry, case: Case, told: Answer) -> None:
    """The menu that saves one image's answer."""
    with st.popover(words.SAVE_CASE, icon=":material/download:"):
        named = st.checkbox(words.SAVE_NAME, help=words.SAVE_NAME_HELP, key="name_case")
        now = session()  # a file is made where there is no session, and shows what the reader sees by then
        makers: dict[str, Callable[[], bytes]] = {
            "pdf": lambda: case_pdf(
                case_page(
                    entry, case, told, seen(now, case), named=named, stability=now.stability.get(case.stability_key)
                )
            ),
            "png": lambda: case_png(case, told, seen(now, case)),
            "csv": lambda: as_csv([row_of(entry, told.question, told.analysis.model, named=named)]),
            "json": lambda: as_json(row_of(entry, told.question, told.analysis.model, named=named)),
        }
        if case.analysis.radiograph.file_format == "DICOM":
            makers["zip"] = lambda: case_dicom(entry.source.read(), case, told)
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
    if entry.result is None:
        msg = f"File {entry.number} has not had its turn."
        raise ValueError(msg)
    own = replace(question, target_class=None, against=None)
    return answer_row(path, entry.result.answer(own), explained=True)


def case_dicom(data: bytes, case: Case, told: Answer) -> bytes:
    """The answer as DICOM objects for the study of the image whose file `data` is, in one ZIP file."""
    from detector.report.dicom import ENDINGS, write_results  # noqa: PLC0415 - highdicom takes a second

    results = write_results(replace(told, analysis=case.with_pixels(data)), read_source(data))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for kind, result in results.items():
            archive.writestr(f"result{ENDINGS[kind]}", result)
    return file.getvalue()


def neutral_name(entry: Entry) -> str:
    """What a file is called where its own name is not wanted."""
    return words.NEUTRAL_NAME.format(number=entry.number)


def as_csv(rows: Sequence[Row]) -> bytes:
    """Rows as CSV with a header; the mark at the start tells spreadsheets that it is UTF-8."""
    return "".join(csv_line(row, header=place == 0) for place, row in enumerate(rows)).encode("utf-8-sig")


def as_json(rows: Row | list[Row]) -> bytes:
    """A row, or a list of them."""
    return (json.dumps(rows, indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True)
class Seen:
    """How the reader sees an image when a file is made of it."""

    greyscale: Greyscale
    look: Look


def seen(now: Session, case: Case) -> Seen:
    """What the browser has told last of an image."""
    return Seen(now.greyscales.get(case.screen_key, Greyscale()), now.look)


def case_png(case: Case, told: Answer, seen: Seen) -> bytes:
    """X-ray and map side by side as they are on the page, with answer, colour scale and notice at a readable size."""
    return sheet_png(
        _panels(case, told, seen),
        headline=words.headline(told.decision, told.probabilities),
        lines=(
            words.own_task(told.verdict.task.mode, told.probabilities),
            words.other_task(told.other.task.mode, told.other.decision, told.other.probabilities),
            told.evidence_sentence,
        ),
        notice=f"{NOTICE} {words.LOOKS_FOR_NOTHING_ELSE}",
    )


def case_page(
    entry: Entry, case: Case, told: Answer, seen: Seen, *, named: bool, stability: Stability | None = None
) -> CasePage:
    """The content of one image's PDF."""
    point = told.operating_point if told.verdict.threshold is not None else None
    return CasePage(
        title=words.headline(told.decision, told.probabilities),
        lines=(
            words.other_task(told.other.task.mode, told.other.decision, told.other.probabilities),
            standing(told),
        ),
        subject=" · ".join([shown_name(entry.source.name) if named else neutral_name(entry), *told.marks]),
        asked=_asked(told, told.analysis.analysed_at),
        panels=_panels(case, told, seen),
        bars=_bars(told.verdict, stability),
        threshold=point.threshold if point else None,
        band=told.verdict.band,
        findings=(f"{told.evidence_sentence} {words.MAP_CAUTION}",),
        warnings=told.warnings,
        limits=(words.LOOKS_FOR_NOTHING_ELSE, *told.analysis.card.limits),
        provenance=_provenance(told),
        notice=NOTICE,
    )  # fmt: skip


def local_time(stamp: str) -> str:
    """An ISO 8601 stamp as the clock on the wall here: "30 Nov 2026, 09:12 CET"."""
    return datetime.fromisoformat(stamp).astimezone().strftime("%d %b %Y, %H:%M %Z").strip()


def list_pages(entries: Sequence[Entry], card: ModelCard, *, named: bool) -> ListPages:
    """The content of the worklist's PDF."""
    return ListPages(
        title=words.WORKLIST,
        subject=_list_asked(entries),
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


def _panels(case: Case, told: Answer, seen: Seen) -> Panels:
    """X-ray and map as the page shows them."""
    image = shown(case.picture.pixels, seen.greyscale)
    return Panels(
        image,
        painted(image, case.heatmap(told.cam), told.full_scale, seen.look),
        captions=(words.XRAY_PANEL, words.map_title(told.target_class, told.question.against)),
        badges=badges_of(told, seen.greyscale),
        full_scale=told.full_scale,
        scale=words.SCALE_PRINTED,
    )


def _bars(verdict: Verdict, stability: Stability | None) -> list[Bar]:
    ends = whiskers_of(stability, verdict.task) if stability else {}
    return [
        Bar(words.CLASSES[name], value, LIGHT.classes[name], *ends.get(name, (None, None)))
        for name, value in verdict.probabilities.items()
    ]


def _list_asked(entries: Sequence[Entry]) -> str:
    """What a list was asked, and when its last image was answered."""
    answers = [entry.answer for entry in entries if entry.answer is not None]
    if not answers:
        return ""
    told, when = answers[0], max(told.analysis.analysed_at for told in answers)
    return _asked(told, when, told.question.site.line(told.task) if told.question.site else "")


def _asked(told: Answer, when: str, site: str = "") -> str:
    """The question with its operating point, and when it was answered."""
    point, printed = told.operating_point, ""
    if point is not None and told.verdict.threshold is not None:
        name = words.OPERATING_POINTS.get(point.name, point.name)
        printed = words.PRINTED_POINT.format(name=name, threshold=words.percent(point.threshold), cohort=point.cohort)
    asked = words.PRINTED_QUESTION.format(mode=words.MODES[told.task.mode])
    return " ".join(filter(None, [asked, site, printed, words.PRINTED_WHEN.format(when=local_time(when))]))


def _provenance(told: Answer) -> list[str]:
    analysis, card = told.analysis, told.analysis.card
    radiograph = analysis.radiograph
    return [
        f"{radiograph.file_format}, {radiograph.rows} × {radiograph.columns} pixels, SHA-256 {radiograph.sha256}",
        f"{card.name} {card.version}, SHA-256 {card.sha256}, {card.preprocessing}, {analysis.analysed_at}",
        card.licence,
    ]


def _printed(entry: Entry, *, named: bool) -> tuple[str, ...]:
    probability = words.percent(entry.answer.probabilities[COVID19]) if entry.answer else ""
    name = shown_name(entry.source.name) if named else neutral_name(entry)
    return str(entry.number), decision_label(entry), probability, name, " ".join(notes_of(entry))
