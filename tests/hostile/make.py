"""Makes hostile and unusual files: small programs that damage, exaggerate or contradict. No file is kept."""

import io
import struct
import tempfile
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

from tests.conftest import COMPOSITES, encode, make_dicom

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PLACEHOLDER = "1234567"  # a decimal string that is overwritten with text which pydicom would not write
ZIP = b"PK\x03\x04" + bytes(60) + b"PK\x05\x06" + bytes(18)


def chest():
    """The COVID-19 composite, (512, 512) uint8."""
    return cv2.imread(str(COMPOSITES / "covid19.png"), cv2.IMREAD_GRAYSCALE)


def chest_12_bit():
    """The same in the range of a detector, (512, 512) uint16."""
    return chest().astype(np.uint16) * 16


def blocks():
    """The composite in squares of 8 pixels: a JPEG of best quality holds them exactly, however they are turned."""
    return np.kron(chest()[::8, ::8], np.ones((8, 8), np.uint8))


def png():
    return encode(chest())


def jpeg(*parameters):
    return encode(chest(), ".jpg", parameters=parameters)


def pillow(image, file_format="PNG", **options):
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def grey():
    return Image.fromarray(chest())


def cut(data, share):
    return data[: int(len(data) * share)]


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(rows, columns, depth=8, colour_type=0):
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, depth, colour_type, 0, 0, 0))


def png_of_zeros(rows, columns):
    """A sound PNG of black pixels, about a thousandth of its size in memory."""
    packer = zlib.compressobj(1)
    row = bytes(columns + 1)
    packed = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    return png_header(rows, columns) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def png_with(kind, body):
    """The composite with one more chunk before its pixels."""
    data = png()
    at = data.index(b"IDAT") - 4
    return data[:at] + chunk(kind, body) + data[at:]


def png_with_flipped_byte():
    data = bytearray(png())
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def png_with_missing_pixels():
    """Every checksum is right, and a part of the pixels is not there."""
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in chest()))
    return png_header(512, 512) + chunk(b"IDAT", packed[: len(packed) // 2]) + chunk(b"IEND", b"")


def jpeg_with_size(rows, columns):
    data = jpeg()
    start = data.index(b"\xff\xc0")
    return data[: start + 5] + struct.pack(">HH", rows, columns) + data[start + 9 :]


def jpeg_with_orientation(orientation):
    """The composite in squares, stored as a camera held that way stores it."""
    turned = {
        1: lambda image: image,
        2: np.fliplr,
        3: lambda image: np.rot90(image, 2),
        4: np.flipud,
        5: np.transpose,
        6: np.rot90,
        7: lambda image: np.rot90(image, 2).T,
        8: lambda image: np.rot90(image, -1),
    }
    stored = np.ascontiguousarray(turned[orientation](blocks()))
    data = encode(stored, ".jpg", parameters=(cv2.IMWRITE_JPEG_QUALITY, 100))
    segment = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def jpeg_of_many_scans(scans=20_000, side=6000):
    """A progressive JPEG that refines one coefficient of a large picture again and again: small, and slow to decode."""
    frame = b"\xff\xc2" + struct.pack(">HBHHBBBB", 11, 8, side, side, 1, 1, 0x11, 0)
    table = b"\xff\xdb" + struct.pack(">HB", 67, 0) + b"\1" * 64
    huffman = b"\xff\xc4" + struct.pack(">HB", 20, 0x10) + bytes([1] + [0] * 15) + b"\0"
    huffman += b"\xff\xc4" + struct.pack(">HB", 20, 0x00) + bytes([1] + [0] * 15) + b"\0"
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0x00, 0, 0, 0) + bytes(20)
    return b"\xff\xd8" + table + frame + huffman + scan * scans + b"\xff\xd9"


def saved(dataset):
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def changed(data, change):
    """The bytes of a DICOM file after `change` has been called on its data set."""
    dataset = pydicom.dcmread(BytesIO(data))
    change(dataset)
    return saved(dataset)


def dicom(**elements):
    return make_dicom(chest_12_bit(), bits_stored=12, **elements)


def dicom_with_text(text, **elements):
    """A file whose one element that holds `PLACEHOLDER` says `text` instead, valid or not."""
    return dicom(**elements).replace(b"1234567 ", text.encode().ljust(8))


def compressed(syntax, stored=None):
    """One losslessly compressed frame."""
    stored = chest_12_bit() if stored is None else stored
    if syntax == JPEG2000Lossless:
        return pillow(Image.fromarray(stored), "JPEG2000", irreversible=False, no_jp2=True)
    if syntax == JPEGExtended12Bit:  # with eight bits; the frame is a baseline one by another name
        return encode(stored.astype(np.uint8), ".jpg").replace(b"\xff\xc0", b"\xff\xc1", 1)
    if syntax in {JPEGLossless, JPEGLosslessSV1}:
        return jpeg_lossless(stored, first_value=syntax == JPEGLosslessSV1)
    dataset = pydicom.dcmread(BytesIO(make_dicom(stored)))
    dataset.compress(syntax, generate_instance_uid=False)
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


def jpeg_lossless(stored, *, first_value=True):
    """A frame of GDCM's own encoder, of process 14 with the first predictor or any (ITU-T T.81 H)."""
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "image.dcm")
        Path(path).write_bytes(make_dicom(stored))
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(path)
        done = reader.Read()
        kind = "JPEGLosslessProcess14_1" if first_value else "JPEGLosslessProcess14"
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, kind)))
        change.SetInput(reader.GetImage())
        done = done and change.Change()
        writer.SetFileName(path)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not (done and writer.Write()):
            raise ValueError(kind)
        return next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def encapsulated(frame, syntax, like=None, **elements):
    """A DICOM file that holds one compressed frame and describes it like `like`."""
    dataset = pydicom.dcmread(BytesIO(make_dicom(chest_12_bit() if like is None else like, **elements)))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    return saved(dataset)


def jpeg_2000_header(side):
    """The start of a JPEG 2000 code stream that claims side x side pixels in one tile, and nothing behind it."""
    size = struct.pack(">HIIIIIIIIHBBB", 0, side, side, 0, 0, side, side, 0, 0, 1, 15, 1, 1)
    style = b"\xff\x52" + struct.pack(">HBBHBBBBBB", 12, 0, 0, 1, 0, 5, 4, 4, 0, 1)
    quantisation = b"\xff\x5c" + struct.pack(">HB", 19, 0x40) + b"\x48" * 16
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size + style + quantisation


def deflated_bomb(megabytes=200):
    """A deflated data set of zeros; only its file meta information says so."""
    head = changed(dicom(), lambda d: setattr(d.file_meta, "TransferSyntaxUID", "1.2.840.10008.1.2.1.99"))
    end = 132 + 12 + int.from_bytes(head[140:144], "little")
    packer = zlib.compressobj(1, wbits=-15)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()
    return head[:end] + packed


def rle_bomb(megabytes=400, like=None):
    """RLE runs that unpack to far more than Rows and Columns hold, a picture like `like`."""
    runs = b"\x81\0" * (megabytes * 2**20 // 128)
    header = struct.pack("<16L", 2, 64, 64 + len(runs), *[0] * 13)
    return encapsulated(header + runs + runs, "1.2.840.10008.1.2.5", like)


def rle_of_more_rows():
    """The frame of 512 rows in a file that says 400."""
    return changed(
        encapsulated(compressed(pydicom.uid.RLELossless), "1.2.840.10008.1.2.5"), lambda d: setattr(d, "Rows", 400)
    )


def nested_sequences(depth=1000):
    sequence = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return dicom() + sequence * depth


def many_elements(count=2_000_000):
    """Elements by the million, each of which becomes an object in memory."""
    element = b"\x09\x00\x10\x10LO\0\0"
    head = dicom(PixelData=None)
    return head + element * count


def voi_lut(values, first=0, bits=12):
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.LUTData = np.asarray(values, np.uint16).tobytes()
    item["LUTData"].VR = "OW"
    return item


def v_shaped_lut():
    """A VOI LUT whose two ends show the same grey."""
    return voi_lut(np.abs(np.arange(4096) - 2048))


def dicomdir():
    """A media directory that points out of its folder."""

    def change(dataset):
        dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
        dataset.SOPClassUID = "1.2.840.10008.1.3.10"
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that ".." is no valid name is the point
            record.ReferencedFileID = ["..", "..", "ETC", "PASSWD"]
        dataset.DirectoryRecordSequence = [record]
        for keyword in ("PixelData", "Rows", "Columns", "Modality"):
            delattr(dataset, keyword)

    return changed(dicom(), change)


def structured_report():
    def change(dataset):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
        del dataset.PixelData
        dataset.Modality = "SR"

    return changed(dicom(), change)


def encapsulated_pdf():
    def change(dataset):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
        del dataset.PixelData
        dataset.Modality = "DOC"
        dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
        dataset.EncapsulatedDocument = b"%PDF-1.7\n"

    return changed(dicom(), change)


def padded():
    """The composite with a bright border that its header calls padding."""
    stored = chest_12_bit()
    stored[:, :20] = 4095
    return make_dicom(stored, bits_stored=12, PixelPaddingValue=4095)


def tiff_of_floats():
    return pillow(Image.fromarray(chest().astype(np.float32) / 255), "TIFF")


def animation(file_format):
    return pillow(grey(), file_format, save_all=True, append_images=[grey().rotate(5), grey().rotate(10)])


def transparent():
    return pillow(Image.merge("RGBA", (grey(), grey(), grey(), Image.new("L", (512, 512)))))


def flat(value=90):
    return encode(np.full((512, 512), value, np.uint8))


def noise(seed=0):
    return encode(np.random.default_rng(seed).integers(0, 256, (512, 512)).astype(np.uint8))


def photograph():
    """Smooth patches of colour, as a landscape has them."""
    rng = np.random.default_rng(1)
    return encode(
        cv2.resize(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    )


def text_page():
    """A white page of writing."""
    page = np.full((700, 500), 255, np.uint8)
    for line in range(24):
        cv2.putText(page, "the quick brown fox jumps over", (30, 60 + 26 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 0, 1)
    return encode(page)


def screenshot():
    """Windows, a title bar and a table on a grey desktop."""
    screen = np.full((600, 960, 3), 200, np.uint8)
    cv2.rectangle(screen, (60, 40), (700, 520), (255, 255, 255), -1)
    cv2.rectangle(screen, (60, 40), (700, 70), (160, 90, 20), -1)
    for row in range(16):
        cv2.line(screen, (60, 90 + 26 * row), (700, 90 + 26 * row), (180, 180, 180), 1)
        cv2.putText(screen, f"row {row}   17.4   ok", (80, 110 + 26 * row), cv2.FONT_HERSHEY_PLAIN, 1.2, (30, 30, 30))
    return encode(screen)


def zip_of_pictures():
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", png())
    return file.getvalue()
