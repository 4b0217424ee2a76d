"""From the collections' folders to a manifest: copies, patients, splits, hostile files, stops."""

import csv
import json
import os
import shutil

import cv2
import numpy as np
import pytest

from detector.cli.common import EXIT_OK, EXIT_USAGE
from detector.cli.main import main
from detector.errors import ManifestError, OutputError
from detector.training.data import prepare as module
from detector.training.data.manifest import read_manifest
from detector.training.data.prepare import COLUMNS, prepare, split_of
from tests.conftest import encode
from tests.training.test_duplicates import made_up


def put(folder, name, pixels):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pixels if isinstance(pixels, bytes) else encode(pixels, path.suffix))


@pytest.fixture
def collections(tmp_path):
    """One small tree of each collection's shape; pictures by seed, so that copies are seen at a glance."""
    ieee, kaggle, raddb, nih = (tmp_path / name for name in ("ieee", "kaggle", "raddb", "nih"))
    rows = []
    for number, (name, finding, view) in enumerate(
        [("a.png", "Pneumonia/Viral/COVID-19", "PA"), ("b.jpg", "Klebsiella", "AP"), ("side.png", "COVID-19", "L")]
    ):
        put(ieee, f"images/{name}", made_up(number, 300))
        rows.append({"patientid": number, "finding": finding, "view": view, "modality": "X-ray", "filename": name})
    with (ieee / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    put(ieee, "annotations/lungVAE-masks/a.png_mask.png", 255 * (made_up(0, 300) > 120).astype(np.uint8))

    put(kaggle, "train/NORMAL/IM-0001-0001.jpeg", made_up(10))
    put(kaggle, "test/NORMAL/IM-0001-0002.jpeg", made_up(11))  # of the same child
    put(kaggle, "train/PNEUMONIA/person1_bacteria_1.jpeg", made_up(12))
    put(kaggle, "train/PNEUMONIA/person2_virus_1.jpeg", made_up(13))
    put(kaggle, "val/PNEUMONIA/person3_virus_1.jpeg", b"no picture")

    put(raddb, "COVID/images/COVID-1.png", made_up(20))
    put(raddb, "COVID/images/COVID-2.png", cv2.resize(made_up(0, 300), (224, 224)))  # ieee8023's a.png
    put(raddb, "COVID/masks/COVID-1.png", np.eye(64, dtype=np.uint8) * 255)
    put(raddb, "Viral Pneumonia/images/1.png", made_up(13))  # kaggle's person2
    put(raddb, "Normal/images/1.png", made_up(30))  # nih calls it a pneumonia
    put(raddb, "Normal/images/2.png", made_up(21))

    put(nih, "images_001/images/1.png", made_up(30))
    put(nih, "images_001/images/2.png", made_up(31))
    lines = ["1.png,Pneumonia,5,40,AP", "2.png,No Finding,6,12,PA", "3.png,No Finding,6,12,PA"]
    header = "Image Index,Finding Labels,Patient ID,Patient Age,View Position"
    (nih / "Data_Entry_2017.csv").write_text("\n".join([header, *lines]) + "\n")
    return {"ieee8023": ieee, "kaggle": kaggle, "raddb": raddb, "nih": nih}


def snapshot(out):
    return {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != "prepared.jsonl"}


class TestManifest:
    @pytest.fixture
    def out(self, tmp_path):
        return tmp_path / "out"

    def test_copies_go_contradictions_go_and_everything_left_out_is_counted(self, collections, out):
        prepared = prepare(collections, out)
        kept = sorted((row.source, row.label) for row in prepared.rows)
        assert kept == [
            ("ieee8023", "bacterial_pneumonia"),
            ("ieee8023", "covid19"),
            ("kaggle", "bacterial_pneumonia"),
            ("kaggle", "normal"),
            ("kaggle", "normal"),
            ("kaggle", "viral_pneumonia"),
            ("nih", "normal"),
            ("raddb", "covid19"),
            ("raddb", "normal"),
        ]
        left_out = {source: {k: n for k, n in reasons.items() if n} for source, reasons in prepared.left_out.items()}
        assert left_out == {
            "ieee8023": {"no frontal view": 1},
            "nih": {"file missing": 1, "copies with other labels": 1},
            "kaggle": {"refused: unsupported_format": 1},
            "raddb": {"copies": 2, "copies with other labels": 1},
        }

    def test_it_is_a_manifest_of_the_same_form_and_the_pictures_are_there(self, collections, out):
        prepare(collections, out)
        with (out / "manifest.csv").open(newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        assert tuple(reader.fieldnames) == COLUMNS
        assert len(read_manifest(out / "manifest.csv")) == len(rows) == 9
        for row in rows:
            picture = cv2.imread(str(out / row["image"]), cv2.IMREAD_UNCHANGED)
            assert (picture.shape, picture.dtype) == ((224, 224), np.uint8)
        covid = next(row for row in rows if (row["source"], row["label"]) == ("ieee8023", "covid19"))
        assert (covid["original_height"], covid["original_width"], covid["view"]) == ("300", "300", "PA")
        mask = cv2.imread(str(out / covid["lung_mask"]), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (224, 224)
        assert set(np.unique(mask)) == {0, 255}

    def test_a_patient_stays_in_one_split(self, collections, out):
        rows = prepare(collections, out).rows
        child = [row for row in rows if (row.source, row.label) == ("kaggle", "normal")]
        assert len({row.patient_group for row in child}) == 1
        assert {row.split for row in child} == {split_of(child[0].patient_group)}
        groups = {}
        for row in rows:
            groups.setdefault(row.patient_group, set()).add(row.split)
        assert all(len(splits) == 1 for splits in groups.values())

    def test_pictures_that_are_alike_are_of_one_group_across_patients(self, tmp_path, out):
        folder = tmp_path / "raddb"
        mixed = cv2.addWeighted(made_up(1), 0.66, made_up(2), 0.34, 0)  # alike, but no copy
        put(folder, "Normal/images/1.png", made_up(1))
        put(folder, "Normal/images/2.png", mixed)
        put(folder, "Normal/images/3.png", made_up(3))
        groups = [row.patient_group for row in prepare({"raddb": folder}, out).rows]
        assert len(groups) == 3
        assert len(set(groups)) == 2

    def test_the_limit_is_of_each_source_and_label(self, collections, out):
        rows = prepare(collections, out, limit=1).rows
        assert len(rows) == len({(row.source, row.label) for row in rows})

    def test_summary_names_what_was_kept_and_what_was_not(self, collections, out):
        text = prepare(collections, out).summary()
        assert "9 pictures of 8 patient groups" in text
        assert "left out of kaggle: 1 (refused: unsupported_format)" in text


class TestRepeats:
    def test_the_same_input_gives_the_same_bytes(self, collections, tmp_path):
        prepare(collections, tmp_path / "one")
        prepare(collections, tmp_path / "two")
        assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")

    def test_a_second_run_reads_no_picture_again(self, collections, tmp_path, monkeypatch):
        prepare(collections, tmp_path / "out")
        before = snapshot(tmp_path / "out")
        monkeypatch.setattr(module, "read_radiograph", lambda _data: pytest.fail("read again"))
        prepare(collections, tmp_path / "out")
        assert snapshot(tmp_path / "out") == before

    def test_a_stopped_run_goes_on_to_the_same_end(self, collections, tmp_path, monkeypatch):
        prepare(collections, tmp_path / "whole")
        calls = []

        def dies(data):
            calls.append(1)
            if len(calls) > 6:
                raise KeyboardInterrupt
            return real(data)

        real = module.read_radiograph
        monkeypatch.setattr(module, "_AHEAD", 2)
        monkeypatch.setattr(module, "read_radiograph", dies)
        with pytest.raises(KeyboardInterrupt):
            prepare(collections, tmp_path / "out")
        with (tmp_path / "out" / "prepared.jsonl").open("a") as file:
            file.write('{"key": "kaggle/torn')
        monkeypatch.setattr(module, "read_radiograph", real)
        prepare(collections, tmp_path / "out")
        assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")
        for line in (tmp_path / "out" / "prepared.jsonl").read_text().splitlines():
            json.loads(line)

    def test_a_picture_that_went_missing_is_made_again(self, collections, tmp_path):
        prepare(collections, tmp_path / "out")
        before = snapshot(tmp_path / "out")
        shutil.rmtree(tmp_path / "out" / "images" / "kaggle")
        prepare(collections, tmp_path / "out")
        assert snapshot(tmp_path / "out") == before


class TestHostile:
    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
    def test_pipes_loops_and_broken_files_hurt_nobody(self, tmp_path):
        folder = tmp_path / "kaggle" / "train" / "NORMAL"
        put(folder, "IM-0001-0001.jpeg", made_up(1))
        put(folder, "IM-0002-0001.jpeg", encode(made_up(2), ".jpg")[:3000])
        put(folder, "IM-0003-0001.jpeg", b"")
        os.mkfifo(folder / "IM-0004-0001.jpeg")
        (folder / "IM-0005-0001.jpeg").symlink_to(folder / "IM-0005-0001.jpeg")
        prepared = prepare({"kaggle": tmp_path / "kaggle"}, tmp_path / "out")
        assert len(prepared.rows) == 1
        assert prepared.left_out["kaggle"]["refused: empty_file"] == 1
        assert sum(prepared.left_out["kaggle"].values()) == 2

    def test_a_file_far_too_large_is_not_read(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "MAX_DICOM_BYTES", 10)
        put(tmp_path / "k", "train/NORMAL/IM-1-1.jpeg", made_up(1))
        with pytest.raises(ManifestError, match="No picture could be read"):
            prepare({"kaggle": tmp_path / "k"}, tmp_path / "out")

    def test_a_mask_that_is_none_leaves_the_picture(self, collections, tmp_path):
        (collections["ieee8023"] / "annotations/lungVAE-masks/a.png_mask.png").write_bytes(b"x")
        rows = prepare({"ieee8023": collections["ieee8023"]}, tmp_path / "out").rows
        assert [row.lung_mask for row in rows] == ["", ""]

    def test_an_output_that_is_a_file_is_refused(self, collections, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises(OutputError, match="cannot be written"):
            prepare(collections, tmp_path / "out")

    def test_nothing_labelled_is_refused(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(ManifestError, match="No labelled picture"):
            prepare({"kaggle": tmp_path / "empty"}, tmp_path / "out")


class TestSplit:
    def test_shares_are_near_what_was_asked(self):
        splits = [split_of(str(i)) for i in range(20000)]
        assert splits.count("test") / 20000 == pytest.approx(0.13, abs=0.01)
        assert splits.count("val") / 20000 == pytest.approx(0.11, abs=0.01)


class TestTfrecord:
    def test_shards_hold_every_picture_of_the_split_with_its_label(self, collections, tmp_path, monkeypatch):
        import tensorflow as tf

        monkeypatch.setattr(module, "_SHARD_PICTURES", 2)
        out = tmp_path / "out"
        rows = prepare(collections, out, tfrecord=True).rows
        paths = sorted(map(str, (out / "tfrecord").iterdir()))
        found = []
        for record in tf.data.TFRecordDataset(paths):
            feature = tf.train.Example.FromString(record.numpy()).features.feature
            found.append((feature["label"].bytes_list.value[0].decode(), feature["image"].bytes_list.value[0]))
        assert sorted(found) == sorted((row.label, (out / row.image).read_bytes()) for row in rows)
        training = [path for path in paths if "train-" in path]
        assert len(training) == -(-sum(row.split == "train" for row in rows) // 2)


class TestCommandLine:
    def test_prepare_says_what_it_did_on_standard_error_alone(self, collections, tmp_path, capsys):
        options = [f"--{name}={folder}" for name, folder in collections.items()]
        assert main(["prepare", *options, "--out", str(tmp_path / "out")]) == EXIT_OK
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "9 pictures" in captured.err

    def test_without_a_collection_it_is_usage(self, tmp_path):
        assert main(["prepare", "--out", str(tmp_path)]) == EXIT_USAGE
