"""The worklist's lines: what comes first, what comes next, what is said of a file."""

import pytest

from detector import words
from detector.answers.answer import NoAnswer, Question
from detector.errors import EmptyFileError
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.ui.cases import Failure
from detector.ui.sources import Source
from detector.ui.worklist import ARRIVAL, URGENCY, _table, decision_label, entries_of, in_order, neighbours

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


def identifiers(entries):
    return [entry.source.identifier for entry in entries]


def test_order_of_arrival_is_kept(entries):
    assert identifiers(in_order(entries, ARRIVAL)) == identifiers(entries)


def test_what_needs_eyes_comes_first(entries):
    assert identifiers(in_order(entries, URGENCY)) == [
        "sure", "likely", "unsure", "refused", "doubtful", "clear", "waiting",
    ]  # fmt: skip


def test_neighbours_follow_the_order_that_is_shown(entries):
    assert neighbours(entries, "likely", ARRIVAL) == ("unsure", 4, "doubtful")
    assert neighbours(entries, "likely", URGENCY) == ("sure", 2, "unsure")
    assert neighbours(entries, "sure", URGENCY)[0] is None
    assert neighbours(entries, "waiting", URGENCY)[2] is None


def test_every_file_has_a_line_that_says_how_it_stands(entries):
    assert [decision_label(entry) for entry in entries] == [
        "Not COVID-19", "Refused", "Indeterminate", "COVID-19", "Not COVID-19", "Waiting", "COVID-19",
    ]  # fmt: skip


def test_table_holds_reasons_and_warnings(entries):
    table = _table(entries)
    assert table[words.COLUMN_WARNINGS][1] == EmptyFileError.user_message
    assert table[words.COLUMN_WARNINGS][4] == "dark"
    assert table[words.COLUMN_PROBABILITY][5] is None
    assert table[words.COLUMN_PROBABILITY][6] > 99
    assert table[words.COLUMN_IMAGE][0].startswith("data:image/jpeg")


def test_same_file_twice_is_recognised(make_case):
    case = make_case(INSIDE, logit=5.0)
    sources = [Source(name, name, bytes) for name in ("a", "b")]
    first, second = entries_of(sources, Answered({"a": case, "b": case}), QUESTION)
    assert (first.twin, second.twin) == (None, 1)
    assert _table([first, second])[words.COLUMN_WARNINGS] == ["", "The same picture as number 1."]


def test_cancelled_file_says_so():
    (entry,) = entries_of([Source("a", "a", bytes)], Answered({}, left_out=("a",)), QUESTION)
    assert decision_label(entry) == "Not analysed"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (0.2, ", about 1 s left"), (75, ", about 75 s left"), (200, ", about 3 min left")],
)
def test_time_left_in_words(seconds, said):
    assert words.time_left(seconds) == said
