"""What the charts hold: the probabilities as they are, two pictures of one size on linked axes."""

import base64

import cv2
import numpy as np
import pytest

from detector.schema import BINARY, THREE_CLASS, OperatingPoint, Prediction
from detector.ui.figures import comparison_figure, probability_alt, probability_chart

POINT = OperatingPoint("balanced", 0.3, 0.9, 0.9, "validation")
BINARY_PREDICTION = Prediction(BINARY, {"covid19": 0.9, "not_covid19": 0.1}, "covid19", POINT)
THREE_PREDICTION = Prediction(THREE_CLASS, {"normal": 0.2, "bacterial_pneumonia": 0.3, "covid19": 0.5}, "covid19")


def decoded(trace):
    data = base64.b64decode(trace.source.partition(",")[2])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_bars_are_the_probabilities_in_the_task_s_order():
    (bars,) = probability_chart(THREE_PREDICTION).data
    assert list(bars.x) == [0.2, 0.3, 0.5]
    assert list(bars.y) == ["Normal", "Bacterial pneumonia", "COVID-19"]


def test_operating_point_is_drawn_in_binary_mode_alone():
    (line,) = probability_chart(BINARY_PREDICTION).layout.shapes
    assert line.x0 == line.x1 == 0.3
    assert not probability_chart(THREE_PREDICTION).layout.shapes


def test_chart_is_told_in_words():
    assert probability_alt(BINARY_PREDICTION) == (
        "Bar chart of calibrated probabilities: COVID-19 90.0%, Not COVID-19 10.0%."
    )


@pytest.fixture
def figure():
    image = np.full((60, 40), 128, np.uint8)
    heatmap = np.zeros((60, 40), np.float32)
    heatmap[:30] = 2
    return comparison_figure(image, heatmap, target_class="covid19", full_scale=2, opacity=1)


def test_both_pictures_have_one_size_and_linked_axes(figure):
    left, right = (decoded(trace) for trace in figure.data[:2])
    assert left.shape == right.shape == (60, 40, 3)
    assert figure.layout.xaxis2.matches == "x"
    assert figure.layout.yaxis2.matches == "y"
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range


def test_left_picture_is_untouched_and_the_right_one_coloured_where_evidence_is(figure):
    left, right = (decoded(trace).astype(int) for trace in figure.data[:2])
    assert np.abs(left - 128).max() <= 2
    assert np.ptp(right[10, 20]) > 80  # orange
    assert np.ptp(right[50, 20]) < 10  # no evidence: grey as before


def test_colour_bar_is_in_logit_units_and_symmetric(figure):
    assert (figure.data[2].marker.cmin, figure.data[2].marker.cmax) == (-2, 2)
    assert "logit" in figure.data[2].marker.colorbar.title.text
