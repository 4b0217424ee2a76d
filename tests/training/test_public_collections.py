"""Readers of the public collections, on small made-up trees of the same shape."""

import csv

import pytest

from detector.errors import ManifestError
from detector.training.data.public_collections import (
    label_of_finding,
    read_ieee8023,
    read_kaggle,
    read_nih,
    read_raddb,
)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def table(path, *rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def by_name(inventory):
    return {one.path.name: one for one in inventory.found}


class TestFindings:
    @pytest.mark.parametrize(
        ("finding", "label"),
        [
            ("Pneumonia/Viral/COVID-19", "covid19"),
            ("COVID-19, ARDS", "covid19"),
            ("Pneumonia/Viral/SARS", "viral_pneumonia"),
            ("SARS", "viral_pneumonia"),
            ("Pneumonia/Viral/MERS-CoV", "viral_pneumonia"),
            ("Pneumonia/Bacterial/Streptococcus", "bacterial_pneumonia"),
            ("Mycoplasma Bacterial Pneumonia", "bacterial_pneumonia"),
            ("Klebsiella", "bacterial_pneumonia"),
            ("Pneumonia/Fungal/Pneumocystis", "other_pneumonia"),
            ("Pneumonia/Lipoid", "other_pneumonia"),
            ("Pneumonia", "other_pneumonia"),
            ("ARDS", "other_pneumonia"),
            ("No Finding", "normal"),
            ("Tuberculosis", None),
            ("todo", None),
            ("Unknown", None),
            ("", None),
        ],
    )
    def test_words_of_the_ieee8023_collection(self, finding, label):
        assert label_of_finding(finding) == label


IEEE_ROW = {
    "patientid": "2", "age": "65", "finding": "Pneumonia/Viral/COVID-19", "view": "PA", "modality": "X-ray",
    "folder": "images", "filename": "a.jpg", "license": " CC BY-NC-SA ",
}  # fmt: skip
NIH_ROW = {"Image Index": "1.png", "Finding Labels": "No Finding", "Patient ID": "7", "Patient Age": "058Y"}


class TestIeee8023:
    def inventory(self, folder, *changes):
        touch(folder, "images/a.jpg", "secret.png")
        table(folder / "metadata.csv", *({**IEEE_ROW, **change} for change in changes))
        return read_ieee8023(folder)

    def test_a_row_becomes_a_picture(self, tmp_path):
        touch(tmp_path, "annotations/lungVAE-masks/a.jpg_mask.png")
        (one,) = self.inventory(tmp_path, {}).found
        assert (one.label, one.source, one.patient, one.view) == ("covid19", "ieee8023", "2", "PA")
        assert (one.age_group, one.finding, one.license) == ("adult", "Pneumonia/Viral/COVID-19", "CC BY-NC-SA")
        assert one.name == "images/a.jpg"
        assert one.lung_mask.name == "a.jpg_mask.png"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"view": "L"}, "no frontal view"),
            ({"view": "Axial"}, "no frontal view"),
            ({"modality": "CT"}, "no radiograph"),
            ({"finding": "Tuberculosis"}, "no label for the finding"),
            ({"filename": "gone.jpg"}, "file missing"),
            ({"filename": "../secret.png"}, "file missing"),
            ({"filename": "..\\secret.png"}, "file missing"),
            ({"folder": "..", "filename": "secret.png"}, "file missing"),
            ({"filename": "a" * 5000}, "file missing"),
            ({"filename": ""}, "file missing"),
        ],
        ids=str,
    )
    def test_what_does_not_belong_is_counted_with_its_reason(self, tmp_path, change, reason):
        inventory = self.inventory(tmp_path / "x", change)
        assert inventory.found == []
        assert inventory.left_out == {reason: 1}

    @pytest.mark.parametrize(("age", "group"), [("17", "paediatric"), ("18", "adult"), ("", "adult"), ("?", "adult")])
    def test_age_group_is_adult_unless_the_age_says_otherwise(self, tmp_path, age, group):
        assert self.inventory(tmp_path, {"age": age}).found[0].age_group == group

    def test_a_table_without_its_columns_is_refused(self, tmp_path):
        table(tmp_path / "metadata.csv", {"patientid": "1"})
        with pytest.raises(ManifestError, match="lacks the columns"):
            read_ieee8023(tmp_path)

    def test_a_missing_table_is_refused(self, tmp_path):
        with pytest.raises(ManifestError, match="cannot be read"):
            read_ieee8023(tmp_path)


class TestKaggle:
    def test_labels_and_patients_come_from_names(self, tmp_path):
        touch(
            tmp_path,
            "train/NORMAL/IM-0115-0001.jpeg",
            "test/NORMAL/NORMAL2-IM-0927-0001-0002.jpeg",
            "train/PNEUMONIA/person1_bacteria_1.jpeg",
            "val/PNEUMONIA/person1_virus_6.jpeg",
            "train/PNEUMONIA/odd.jpeg",
            "__MACOSX/train/NORMAL/._IM-0115-0001.jpeg",
            "train/.DS_Store",
            "readme/x.png",
        )
        inventory = read_kaggle(tmp_path)
        found = {name: (one.label, one.patient) for name, one in by_name(inventory).items()}
        assert found == {
            "IM-0115-0001.jpeg": ("normal", "im-0115"),
            "NORMAL2-IM-0927-0001-0002.jpeg": ("normal", "normal2-im-0927"),
            "person1_bacteria_1.jpeg": ("bacterial_pneumonia", "person1"),
            "person1_virus_6.jpeg": ("viral_pneumonia", "person1"),
            "odd.jpeg": ("pneumonia_unspecified", "train/PNEUMONIA/odd.jpeg"),
        }
        assert {(one.view, one.age_group) for one in inventory.found} == {("AP", "paediatric")}
        assert inventory.left_out == {"folder without a label": 1}

    def test_a_missing_folder_is_refused(self, tmp_path):
        with pytest.raises(ManifestError, match="no folder"):
            read_kaggle(tmp_path / "none")


class TestRaddb:
    def test_new_and_old_releases_are_read_masks_are_not_pictures(self, tmp_path):
        touch(
            tmp_path,
            "COVID/images/COVID-1.png",
            "COVID/masks/COVID-1.png",
            "COVID.metadata.xlsx",
            "Normal/Normal-1.png",
            "Viral Pneumonia/images/Viral Pneumonia-1.png",
            "Lung_Opacity/images/Lung_Opacity-1.png",
        )
        inventory = read_raddb(tmp_path)
        found = {name: (one.label, one.age_group) for name, one in by_name(inventory).items()}
        assert found == {
            "COVID-1.png": ("covid19", "adult"),
            "Normal-1.png": ("normal", "adult"),
            "Viral Pneumonia-1.png": ("viral_pneumonia", "paediatric"),
        }
        assert by_name(inventory)["COVID-1.png"].lung_mask == tmp_path / "COVID" / "masks" / "COVID-1.png"
        assert by_name(inventory)["Normal-1.png"].lung_mask is None
        assert inventory.left_out == {"no label for the finding": 1}


class TestNih:
    def inventory(self, folder, *changes):
        touch(folder, "images_001/images/1.png", "images_002/images/2.png")
        table(folder / "Data_Entry_2017_v2020.csv", *({**NIH_ROW, "View Position": "PA", **c} for c in changes))
        return read_nih(folder)

    def test_pictures_lie_in_numbered_folders(self, tmp_path):
        second = {"Image Index": "2.png", "Finding Labels": "Edema|Pneumonia", "Patient Age": "9", "Patient ID": "8"}
        found = by_name(self.inventory(tmp_path, {}, second))
        one, other = found["1.png"], found["2.png"]
        assert (one.label, one.patient, one.age_group, one.view) == ("normal", "7", "adult", "PA")
        assert (other.label, other.age_group, other.finding) == (
            "pneumonia_unspecified",
            "paediatric",
            "Edema|Pneumonia",
        )
        assert other.name == "images_002/images/2.png"

    def test_other_findings_and_missing_files_are_counted(self, tmp_path):
        inventory = self.inventory(tmp_path, {"Finding Labels": "Hernia"}, {"Image Index": "../1.png"})
        assert inventory.left_out == {"no label for the finding": 1, "file missing": 1}

    @pytest.mark.parametrize(("age", "group"), [("410M", "paediatric"), ("", ""), ("old", ""), ("18", "adult")])
    def test_an_age_that_is_not_said_is_not_made_up(self, tmp_path, age, group):
        assert self.inventory(tmp_path, {"Patient Age": age}).found[0].age_group == group

    def test_without_its_table_it_is_refused(self, tmp_path):
        with pytest.raises(ManifestError, match="Data_Entry_2017"):
            read_nih(tmp_path)
