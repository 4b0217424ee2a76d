from io import BytesIO

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from detector.errors import (
    DetectorError,
    NoContrastError,
    UnreadableError,
    UnsupportedDicomError,
    UnsupportedTransferSyntaxError,
)
from detector.read import dicom
from detector.read.image_io import is_dicom
from tests.conftest import encode, make_dicom

SMALL = np.array([[0, 25, 50], [75, 100, 125]], np.uint16)
RAMP = (np.add.outer(np.arange(48), np.arange(64)) * 32).astype(np.uint16)  # 48 rows, 64 columns, 12 bits
PLACEHOLDER = "1234567"  # a decimal string that tests overwrite with text that pydicom would not write


def decoded(data):
    return dicom.decode(dicom.read_header(data))


def with_text(data, text):
    return data.replace(b"1234567 ", text.encode().ljust(8))


def saved(dataset):
    file = BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def encapsulated(stream, syntax, like=RAMP, **elements):
    dataset = pydicom.dcmread(BytesIO(make_dicom(like, **elements)))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    return saved(dataset)


def jpeg_2000(pixels):
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG2000", irreversible=False, no_jp2=True)
    return file.getvalue()


def compressed(syntax, pixels=RAMP):
    """Bytes of one losslessly compressed frame."""
    if syntax == JPEG2000Lossless:
        return jpeg_2000(pixels)
    dataset = pydicom.dcmread(BytesIO(make_dicom(pixels)))
    dataset.compress(syntax, generate_instance_uid=False)
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


def lut(values, first=0, bits=8):
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.LUTData = np.asarray(values, np.uint16).tobytes()
    item["LUTData"].VR = "OW"
    return item


class TestIsDicom:
    def test_prefix_after_the_preamble(self):
        assert is_dicom(bytes(128) + b"DICM")

    @pytest.mark.parametrize("data", [b"", b"DICM", bytes(127) + b"DICM", bytes(128) + b"DIC"])
    def test_prefix_elsewhere_or_cut(self, data):
        assert not is_dicom(data)


class TestModalityLut:
    def test_rescale_comes_before_the_window(self):
        stored = np.array([[520, 525, 550, 575, 580]], np.uint16)  # 40, 50, 100, 150, 160 after rescale
        image = decoded(
            make_dicom(stored, RescaleSlope="2", RescaleIntercept="-1000", WindowCenter="100.5", WindowWidth="101")
        )
        np.testing.assert_allclose(image.pixels, [[0, 0, 0.5, 1, 1]], atol=1e-6)

    def test_modality_lut_replaces_the_rescale(self):
        image = decoded(make_dicom(np.array([[0, 1, 2]], np.uint8), ModalityLUTSequence=[_modality_lut([0, 30, 40])],
                                   WindowCenter="20.5", WindowWidth="41"))  # fmt: skip
        np.testing.assert_allclose(image.pixels, [[0, 0.75, 1]], atol=1e-6)

    @pytest.mark.parametrize("slope", ["0", "nan", "inf", "1e999", "abc", "40,5"])
    def test_slope_that_is_no_slope_is_refused(self, slope):
        with pytest.raises(UnreadableError, match="Rescale Slope"):
            decoded(with_text(make_dicom(SMALL, RescaleSlope=PLACEHOLDER, RescaleIntercept="0"), slope))

    @pytest.mark.parametrize("intercept", ["nan", "inf", "abc"])
    def test_intercept_that_is_no_number_is_refused(self, intercept):
        with pytest.raises((UnreadableError, NoContrastError)):
            decoded(with_text(make_dicom(SMALL, RescaleSlope="1", RescaleIntercept=PLACEHOLDER), intercept))

    def test_signed_values_keep_their_order(self):
        image = decoded(make_dicom(np.array([[-50, 0, 50]], np.int16), WindowCenter="0.5", WindowWidth="101"))
        np.testing.assert_allclose(image.pixels, [[0, 0.5, 1]], atol=1e-6)


def _modality_lut(values):
    item = lut(values)
    item.ModalityLUTType = "US"
    return item


class TestWindow:
    @pytest.mark.parametrize(
        ("function", "center", "width", "expected"),
        [
            pytest.param(None, "50.5", "51", [0, 0, 0.5, 1, 1, 1], id="none-is-linear"),
            pytest.param("LINEAR", "50.5", "51", [0, 0, 0.5, 1, 1, 1], id="linear"),
            pytest.param("LINEAR_EXACT", "50", "50", [0, 0, 0.5, 1, 1, 1], id="linear-exact"),
            pytest.param("LINEAR_EXACT", "62.5", "0.5", [0, 0, 0, 1, 1, 1], id="linear-exact-below-1"),
            pytest.param(
                "SIGMOID",
                "50",
                "100",
                [0.119203, 0.268941, 0.5, 0.731059, 0.880797, 0.952574],  # 1 / (1 + exp(-4 (x - 50) / 100))
                id="sigmoid",
            ),
        ],
    )
    def test_functions_of_the_standard(self, function, center, width, expected):
        elements = {"VOILUTFunction": function} if function else {}
        image = decoded(make_dicom(SMALL, WindowCenter=center, WindowWidth=width, **elements))
        np.testing.assert_allclose(image.pixels.ravel(), expected, atol=1e-5)
        assert image.warnings == ()

    def test_first_of_several_windows_is_used_and_said(self):
        one = decoded(make_dicom(SMALL, WindowCenter="50.5", WindowWidth="51"))
        two = decoded(make_dicom(SMALL, WindowCenter=["50.5", "10"], WindowWidth=["51", "5"]))
        np.testing.assert_array_equal(two.pixels, one.pixels)
        assert two.warnings == ("The file has several windows; the first was used.",)

    def test_without_window_half_a_percent_is_clipped_at_each_end(self):
        image = decoded(make_dicom(np.arange(1001, dtype=np.uint16).reshape(7, 143)))
        expected = np.clip((np.arange(1001) - 5) / 990, 0, 1).reshape(7, 143)
        np.testing.assert_allclose(image.pixels, expected, atol=1e-6)
        assert image.warnings == ()

    @pytest.mark.parametrize("width", ["nan", "inf", "0", "0.5", "-5", "abc", "40,5", "1e999"])
    def test_unusable_width_falls_back_to_the_range(self, width):
        image = decoded(with_text(make_dicom(SMALL, WindowCenter="50", WindowWidth=PLACEHOLDER), width))
        np.testing.assert_array_equal(image.pixels, decoded(make_dicom(SMALL)).pixels)
        assert image.warnings == ("The file's display window is not usable; the range of its values was used.",)

    @pytest.mark.parametrize("center", ["nan", "-inf", "abc", "40,5"])
    def test_unusable_center_falls_back_to_the_range(self, center):
        image = decoded(with_text(make_dicom(SMALL, WindowCenter=PLACEHOLDER, WindowWidth="50"), center))
        np.testing.assert_array_equal(image.pixels, decoded(make_dicom(SMALL)).pixels)
        assert "not usable" in image.warnings[0]

    @pytest.mark.parametrize("lone", [{"WindowCenter": "50"}, {"WindowWidth": "50"}], ids=["center", "width"])
    def test_half_a_window_is_none(self, lone):
        assert "not usable" in decoded(make_dicom(SMALL, **lone)).warnings[0]

    @pytest.mark.parametrize("lone", [{"WindowCenter": ""}, {"WindowWidth": ""}], ids=["center", "width"])
    def test_empty_window_elements_count_as_absent(self, lone):
        assert decoded(make_dicom(SMALL, **lone)).warnings == ()

    def test_unknown_value_representation_is_no_window(self):
        data = make_dicom(SMALL, WindowCenter="50.5", WindowWidth="51")
        damaged = data.replace(b"\x28\x00\x50\x10DS", b"\x28\x00\x50\x10ZS")
        assert "not usable" in decoded(damaged).warnings[0]

    def test_window_beside_all_values_holds_no_contrast_but_breaks_nothing(self):
        image = decoded(make_dicom(SMALL, WindowCenter="5000", WindowWidth="10"))
        assert not image.pixels.any()


class TestVoiLut:
    STORED = np.array([[9, 10, 11], [12, 13, 14]], np.uint8)
    EXPECTED = ((0, 0, 0.25), (0.5, 1, 1))

    def test_table_is_looked_up_and_clamped_at_both_ends(self):
        image = decoded(make_dicom(self.STORED, VOILUTSequence=[lut([0, 50, 100, 200], first=10)]))
        np.testing.assert_allclose(image.pixels, self.EXPECTED, atol=1e-6)

    def test_table_comes_before_a_window(self):
        image = decoded(
            make_dicom(
                self.STORED,
                VOILUTSequence=[lut([0, 50, 100, 200], first=10)],
                WindowCenter="5",
                WindowWidth="2",
            )
        )
        np.testing.assert_allclose(image.pixels, self.EXPECTED, atol=1e-6)

    def test_flat_table_holds_no_contrast(self):
        with pytest.raises(NoContrastError):
            decoded(make_dicom(self.STORED, VOILUTSequence=[lut([7, 7, 7, 7], first=10)]))

    def test_table_shorter_than_its_descriptor_is_refused(self):
        table = lut([0, 50, 100, 200], first=10)
        table.LUTDescriptor = [4096, 10, 8]
        with pytest.raises(UnreadableError):
            decoded(make_dicom(self.STORED, VOILUTSequence=[table]))


class TestInversion:
    @pytest.mark.parametrize("window", [None, 60.5], ids=["range", "window"])
    def test_monochrome1_shows_the_same_as_its_monochrome2_twin(self, window):
        bright, dark = ({}, {}) if window is None else ({"WindowCenter": "60.5"}, {"WindowCenter": "195.5"})
        widths = {} if window is None else {"WindowWidth": "81"}
        stored = RAMP.astype(np.uint8)
        twin = decoded(make_dicom(stored, **bright, **widths))
        image = decoded(make_dicom(255 - stored, PhotometricInterpretation="MONOCHROME1", **dark, **widths))
        np.testing.assert_allclose(image.pixels, twin.pixels, atol=1e-6)
        assert np.ptp(image.pixels) == 1

    def test_inverse_presentation_lut_inverts(self):
        plain, image = decoded(make_dicom(SMALL)), decoded(make_dicom(SMALL, PresentationLUTShape="INVERSE"))
        np.testing.assert_allclose(image.pixels, 1 - plain.pixels, atol=1e-6)

    def test_identity_presentation_lut_does_not(self):
        image = decoded(make_dicom(SMALL, PresentationLUTShape="IDENTITY"))
        np.testing.assert_array_equal(image.pixels, decoded(make_dicom(SMALL)).pixels)

    def test_both_signs_of_inversion_invert_once(self):
        both = make_dicom(SMALL, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
        one = make_dicom(SMALL, PhotometricInterpretation="MONOCHROME1")
        np.testing.assert_array_equal(decoded(both).pixels, decoded(one).pixels)


class TestPadding:
    STORED = np.array([[9000, 9000, 9001], [0, 50, 100]], np.uint16)

    @pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
    def test_padding_is_black_and_does_not_stretch_the_range(self, interpretation):
        data = make_dicom(
            self.STORED, PixelPaddingValue=9000, PixelPaddingRangeLimit=9001, PhotometricInterpretation=interpretation
        )
        image = decoded(data)
        assert not image.pixels[0].any()
        assert image.pixels[1, 1] == pytest.approx(0.5, abs=1e-6)
        assert np.ptp(image.pixels[1]) == 1

    def test_one_padding_value_leaves_its_neighbour(self):
        image = decoded(make_dicom(self.STORED, PixelPaddingValue=9000))
        np.testing.assert_array_equal(image.pixels[0], [0, 0, 1])

    def test_nothing_but_padding_holds_no_contrast(self):
        with pytest.raises(NoContrastError):
            decoded(make_dicom(SMALL, PixelPaddingValue=0, PixelPaddingRangeLimit=125))


class TestKind:
    @pytest.mark.parametrize("modality", ["CT", "MR", "SR", "DOC", "MG", "US"])
    def test_other_modalities_are_refused(self, modality):
        with pytest.raises(UnsupportedDicomError, match=modality):
            dicom.read_header(make_dicom(SMALL, Modality=modality))

    @pytest.mark.parametrize("modality", ["CR", "DX", "RG", "OT", "", None], ids=str)
    def test_radiography_and_exports_without_a_modality_are_read(self, modality):
        assert dicom.read_header(make_dicom(SMALL, Modality=modality)).rows == 2

    @pytest.mark.parametrize("frames", ["2", "0", "-1", "2147483647"])
    def test_any_number_of_frames_but_one_is_refused(self, frames):
        with pytest.raises(UnsupportedDicomError, match=frames):
            dicom.read_header(make_dicom(SMALL, NumberOfFrames=frames))

    @pytest.mark.parametrize("frames", ["1", ""], ids=["one", "empty"])
    def test_one_frame_may_be_said(self, frames):
        assert dicom.read_header(make_dicom(SMALL, NumberOfFrames=frames)).columns == 3

    @pytest.mark.parametrize(
        ("elements", "error"),
        [
            pytest.param({"PixelData": None}, UnsupportedDicomError, id="no-pixel-data"),
            pytest.param({"Rows": None}, UnreadableError, id="no-rows"),
            pytest.param({"Columns": None}, UnreadableError, id="no-columns"),
            pytest.param({"SamplesPerPixel": None}, UnreadableError, id="no-samples"),
            pytest.param({"SamplesPerPixel": 3}, UnsupportedDicomError, id="three-samples"),
            pytest.param({"PhotometricInterpretation": "RGB"}, UnsupportedDicomError, id="rgb-with-one-sample"),
            pytest.param({"PhotometricInterpretation": "PALETTE COLOR"}, UnsupportedDicomError, id="palette"),
            pytest.param({"BitsAllocated": None}, UnreadableError, id="no-bits"),
            pytest.param({"BitsAllocated": 32}, UnreadableError, id="32-bits"),
            pytest.param({"BitsAllocated": 1, "BitsStored": 1}, UnreadableError, id="1-bit"),
            pytest.param({"BitsStored": 17}, UnreadableError, id="more-stored-than-allocated"),
            pytest.param({"BitsStored": 0}, UnreadableError, id="none-stored"),
        ],
    )
    def test_contradictions_are_refused_before_the_pixels(self, elements, error):
        with pytest.raises(error):
            dicom.read_header(make_dicom(SMALL, **elements))

    @pytest.mark.parametrize("magic", [b"MZ", b"\x7fELF", b"#!/bin/sh", b"\xcf\xfa\xed\xfe"])
    def test_program_in_the_preamble_is_refused(self, magic):
        with pytest.raises(UnsupportedDicomError, match="program"):
            dicom.read_header(magic + make_dicom(SMALL)[len(magic) :])

    def test_tiff_in_the_preamble_is_allowed(self):
        assert dicom.read_header(b"II*\0" + make_dicom(SMALL)[4:]).rows == 2  # PS3.10 7.1 names this use


class TestTransferSyntax:
    @pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda uid: uid.name)
    def test_other_byte_layouts_show_the_same(self, syntax):
        stored = RAMP.byteswap() if syntax == ExplicitVRBigEndian else RAMP
        image = decoded(make_dicom(stored, transfer_syntax=syntax))
        np.testing.assert_array_equal(image.pixels, decoded(make_dicom(RAMP)).pixels)

    @pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.name)
    def test_lossless_compression_changes_no_pixel(self, syntax):
        image = decoded(encapsulated(compressed(syntax), syntax))
        np.testing.assert_array_equal(image.pixels, decoded(make_dicom(RAMP)).pixels)

    def test_jpeg_baseline_is_near_its_source(self):
        stored = (RAMP // 16).astype(np.uint8)
        image = decoded(encapsulated(encode(stored, ".jpg"), JPEGBaseline8Bit, like=stored))
        np.testing.assert_allclose(image.pixels, decoded(make_dicom(stored)).pixels, atol=0.05)

    @pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, JPEGBaseline8Bit], ids=lambda uid: uid.name)
    def test_compressed_size_that_disagrees_is_refused_before_decoding(self, syntax):
        stored = (RAMP // 16).astype(np.uint8)
        frame = encode(stored, ".jpg") if syntax == JPEGBaseline8Bit else compressed(syntax, stored)
        with pytest.raises(UnreadableError, match=r"48, 64"):
            dicom.read_header(encapsulated(frame, syntax, like=stored[:40]))

    @pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, JPEGBaseline8Bit], ids=lambda uid: uid.name)
    @pytest.mark.parametrize("frame", [b"\0\0", b"\xff\xd8\xff\xd9", b"\xff\x4f\xff\x51"], ids=bytes.hex)
    def test_frame_without_a_size_is_refused(self, syntax, frame):
        with pytest.raises(UnreadableError):
            dicom.read_header(encapsulated(frame, syntax))

    @pytest.mark.parametrize("share", [0.3, 0.9])
    @pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGBaseline8Bit], ids=lambda uid: uid.name)
    def test_truncated_frame_is_refused(self, syntax, share):
        stored = (RAMP // 16).astype(np.uint8)
        frame = encode(stored, ".jpg") if syntax == JPEGBaseline8Bit else compressed(syntax, stored)
        with pytest.raises(UnreadableError):
            decoded(encapsulated(frame[: int(len(frame) * share)], syntax, like=stored))

    def test_deflated_is_refused_before_the_data_set_is_read(self, monkeypatch):
        data = make_dicom(SMALL, transfer_syntax=DeflatedExplicitVRLittleEndian)
        monkeypatch.setattr(pydicom, "dcmread", lambda _file: pytest.fail("the data set was unpacked"))
        with pytest.raises(UnsupportedTransferSyntaxError, match=DeflatedExplicitVRLittleEndian):
            dicom.read_header(data)

    def test_unknown_syntax_is_named(self):
        data = make_dicom(SMALL).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.9\0")
        with pytest.raises(UnsupportedTransferSyntaxError, match=r"1\.2\.840\.10008\.1\.9\.9"):
            dicom.read_header(data)

    def test_missing_syntax_is_refused(self):
        with pytest.raises(UnreadableError, match="no transfer syntax"):
            dicom.read_header(bytes(128) + b"DICM")


class TestDamage:
    @pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9, 0.98])
    @pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless], ids=["uncompressed", "rle", "jpeg-2000"])
    def test_truncated_file_is_refused(self, syntax, share):
        data = encapsulated(compressed(syntax), syntax) if syntax else make_dicom(RAMP)
        with pytest.raises((UnreadableError, UnsupportedDicomError)):
            decoded(data[: int(len(data) * share)])

    @pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=["rle", "jpeg-2000"])
    @pytest.mark.parametrize("share", [0.9, 0.98])
    def test_compressed_pixels_without_their_end_are_damage_and_no_other_kind_of_file(self, syntax, share):
        data = encapsulated(compressed(syntax), syntax)
        with pytest.raises(UnreadableError):
            decoded(data[: int(len(data) * share)])

    def test_more_rows_than_pixels_is_refused(self):
        with pytest.raises(UnreadableError):
            decoded(make_dicom(SMALL, Rows=3))

    def test_a_thousand_nested_sequences_are_refused(self):
        sequence = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        with pytest.raises(UnreadableError):
            decoded(make_dicom(SMALL) + sequence * 1000)

    @pytest.mark.parametrize("element", [0x1052, 0x1053, 0x3010, 0x0100], ids=hex)
    def test_unknown_value_representation_is_refused(self, element):
        data = make_dicom(SMALL, RescaleSlope="1", RescaleIntercept="0", VOILUTSequence=[lut([0, 1])])
        tag = b"\x28\x00" + element.to_bytes(2, "little")
        at = data.index(tag) + 4
        with pytest.raises(DetectorError):
            decoded(data[:at] + b"ZZ" + data[at + 2 :])

    def test_constant_pixels_hold_no_contrast(self):
        with pytest.raises(NoContrastError):
            decoded(make_dicom(np.full((4, 4), 7, np.uint16)))


class TestNotes:
    @pytest.mark.parametrize(
        ("elements", "word"),
        [
            pytest.param({"BurnedInAnnotation": "YES"}, "burned", id="burned-in"),
            pytest.param({"PresentationIntentType": "FOR PROCESSING"}, "FOR PROCESSING", id="for-processing"),
            pytest.param({"PixelSpacing": ["1000000000", "0.1"]}, "spacing", id="spacing-huge"),
            pytest.param({"PixelSpacing": ["0", "0"]}, "spacing", id="spacing-zero"),
            pytest.param({"ImagerPixelSpacing": ["-0.1", "0.1"]}, "spacing", id="spacing-negative"),
        ],
    )
    def test_one_warning_and_the_same_pixels(self, elements, word):
        image = decoded(make_dicom(SMALL, **elements))
        assert len(image.warnings) == 1
        assert word in image.warnings[0]
        np.testing.assert_array_equal(image.pixels, decoded(make_dicom(SMALL)).pixels)

    @pytest.mark.parametrize("spacing", ["nan", "abc"])
    def test_spacing_that_is_no_number_is_said(self, spacing):
        image = decoded(with_text(make_dicom(SMALL, PixelSpacing=[PLACEHOLDER + " ", "0.1"]), spacing))
        assert "spacing" in image.warnings[0]

    @pytest.mark.parametrize(
        "elements",
        [
            pytest.param({"BurnedInAnnotation": "NO"}, id="not-burned-in"),
            pytest.param({"PresentationIntentType": "FOR PRESENTATION"}, id="for-presentation"),
            pytest.param({"PixelSpacing": ["0.139", "0.139"]}, id="usual-spacing"),
        ],
    )
    def test_usual_values_need_no_warning(self, elements):
        assert decoded(make_dicom(SMALL, **elements)).warnings == ()

    def test_view_position_is_passed_on(self):
        assert decoded(make_dicom(SMALL, ViewPosition="AP")).view_position == "AP"

    @pytest.mark.parametrize(
        ("said", "years"),
        [("045Y", 45), ("018M", 1.5), ("052W", pytest.approx(1, abs=0.01)), ("000D", 0), ("", None), ("45", None)],
    )
    def test_age_is_told_in_years(self, said, years):
        assert decoded(make_dicom(SMALL, PatientAge=said)).age == years

    @pytest.mark.parametrize("view", [{}, {"ViewPosition": ""}], ids=["absent", "empty"])
    def test_no_view_position_is_none(self, view):
        assert decoded(make_dicom(SMALL, **view)).view_position is None


def test_pixels_are_float32_between_0_and_1():
    image = decoded(make_dicom(SMALL, WindowCenter="50", WindowWidth="20"))
    assert image.pixels.dtype == np.float32
    assert (image.pixels.min(), image.pixels.max()) == (0, 1)
