"""Rows of the contract, CSV that no spreadsheet runs, a table for a reader."""

import csv
import io
import json
from dataclasses import replace

import pytest

from detector import words
from detector.answers.answer import NoAnswer, Question, answer
from detector.answers.evidence import sentence
from detector.answers.pipeline import analyse
from detector.errors import EmptyFileError, NonFiniteError
from detector.report.rows import answer_row, csv_line, no_answer_row, read_row, table_line
from detector.schema import NOTICE, ZONES, EvidenceSummary, ModelInfo

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
    "prediction_set",
    "model",
    "site",
    "versions",
    "analysed_at",
    "notice",
]


def no_answer(path, error=None):
    told = NoAnswer.of(error or EmptyFileError("x"))
    return no_answer_row(path, told, mode="binary", model=MODEL, sha256=None)


@pytest.fixture
def told(engine, composite):
    """What is told of the composite, by mode."""
    analysis = analyse(composite, engine)
    return {mode: answer(analysis, Question(mode)) for mode in ("binary", "three-class")}


def test_row_of_an_analysed_image_has_the_fields_of_the_contract_in_order(told):
    row = answer_row("a.png", told["binary"])
    assert list(row) == FIELDS
    assert row["status"] == "ok"
    assert row["saliency"] is None
    assert set(row["input"]) == {"sha256", "pixel_sha256", "format", "rows", "columns"}
    assert set(row["model"]) == {"name", "sha256", "version"}
    assert row["operating_point"]["name"] == "balanced"
    assert row["notice"] == NOTICE
    assert json.loads(json.dumps(row)) == row


def test_three_class_probabilities_sum_to_one_and_have_no_operating_point(told):
    row = answer_row("a.png", told["three-class"])
    assert list(row["probabilities"]) == ["normal", "bacterial_pneumonia", "covid19"]
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-12)
    assert row["operating_point"] is None


def summary_of(inside):
    zones = dict.fromkeys(ZONES, 0.0) | {"right lower zone": inside}
    return EvidenceSummary(inside, 0.3, 0.3, inside / 0.3, peak_in_lung=True, zones=zones, faint=False)


def explained(told, inside):
    given = summary_of(inside)
    summarised = replace(told["binary"])
    vars(summarised).update(evidence=given, evidence_sentence=sentence(given, "covid19"))
    return answer_row("a.png", summarised, explained=True, overlay="out/a.overlay.png")


def test_saliency_names_the_share_of_the_lungs(told):
    row = explained(told, 0.75)
    assert row["saliency"] == {
        "target_class": "covid19",
        "in_lung_fraction": 0.75,
        "lung_area_fraction": 0.3,
        "peak_in_lung": True,
        "zones": summary_of(0.75).zones,
        "sentence": (
            "Mostly for COVID-19: right lower zone. 75 % of that evidence lies in the lungs (30 % of the picture)."
        ),
        "overlay": "out/a.overlay.png",
    }
    assert json.loads(json.dumps(row)) == row


@pytest.mark.parametrize("explained", [False, True])
def test_warnings_of_the_answer_stand_in_the_row_and_in_the_table(told, explained):
    row = answer_row("a.png", replace(told["binary"], warnings=(words.OUTSIDE_WARNING,)), explained=explained)
    assert row["warnings"] == [words.OUTSIDE_WARNING]
    assert f"warning: {words.OUTSIDE_WARNING}" in table_line(row)
    assert words.OUTSIDE_WARNING in csv_line(row)


@pytest.mark.parametrize(("error", "status"), [(EmptyFileError("x"), "rejected"), (NonFiniteError("x"), "error")])
def test_row_of_an_image_without_an_answer_never_holds_a_label(error, status):
    row = no_answer("a.png", error)
    assert list(row) == FIELDS
    assert (row["status"], row["code"], row["reason"]) == (status, error.code, error.user_message)
    assert row["decision"] is None
    assert row["probabilities"] is None


@pytest.mark.parametrize("name", ["=cmd()", "+1", "-1", "@x"])
def test_csv_neutralises_what_a_spreadsheet_would_run(name):
    row = no_answer(name)
    (read,) = csv.DictReader(io.StringIO(csv_line(row, header=True)))
    assert read["path"] == f"'{name}"


def test_csv_drives_no_terminal_and_starts_no_formula_with_a_tab():
    text = csv_line(no_answer("\t=a\x1b[2J\u202eb\nc.png"))
    assert text.startswith("'\\t=a\\x1b[2J\\u202eb\\nc.png,rejected,")
    assert text[:-1].isprintable()


def test_row_is_read_as_it_was_written(told):
    for row in (answer_row("a", told["binary"], explained=True), answer_row("b", told["three-class"]), no_answer("c")):
        assert read_row(json.dumps(row).encode()) == row


def edits():
    """Names and what is done to the row of an answer."""

    def edit(*keys, value):
        def apply(row):
            for key in keys[:-1]:
                row = row[key]
            row[keys[-1]] = value

        return apply

    yield "a field is gone", lambda row: row.pop("warnings")
    yield "a field too many", edit("note", value="mine")
    yield "no path", edit("path", value=None)
    yield "another status", edit("status", value="fine")
    yield "another mode", edit("mode", value="four-class")
    yield "a probability as text", edit("probabilities", "covid19", value="0.9")
    yield "a probability that is true", edit("probabilities", "covid19", value=True)
    yield "a class too few", lambda row: row["probabilities"].pop("covid19")
    yield "no probabilities", edit("probabilities", value=None)
    yield "a decision of another task", edit("decision", value="normal")
    yield "warnings as text", edit("warnings", value="none")
    yield "an overlay that is a number", edit("saliency", "overlay", value=3)
    yield "saliency as a list", edit("saliency", value=["covid19"])
    yield "an input without a hash", lambda row: row["input"].pop("sha256")
    yield "a model that is a name", edit("model", value="detector")
    yield "no number", edit("probabilities", "covid19", value=float("nan"))


@pytest.mark.parametrize("edit", [pytest.param(edit, id=name) for name, edit in edits()])
def test_edited_row_is_refused_where_it_is_read(told, edit):
    row = answer_row("a", told["binary"], explained=True)
    edit(row)
    with pytest.raises(ValueError, match=r"."):
        read_row(json.dumps(row).encode())


@pytest.mark.parametrize("line", [b"", b"3", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"path": "a"'])
def test_what_is_no_row_is_refused(line):
    with pytest.raises(ValueError, match=r"."):
        read_row(line)


def test_row_without_an_answer_must_say_why():
    with pytest.raises(ValueError, match="why"):
        read_row(json.dumps(no_answer("a") | {"code": None}).encode())


def test_csv_columns_are_the_same_whatever_the_status(told):
    good = answer_row("a.png", told["binary"])
    bad = no_answer("b.png")
    headers = [csv_line(row, header=True).splitlines()[0] for row in (good, bad)]
    assert headers[0] == headers[1]


def test_table_shows_decision_probabilities_and_warnings(told):
    row = answer_row("a.png", told["three-class"])
    line = table_line({**row, "warnings": ["something is odd."]})
    assert "covid19" in line
    assert "warning: something is odd." in line


def test_table_keeps_a_hostile_name_on_one_line():
    row = no_answer("a\n\x1b[2Jb")
    assert len(table_line(row).splitlines()) == 2  # status and name; reason
    assert "\x1b" not in table_line(row)
