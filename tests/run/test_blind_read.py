"""A blind read on the disk: whatever breaks it off, it goes on from what was answered."""

import json
from types import SimpleNamespace

import pytest

from detector.errors import OutputError
from detector.run.blind import FOLDER_VARIABLE, Asked, begin, go_on, readings_folder

ASKED = Asked("binary", "balanced", "0" * 64)
TOLD = SimpleNamespace(verdict=SimpleNamespace(decision="covid19", forced="covid19", probabilities={"covid19": 0.8}))
CASES = [f"{n:064x}" for n in range(20)]


@pytest.fixture
def read(tmp_path):
    return begin(tmp_path, CASES, {CASES[0]: "covid19", "other": "normal"}, ASKED)


def test_order_is_random_and_every_x_ray_comes_once(read, tmp_path):
    assert sorted(read.cases) == CASES
    assert read.cases != begin(tmp_path, CASES, {}, ASKED).cases
    assert read.labels == {CASES[0]: "covid19"}


def test_interrupted_read_goes_on_where_it_was(read, tmp_path):
    for case in read.cases[:7]:
        read.answer_first(case, "covid19", 3, TOLD)
        read.answer_second(case, "not_covid19", 1)
    read.answer_first(read.cases[7], "not_covid19", 2, TOLD)
    again = go_on(tmp_path, read.identifier)
    assert again.cases == read.cases
    assert again.asked == ASKED
    assert again.done == read.done
    assert len(again.done) == 7
    assert again.current == read.cases[7]  # its program's answer has been seen, so it is not asked anew
    assert again.reads[read.cases[7]].first == "not_covid19"
    assert again.reads == read.reads


def test_torn_last_line_costs_that_answer_alone(read, tmp_path):
    read.answer_first(read.cases[0], "covid19", 3, TOLD)
    read.answer_first(read.cases[1], "covid19", 3, TOLD)
    path = tmp_path / f"{read.identifier}.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    again = go_on(tmp_path, read.identifier)
    assert again.reads.keys() == {read.cases[0]}
    again.answer_first(read.cases[1], "not_covid19", 1, TOLD)
    assert go_on(tmp_path, read.identifier).reads[read.cases[1]].first == "not_covid19"


@pytest.mark.parametrize("identifier", ["", "..", "../x", "0" * 15, "g" * 16, "0" * 16])
def test_what_is_no_read_is_none(tmp_path, identifier):
    assert go_on(tmp_path, identifier) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"begin": {}}', '{"begin": {"asked": {"mode": "x"}}}'])
def test_damaged_file_is_none(tmp_path, text):
    (tmp_path / f"{'a' * 16}.jsonl").write_text(text)
    assert go_on(tmp_path, "a" * 16) is None


def test_answer_that_there_is_not_is_passed_over(read, tmp_path):
    read.answer_first(read.cases[0], "covid19", 3, TOLD)
    path = tmp_path / f"{read.identifier}.jsonl"
    line = {"second": {"case": read.cases[0], "second": "<b>", "second_sure": 3}}
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    assert go_on(tmp_path, read.identifier).current == read.cases[0]


def test_file_holds_no_name(read, tmp_path):
    read.answer_first(read.cases[0], "covid19", 3, TOLD)
    assert set(json.loads((tmp_path / f"{read.identifier}.jsonl").read_text().splitlines()[0])["begin"]) == {
        "identifier", "asked", "cases", "labels",
    }  # fmt: skip


def test_without_a_folder_it_is_kept_in_memory():
    read = begin(None, CASES, {}, ASKED)
    read.answer_first(read.cases[0], "covid19", 3, TOLD)
    assert read.reads


def test_folder_that_cannot_be_made_is_an_error_of_the_output(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        begin(tmp_path / "file" / "below", CASES, {}, ASKED)


def test_environment_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert readings_folder() == tmp_path
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert readings_folder().name == "readings"
