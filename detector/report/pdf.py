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

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

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
        image: (H, W) uint8.
        overlay: (H, W, 3) uint8 RGB.
        captions: of the two pictures.
        badges: what was done to the picture, in capitals.
        full_scale: evidence in full colour, in logit units.
        scale: words of the colour scale.
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
    image: np.ndarray
    overlay: np.ndarray
    captions: tuple[str, str]
    badges: Sequence[str]
    full_scale: float
    scale: str
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
    said = _flow([(page.findings, _BODY), (page.warnings, _WARNING), (page.limits, _SMALL)], half)
    ground = _flow([(page.provenance, _SMALL)], half)
    bars = len(page.bars) * (_BAR_HEIGHT + _BAR_GAP) + 2 * mm
    below = max(said.height, bars + ground.height) + 4 * mm
    top = _draw_pictures(canvas, page, top - 3 * mm, bottom=_EDGE + below, half=half) - 3 * mm
    said.draw(canvas, left, top)
    ground.draw(canvas, right, _draw_bars(canvas, page, right, top, half))
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


@dataclass(frozen=True)
class _Flow:
    """Paragraphs one below the other, whose height is known before they are drawn."""

    paragraphs: Sequence[Paragraph]
    height: float

    def draw(self, canvas: Canvas, left: float, top: float) -> None:
        for paragraph in self.paragraphs:
            top -= paragraph.height + _BETWEEN
            paragraph.drawOn(canvas, left, top)


def _flow(parts: Sequence[tuple[Sequence[str], ParagraphStyle]], width: float) -> _Flow:
    paragraphs = [_paragraph(text, style) for texts, style in parts for text in texts]
    height = sum(paragraph.wrap(width, _PAGE[1])[1] + _BETWEEN for paragraph in paragraphs)
    return _Flow(paragraphs, float(height))


def _draw_pictures(canvas: Canvas, page: CasePage, top: float, *, bottom: float, half: float) -> float:
    """X-ray and map in black boxes that take the room there is; returns where they end."""
    captions = [_paragraph(caption, _BODY) for caption in page.captions]
    head = max(caption.wrap(half, _PAGE[1])[1] for caption in captions) + 1 * mm
    rows, columns = page.image.shape
    box = max(_SMALLEST_BOX, top - head - bottom)
    factor = min(half / columns, box / rows)
    for place, (pixels, caption) in enumerate(zip((page.image, page.overlay), captions, strict=True)):
        left = _EDGE + place * (half + _GAP)
        caption.drawOn(canvas, left, top - caption.height)
        low = top - head - box
        canvas.setFillColor(colors.black)
        canvas.rect(left, low, half, box, stroke=0, fill=1)
        across, down = columns * factor, rows * factor
        canvas.drawImage(_jpeg(pixels), left + (half - across) / 2, low + (box - down) / 2, across, down)
        canvas.setFillColor(colors.white)
        canvas.setFont("Helvetica-Bold", 10)
        canvas.drawString(left + 2 * mm, low + box - 6 * mm, "R")
        canvas.drawRightString(left + half - 2 * mm, low + box - 6 * mm, "L")
        _draw_badges(canvas, page.badges, left + half, top - 0.5 * mm)
    _draw_scale(canvas, page, _EDGE + half + _GAP + 2 * mm, top - head - box + 2 * mm)
    return float(top - head - box)


def _draw_badges(canvas: Canvas, badges: Sequence[str], right: float, top: float) -> None:
    for badge in reversed(badges):
        width = canvas.stringWidth(badge, "Helvetica-Bold", 8) + 3 * mm
        canvas.setFillColor(colors.HexColor("#C4161C"))
        canvas.rect(right - width, top - 4 * mm, width, 4 * mm, stroke=0, fill=1)
        canvas.setFillColor(colors.white)
        canvas.setFont("Helvetica-Bold", 8)
        canvas.drawString(right - width + 1.5 * mm, top - 2.9 * mm, badge)
        right -= width + 1 * mm


def _draw_scale(canvas: Canvas, page: CasePage, left: float, bottom: float) -> None:
    """The colour scale, in the map's lower corner."""
    ends = [colors.Color(*map(float, colour)) for colour in (AGAINST_COLOUR, FOR_COLOUR)]
    low, high = f"-{page.full_scale:.0f}", f"+{page.full_scale:.0f}"
    told = f"{high}  {_plain(page.scale)}"
    start = left + canvas.stringWidth(low, "Helvetica", 8) + 1.5 * mm
    end = start + _RAMP + 1.5 * mm + canvas.stringWidth(told, "Helvetica", 8)
    canvas.setFillColor(colors.Color(0, 0, 0, 0.7))  # white figures on a white lung could not be read
    canvas.rect(left - 1 * mm, bottom - 1 * mm, end - left + 2 * mm, 4.2 * mm, stroke=0, fill=1)
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
        canvas.setFillColor(colors.HexColor("#EEF1F3"))
        canvas.rect(start, bottom, scale, _BAR_HEIGHT, stroke=0, fill=1)
        if page.band is not None and place == 0:
            low, high = page.band
            canvas.setFillColor(_LINE)
            canvas.rect(
                start + scale * low, bottom - 1 * mm, scale * (high - low), _BAR_HEIGHT + 2 * mm, stroke=0, fill=1
            )
        canvas.setFillColor(colors.HexColor(bar.colour))
        canvas.rect(start, bottom, scale * bar.probability, _BAR_HEIGHT, stroke=0, fill=1)
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
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return ImageReader(io.BytesIO(encoded.tobytes()))


def _thumbnail(image: np.ndarray | None) -> Image | str:
    if image is None:
        return ""
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    factor = _THUMBNAIL / max(image.shape)
    return Image(io.BytesIO(encoded.tobytes()), image.shape[1] * factor, image.shape[0] * factor)
