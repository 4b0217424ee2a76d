"""Cohorts as a user has them: what a folder's name means, and what is said about the rest."""

import pytest

from detector.errors import ManifestError
from detector.training.data.labelled import label_of, labelled_folder, labelled_manifest


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


class TestLabelOf:
    @pytest.mark.parametrize(
        ("name", "label"),
        [
            ("covid19", "covid19"),
            ("COVID", "covid19"),
            ("COVID-19", "covid19"),
            ("Covid_19", "covid19"),
            ("Normal", "normal"),
            ("NORMAL", "normal"),
            ("No Finding", "normal"),
            ("Bacterial Pneumonia", "bacterial_pneumonia"),
            ("Pneumonia-Bacterial", "bacterial_pneumonia"),
            ("viral pneumonia", "viral_pneumonia"),
            ("PNEUMONIA", "pneumonia_unspecified"),
            ("other_pneumonia", "other_pneumonia"),
            ("Lung_Opacity", None),  # an opacity need not be a pneumonia
            ("not covid", None),
            ("", None),
        ],
    )
    def test_common_spellings(self, name, label):
        assert label_of(name) == label


class TestLabelledFolder:
    def test_subfolders_are_labels_and_the_rest_is_named(self, tmp_path):
        make(tmp_path, "COVID-19/a.png", "COVID-19/ward/b", "normal/c.dcm", "unsorted/d.png", "e.png", ".hidden")
        cohort = labelled_folder(tmp_path)
        found = {(e.image, e.label, e.patient_group) for e in cohort.examples}
        expected = {("COVID-19/a.png", "covid19"), ("COVID-19/ward/b", "covid19"), ("normal/c.dcm", "normal")}
        assert found == {(image, label, image) for image, label in expected}
        assert cohort.images == tmp_path
        assert len(cohort.notes) == 2
        assert "'unsorted'" in cohort.notes[0]
        assert "1, " in cohort.notes[1]
        assert "'e.png'" in cohort.notes[1]

    def test_two_spellings_of_one_label_are_one_label(self, tmp_path):
        make(tmp_path, "COVID/a.png", "covid19/a.png")
        cohort = labelled_folder(tmp_path)
        assert [e.label for e in cohort.examples] == ["covid19", "covid19"]
        assert len({e.patient_group for e in cohort.examples}) == 2

    def test_masks_and_hidden_files_are_no_pictures(self, tmp_path):
        make(tmp_path, "COVID/images/1.png", "COVID/masks/1.png", "COVID/.DS_Store", "COVID/.git/x")
        assert [e.image for e in labelled_folder(tmp_path).examples] == ["COVID/images/1.png"]

    @pytest.mark.parametrize("name", ["", "none", "flu/a.png", "COVID/.DS_Store"], ids=str)
    def test_a_folder_without_a_label_is_refused_with_the_names_that_would_do(self, tmp_path, name):
        if "/" in name:
            make(tmp_path, name)
        with pytest.raises(ManifestError, match="sub-folder named as a label: normal, "):
            labelled_folder(tmp_path / "none" if name == "none" else tmp_path)


class TestLabelledManifest:
    def cohort(self, folder, text, split):
        (folder / "m.csv").write_text(text)
        return labelled_manifest(folder / "m.csv", split)

    @pytest.mark.parametrize(("split", "names"), [(None, ["b"]), ("test", ["b"]), ("val", ["a"])])
    def test_the_test_split_unless_another_is_named(self, tmp_path, split, names):
        cohort = self.cohort(tmp_path, "image,label,split\na,normal,val\nb,normal,test\n", split)
        assert [e.image for e in cohort.examples] == names
        assert cohort.name == f"{split or 'test'} split of m.csv"

    def test_all_rows_of_a_manifest_without_splits(self, tmp_path):
        cohort = self.cohort(tmp_path, "image,label\na,normal\nb,normal\n", None)
        assert [e.image for e in cohort.examples] == ["a", "b"]
        assert (cohort.name, cohort.images) == ("m.csv", tmp_path)

    def test_images_may_lie_elsewhere(self, tmp_path):
        (tmp_path / "m.csv").write_text("image,label\na,normal\n")
        assert labelled_manifest(tmp_path / "m.csv", images=tmp_path / "x").images == tmp_path / "x"

    def test_an_external_test_is_taken_whole(self, tmp_path):
        cohort = self.cohort(tmp_path, "image,label,split\na,normal,external_test\nb,covid19,external_test\n", None)
        assert [e.image for e in cohort.examples] == ["a", "b"]

    def test_a_manifest_with_splits_but_no_test_rows_is_refused(self, tmp_path):
        with pytest.raises(ManifestError, match="no rows of split 'test'"):
            self.cohort(tmp_path, "image,label,split\na,normal,train\n", None)
