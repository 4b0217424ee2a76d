"""``predict --dicom``: files for the study beside the rows, and no word of the patient in the rows."""

import logging

import pydicom
import pytest

from detector.answers.answer import Question
from detector.cli.main import main
from detector.run.inputs import find_files
from detector.run.predict import predict_files
from detector.run.results import DICOM_ENDINGS, Request, Results
from tests.conftest import make_dicom

REQUEST = Request(Question("binary"), explain=True)


@pytest.fixture
def folder(tmp_path, composite_pixels, composite):
    """Two DICOM files of one name in two folders, and a PNG."""
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        data = make_dicom(composite_pixels, PatientName="Canary^Name", PatientID="CANARY-1", StudyInstanceUID="1.2.3")
        (tmp_path / "in" / name / "x.dcm").write_bytes(data)
    (tmp_path / "in" / "y.png").write_bytes(composite)
    return tmp_path


def run(folder, engine, *, resume=False, dicom=True):
    files = find_files([folder / "in"], out=folder / "out")
    with Results(folder / "out", REQUEST, engine.card.sha256, resume=resume, dicom=dicom) as results:
        return list(predict_files(files, engine, REQUEST, results=results))


def written(folder):
    return sorted(path for path in (folder / "out").iterdir() if path.name.endswith(DICOM_ENDINGS))


def test_each_dicom_image_gets_three_files_of_its_own(folder, engine, caplog):
    with caplog.at_level(logging.WARNING):
        run(folder, engine)
    files = written(folder)
    assert len(files) == 6
    assert len({pydicom.dcmread(path).SOPInstanceUID for path in files}) == 6
    assert {pydicom.dcmread(path).PatientID for path in files} == {"CANARY-1"}
    assert "y.png is no DICOM file" in caplog.text
    assert "anary" not in caplog.text.lower().replace(str(folder).lower(), "")


def test_rows_and_pages_name_nobody(folder, engine):
    run(folder, engine)
    for path in (folder / "out").iterdir():
        if not path.name.endswith(DICOM_ENDINGS):
            assert b"anary" not in path.read_bytes(), path.name


def test_what_lacks_its_dicom_results_is_not_passed_over(folder, engine):
    run(folder, engine, dicom=False)
    assert not written(folder)
    assert [row["path"][-3:] for row in run(folder, engine, resume=True)] == ["dcm", "dcm"]
    assert len(written(folder)) == 6
    assert run(folder, engine, resume=True) == []
    assert len((folder / "out" / "results.jsonl").read_text().splitlines()) == 3


def test_results_are_not_taken_for_images(folder, engine):
    run(folder, engine)
    left = list(find_files([folder / "in", folder / "out"], out=folder / "out"))
    assert len(left) == 3


def test_the_option_needs_a_folder(caplog, tmp_path):
    (tmp_path / "x.dcm").write_bytes(b"")
    assert main(["predict", str(tmp_path), "--dicom"]) == 2
    assert "--out" in caplog.text
