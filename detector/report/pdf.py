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
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Image, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

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
_PICTURE_HEIGHT = 92 * mm
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
    """What stands on an image's page.

    Attributes:
        title: the decision, in words.
        subject: which image this is.
        image: (H, W) uint8.
        overlay: (H, W, 3) uint8 RGB.
        captions: of the two pictures.
        bars: of the chart.
        threshold: operating point on the first bar; None where there is none.
        band: lowest and highest value of the first bar that are too close to the operating point to call.
        findings: sentences.
        warnings: sentences; they come first.
        provenance: how the answer came about, a line each.
        notice: what this is not.
    """

    title: str
    subject: str
    image: np.ndarray
    overlay: np.ndarray
    captions: tuple[str, str]
    bars: Sequence[Bar]
    threshold: float | None
    band: tuple[float, float] | None
    findings: Sequence[str]
    warnings: Sequence[str]
    provenance: Sequence[str]
    notice: str


@dataclass(frozen=True, eq=False)
class ListPages:
    """What stands in a printed worklist.

    Attributes:
        title: of the list.
        subject: what was asked, and when it was answered.
        columns: headings; the first column holds the thumbnails.
        rows: a cell each for the other columns.
        thumbnails: (H, W) uint8, or None where a file has no picture.
        notice: what this is not; it stands on every page.
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
    """Print one image's answer on one A4 page."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1, pageCompression=1)  # one answer, one sequence of bytes
    canvas.setTitle(_plain(page.title))
    width, top = A4[0] - 2 * _MARGIN, A4[1] - _MARGIN
    top = _write(canvas, page.notice, _NOTICE, top, width)
    top = _write(canvas, page.title, _TITLE, top - 3 * mm, width)
    top = _write(canvas, page.subject, _SMALL, top - 1 * mm, width)
    for warning in page.warnings:
        top = _write_warning(canvas, warning, top - 2 * mm, width)
    top = _draw_pictures(canvas, page, top - 5 * mm, width)
    top = _draw_bars(canvas, page, top - 4 * mm, width)
    for finding in page.findings:
        top = _write(canvas, finding, _BODY, top - 2 * mm, width)
    bottom = _MARGIN + sum(_height(line, _SMALL, width) for line in page.provenance)
    canvas.setStrokeColor(_LINE)
    canvas.line(_MARGIN, bottom + 2 * mm, A4[0] - _MARGIN, bottom + 2 * mm)
    for line in page.provenance:
        bottom = _write(canvas, line, _SMALL, bottom, width)
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
        _write(canvas, pages.notice, _NOTICE, landscape(A4)[1] - _MARGIN / 2, width)

    story = [*head, table, Spacer(0, 4 * mm), _paragraph(pages.provenance, _SMALL)]
    document.build(story, onFirstPage=write_notice, onLaterPages=write_notice)
    return buffer.getvalue()


def _plain(text: str) -> str:
    """Text that the standard fonts hold."""
    return text.encode("cp1252", "replace").decode("cp1252")


def _paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(html.escape(_plain(text)), style)


def _height(text: str, style: ParagraphStyle, width: float) -> float:
    return float(_paragraph(text, style).wrap(width, A4[1])[1])


def _write(canvas: Canvas, text: str, style: ParagraphStyle, top: float, width: float) -> float:
    """Write a paragraph below `top`; returns where it ends."""
    paragraph = _paragraph(text, style)
    height: float = paragraph.wrap(width, A4[1])[1]
    paragraph.drawOn(canvas, _MARGIN, top - height)
    return top - height


def _write_warning(canvas: Canvas, text: str, top: float, width: float) -> float:
    """A warning with a bar at its side, which prints without colour too."""
    height = _height(text, _BODY, width - 4 * mm)
    canvas.setFillColor(colors.HexColor("#C2571A"))
    canvas.rect(_MARGIN, top - height, 1.2 * mm, height, stroke=0, fill=1)
    paragraph = _paragraph(text, _BODY)
    paragraph.wrap(width - 4 * mm, A4[1])
    paragraph.drawOn(canvas, _MARGIN + 4 * mm, top - height)
    return top - height


def _draw_pictures(canvas: Canvas, page: CasePage, top: float, width: float) -> float:
    """X-ray and map side by side; returns where their captions end."""
    side = (width - 4 * mm) / 2
    rows, columns = page.image.shape
    factor = min(side / columns, _PICTURE_HEIGHT / rows)
    lowest: float = 0.0
    for place, (pixels, caption) in enumerate(zip((page.image, page.overlay), page.captions, strict=True)):
        left = _MARGIN + place * (side + 4 * mm)
        canvas.drawImage(_jpeg(pixels), left, top - rows * factor, columns * factor, rows * factor)
        label = _paragraph(caption, _SMALL)
        height: float = label.wrap(side, A4[1])[1] + 1 * mm
        label.drawOn(canvas, left, top - rows * factor - height)
        lowest = max(lowest, height)
    below: float = top - rows * factor - lowest
    return below


def _draw_bars(canvas: Canvas, page: CasePage, top: float, width: float) -> float:
    """The probabilities as bars over a scale from 0 to 1; returns where they end."""
    start, scale = _MARGIN + 42 * mm, width - 60 * mm
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
        canvas.drawString(_MARGIN, bottom + 1.9 * mm, _plain(bar.label))
        canvas.drawRightString(_MARGIN + width, bottom + 1.9 * mm, f"{bar.probability:.1%}")
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
