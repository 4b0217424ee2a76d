"""The catalogue of inputs that must not hurt: each line with what is made, and what has to come of it.

`outcome` is the code of a refusal, or ``"ok"``; `warning` a word of the one warning that an accepted file must carry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from PIL import Image
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from detector.read.image_io import MAX_DICOM_BYTES, MAX_PICTURE_BYTES
from tests.conftest import encode, make_dicom
from tests.hostile import make


@dataclass(frozen=True)
class Line:
    """One input.

    Attributes:
        number: in the catalogue.
        name: of the file, telling what is wrong with it.
        make: gives its bytes.
        outcome: code of the refusal, or ``"ok"``.
        warning: a word of the warning that it is analysed with; None for no warning.
    """

    number: str
    name: str
    make: Callable[[], bytes]
    outcome: str = "ok"
    warning: str | None = None

    @property
    def id(self):
        return f"{self.number}-{self.name}"


def refused(code, number, name, make):
    return Line(number, name, make, outcome=code)


def warned(word, number, name, make):
    return Line(number, name, make, warning=word)


def window(text):
    return partial(make.dicom_with_text, text, WindowCenter="2000", WindowWidth=make.PLACEHOLDER)


def spacing(text):
    return partial(make.dicom_with_text, text, PixelSpacing=[make.PLACEHOLDER + " ", "0.1"])


def slope(text):
    return partial(make.dicom_with_text, text, RescaleSlope=make.PLACEHOLDER, RescaleIntercept="0")


def cut_frame(syntax, share, end=b""):
    """One compressed frame cut off, and given an end marker again."""

    def data():
        stored = make.chest() if syntax == JPEGBaseline8Bit else make.chest_12_bit()
        frame = encode(stored, ".jpg") if syntax == JPEGBaseline8Bit else make.compressed(syntax)
        return make.encapsulated(make.cut(frame, share) + end, syntax, like=stored)

    return data


JPEG_END = b"\xff\xd9"
UNFIT_WINDOWS = ("nan", "inf", "0", "-5", "abc", "40,5")

CATALOGUE = (
    refused("empty_file", "1", "empty.png", bytes),
    refused("unsupported_format", "2", "text.png", lambda: b"Patient 17, chest, PA"),
    refused("unsupported_format", "2", "page.png", lambda: b"<!doctype html><script>alert(1)</script>"),
    refused("unsupported_format", "2", "drawing.png", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    warned("named like DICOM", "3", "png_named.dcm", make.png),
    warned("named like JPEG", "3", "png_named.jpg", make.png),
    warned("named like PNG", "3", "dicom_named.png", make.dicom),
    refused("unsupported_format", "4", "report_named.png", lambda: b"%PDF-1.7\n1 0 obj\n"),
    refused("unsupported_format", "4", "archive_named.dcm", make.zip_of_pictures),
    refused("unreadable", "5", "half.png", lambda: make.cut(make.png(), 0.5)),
    *[
        refused("unreadable", "5", f"cut_at_{share}.jpg", lambda share=share: make.cut(make.jpeg(), share))
        for share in (0.3, 0.9, 0.999)
    ],
    *[
        refused("unreadable", "5", f"cut_at_{share}_ended_again.jpg",
                lambda share=share: make.cut(make.jpeg(), share) + JPEG_END)
        for share in (0.3, 0.9, 0.99)
    ],
    refused("unreadable", "5", "cut_progressive_ended_again.jpg",
            lambda: make.cut(make.jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), 0.7) + JPEG_END),
    refused("unreadable", "5", "no_end_marker.jpg", lambda: make.jpeg()[:-2]),
    refused("unreadable", "5", "missing_pixels.png", make.png_with_missing_pixels),
    refused("unreadable", "6", "flipped_byte.png", make.png_with_flipped_byte),
    refused("too_large", "7", "header_30000.jpg", lambda: make.jpeg_with_size(30000, 30000)),
    refused("too_large", "7", "zeros_15000.png", lambda: make.png_of_zeros(15000, 15000)),
    refused("too_large", "7", "header_40000.png",
            lambda: make.png_header(40000, 40000) + make.chunk(b"IDAT", b"") + make.chunk(b"IEND", b"")),
    refused("too_small", "7", "nothing.png",
            lambda: make.png_header(0, 0) + make.chunk(b"IDAT", b"") + make.chunk(b"IEND", b"")),
    refused("unreadable", "7", "scans_by_the_thousand.jpg", make.jpeg_of_many_scans),
    Line("8", "text_bomb.png",
         lambda: make.png_with(b"zTXt", b"Comment\0\0" + make.zlib.compress(bytes(200 * 2**20), 1))),
    refused("too_small", "9", "1x1.png", lambda: encode(np.zeros((1, 1), np.uint8))),
    refused("too_small", "9", "1x50000.png", lambda: encode(np.zeros((1, 50000), np.uint8))),
    refused("too_small", "9", "63x63.png", lambda: encode(make.chest()[:63, :63])),
    refused("aspect_ratio", "9", "64x300.png", lambda: encode(make.chest()[:64, :300])),
    refused("no_contrast", "10", "constant.png", make.flat),
    refused("no_contrast", "10", "constant.dcm", lambda: make_dicom(np.full((512, 512), 7, np.uint16))),
    refused("no_contrast", "10", "all_nan.dcm",
            partial(make.dicom_with_text, "nan", RescaleSlope="1", RescaleIntercept=make.PLACEHOLDER)),
    warned("12 of 16 bits", "11", "12_bits.png", lambda: encode(make.chest_12_bit())),
    warned("2 grey levels", "12", "1_bit.png", lambda: make.pillow(make.grey().convert("1"))),
    warned("palette", "12", "palette.png", lambda: make.pillow(make.grey().convert("P"))),
    warned("transparency", "12", "opaque.png", lambda: make.pillow(make.grey().convert("RGBA"))),
    refused("transparent", "13", "transparent.png", make.transparent),
    warned("CMYK", "14", "cmyk.jpg", lambda: make.pillow(make.grey().convert("CMYK"), "JPEG")),
    *[
        Line("16", f"orientation_{number}.jpg", partial(make.jpeg_with_orientation, number)) for number in range(1, 9)
    ],
    refused("unsupported_format", "17", "animated.gif", partial(make.animation, "GIF")),
    refused("unsupported_format", "17", "animated.webp", partial(make.animation, "WEBP")),
    refused("several_frames", "17", "animated.png", partial(make.animation, "PNG")),
    refused("unsupported_format", "18", "floats.tif", make.tiff_of_floats),
    Line("19", "archive_behind.jpg", lambda: make.jpeg() + make.ZIP),
    refused("unsupported_dicom", "22", "program.dcm", lambda: b"MZ" + make.dicom()[2:]),
    refused("unsupported_dicom", "22", "elf.dcm", lambda: b"\x7fELF" + make.dicom()[4:]),
    refused("unsupported_format", "23", "no_preamble.dcm", lambda: make.dicom()[132:]),
    refused("unreadable", "23", "truncated.dcm", lambda: make.cut(make.dicom(), 0.6)),
    refused("unsupported_dicom", "23", "no_pixel_data.dcm", partial(make.dicom, PixelData=None)),
    refused("unreadable", "23", "no_rows.dcm", partial(make.dicom, Rows=None)),
    refused("too_large", "24", "65535_squared.dcm", partial(make.dicom, Rows=65535, Columns=65535)),
    *[
        refused("unsupported_dicom", "24", f"frames_{number}.dcm", partial(make.dicom, NumberOfFrames=number))
        for number in ("2147483647", "0", "-1")
    ],
    refused("unsupported_dicom", "25", "two_frames.dcm", partial(make.dicom, NumberOfFrames="2")),
    refused("unreadable", "25", "two_frames_not_said.dcm",
            lambda: make.changed(make.dicom(), lambda d: setattr(d, "PixelData", d.PixelData * 2))),
    refused("unsupported_transfer_syntax", "26", "deflated.dcm", make.deflated_bomb),
    refused("unreadable", "27", "other_rows.dcm",
            lambda: make.encapsulated(
                make.compressed(JPEG2000Lossless), JPEG2000Lossless, like=make.chest_12_bit()[:400])),
    refused("too_large", "27", "claims_20000.dcm",
            lambda: make.encapsulated(make.jpeg_2000_header(20000), JPEG2000Lossless, Rows=20000, Columns=20000)),
    refused("unreadable", "27", "claims_7000.dcm",
            lambda: make.encapsulated(make.jpeg_2000_header(7000), JPEG2000Lossless, Rows=7000, Columns=7000)),
    refused("unsupported_transfer_syntax", "28", "unknown_syntax.dcm",
            lambda: make.dicom().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.9\0")),
    refused("unreadable", "29", "jpeg_lossless_of_nothing.dcm",
            lambda: make.encapsulated(b"\xff\xd8", JPEGLosslessSV1)),
    *[
        Line("29", f"{syntax.keyword}.dcm", lambda s=syntax: make.encapsulated(make.compressed(s), s))
        for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1)
    ],
    Line("29", "JPEGExtended8Bit.dcm",
         lambda: make.encapsulated(
             make.compressed(JPEGExtended12Bit, make.chest()), JPEGExtended12Bit, like=make.chest()
         )),
    refused("unsupported_transfer_syntax", "28", "JPEGExtended12Bit.dcm",
            lambda: make.encapsulated(
                make.compressed(JPEGExtended12Bit).replace(b"\xff\xc1\x00\x0b\x08", b"\xff\xc1\x00\x0b\x0c"),
                JPEGExtended12Bit)),
    refused("unreadable", "29", "lossless_of_fewer_bits.dcm",
            lambda: make.encapsulated(make.compressed(JPEGLosslessSV1, make.chest()), JPEGLosslessSV1)),
    refused("unreadable", "29", "lossless_of_17_bits.dcm",
            lambda: make.encapsulated(
                make.compressed(JPEGLosslessSV1).replace(b"\0\x0b\x10", b"\0\x0b\x11", 1), JPEGLosslessSV1)),
    refused("unreadable", "27", "lossless_of_other_rows.dcm",
            lambda: make.encapsulated(
                make.compressed(JPEGLosslessSV1), JPEGLosslessSV1, like=make.chest_12_bit()[:400])),
    *[
        refused("unreadable", "29", f"{syntax.keyword}_cut_at_{share}{'_ended_again' if end else ''}.dcm",
                cut_frame(syntax, share, end))
        for syntax in (
            RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLossless, JPEGLosslessSV1)
        for share in (0.5, 0.99)
        for end in (b"", JPEG_END)
    ],
    refused("unreadable", "29", "more_rows_than_said.dcm", make.rle_of_more_rows),
    refused("decoding_limit", "29", "unpacks_to_800_MB.dcm", make.rle_bomb),
    refused("unreadable", "30", "nested.dcm", make.nested_sequences),
    refused("decoding_limit", "30", "two_million_elements.dcm", make.many_elements),
    *[warned("window is not usable", "31", f"window_{text}.dcm", window(text)) for text in UNFIT_WINDOWS],
    warned("several windows", "32", "two_windows.dcm",
           partial(make.dicom, WindowCenter=["2000", "10"], WindowWidth=["3000", "5"])),
    Line("32", "no_window.dcm", make.dicom),
    Line("32", "v_shaped_lut.dcm", lambda: make.dicom(VOILUTSequence=[make.v_shaped_lut()])),
    refused("unreadable", "33", "slope_0.dcm", slope("0")),
    refused("unreadable", "33", "slope_nan.dcm", slope("nan")),
    Line("34", "monochrome1.dcm",
         lambda: make_dicom(4095 - make.chest_12_bit(), bits_stored=12, PhotometricInterpretation="MONOCHROME1")),
    Line("34", "monochrome2.dcm", make.dicom),
    refused("unsupported_dicom", "35", "rgb_one_sample.dcm", partial(make.dicom, PhotometricInterpretation="RGB")),
    refused("unreadable", "35", "17_of_16_bits.dcm", partial(make.dicom, BitsStored=17)),
    *[warned("spacing", "36", f"spacing_{text}.dcm", spacing(text)) for text in ("1e9", "0", "nan")],
    refused("unsupported_dicom", "37", "ct.dcm", partial(make.dicom, Modality="CT")),
    refused("unsupported_dicom", "37", "mr.dcm", partial(make.dicom, Modality="MR")),
    refused("unsupported_dicom", "37", "structured_report.dcm", make.structured_report),
    refused("unsupported_dicom", "37", "encapsulated_pdf.dcm", make.encapsulated_pdf),
    warned("burned", "38", "burned_in.dcm", partial(make.dicom, BurnedInAnnotation="YES")),
    refused("unsupported_dicom", "39", "DICOMDIR", make.dicomdir),
    Line("39a", "padding.dcm", make.padded),
    Line("39a", "inverse.dcm",
         lambda: make_dicom(4095 - make.chest_12_bit(), bits_stored=12, PresentationLUTShape="INVERSE")),
    warned("FOR PROCESSING", "39a", "raw.dcm", partial(make.dicom, PresentationIntentType="FOR PROCESSING")),
    refused("too_large", "41", "one_byte_over.png", lambda: make.png().ljust(MAX_PICTURE_BYTES + 1, b"\0")),
    refused("too_large", "41", "one_byte_over.dcm", lambda: make.dicom().ljust(MAX_DICOM_BYTES + 1, b"\0")),
)  # fmt: skip

#: What only the gate can tell. Line 15 is refused, 15a refused or warned of.
NO_FRONTAL_CHEST = (
    refused("not_a_chest_xray", "15", "photograph.png", make.photograph),
    refused("not_a_chest_xray", "15", "screenshot.png", make.screenshot),
    refused("not_a_chest_xray", "15", "text_page.png", make.text_page),
    refused("not_a_chest_xray", "15", "noise.png", make.noise),
    refused("not_a_chest_xray", "15", "lateral_by_its_header.dcm", partial(make.dicom, ViewPosition="LL")),
)
TURNED_OR_INVERTED = (
    Line("15a", "upside_down.png", lambda: encode(np.rot90(make.chest(), 2))),
    Line("15a", "sideways.png", lambda: encode(np.ascontiguousarray(np.rot90(make.chest())))),
    Line("15a", "inverted.png", lambda: encode(255 - make.chest())),
)
GOOD = tuple(
    Line("good", f"good_{label}_{margin}.png", lambda label=label, margin=margin: encode(_framed(label, margin)))
    for label, margin in [
        (label, margin) for label in ("covid19", "normal", "bacterial_pneumonia") for margin in (0, 4, 8)
    ]
    + [("covid19", 12)]
)


def _framed(label, margin):
    """A composite without its outermost pixels, so that no two good files are one."""
    pixels = np.asarray(Image.open(make.COMPOSITES / f"{label}.png").convert("L"))
    return np.ascontiguousarray(pixels[margin : pixels.shape[0] - margin, margin : pixels.shape[1] - margin])
