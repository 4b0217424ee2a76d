"""Seeds of every format and changes to them: what the fuzzing of the decoders starts from."""

import random
import struct
import zlib

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

from tests.conftest import encode, make_dicom
from tests.hostile.make import (
    chunk,
    compressed,
    encapsulated,
    jpeg_2000_header,
    pillow,
    png_header,
    v_shaped_lut,
    voi_lut,
)

FORMATS = ("png", "jpeg", "dicom")
RAMP = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)  # the smallest picture that is read
RAMP_12_BIT = RAMP.astype(np.uint16) * 28
_PNG_HEAD = len(b"\x89PNG\r\n\x1a\n")
_INTERESTING = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80")
_DICOM_WORDS = (b"nan", b"inf", b"1e999", b"-1", b"0", b"OB", b"SQ", b"UN", b"ZZ", b"\x28\x00", b"\xfe\xff\x00\xe0")
_JPEG_WORDS = tuple(bytes([0xFF, marker]) for marker in (0xC0, 0xC2, 0xC4, 0xD0, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE1))
_PNG_WORDS = (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"eXIf", b"zTXt", b"IEND")
WORDS = {"png": _PNG_WORDS, "jpeg": _JPEG_WORDS, "dicom": _DICOM_WORDS}


def seeds(kind):
    """Sound and unusual files of one format, small, so that a change hits something that matters."""
    return {"png": _png_seeds, "jpeg": _jpeg_seeds, "dicom": _dicom_seeds}[kind]()


def _png_seeds():
    grey = Image.fromarray(RAMP)
    forms = [pillow(grey.convert(mode)) for mode in ("1", "L", "P", "LA", "RGB", "RGBA")]
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in RAMP))
    interlaced = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 80, 64, 8, 0, 0, 0, 1))
    hand = png_header(64, 80) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    bare = interlaced + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return [*forms, encode(RAMP_12_BIT), encode(np.dstack([RAMP] * 4)), hand, bare]


def _jpeg_seeds():
    progressive, restarts = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
    plain = [encode(RAMP, ".jpg", parameters=parameters) for parameters in ((), progressive, restarts)]
    colour = encode(np.dstack([RAMP, RAMP[:, ::-1], RAMP]), ".jpg", parameters=progressive)
    return [*plain, colour, pillow(Image.fromarray(RAMP).convert("CMYK"), "JPEG")]


def _dicom_seeds():
    plain = [
        make_dicom(RAMP_12_BIT, bits_stored=12),
        make_dicom(RAMP, WindowCenter="60", WindowWidth="50"),
        make_dicom(RAMP.astype(np.int16), RescaleSlope="2", RescaleIntercept="-5", PixelPaddingValue=3),
        make_dicom(RAMP, transfer_syntax="1.2.840.10008.1.2", PhotometricInterpretation="MONOCHROME1"),
        make_dicom(
            RAMP, VOILUTSequence=[voi_lut([0, 9, 200, 255], bits=8)], PatientName="A^B", PixelSpacing=["1", "1"]
        ),
        make_dicom(RAMP_12_BIT, bits_stored=12, VOILUTSequence=[v_shaped_lut()]),
    ]
    frames = [
        encapsulated(compressed(syntax, RAMP_12_BIT), syntax, like=RAMP_12_BIT)
        for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1)
    ]
    header = encapsulated(jpeg_2000_header(64) + bytes(99), JPEG2000Lossless, like=RAMP[:, :64])
    extended = encapsulated(compressed(JPEGExtended12Bit, RAMP), JPEGExtended12Bit, like=RAMP)
    return [*plain, *frames, header, extended, encapsulated(encode(RAMP, ".jpg"), JPEGBaseline8Bit, like=RAMP)]


def mutated(data, kind, rng):
    """A changed copy: one to six changes, and in half of the PNGs checksums that are right again."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        changed = rng.choice(_CHANGES)(changed, kind, rng)
    if kind == "png" and rng.random() < 0.7:  # else nearly every change would stop at a checksum
        return repaired(bytes(changed))
    return bytes(changed)


def repaired(png):
    """A PNG whose chunks have the checksums of what they hold."""
    parts, position = [png[:_PNG_HEAD]], _PNG_HEAD
    while position + 12 <= len(png):
        end = position + 12 + int.from_bytes(png[position : position + 4], "big")
        if end > len(png):
            break
        parts.append(png[position : end - 4] + struct.pack(">I", zlib.crc32(png[position + 4 : end - 4])))
        position = end
    return b"".join(parts) + png[position:]


def _place(data, rng):
    """Anywhere, with a liking for the beginning, where headers are."""
    length = max(len(data), 1)
    return rng.randrange(length) if rng.random() < 0.5 else rng.randrange(min(length, 1000))


def _flip_bit(data, _kind, rng):
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)
    return data


def _overwrite(data, kind, rng):
    word = rng.choice(_INTERESTING + WORDS[kind])
    at = _place(data, rng)
    data[at : at + len(word)] = word
    return data


def _insert(data, kind, rng):
    at = _place(data, rng)
    data[at:at] = rng.choice((*WORDS[kind], rng.randbytes(rng.randrange(1, 30))))
    return data


def _delete(data, _kind, rng):
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 30, 500))]
    return data


def _repeat(data, _kind, rng):
    at = _place(data, rng)
    part = data[at : at + rng.choice((2, 12, 100, 1000))]
    data[at:at] = part * rng.choice((1, 2, 20))
    return data


def _cut(data, _kind, rng):
    return data[: _place(data, rng)]


def _change_number(data, _kind, rng):
    """Add a little to a number of one, two or four bytes: lengths and sizes that are off by one."""
    width, order = rng.choice((1, 2, 4)), rng.choice(("big", "little"))
    at = _place(data, rng)
    number = int.from_bytes(data[at : at + width], order) + rng.choice((-2, -1, 1, 2, 256))
    data[at : at + width] = (number % 256**width).to_bytes(width, order)
    return data


_CHANGES = (_flip_bit, _overwrite, _insert, _delete, _repeat, _cut, _change_number)


def cases(kind, seed=0, corpus=None):
    """An endless row of changed files, the same for the same seed; `corpus` may grow meanwhile."""
    rng, corpus = random.Random(seed), seeds(kind) if corpus is None else corpus
    while True:
        yield mutated(rng.choice(corpus), kind, rng)
