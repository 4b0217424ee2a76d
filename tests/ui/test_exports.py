"""What leaves the page: the command line's rows, no name unless it is asked for, pictures as they are shown."""

import csv
import io
import json
import zipfile

import numpy as np
import pydicom
import pytest
from PIL import Image

from detector.answers.answer import NoAnswer, Question
from detector.errors import EmptyFileError
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.run.predict import predict_files
from detector.run.results import Request
from detector.schema import NOTICE, ClassStability, Stability
from detector.ui.cases import Failure, analysed
from detector.ui.exports import Seen, as_csv, as_json, case_dicom, case_page, case_png, list_pages, local_time, row_of
from detector.ui.greyscale import Greyscale
from detector.ui.screen import Look
from detector.ui.shelf import Shelf
from detector.ui.sources import Source
from detector.ui.worklist import Entry
from tests.conftest import make_dicom

PATIENT = "Doe^Jane"


@pytest.fixture(scope="module")
def card():
    return read_card(MODELS / f"{DEFAULT_MODEL}.json")


@pytest.fixture(scope="module")
def entry(engine, composite_pixels):
    """A DICOM file that names a patient, in a file that does too."""
    data = make_dicom(composite_pixels, PatientName=PATIENT, PatientID="ID-4711")
    case = analysed("ab" * 32, data, engine, shelf=Shelf(), read=lambda: data)
    return Entry(3, Source("id", f"{PATIENT}.dcm", lambda: data), case, case.answer(Question()))


@pytest.fixture
def seen():
    return Seen(Greyscale(), Look())


def test_row_is_the_command_line_s_and_numbered(entry, card):
    row = row_of(entry, Question(), card.info, named=False)
    assert row["path"] == "X-ray 3"
    assert row["status"] == "ok"
    assert row["probabilities"]["covid19"] == entry.answer.probabilities["covid19"]
    assert row["input"]["rows"] == 512
    assert row["notice"] == NOTICE


def test_row_of_a_refused_file_says_why(card):
    error = EmptyFileError("x")
    failed = Entry(1, Source("id", "a.png", bytes), Failure("ab", NoAnswer.of(error)))
    row = row_of(failed, Question(), card.info, named=True)
    assert (row["path"], row["status"], row["code"]) == ("a.png", "rejected", "empty_file")


def test_unexpected_failure_has_the_code_and_the_sentence_of_the_command_line(
    card, engine, composite, monkeypatch, tmp_path
):
    def broken(*_args, **_options):
        raise ZeroDivisionError

    monkeypatch.setattr("detector.ui.cases.analyse", broken)
    monkeypatch.setattr("detector.run.predict.analyse", broken)
    failure = analysed("ab" * 32, composite, engine, shelf=Shelf(), read=lambda: composite)
    exported = row_of(Entry(1, Source("id", "a.png", bytes), failure), Question(), card.info, named=True)
    (tmp_path / "a.png").write_bytes(composite)
    (printed,) = predict_files([tmp_path / "a.png"], engine, Request(Question(), explain=False))
    for name in ("status", "code", "reason"):
        assert exported[name] == printed[name]
    assert (exported["status"], exported["code"]) == ("error", "unexpected")


def every_export(entry, seen, card, *, named):
    row = row_of(entry, Question(), card.info, named=named)
    page = case_page(entry, entry.result, entry.answer, seen, named=named)
    pages = list_pages([entry], card, named=named)
    words = [
        page.title,
        page.subject,
        page.asked,
        *page.lines,
        *page.limits,
        *page.panels.captions,
        *page.findings,
        *page.warnings,
        *page.provenance,
    ]
    words += [cell for line in pages.rows for cell in line]
    return as_csv([row]).decode() + as_json(row).decode() + " ".join(words)


def test_page_has_the_whiskers_of_the_stability_check_and_the_band(entry, seen):
    classes = {"covid19": ClassStability(0.7, 0.99, 0.9), "not_covid19": ClassStability(0.01, 0.3, 0.9)}
    stability = Stability({"binary": classes}, ("a little brighter",))
    page = case_page(entry, entry.result, entry.answer, seen, named=False, stability=stability)
    assert [(bar.low, bar.high) for bar in page.bars] == [(0.7, 0.99), (0.01, 0.3)]
    low, high = page.band
    assert low < page.threshold < high


def test_printed_list_says_what_was_asked_and_when(entry, card):
    subject = list_pages([entry], card, named=False).subject
    assert "Binary" in subject
    assert "Balanced" in subject
    assert local_time(entry.answer.analysis.analysed_at) in subject


def test_no_export_names_the_patient_or_the_file(entry, seen, card):
    written = every_export(entry, seen, card, named=False)
    for secret in (PATIENT, "ID-4711", "Doe", ".dcm"):
        assert secret not in written


def test_name_of_the_file_is_written_when_it_is_asked_for(entry, seen, card):
    assert f"{PATIENT}.dcm" in every_export(entry, seen, card, named=True)


def test_csv_has_one_header_and_neutral_formulas(entry, card):
    hostile = Entry(1, Source("id", "=cmd()", bytes), entry.result, entry.answer)
    rows = [row_of(hostile, Question(), card.info, named=True)] * 2
    lines = list(csv.DictReader(io.StringIO(as_csv(rows).decode("utf-8-sig"))))
    assert len(lines) == 2
    assert lines[0]["path"] == "'=cmd()"


def test_json_is_read_back_as_it_was(entry, card):
    row = row_of(entry, Question(), card.info, named=False)
    assert json.loads(as_json(row)) == json.loads(json.dumps(row))


def test_png_holds_x_ray_and_map_side_by_side_as_they_are_shown_and_readable(entry, seen):
    sheet = np.asarray(Image.open(io.BytesIO(case_png(entry.result, entry.answer, seen))))
    rows, columns = sheet.shape[:2]
    assert columns > 2 * 900  # two pictures and their margins, whatever the file's size
    middle, left, right = rows // 2, slice(40, columns // 2 - 40), slice(columns // 2 + 40, columns - 40)
    assert np.ptp(sheet[middle, left], axis=-1).max() == 0  # grey
    assert np.ptp(sheet[middle - 200 : middle + 200, right], axis=-1).max() > 30  # coloured
    inverted = Seen(Greyscale(inverted=True), Look())
    negative = np.asarray(Image.open(io.BytesIO(case_png(entry.result, entry.answer, inverted))))
    assert np.abs(negative[middle, left].astype(int) - (255 - sheet[middle, left].astype(int))).max() <= 3
    red = (negative[:, :, 0].astype(int) - negative[:, :, 1] > 150).sum()
    assert red > 500 > (sheet[:, :, 0].astype(int) - sheet[:, :, 1] > 150).sum()  # SHOWN INVERTED


def test_page_tells_both_answers_the_worth_and_the_limits(entry, seen):
    page = case_page(entry, entry.result, entry.answer, seen, named=False)
    assert page.title.startswith("COVID-19 pattern")
    assert page.lines[0].startswith("Three-class: ")
    assert page.lines[1]
    assert page.limits[0].startswith("Looks for nothing else")
    assert "Question: Binary." in page.asked


def test_dicom_objects_are_those_of_the_command_line_for_what_the_page_shows(engine, composite_pixels):
    data = make_dicom(composite_pixels, StudyInstanceUID="1.2.3", PatientID="ID-1")
    case = analysed("cd" * 32, data, engine, shelf=Shelf(), read=lambda: data)
    told = case.answer(Question("three-class", target_class="normal"))
    with zipfile.ZipFile(io.BytesIO(case_dicom(data, case, told))) as archive:
        read = {name: pydicom.dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist()}
    assert set(read) == {"result.sr.dcm", "result.sc.dcm", "result.pr.dcm"}
    assert {(result.StudyInstanceUID, result.PatientID) for result in read.values()} == {("1.2.3", "ID-1")}
    layers = read["result.pr.dcm"].GraphicLayerSequence
    assert any("Normal" in layer.GraphicLayerDescription for layer in layers)
    assert read["result.sc.dcm"].pixel_array.std() > 10, "the picture is there, though the page keeps none"
