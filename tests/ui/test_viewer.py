"""What the charts hold: the probabilities as they are, two pictures of one size on linked axes."""

import base64

import cv2
import numpy as np
import pytest

from detector.answers import overlay
from detector.answers.answer import Verdict
from detector.schema import BINARY, THREE_CLASS, OperatingPoint
from detector.ui.bars import probability_alt, probability_chart
from detector.ui.viewer import LINES, MapLook, View, comparison_figure, evidence_layer, painted
from detector.ui.zoom import parsed

POINT = OperatingPoint("balanced", 0.3, 0.9, 0.9, "validation")
BINARY_VERDICT = Verdict(BINARY, {"covid19": 0.9, "not_covid19": 0.1}, "covid19", "covid19", POINT, (0.2, 0.5))
THREE_PROBABILITIES = {"normal": 0.2, "bacterial_pneumonia": 0.3, "covid19": 0.5}
THREE_VERDICT = Verdict(THREE_CLASS, THREE_PROBABILITIES, "covid19", "covid19")
LOOK = MapLook("Evidence for COVID-19", full_scale=2, opacity=1)


def decoded(trace, flag=cv2.IMREAD_COLOR):
    data = base64.b64decode(trace.source.partition(",")[2])
    return cv2.imdecode(np.frombuffer(data, np.uint8), flag)


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
        "Bar chart of calibrated probabilities: COVID-19 90.0%, Not COVID-19 10.0%. "
        "Operating point of COVID-19 at 30.0%. "
        "COVID-19 stays between 70.0% and 95.0% when the picture changes a little."
    )


@pytest.fixture
def image():
    return np.full((60, 40), 128, np.uint8)


@pytest.fixture
def heatmap():
    """Evidence for the class in the upper half, none below, on a coarser grid."""
    coarse = np.zeros((30, 20), np.float32)
    coarse[:15] = 2
    return coarse


def test_both_panels_have_the_x_ray_and_linked_axes(image, heatmap):
    figure = comparison_figure(image, heatmap, LOOK)
    left, right = (decoded(trace) for trace in figure.data[:2])
    assert left.shape == right.shape == (60, 40, 3)
    np.testing.assert_array_equal(left, right)
    assert figure.layout.xaxis2.matches == "x"
    assert figure.layout.yaxis2.matches == "y"
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range


def test_coarse_map_covers_the_whole_picture(image, heatmap):
    layer = comparison_figure(image, heatmap, LOOK).data[2]
    rows, columns = decoded(layer, cv2.IMREAD_UNCHANGED).shape[:2]
    assert (layer.x0 - layer.dx / 2, layer.x0 + (columns - 0.5) * layer.dx) == (-0.5, 39.5)
    assert (layer.y0 - layer.dy / 2, layer.y0 + (rows - 0.5) * layer.dy) == (-0.5, 59.5)


def test_layer_over_the_picture_is_what_blend_paints(image):
    heatmap = np.linspace(-3, 3, image.size, dtype=np.float32).reshape(image.shape)
    layer = evidence_layer(heatmap, full_scale=2).astype(float)
    alpha = 0.6 * layer[..., 3:] / 255
    laid_over = image[..., np.newaxis] * (1 - alpha) + layer[..., :3] * alpha
    expected = overlay.blend(image, heatmap, full_scale=2, opacity=0.6)[..., ::-1]
    assert np.abs(laid_over - expected).max() <= 1.5


def test_map_is_clear_where_there_is_no_evidence(heatmap):
    layer = evidence_layer(heatmap, full_scale=2)
    assert (layer[20:, :, 3] == 0).all()
    assert (layer[:10, :, 3] == 255).all()


def test_lines_are_drawn_at_quarters_of_full_colour(image, heatmap):
    figure = comparison_figure(image, heatmap, MapLook("t", full_scale=2, style=LINES, opacity=0.5))
    towards, against = figure.data[2:4]
    assert (towards.contours.start, towards.contours.size, towards.contours.end) == (0.5, 0.5, 1.5)
    np.testing.assert_array_equal(towards.z, heatmap)
    np.testing.assert_array_equal(against.z, -heatmap)


def test_all_of_the_picture_is_shown_until_the_reader_zooms(image, heatmap):
    layout = comparison_figure(image, heatmap, LOOK).layout
    assert layout.xaxis.range == layout.xaxis2.range == (-0.5, 39.5)
    assert layout.yaxis.range == layout.yaxis2.range == (59.5, -0.5)


def test_zoomed_part_is_shown_on_both_panels(image, heatmap):
    layout = comparison_figure(image, heatmap, LOOK, view=View((3, 20), (30, 4))).layout
    assert layout.xaxis.range == layout.xaxis2.range == (3, 20)
    assert layout.yaxis.range == layout.yaxis2.range == (30, 4)


def test_zoom_belongs_to_one_image():
    told = {"image": "a", "across": [3, 20.5], "down": [30, 4]}
    assert parsed(told, "a") == View((3, 20.5), (30, 4))
    assert parsed(told, "b") is None


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        "far",
        {"image": "a", "across": [3], "down": [30, 4]},
        {"image": "a", "across": ["x", "y"], "down": [30, 4]},
        {"image": "a", "across": [20, 3], "down": [30, 4]},
        {"image": "a", "across": [3, 20], "down": [4, 4]},
        {"image": "a", "across": [3, float("nan")], "down": [30, 4]},
    ],
)
def test_what_is_no_zoom_shows_all(told):
    assert parsed(told, "a") is None


def test_colour_bar_is_in_logit_units_and_symmetric(image, heatmap):
    figure = comparison_figure(image, heatmap, LOOK)
    marker = figure.data[-1].marker
    assert (marker.cmin, marker.cmax) == (-2, 2)
    assert any("logit" in annotation.text for annotation in figure.layout.annotations)


def test_painted_lines_leave_most_of_the_picture_alone(image):
    heatmap = np.zeros(image.shape, np.float32)
    heatmap[20:40, 10:30] = 2
    drawn = painted(image, heatmap, MapLook("t", full_scale=2, style=LINES, opacity=1))
    changed = (drawn != 128).any(axis=-1)
    assert 0.01 < changed.mean() < 0.2
    assert not changed[30, 20]  # the middle of the region
