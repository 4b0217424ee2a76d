"""An answer as one picture: X-ray and map side by side, with what a colleague needs to read it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from detector.answers.overlay import AGAINST_COLOUR, FOR_COLOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

_PANEL = 900  # pixels of a picture's longer side at least: the type below is read beside it
_MARGIN, _GAP = 24, 12
_HEAD, _BODY, _SMALL = 40, 24, 20  # pixels of type
_QUIET, _RED, _EMPTY = (184, 192, 199), (196, 22, 28), (35, 40, 45)
_RAMP = (260, 12)


@dataclass(frozen=True, eq=False)
class Panels:
    """X-ray and map side by side.

    Attributes:
        image: (H, W) uint8.
        overlay: (H, W, 3) uint8 RGB.
        captions: of the two.
        badges: what was done to the picture, in capitals.
        full_scale: evidence in full colour, in logit units.
        scale: words of the colour scale.
    """

    image: np.ndarray
    overlay: np.ndarray
    captions: tuple[str, str]
    badges: tuple[str, ...]
    full_scale: float
    scale: str


def sheet_png(panels: Panels, *, headline: str, lines: Sequence[str], notice: str) -> bytes:
    """Draw both pictures below the headline and its lines, and above the notice: a PNG file's bytes."""
    pictures = [Image.fromarray(_enlarged(pixels)).convert("RGB") for pixels in (panels.image, panels.overlay)]
    width, height = pictures[0].size
    across = 2 * width + _GAP + 2 * _MARGIN
    lines = [part for line in lines for part in wrapped(line, _font(_BODY), across - 2 * _MARGIN)]
    top = _MARGIN + _HEAD + 14 + len(lines) * (_BODY + 10) + 10
    whole = Image.new("RGB", (across, top + _BODY + 14 + height + 3 * _BODY + _MARGIN), "black")
    draw = ImageDraw.Draw(whole)
    draw.text((_MARGIN, _MARGIN), headline, fill="white", font=_font(_HEAD))
    for place, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + _HEAD + 14 + place * (_BODY + 10)), line, fill="white", font=_font(_BODY))
    for place, (picture, caption) in enumerate(zip(pictures, panels.captions, strict=True)):
        left = _MARGIN + place * (width + _GAP)
        draw.text((left, top), caption, fill=_QUIET, font=_font(_BODY))
        whole.paste(picture, (left, top + _BODY + 14))
        _draw_sides(draw, left, top + _BODY + 14, width)
        _draw_badges(draw, panels.badges, left + width, top)
    bottom = top + _BODY + 14 + height + _BODY
    draw.text((_MARGIN, bottom), notice, fill="white", font=_font(_SMALL))
    _draw_scale(whole, draw, (_MARGIN + width + _GAP, bottom), panels)
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """The same picture with a longer side of `_PANEL` at least."""
    factor = _PANEL / max(pixels.shape[:2])
    if factor <= 1:
        return pixels
    return np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Break a text into lines of at most `width` pixels, between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _draw_sides(draw: ImageDraw.ImageDraw, left: int, top: int, width: int) -> None:
    for side, place, anchor in (("R", left + 12, "la"), ("L", left + width - 12, "ra")):
        draw.text(
            (place, top + 10), side, fill="white", font=_font(_BODY), anchor=anchor, stroke_width=2, stroke_fill="black"
        )


def _draw_badges(draw: ImageDraw.ImageDraw, badges: tuple[str, ...], right: int, top: int) -> None:
    for badge in reversed(badges):
        left = right - draw.textlength(badge, font=_font(_SMALL)) - 16
        draw.rectangle((left, top - 2, right, top + _SMALL + 8), fill=_RED)
        draw.text((left + 8, top + 1), badge, fill="white", font=_font(_SMALL))
        right = int(left) - 8


def _draw_scale(whole: Image.Image, draw: ImageDraw.ImageDraw, place: tuple[int, int], panels: Panels) -> None:
    """The colour scale: against, none, for."""
    signed = np.linspace(-1, 1, _RAMP[0], dtype=np.float32)[:, np.newaxis]
    ends = np.where(signed < 0, AGAINST_COLOUR, FOR_COLOUR) * 255
    ramp = np.abs(signed) * ends + (1 - np.abs(signed)) * np.array(_EMPTY, np.float32)
    strip = np.repeat(np.rint(ramp).astype(np.uint8)[np.newaxis], _RAMP[1], axis=0)
    low, high = f"-{panels.full_scale:.0f}", f"+{panels.full_scale:.0f}  {panels.scale}"
    font, (left, top) = _font(_SMALL), place
    draw.text((left, top), low, fill="white", font=font)
    left += int(draw.textlength(low, font=font)) + 10
    whole.paste(Image.fromarray(strip), (left, top + 7))
    draw.text((left + _RAMP[0] + 10, top), high, fill="white", font=font)
