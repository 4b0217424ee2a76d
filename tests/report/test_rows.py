"""Rows of the contract, CSV that no spreadsheet runs, a table for a reader."""

import csv
import io
import json

import pytest

from detector.answers.evidence import OUTSIDE_WARNING
from detector.answers.pipeline import analyse
from detector.errors import EmptyFileError, NonFiniteError
from detector.report.rows import analysed_row, csv_line, failed_row, table_line
from detector.schema import BINARY, NOTICE, THREE_CLASS, ZONES, EvidenceSummary, ModelInfo

MODEL = ModelInfo("detector", "ab" * 32, "1")
FIELDS = [
    "path",
    "status",
    "reason",
    "code",
    "mode",
    "probabilities",
    "decision",
    "operating_point",
    "warnings",
    "saliency",
    "input",
    "model",
    "versions",
    "analysed_at",
    "notice",
]


@pytest.fixture
def analysed(engine, composite):
    analysis = analyse(composite, engine)
    return analysis, engine.card.calibration


def test_row_of_an_analysed_image_has_the_fields_of_the_contract_in_order(analysed):
    analysis, calibration = analysed
    row = analysed_row("a.png", analysis, calibration.predict(BINARY, analysis.logits["binary"]))
    assert list(row) == FIELDS
    assert row["status"] == "ok"
    assert row["saliency"] is None
    assert set(row["input"]) == {"sha256", "pixel_sha256", "format", "rows", "columns"}
    assert set(row["model"]) == {"name", "sha256", "version"}
    assert row["operating_point"]["name"] == "balanced"
    assert row["notice"] == NOTICE
    assert json.loads(json.dumps(row)) == row


def test_three_class_probabilities_sum_to_one_and_have_no_operating_point(analysed):
    analysis, calibration = analysed
    row = analysed_row("a.png", analysis, calibration.predict(THREE_CLASS, analysis.logits["three_class"]))
    assert list(row["probabilities"]) == ["normal", "bacterial_pneumonia", "covid19"]
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-12)
    assert row["operating_point"] is None


def summary_of(inside):
    zones = dict.fromkeys(ZONES, 0.0) | {"right lower zone": inside}
    return EvidenceSummary(inside, 0.3, 0.3, inside / 0.3, peak_in_lung=True, zones=zones, faint=False)


def explained(analysed, inside):
    analysis, calibration = analysed
    prediction = calibration.predict(BINARY, analysis.logits["binary"])
    return analysed_row(
        "a.png", analysis, prediction, explained=True, summary=summary_of(inside), overlay="out/a.overlay.png"
    )


def test_saliency_names_the_share_of_the_lungs(analysed):
    row = explained(analysed, 0.75)
    assert row["saliency"] == {
        "target_class": "covid19",
        "in_lung_fraction": 0.75,
        "lung_area_fraction": 0.3,
        "peak_in_lung": True,
        "zones": summary_of(0.75).zones,
        "sentence": "75 % of the evidence lies in the lungs (30 % of the picture), mostly right lower zone",
        "overlay": "out/a.overlay.png",
    }
    assert OUTSIDE_WARNING not in row["warnings"]
    assert json.loads(json.dumps(row)) == row


def test_evidence_outside_the_lungs_is_a_warning_of_the_row_and_of_the_table(analysed):
    row = explained(analysed, 0.25)
    assert row["warnings"][-1] == OUTSIDE_WARNING
    assert f"warning: {OUTSIDE_WARNING}" in table_line(row)
    assert OUTSIDE_WARNING in csv_line(row)


@pytest.mark.parametrize(("error", "status"), [(EmptyFileError("x"), "rejected"), (NonFiniteError("x"), "error")])
def test_row_of_an_image_without_an_answer_never_holds_a_label(error, status):
    row = failed_row("a.png", error, mode="binary", model=MODEL, sha256=None)
    assert list(row) == FIELDS
    assert (row["status"], row["code"], row["reason"]) == (status, error.code, error.user_message)
    assert row["decision"] is None
    assert row["probabilities"] is None


@pytest.mark.parametrize("name", ["=cmd()", "+1", "-1", "@x", "\tx"])
def test_csv_neutralises_what_a_spreadsheet_would_run(name):
    row = failed_row(name, EmptyFileError("x"), mode="binary", model=MODEL, sha256=None)
    (read,) = csv.DictReader(io.StringIO(csv_line(row, header=True)))
    assert read["path"] == f"'{name}"


def test_csv_columns_are_the_same_whatever_the_status(analysed):
    analysis, calibration = analysed
    good = analysed_row("a.png", analysis, calibration.predict(BINARY, analysis.logits["binary"]))
    bad = failed_row("b.png", EmptyFileError("x"), mode="binary", model=MODEL, sha256=None)
    headers = [csv_line(row, header=True).splitlines()[0] for row in (good, bad)]
    assert headers[0] == headers[1]


def test_table_shows_decision_probabilities_and_warnings(analysed):
    analysis, calibration = analysed
    row = analysed_row("a.png", analysis, calibration.predict(THREE_CLASS, analysis.logits["three_class"]))
    line = table_line({**row, "warnings": ["something is odd."]})
    assert "covid19" in line
    assert "warning: something is odd." in line


def test_table_keeps_a_hostile_name_on_one_line():
    row = failed_row("a\n\x1b[2Jb", EmptyFileError("x"), mode="binary", model=MODEL, sha256=None)
    assert len(table_line(row).splitlines()) == 2  # status and name; reason
    assert "\x1b" not in table_line(row)
