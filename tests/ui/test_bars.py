"""What the bar chart holds: the probabilities as they are, and colours that the map does not use."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest

from detector.answers.answer import Verdict
from detector.answers.overlay import AGAINST_COLOUR, FOR_COLOUR
from detector.schema import BINARY, THREE_CLASS, OperatingPoint
from detector.ui.bars import probability_alt, probability_chart
from detector.ui.palette import DARK, LIGHT

POINT = OperatingPoint("balanced", 0.3, 0.9, 0.9, "validation")
BINARY_VERDICT = Verdict(BINARY, {"covid19": 0.9, "not_covid19": 0.1}, "covid19", "covid19", POINT, (0.2, 0.5))
THREE_PROBABILITIES = {"normal": 0.2, "bacterial_pneumonia": 0.3, "covid19": 0.5}
THREE_VERDICT = Verdict(THREE_CLASS, THREE_PROBABILITIES, "covid19", "covid19")


def shapes(figure):
    return {shape.name: shape for shape in figure.layout.shapes}


def test_bars_are_the_probabilities_in_the_task_s_order():
    (bars,) = probability_chart(THREE_VERDICT).data
    assert list(bars.x) == [0.2, 0.3, 0.5]
    assert list(bars.y) == ["Normal", "Bacterial pneumonia", "COVID-19"]


def test_operating_point_is_drawn_in_binary_mode_alone():
    line = shapes(probability_chart(BINARY_VERDICT))["operating point"]
    assert line.x0 == line.x1 == 0.3
    assert not probability_chart(THREE_VERDICT).layout.shapes


def test_threshold_that_a_site_s_set_does_not_ask_for_is_not_drawn():
    by_site = replace(BINARY_VERDICT, prediction_set=("covid19",), band=None)
    assert not probability_chart(by_site).layout.shapes
    assert not [note for note in probability_chart(by_site).layout.annotations if "threshold" in note.text]
    assert "Threshold" not in probability_alt(by_site)


def test_chart_is_as_tall_for_two_bars_as_for_three():
    assert probability_chart(BINARY_VERDICT).layout.height == probability_chart(THREE_VERDICT).layout.height


def test_band_is_drawn_where_it_was_computed():
    band = shapes(probability_chart(BINARY_VERDICT))["band"]
    assert (band.x0, band.x1) == (0.2, 0.5)


def test_three_class_answer_has_no_band():
    assert "band" not in shapes(probability_chart(THREE_VERDICT))


def test_whiskers_reach_from_the_lowest_to_the_highest_probability():
    (bars,) = probability_chart(BINARY_VERDICT, whiskers={"covid19": (0.7, 0.95)}).data
    np.testing.assert_allclose(bars.error_x.array, [0.05, 0])
    np.testing.assert_allclose(bars.error_x.arrayminus, [0.2, 0])


def test_chart_is_told_in_words():
    assert probability_alt(BINARY_VERDICT, {"covid19": (0.7, 0.95)}) == (
        "Bar chart of calibrated probabilities: COVID-19 90 %, Not COVID-19 10 %. "
        "Threshold of COVID-19 at 30 %. "
        "COVID-19 stays between 70 % and 95 % when the picture changes a little."
    )


def hue(red, green, blue):
    return 360 * colorsys.rgb_to_hsv(red, green, blue)[0]


@pytest.mark.parametrize("palette", [DARK, LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("name", ["covid19", "normal", "bacterial_pneumonia"])
def test_no_class_has_a_colour_that_means_for_or_against_on_the_map(palette, name):
    colour = palette.classes[name]
    found = hue(*(int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)))
    for meaning in (FOR_COLOUR, AGAINST_COLOUR):
        apart = abs(found - hue(*map(float, meaning)))
        assert min(apart, 360 - apart) > 40
