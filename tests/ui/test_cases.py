"""What the page keeps of a file, the words about it, and names as harmless text."""

import weakref

import numpy as np
import pytest

from detector import words
from detector.answers.evidence import FAINT_SENTENCE, OUTSIDE_NOTE, OUTSIDE_WARNING
from detector.errors import EmptyFileError, NotAChestXrayError
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.read.sandbox import read_radiograph
from detector.schema import BINARY, THREE_CLASS, Correction
from detector.ui import cases
from detector.ui.cases import Case, Failure, all_warnings, evidence_sentence
from detector.ui.cases import analysed as _analysed
from detector.ui.greyscale import Greyscale, display_copy, shown
from detector.ui.names import literal, shown_name
from detector.ui.shelf import Shelf
from tests.conftest import encode


@pytest.fixture(scope="module")
def card():
    return read_card(MODELS / f"{DEFAULT_MODEL}.json")


def analysed(key, data, engine, options=None):
    return _analysed(key, data, engine, options, shelf=Shelf(), read=lambda: data)


def test_analysed_file_keeps_its_answer_and_lets_its_pixels_go(engine, composite):
    case = analysed("k", composite, engine)
    assert isinstance(case, Case)
    assert case.image.shape == (512, 512)
    assert case.analysis.radiograph.pixels.shape == (512, 512)
    assert case.analysis.radiograph.pixels.strides == (0, 0)
    assert case.heatmap(case.cam(BINARY, "covid19")).shape == (512, 512)


def test_bad_file_becomes_a_sentence(engine):
    failure = analysed("k", b"", engine)
    assert isinstance(failure, Failure)
    assert failure.message == "The file is empty. Export the image again and upload the new file."
    assert failure.code == "empty_file"
    assert failure.refused
    assert not failure.can_force


def test_refused_picture_is_kept_to_be_looked_at(engine, composite_pixels):
    upside_down = encode(composite_pixels[::-1])
    failure = analysed("k", upside_down, engine)
    assert isinstance(failure, Failure)
    assert failure.can_force
    np.testing.assert_array_equal(shown(failure.picture.pixels, Greyscale()), composite_pixels[::-1])
    assert failure.thumbnail.startswith("data:image/jpeg;base64,")


def test_refusal_does_not_hold_the_whole_picture(engine, composite_pixels, monkeypatch):
    decoded = []

    def analyse(data, *_args):
        radiograph = read_radiograph(data)
        decoded.append(weakref.ref(radiograph))
        try:
            int("a cause of its own")
        except ValueError as error:
            raise NotAChestXrayError from error

    monkeypatch.setattr(cases, "analyse", analyse)
    failure = analysed("k", encode(composite_pixels), engine)
    assert isinstance(failure.error, NotAChestXrayError)
    assert decoded[0]() is None


def test_file_that_cannot_be_read_has_no_picture(engine):
    failure = analysed("k", b"", engine)
    assert failure.picture is None
    assert failure.thumbnail is None


def test_unexpected_failure_becomes_a_sentence_without_a_traceback(composite):
    def broken(_):
        raise ZeroDivisionError

    failure = analysed("k", composite, broken)
    assert isinstance(failure, Failure)
    assert failure.message == words.UNEXPECTED
    assert not failure.refused


def test_options_reach_the_pipeline(monkeypatch, engine):
    asked = {}

    def stand_in(*_, **options):
        asked.update(options)
        raise EmptyFileError

    monkeypatch.setattr("detector.ui.cases.analyse", stand_in)
    analysed("k", b"", engine, {"force": True})
    assert asked == {"force": True}


def test_contrast_is_the_difference_of_two_maps(make_case):
    case = make_case([[1, 0], [0, 0]])
    difference = case.cam(THREE_CLASS, "normal", against="covid19")
    np.testing.assert_array_equal(difference, [[4, 0], [0, 0]])


def test_evidence_outside_the_lungs_is_a_warning_of_the_answer(make_case, card):
    case = make_case([[0, 400], [0, 400]], logit=5.0, warnings=("dark",))
    prediction = card.calibration.predict(BINARY, case.analysis.logits["binary"])
    assert all_warnings(case, prediction, card) == ("dark", OUTSIDE_WARNING)


def test_evidence_for_what_was_not_answered_is_no_reason_to_distrust_the_answer(make_case, card):
    case = make_case([[0, 400], [0, 400]], logit=-9.0)
    prediction = card.calibration.predict(BINARY, case.analysis.logits["binary"])
    assert prediction.decision == "not_covid19"
    assert all_warnings(case, prediction, card) == (OUTSIDE_NOTE,)


def test_evidence_inside_the_lungs_is_no_warning(make_case, card):
    case = make_case([[400, 0], [400, 0]], logit=5.0)
    prediction = card.calibration.predict(BINARY, case.analysis.logits["binary"])
    assert all_warnings(case, prediction, card) == ()


def test_map_with_next_to_no_evidence_says_so(make_case):
    case = make_case([[0.1, 0], [0, 0]])
    assert evidence_sentence(case, BINARY, "covid19", full_scale=4) == f"{FAINT_SENTENCE}."


def test_without_lung_fields_nothing_is_claimed(make_case):
    case = make_case(lungs=False)
    assert evidence_sentence(case, BINARY, "covid19", full_scale=4) == words.NOT_MEASURED


@pytest.mark.parametrize(
    ("greyscale", "expected"),
    [
        (Greyscale(), [0, 64, 128, 255]),  # as it came
        (Greyscale(inverted=True), [255, 191, 127, 0]),
        (Greyscale(level=25, window=50), [0, 128, 255, 255]),  # all of the lower half, white above
        (Greyscale(level=100, window=2), [0, 0, 0, 128]),  # at the very end of the range
    ],
)
def test_level_window_and_inversion(greyscale, expected):
    image = display_copy(np.array([[0, 0.25, 0.5, 1]], np.float32))
    np.testing.assert_allclose(shown(image, greyscale)[0], expected, atol=1)


def test_eight_bits_stay_eight_bits():
    image = display_copy(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(shown(image, Greyscale()), image)
    np.testing.assert_array_equal(shown(image, Greyscale(inverted=True)), 255 - image)


def test_narrow_window_shows_what_eight_bits_would_lose():
    image = display_copy(np.linspace(0.5, 0.5 + 1 / 255, 64, dtype=np.float32).reshape(8, 8))
    assert len(np.unique(shown(image, Greyscale(level=50, window=2)))) > 10


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "[x](http://y)", "**b** `c` $d$ :smile:", "a\x00b\u202egnp.exe"]
)
def test_hostile_names_stay_literal(name):
    shown_text = literal(name)
    assert all(character.isprintable() for character in shown_text)
    for mark in "<>[]()*`$:":
        assert shown_text.count(mark) == shown_text.count("\\" + mark)


def test_long_names_are_shortened_and_keep_their_ends():
    name = shown_name("a" * 5000 + ".dcm")
    assert len(name) == 61
    assert name.endswith(".dcm")


def test_same_bytes_under_other_names_are_held_against_each_name(composite, engine):
    case = analysed("k", composite, engine)
    assert case.under("a.png") is case
    first, second = case.under("a.dcm"), case.under("a.jpg")
    assert "named like DICOM" in first.warnings[-1]
    assert "named like JPEG" in second.warnings[-1]
    assert first is case.under("b.dcm")
    assert not case.warnings


def test_picture_that_was_let_go_is_decoded_again_as_the_reader_had_it_turned(composite, engine):
    shelf, turned = Shelf(held=1), {"correction": Correction(quarter_turns=2, inverted=True), "force": True}
    case = _analysed("k", composite, engine, turned, shelf=shelf, read=lambda: composite)
    before = case.image.copy()
    shelf.put("another", before)
    np.testing.assert_array_equal(case.image, before)
    assert case.picture.small.shape == (96, 96)
