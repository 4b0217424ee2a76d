"""What the page keeps of a file, the words about it, and names as harmless text."""

import weakref

import numpy as np
import pytest

from detector.answers.answer import Question
from detector.answers.pipeline import analyse
from detector.answers.stability import measure_stability
from detector.errors import EmptyFileError, NotAChestXrayError, UnexpectedError
from detector.read import sandbox
from detector.read.sandbox import read_radiograph
from detector.schema import Correction
from detector.ui import cases
from detector.ui.cases import Case, Failure
from detector.ui.cases import analysed as _analysed
from detector.ui.greyscale import Greyscale, display_copy, shown
from detector.ui.names import literal, shown_name
from detector.ui.shelf import Shelf
from tests.conftest import encode


def analysed(key, data, engine, options=None):
    return _analysed(key, data, engine, options, shelf=Shelf(), read=lambda: data)


def test_analysed_file_keeps_its_answer_and_lets_its_pixels_go(engine, composite):
    case = analysed("k", composite, engine)
    assert isinstance(case, Case)
    assert case.picture.pixels.shape == (512, 512)
    assert case.analysis.radiograph.pixels.shape == (512, 512)
    assert case.analysis.radiograph.pixels.strides == (0, 0)
    assert case.heatmap(case.answer(Question()).cam).shape == (512, 512)


def test_bad_file_becomes_a_sentence(engine):
    failure = analysed("k", b"", engine)
    assert isinstance(failure, Failure)
    assert failure.told.reason == "The file is empty. Export the image again and upload the new file."
    assert (failure.told.status, failure.told.code) == ("rejected", "empty_file")
    assert not failure.told.can_force


def test_refused_picture_is_kept_to_be_looked_at(engine, composite_pixels):
    upside_down = encode(composite_pixels[::-1])
    failure = analysed("k", upside_down, engine)
    assert isinstance(failure, Failure)
    assert failure.told.can_force
    np.testing.assert_array_equal(shown(failure.picture.pixels, Greyscale()), composite_pixels[::-1])
    assert failure.picture.thumbnail.startswith("data:image/jpeg;base64,")


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
    assert failure.told.code == NotAChestXrayError.code
    assert decoded[0]() is None


def test_file_that_cannot_be_read_has_no_picture(engine):
    failure = analysed("k", b"", engine)
    assert failure.picture is None


def test_unexpected_failure_becomes_a_sentence_without_a_traceback(composite):
    def broken(_):
        raise ZeroDivisionError

    failure = analysed("k", composite, broken)
    assert isinstance(failure, Failure)
    assert (failure.told.status, failure.told.code) == ("error", "unexpected")
    assert failure.told.reason == UnexpectedError.user_message


def test_options_reach_the_pipeline(monkeypatch, engine):
    asked = {}

    def stand_in(*_, **options):
        asked.update(options)
        raise EmptyFileError

    monkeypatch.setattr("detector.ui.cases.analyse", stand_in)
    analysed("k", b"", engine, {"force": True})
    assert asked == {"force": True}


def test_answer_is_made_once_for_each_question(make_case):
    case = make_case()
    assert case.answer(Question("binary")) is case.answer(Question("binary"))
    assert case.answer(Question("binary")) is not case.answer(Question("three-class"))


def test_stability_is_of_the_picture_as_it_was_corrected_and_decoded_in_the_sandbox(
    engine, composite_pixels, monkeypatch
):
    data, decoded = encode(255 - composite_pixels), []
    case = analysed("k", data, engine, {"correction": Correction(inverted=True)})
    monkeypatch.setattr(cases, "read_radiograph", lambda given: decoded.append(given) or sandbox.read_radiograph(given))
    stability = measure_stability(case.with_pixels(data), engine)
    assert decoded == [data]
    assert stability == measure_stability(analyse(data, engine, correction=Correction(inverted=True)), engine)


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
    assert "named like DICOM" in first.answer(Question()).warnings[0]
    assert "named like JPEG" in second.answer(Question()).warnings[0]
    assert first is case.under("b.dcm")
    assert case.answer(Question()).warnings == ()


def test_picture_that_was_let_go_is_decoded_again_as_the_reader_had_it_turned(composite, engine):
    shelf, turned = Shelf(held=1), {"correction": Correction(quarter_turns=2, inverted=True), "force": True}
    case = _analysed("k", composite, engine, turned, shelf=shelf, read=lambda: composite)
    before = case.picture.pixels.copy()
    shelf.put("another", before)
    np.testing.assert_array_equal(case.picture.pixels, before)
    assert case.picture.small.shape == (96, 96)
