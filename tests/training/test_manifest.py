"""Manifests: what a row must hold, and what is said where it does not."""

import numpy as np
import pytest

from detector.errors import ManifestError
from detector.training.data.manifest import LABELS, Example, read_image, read_manifest
from tests.conftest import encode


def write(folder, text, *, encoding="utf-8"):
    path = folder / "manifest.csv"
    path.write_text(text, encoding=encoding)
    return path


class TestReadManifest:
    def test_two_columns_are_enough_and_the_image_is_its_own_patient(self, tmp_path):
        path = write(tmp_path, "image,label\na.png,normal\n")
        assert read_manifest(path) == [Example("a.png", "normal", patient_group="a.png")]

    def test_every_known_column_is_read_and_an_unknown_one_is_left(self, tmp_path):
        path = write(
            tmp_path,
            "label,image,source,split,patient_group,age_group,view,lung_mask,lung_mask_drawn,colour\n"
            "covid19,a.png,here,val,p1,adult,PA,m.png,d.png,blue\n",
        )
        expected = Example("a.png", "covid19", "here", "val", "p1", "adult", "PA", "m.png", "d.png")
        assert read_manifest(path) == [expected]

    def test_a_short_row_has_empty_values_not_none(self, tmp_path):
        path = write(tmp_path, "image,label,source,split\na.png,normal\n")
        assert read_manifest(path) == [Example("a.png", "normal", patient_group="a.png")]

    @pytest.mark.parametrize("label", LABELS)
    def test_each_label_is_known(self, tmp_path, label):
        assert read_manifest(write(tmp_path, f"image,label\na.png,{label}\n"))[0].label == label

    def test_a_split_keeps_its_rows_only(self, tmp_path):
        path = write(tmp_path, "image,label,split\na.png,normal,train\nb.png,normal,val\nc.png,covid19,train\n")
        assert [e.image for e in read_manifest(path, split="train")] == ["a.png", "c.png"]

    def test_a_byte_order_mark_of_a_spreadsheet_is_no_part_of_the_first_column(self, tmp_path):
        path = write(tmp_path, "image,label\na.png,normal\n", encoding="utf-8-sig")
        assert read_manifest(path)[0].image == "a.png"

    def test_an_unknown_label_is_named_with_its_line(self, tmp_path):
        path = write(tmp_path, "image,label\na.png,normal\nb.png,COVID-19\n")
        with pytest.raises(ManifestError, match=r"Line 3: .*'COVID-19'"):
            read_manifest(path)

    def test_a_row_that_ends_before_its_label_is_refused(self, tmp_path):
        with pytest.raises(ManifestError, match="Line 2: label"):
            read_manifest(write(tmp_path, "image,label\na.png\n"))

    def test_a_row_without_an_image_is_refused(self, tmp_path):
        with pytest.raises(ManifestError, match=r"Line 3: .*image"):
            read_manifest(write(tmp_path, "image,label\na.png,normal\n,normal\n"))

    def test_a_missing_column_is_named(self, tmp_path):
        with pytest.raises(ManifestError, match=r"lacks \['label'\]"):
            read_manifest(write(tmp_path, "image,class\na.png,normal\n"))

    def test_a_header_alone_has_no_rows_and_lacks_nothing(self, tmp_path):
        with pytest.raises(ManifestError, match="has no rows"):
            read_manifest(write(tmp_path, "image,label\n"))

    def test_an_empty_file_lacks_both_columns(self, tmp_path):
        with pytest.raises(ManifestError, match=r"lacks \['image', 'label'\]"):
            read_manifest(write(tmp_path, ""))

    def test_an_empty_split_is_named(self, tmp_path):
        with pytest.raises(ManifestError, match="no rows of split 'test'"):
            read_manifest(write(tmp_path, "image,label,split\na.png,normal,train\n"), split="test")

    def test_a_missing_file_is_refused(self, tmp_path):
        with pytest.raises(ManifestError, match=r"none\.csv cannot be read"):
            read_manifest(tmp_path / "none.csv")

    def test_bytes_that_are_no_text_are_refused(self, tmp_path):
        path = tmp_path / "manifest.csv"
        path.write_bytes(b"image,label\n\xff\xfe,normal\n")
        with pytest.raises(ManifestError, match="cannot be read"):
            read_manifest(path)


class TestReadImage:
    def test_black_is_zero_and_white_is_one(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(encode(np.array([[0, 51, 255]], np.uint8)))
        image = read_image(path)
        assert image.dtype == np.float32
        np.testing.assert_allclose(image, [[0, 0.2, 1]], rtol=1e-6)

    @pytest.mark.parametrize("data", [b"", b"no picture"], ids=["empty", "text"])
    def test_what_is_no_picture_is_named(self, tmp_path, data):
        path = tmp_path / "a.png"
        path.write_bytes(data)
        with pytest.raises(ManifestError, match=r"a\.png cannot be decoded"):
            read_image(path)

    def test_a_missing_picture_is_an_error_of_the_manifest(self, tmp_path):
        with pytest.raises(ManifestError, match=r"none\.png cannot be read"):
            read_image(tmp_path / "none.png")
