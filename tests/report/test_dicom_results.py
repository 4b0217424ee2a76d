"""DICOM results: what they say, whom they belong to, and where their contours lie."""

import re
import warnings
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.sr import CodedConcept
from pydicom.sr._concepts_dict import concepts

from detector.answers.answer import Question, answer
from detector.answers.overlay import to_heatmap
from detector.answers.pipeline import analyse
from detector.read.source import SourceHeader, read_source
from detector.report import dicom_report
from detector.report.dicom import ENDINGS, write_results
from detector.report.dicom_common import identity
from detector.report.dicom_contours import LEVELS, outlines
from detector.schema import INDETERMINATE, NOTICE, Correction
from tests.conftest import make_dicom

PATIENT = {
    "PatientName": "Müller^Änne=Secret^Name", "PatientID": " ID-4711 ", "PatientBirthDate": "1950.02.28",
    "PatientSex": "f", "PatientAge": "62", "StudyDate": "20200230", "StudyTime": "12:30:05",
    "AccessionNumber": "A" * 30,
    "ReferringPhysicianName": "", "StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "not.a.uid",
    "SpecificCharacterSet": "ISO_IR 192", "ViewPosition": "PA", "BodyPartExamined": "CHEST",
}  # fmt: skip


@pytest.fixture(scope="module")
def files(composite_pixels):
    """Made-up DICOM files by name, every one of the COVID-19 composite."""
    stored = composite_pixels.astype(np.uint16) * 16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the values that are not valid are the point
        return {
            "bare": make_dicom(composite_pixels),
            "patient": make_dicom(composite_pixels, **PATIENT),
            "twelve_bits": make_dicom(stored, bits_stored=12, WindowCenter=2048, WindowWidth=4096),
            "inverse": make_dicom(255 - composite_pixels, PhotometricInterpretation="MONOCHROME1"),
            "bad_window": make_dicom(stored, bits_stored=12, WindowCenter=["1", "2"], WindowWidth=["0", "7"]),
        }


@pytest.fixture(scope="module")
def told(files, engine):
    """The binary answer to each of them."""
    return {name: answer(analyse(data, engine), Question()) for name, data in files.items()}


@pytest.fixture(scope="module")
def written(files, told):
    """The three results of each of them, read back."""
    return {
        name: {kind: pydicom.dcmread(BytesIO(data)) for kind, data in results(files, told, name).items()}
        for name in files
    }


def results(files, told, name):
    return write_results(told[name], read_source(files[name]))


def texts(report):
    items = (i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeMeaning == "Comment")
    return [item.TextValue for item in items]


def groups(report):
    (container,) = (item for item in report.ContentSequence if item.ValueType == "CONTAINER")
    return {found(group, "Finding").ConceptCodeSequence[0].CodeMeaning: group for group in container.ContentSequence}


def found(group, name):
    return next(i for i in group.ContentSequence if i.ConceptNameCodeSequence[0].CodeMeaning == name)


def number(group, name):
    return float(found(group, name).MeasuredValueSequence[0].NumericValue)


def test_the_report_says_what_the_answer_says(told, written):
    told, report = told["patient"], written["patient"]["sr"]
    covid = groups(report)["COVID-19"]
    assert number(covid, "Certainty of Finding") == pytest.approx(100 * told.probabilities["covid19"], abs=1e-9)
    assert number(covid, "Threshold Value") == pytest.approx(100 * told.operating_point.threshold, abs=1e-9)
    verdict = found(covid, "Likelihood according to the algorithm").ConceptCodeSequence[0].CodeMeaning
    assert verdict == {"covid19": "Probable diagnosis", INDETERMINATE: "Indeterminate"}.get(
        told.decision, "Improbable diagnosis"
    )
    assert found(covid, "Source of Measurement").ReferencedSOPSequence[0].ReferencedSOPInstanceUID == (
        read_source_of(written["patient"])
    )
    parameters = [i.TextValue for i in covid.ContentSequence if i.ValueType == "TEXT"]
    assert f"weights SHA-256 {told.analysis.model.sha256}" in parameters


def read_source_of(three):
    return three["sc"].SourceImageSequence[0].ReferencedSOPInstanceUID


def test_the_notice_is_in_the_tree_and_the_report_is_nobodys_last_word(written):
    report = written["bare"]["sr"]
    assert texts(report)[0] == NOTICE
    assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")


def test_highdicom_reads_the_report_as_a_measurement_report(files, told):
    data = results(files, told, "twelve_bits")["sr"]
    report = highdicom.sr.srread(BytesIO(data))
    assert isinstance(report.content, highdicom.sr.MeasurementReport)
    assert len(report.content.get_image_measurement_groups()) == len(told["twelve_bits"].task.classes)


def test_zones_with_most_of_the_evidence_are_those_of_the_sentence(told, written):
    for name, answered in told.items():
        group = groups(written[name]["sr"])["COVID-19"]
        zones = [
            i.ConceptCodeSequence[0].CodeMeaning.lower()
            for i in group.ContentSequence
            if i.ConceptNameCodeSequence[0].CodeMeaning == "Zone with most of the evidence"
        ]
        assert all(zone in answered.evidence_sentence for zone in zones)


@pytest.mark.parametrize("kind", ENDINGS)
def test_results_belong_to_the_study_and_say_what_they_are_not(written, kind):
    result = written["patient"][kind]
    assert result.StudyInstanceUID == "1.2.3.4"
    assert result.SeriesDescription == "RESEARCH, NOT FOR DIAGNOSIS"
    assert result.PatientName == "Müller^Änne=Secret^Name"
    assert result.PatientID == "ID-4711"
    assert result.Laterality in {"", None}


@pytest.mark.parametrize("kind", ENDINGS)
def test_values_that_are_not_valid_are_corrected_or_left_out(written, kind):
    result = written["patient"][kind]
    assert result.PatientBirthDate == "19500228", "dots are ACR-NEMA's"
    assert result.StudyDate == "", "there is no 30 February"
    assert result.StudyTime == "123005"
    assert result.PatientSex == "F"
    assert "PatientAge" not in result, "62 of what?"
    assert result.AccessionNumber == "A" * 16


def test_what_was_changed_is_said_without_the_value(files):
    notes = " ".join(read_source(files["patient"]).notes)
    assert "Patient's Age" in notes
    assert "62" not in notes
    assert "Müller" not in repr(read_source(files["patient"]))


@pytest.mark.parametrize("kind", ENDINGS)
def test_missing_attributes_are_there_and_empty(written, kind):
    result = written["bare"][kind]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"):
        assert keyword in result
        assert not result[keyword].value
    assert result.StudyInstanceUID, "the file has none, so one is derived from its hash"
    assert "SpecificCharacterSet" not in result, "plain ASCII"


def test_identifiers_follow_from_image_weights_and_question(files, told, engine):
    once, again = results(files, told, "patient"), results(files, told, "patient")
    assert once == again, "the same answer is the same file to the byte"
    source = read_source(files["patient"])
    names = {
        identity(source.sop_instance_uid, weights, question, correction).instance_uid("sr")
        for weights in (engine.card.sha256, "0" * 64)
        for question in (Question(), Question("three-class"), Question(operating_point="sensitive"))
        for correction in (Correction(), Correction(inverted=True))
    }
    assert len(names) == 12
    assert pydicom.dcmread(BytesIO(once["sr"])).SOPInstanceUID in names


def test_all_three_are_different_instances_and_series(written):
    three = written["patient"].values()
    assert len({result.SOPInstanceUID for result in three}) == 3
    assert len({result.SeriesInstanceUID for result in three}) == 3


def test_the_picture_shows_both_panels_and_the_notice(written):
    picture = written["patient"]["sc"]
    pixels = picture.pixel_array
    assert pixels.ndim == 3
    assert picture.BurnedInAnnotation == "NO", "it names no patient"
    assert pixels[:40].max() > 200, "the notice stands on top"
    coloured = np.ptp(pixels.astype(int), axis=2) > 40
    half = pixels.shape[1] // 2
    assert coloured[:, half:].any()
    assert not coloured[:, :half].any()


@pytest.mark.parametrize("name", ["bare", "twelve_bits", "inverse"])
def test_contours_read_back_are_the_map(written, told, name):
    state, answered = written[name]["pr"], told[name]
    heatmap = to_heatmap(answered.cam, answered.analysis.geometry)
    lungs = to_heatmap(answered.analysis.lung_field.astype(np.float32), answered.analysis.geometry) >= 0.5
    compared = 0
    for annotation in state.GraphicAnnotationSequence:
        if "GraphicObjectSequence" not in annotation:
            continue
        region = drawn(annotation, heatmap.shape)
        side, _, percent = annotation.GraphicLayer.partition(" ")
        if side == "LUNGS":
            expected = lungs
        else:
            level = int(percent) / 100 * answered.full_scale
            assert f"{level:.2f}" in layer(state, annotation.GraphicLayer).GraphicLayerDescription
            expected = heatmap >= level if side == "FOR" else heatmap <= -level
        assert overlap(region, expected) > 0.97
        compared += 1
    assert compared >= 2


def layer(state, name):
    return next(item for item in state.GraphicLayerSequence if item.GraphicLayer == name)


def drawn(annotation, shape):
    """What a viewer fills between the lines, (rows, columns) bool; a line around a hole takes it out again."""
    lines = [np.array(g.GraphicData).reshape(-1, 2) for g in annotation.GraphicObjectSequence]
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [np.rint(line - 0.5).astype(np.int32) for line in lines], 1)
    return canvas.astype(bool)


def overlap(a, b):
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def test_a_layer_that_the_map_does_not_reach_is_left_out(told, files):
    flat = replace(told["bare"], cam=np.zeros_like(told["bare"].cam))
    state = pydicom.dcmread(BytesIO(write_results(flat, read_source(files["bare"]))["pr"]))
    assert {item.GraphicLayer for item in state.GraphicLayerSequence} == {"LUNGS", "NOTES"}


@pytest.mark.parametrize("turns", range(4))
def test_contours_of_a_turned_picture_lie_on_the_stored_one(turns):
    stored = np.zeros((80, 120), bool)
    stored[10:30, 70:110] = True
    (line,) = outlines(np.rot90(stored, turns), Correction(quarter_turns=turns))
    assert line.min(axis=0).tolist() == [70.5, 10.5]
    assert line.max(axis=0).tolist() == [109.5, 29.5]


def test_a_turned_and_inverted_picture_is_shown_as_it_was_analysed(files, engine):
    correction = Correction(quarter_turns=1, inverted=True)
    told = answer(analyse(files["bare"], engine, correction=correction, force=True), Question())
    state = pydicom.dcmread(BytesIO(write_results(told, read_source(files["bare"]))["pr"]))
    assert state.ImageRotation == 270
    assert state.PresentationLUTShape == "INVERSE"


def test_the_grey_scale_of_the_source_is_kept(written):
    assert written["inverse"]["pr"].PresentationLUTShape == "INVERSE"
    assert written["bare"]["pr"].PresentationLUTShape == "IDENTITY"
    window = written["twelve_bits"]["pr"].SoftcopyVOILUTSequence[0]
    assert (window.WindowCenter, window.WindowWidth) == (2048, 4096)
    assert "SoftcopyVOILUTSequence" not in written["bad_window"]["pr"]


def test_there_is_a_contour_level_that_the_eye_can_tell():
    assert list(LEVELS) == sorted(LEVELS)


def test_no_library_warns_with_a_patients_name(files, told, caplog, capsys):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        results(files, told, "patient")
    heard = " ".join([*(str(w.message) for w in said), caplog.text, *capsys.readouterr()])
    assert "Müller" not in heard
    assert not re.search(r"(?<![\d.])4711", heard)  # a random identifier may hold these digits


def test_a_source_survives_the_pipe(files):
    source = read_source(files["patient"])
    back = SourceHeader.from_json(source.to_json(), source.notes)
    assert back.dataset == source.dataset


@pytest.mark.parametrize("three_class", [False, True])
def test_real_samples(engine, samples, three_class):
    for path in sorted(Path(samples).glob("*.dcm")):
        data = path.read_bytes()
        told = answer(analyse(data, engine, force=True), Question("three-class" if three_class else "binary"))
        source = read_source(data)
        for result in map(pydicom.dcmread, map(BytesIO, write_results(told, source).values())):
            assert result.StudyInstanceUID == source.dataset.StudyInstanceUID


def test_codes_that_dicom_s_own_tables_hold_mean_what_they_say_and_the_rest_are_known_or_private():
    """Five of SNOMED CT are not in pydicom's tables; one that is added must be looked up first, and stand here then."""
    looked_up = {"840539006", "53084003", "399208008", "2931005", "385434005"}
    values = [
        v for value in vars(dicom_report).values() for v in (value.values() if isinstance(value, dict) else [value])
    ]
    used = [value for value in values if isinstance(value, CodedConcept)]
    assert {code.scheme_designator for code in used} == {"SCT", "99CXRDETECTOR"}
    held = {(code, meaning) for names in concepts["SCT"].values() for code, (meaning, *_) in names.items()}
    others = [(c.value, c.meaning) for c in used if c.scheme_designator == "SCT" and c.value not in looked_up]
    assert others
    assert set(others) <= held
