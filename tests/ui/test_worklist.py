"""The worklist's lines: what comes first, what comes next, what is said of a file."""

import pytest

from detector import words
from detector.answers.answer import NoAnswer, Question
from detector.errors import EmptyFileError
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.ui.cases import Failure
from detector.ui.palette import DARK
from detector.ui.sources import Source
from detector.ui.worklist import decision_label, entries_of, kind_of, notes_of, row_of

QUESTION = Question()
INSIDE = ((400, 0), (400, 0))  # evidence in the lungs: no warning


class Answered:
    """Stands in for the analyst."""

    def __init__(self, answers, left_out=()):
        self.answers, self.left_out = answers, left_out

    def key(self, identifier):
        answer = self.answers.get(identifier)
        return answer.key if answer else None

    def result(self, identifier):
        return self.answers.get(identifier)

    def is_left_out(self, identifier):
        return identifier in self.left_out


@pytest.fixture(scope="module")
def card():
    return read_card(MODELS / f"{DEFAULT_MODEL}.json")


@pytest.fixture
def entries(make_case, card):
    """Clear, refused, indeterminate, likely, doubtful, waiting, very likely: in that order of arrival."""
    threshold = card.calibration.operating_points["balanced"].threshold
    middle = __import__("math").log(threshold / (1 - threshold)) * card.calibration.temperatures["binary"]
    error = EmptyFileError("x")
    answers = {
        "clear": make_case(INSIDE, logit=-20.0, key="a"),
        "refused": Failure("b", NoAnswer.of(error)),
        "unsure": make_case(INSIDE, logit=middle, key="c"),
        "likely": make_case(INSIDE, logit=5.0, key="d"),
        "doubtful": make_case(INSIDE, logit=-20.0, warnings=("dark",), key="e"),
        "sure": make_case(INSIDE, logit=9.0, key="f"),
    }
    names = ["clear", "refused", "unsure", "likely", "doubtful", "waiting", "sure"]
    sources = [Source(name, f"{name}.png", bytes) for name in names]
    return entries_of(sources, Answered(answers), QUESTION)


def rows(entries):
    return {row["id"]: row for row in (row_of(entry, DARK) for entry in entries)}


def test_lines_stand_in_order_of_arrival(entries):
    assert [row["number"] for row in rows(entries).values()] == [1, 2, 3, 4, 5, 6, 7]


def test_what_needs_eyes_comes_first(entries):
    ordered = sorted(rows(entries).values(), key=lambda row: (row["urgency"], -row["finding"], row["number"]))
    assert [row["id"] for row in ordered] == ["sure", "likely", "unsure", "refused", "doubtful", "clear", "waiting"]


def test_every_file_has_a_line_that_says_how_it_stands_with_its_own_probability(entries):
    said = [decision_label(entry) for entry in entries]
    assert said[:3] == ["Not COVID-19 > 99 %", "Rejected", "Can't tell · COVID-19 " + said[2].split("19 ")[1]]
    assert said[4:] == ["Not COVID-19 > 99 %", "Waiting", "COVID-19 > 99 %"]


def test_totals_count_what_lines_are(entries):
    kinds = [kind_of(entry) for entry in entries]
    assert kinds == ["not_covid19", "rejected", "indeterminate", "covid19", "not_covid19", "waiting", "covid19"]
    assert set(kinds) <= set(words.KINDS)


def test_lines_hold_reasons_and_warnings(entries):
    found = rows(entries)
    assert found["refused"]["notes"] == [EmptyFileError.user_message]
    assert (found["doubtful"]["notes"], found["doubtful"]["warnings"]) == (["dark"], 1)
    assert found["waiting"]["covid19"] is None
    assert found["sure"]["covid19"] > 0.99
    assert found["sure"]["tone"] == DARK.classes["covid19"]


def test_same_file_twice_is_recognised(make_case):
    case = make_case(INSIDE, logit=5.0)
    sources = [Source(name, name, bytes) for name in ("a", "b")]
    first, second = entries_of(sources, Answered({"a": case, "b": case}), QUESTION)
    assert (first.twin, second.twin) == (None, 1)
    assert notes_of(first) == []
    assert notes_of(second) == ["The same picture as number 1."]


def test_cancelled_file_says_so():
    (entry,) = entries_of([Source("a", "a", bytes)], Answered({}, left_out=("a",)), QUESTION)
    assert decision_label(entry) == "Not analysed"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (0.2, ", about 1 s left"), (75, ", about 75 s left"), (200, ", about 3 min left")],
)
def test_time_left_in_words(seconds, said):
    assert words.time_left(seconds) == said
