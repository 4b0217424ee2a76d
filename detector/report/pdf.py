"""Answers on paper: one page an image, and a list. Words and pictures come in, so that nothing here knows the page.

ReportLab (BSD) draws; its standard fonts hold Latin letters, and what they don't hold is shown as a question mark.
"""

from __future__ import annotations

import html
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
from reportlab.lib import colors, units
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Image, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from detector import words
from detector.answers.overlay import AGAINST_COLOUR, FOR_COLOUR
from detector.report.maps import encode_jpeg

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from detector.report.sheet import Panels

mm: float = units.mm  # in points

_MARGIN = 18 * mm
_INK, _QUIET, _LINE = colors.HexColor("#1B2126"), colors.HexColor("#4C5862"), colors.HexColor("#C9D0D6")
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9.5, leading=13, textColor=_INK)
_SMALL = ParagraphStyle("small", parent=_BODY, fontSize=7.5, leading=10, textColor=_QUIET)
_TITLE = ParagraphStyle("title", parent=_BODY, fontName="Helvetica-Bold", fontSize=17, leading=21)
_NOTICE = ParagraphStyle("notice", parent=_BODY, fontName="Helvetica-Bold")
_NOTICE_RIGHT = ParagraphStyle("notice_right", parent=_NOTICE, alignment=TA_RIGHT)
_WARNING = ParagraphStyle("warning", parent=_BODY, fontName="Helvetica-Bold")
_PAGE = landscape(A4)
_EDGE, _GAP, _BETWEEN = 12 * mm, 4 * mm, 1.2 * mm
_SMALLEST_BOX = 70 * mm
_RAMP = 32 * mm
_BAR_HEIGHT, _BAR_GAP = 6 * mm, 3 * mm
_JPEG_QUALITY = 92
_THUMBNAIL = 11 * mm
_FRAME = 6  # points that ReportLab keeps free within its margins


@dataclass(frozen=True)
class Bar:
    """One class of the bar chart."""

    label: str
    probability: float
    colour: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False)
class CasePage:
    """The content of an image's page.

    Attributes:
        title: the answer, in words.
        lines: the other task's answer, and what the answer is worth.
        subject: which image this is.
        asked: the question, and when it was answered.
        panels: the pictures.
        bars: of the chart.
        threshold: operating point on the first bar; None where there is none.
        band: lowest and highest value of the first bar that are too close to the threshold to call.
        findings: sentences.
        warnings: sentences.
        limits: what the network can't do, as sentences.
        provenance: how the answer came about, a line each.
        notice: what this is not.
    """

    title: str
    lines: Sequence[str]
    subject: str
    asked: str
    panels: Panels
    bars: Sequence[Bar]
    threshold: float | None
    band: tuple[float, float] | None
    findings: Sequence[str]
    warnings: Sequence[str]
    limits: Sequence[str]
    provenance: Sequence[str]
    notice: str


@dataclass(frozen=True, eq=False)
class ListPages:
    """The content of a printed worklist.

    Attributes:
        title: of the list.
        subject: what was asked, and when it was answered.
        columns: headings; the first column holds the thumbnails.
        rows: a cell each for the other columns.
        thumbnails: (H, W) uint8, or None where a file has no picture.
        notice: what this is not, on every page.
        provenance: how the answers came about.
    """

    title: str
    subject: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    thumbnails: Sequence[np.ndarray | None]
    notice: str
    provenance: str


def case_pdf(page: CasePage) -> bytes:
    """Print one image's answer on one A4 page, landscape: answer, both pictures, what they say, where it is from."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=_PAGE, invariant=1, pageCompression=1)  # one answer, one sequence of bytes
    canvas.setTitle(_plain(page.title))
    width, half = _PAGE[0] - 2 * _EDGE, (_PAGE[0] - 2 * _EDGE - _GAP) / 2
    left, right = _EDGE, _EDGE + half + _GAP
    top = _PAGE[1] - _EDGE
    _write(canvas, page.notice, _NOTICE_RIGHT, right, top, half)
    top = _write(canvas, page.title, _TITLE, left, top, half)
    for line in page.lines:
        top = _write(canvas, line, _BODY, left, top - 1 * mm, width)
    top = _write(canvas, f"{page.subject} · {page.asked}", _SMALL, left, top - 1 * mm, width)
    said = [_paragraph(finding, _BODY) for finding in page.findings]
    said += [_paragraph(warning, _WARNING) for warning in page.warnings]
    said += [_paragraph(limit, _SMALL) for limit in page.limits]
    ground = [_paragraph(line, _SMALL) for line in page.provenance]
    bars = len(page.bars) * (_BAR_HEIGHT + _BAR_GAP) + 2 * mm
    below = max(_height(said, half), bars + _height(ground, half)) + 4 * mm
    top = _draw_pictures(canvas, page.panels, top - 3 * mm, bottom=_EDGE + below, half=half) - 3 * mm
    _draw_paragraphs(canvas, said, left, top)
    _draw_paragraphs(canvas, ground, right, _draw_bars(canvas, page, right, top, half))
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def list_pdf(pages: ListPages) -> bytes:
    """Print a worklist on as many A4 pages as it needs."""
    buffer = io.BytesIO()
    document = SimpleDocTemplate(
        buffer, pagesize=landscape(A4), leftMargin=_MARGIN - _FRAME, rightMargin=_MARGIN - _FRAME, topMargin=_MARGIN,
        bottomMargin=_MARGIN, title=_plain(pages.title), invariant=1,
    )  # fmt: skip
    width = landscape(A4)[0] - 2 * _MARGIN
    share = [0.06, 0.05, 0.15, 0.1, 0.19]
    widths = [width * part for part in (*share, 1 - sum(share))]
    cells = [[_paragraph(name, _NOTICE) for name in pages.columns]]
    for thumbnail, row in zip(pages.thumbnails, pages.rows, strict=True):
        cells.append([_thumbnail(thumbnail), *(_paragraph(cell, _BODY) for cell in row)])
    style = TableStyle([
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE), ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("LEFTPADDING", (0, 0), (0, -1), 0),
    ])  # fmt: skip
    table = Table(cells, colWidths=widths, repeatRows=1, style=style)
    head = [_paragraph(pages.title, _TITLE), _paragraph(pages.subject, _SMALL), Spacer(0, 4 * mm)]

    def write_notice(canvas: Canvas, _: SimpleDocTemplate) -> None:
        _write(canvas, pages.notice, _NOTICE, _MARGIN, landscape(A4)[1] - _MARGIN / 2, width)

    story = [*head, table, Spacer(0, 4 * mm), _paragraph(pages.provenance, _SMALL)]
    document.build(story, onFirstPage=write_notice, onLaterPages=write_notice)
    return buffer.getvalue()


def _plain(text: str) -> str:
    """Text that the standard fonts hold."""
    return text.encode("cp1252", "replace").decode("cp1252")


def _paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(html.escape(_plain(text)), style)


def _write(canvas: Canvas, text: str, style: ParagraphStyle, left: float, top: float, width: float) -> float:
    """Write a paragraph below `top`; returns where it ends."""
    paragraph = _paragraph(text, style)
    height = float(paragraph.wrap(width, _PAGE[1])[1])
    paragraph.drawOn(canvas, left, top - height)
    return top - height


def _height(paragraphs: Sequence[Paragraph], width: float) -> float:
    """Height of paragraphs one below the other; they have to be measured before they are drawn."""
    return float(sum(paragraph.wrap(width, _PAGE[1])[1] + _BETWEEN for paragraph in paragraphs))


def _draw_paragraphs(canvas: Canvas, paragraphs: Sequence[Paragraph], left: float, top: float) -> None:
    for paragraph in paragraphs:
        top -= paragraph.height + _BETWEEN
        paragraph.drawOn(canvas, left, top)


def _fill(canvas: Canvas, colour: colors.Color, left: float, bottom: float, width: float, height: float) -> None:
    canvas.setFillColor(colour)
    canvas.rect(left, bottom, width, height, stroke=0, fill=1)


def _draw_pictures(canvas: Canvas, panels: Panels, top: float, *, bottom: float, half: float) -> float:
    """X-ray and map in black boxes that take the room there is; returns where they end."""
    captions = [_paragraph(caption, _BODY) for caption in panels.captions]
    head = max(caption.wrap(half, _PAGE[1])[1] for caption in captions) + 1 * mm
    rows, columns = panels.image.shape
    box = max(_SMALLEST_BOX, top - head - bottom)
    factor = min(half / columns, box / rows)
    for place, (pixels, caption) in enumerate(zip((panels.image, panels.overlay), captions, strict=True)):
        left = _EDGE + place * (half + _GAP)
        caption.drawOn(canvas, left, top - caption.height)
        low = top - head - box
        _fill(canvas, colors.black, left, low, half, box)
        across, down = columns * factor, rows * factor
        canvas.drawImage(_jpeg(pixels), left + (half - across) / 2, low + (box - down) / 2, across, down)
        canvas.setFillColor(colors.white)
        canvas.setFont("Helvetica-Bold", 10)
        canvas.drawString(left + 2 * mm, low + box - 6 * mm, "R")
        canvas.drawRightString(left + half - 2 * mm, low + box - 6 * mm, "L")
        _draw_badges(canvas, panels.badges, left + half, top - 0.5 * mm)
    _draw_scale(canvas, panels, _EDGE + half + _GAP + 2 * mm, top - head - box + 2 * mm)
    return float(top - head - box)


def _draw_badges(canvas: Canvas, badges: Sequence[str], right: float, top: float) -> None:
    for badge in reversed(badges):
        width = canvas.stringWidth(badge, "Helvetica-Bold", 8) + 3 * mm
        _fill(canvas, colors.HexColor("#C4161C"), right - width, top - 4 * mm, width, 4 * mm)
        canvas.setFillColor(colors.white)
        canvas.setFont("Helvetica-Bold", 8)
        canvas.drawString(right - width + 1.5 * mm, top - 2.9 * mm, badge)
        right -= width + 1 * mm


def _draw_scale(canvas: Canvas, panels: Panels, left: float, bottom: float) -> None:
    """The colour scale, in the map's lower corner."""
    ends = [colors.Color(*map(float, colour)) for colour in (AGAINST_COLOUR, FOR_COLOUR)]
    low, high = f"-{panels.full_scale:.0f}", f"+{panels.full_scale:.0f}"
    told = f"{high}  {_plain(panels.scale)}"
    start = left + canvas.stringWidth(low, "Helvetica", 8) + 1.5 * mm
    end = start + _RAMP + 1.5 * mm + canvas.stringWidth(told, "Helvetica", 8)
    ground = colors.Color(0, 0, 0, 0.7)  # white figures on a white lung could not be read
    _fill(canvas, ground, left - 1 * mm, bottom - 1 * mm, end - left + 2 * mm, 4.2 * mm)
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(colors.white)
    canvas.drawString(left, bottom, low)
    canvas.saveState()
    path = canvas.beginPath()
    path.rect(start, bottom, _RAMP, 2 * mm)
    canvas.clipPath(path, stroke=0)
    canvas.linearGradient(start, 0, start + _RAMP, 0, (ends[0], colors.HexColor("#23282D"), ends[1]), (0, 0.5, 1))
    canvas.restoreState()
    canvas.setFillColor(colors.white)
    canvas.drawString(start + _RAMP + 1.5 * mm, bottom, told)


def _draw_bars(canvas: Canvas, page: CasePage, left: float, top: float, width: float) -> float:
    """The probabilities as bars over a scale from 0 to 1; returns where they end."""
    start, scale = left + 38 * mm, width - 54 * mm
    for place, bar in enumerate(page.bars):
        bottom = top - (place + 1) * _BAR_HEIGHT - place * _BAR_GAP
        _fill(canvas, colors.HexColor("#EEF1F3"), start, bottom, scale, _BAR_HEIGHT)
        if page.band is not None and place == 0:
            low, high = page.band
            _fill(canvas, _LINE, start + scale * low, bottom - 1 * mm, scale * (high - low), _BAR_HEIGHT + 2 * mm)
        _fill(canvas, colors.HexColor(bar.colour), start, bottom, scale * bar.probability, _BAR_HEIGHT)
        canvas.setFillColor(_INK)
        canvas.setStrokeColor(_INK)
        canvas.setFont("Helvetica", 9.5)
        canvas.drawString(left, bottom + 1.9 * mm, _plain(bar.label))
        canvas.drawRightString(left + width, bottom + 1.9 * mm, words.percent(bar.probability))
        if bar.low is not None and bar.high is not None:
            middle = bottom + _BAR_HEIGHT / 2
            canvas.line(start + scale * bar.low, middle, start + scale * bar.high, middle)
        if page.threshold is not None and place == 0:
            line = start + scale * page.threshold
            canvas.setDash(1.5, 1.5)
            canvas.line(line, bottom - 1 * mm, line, top + 1 * mm)
            canvas.setDash()
    return top - len(page.bars) * (_BAR_HEIGHT + _BAR_GAP) - 1 * mm


def _jpeg(pixels: np.ndarray) -> ImageReader:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    return ImageReader(io.BytesIO(encode_jpeg(bgr, quality=_JPEG_QUALITY)))


def _thumbnail(image: np.ndarray | None) -> Image | str:
    if image is None:
        return ""
    jpeg = io.BytesIO(encode_jpeg(image, quality=_JPEG_QUALITY))
    factor = _THUMBNAIL / max(image.shape)
    return Image(jpeg, image.shape[1] * factor, image.shape[0] * factor)
