"""What the viewer is given: pixels as they are, a layer that is what `blend` paints, lines where they belong."""

import base64
import json
import re
import struct

import cv2
import numpy as np
import pytest

from detector.answers import overlay
from detector.ui.greyscale import Greyscale
from detector.ui.screen import LINES, Look, Screen, evidence_layer, layer_of, lines_of, message, packed, painted
from detector.ui.viewer import greyscale_of, look_of


@pytest.fixture
def image():
    return np.full((60, 40), 128, np.uint8)


@pytest.fixture
def heatmap():
    """Evidence for the class in the upper half, none below, on a coarser grid."""
    coarse = np.zeros((30, 20), np.float32)
    coarse[:15] = 2
    return coarse


def unpacked(data):
    (length,) = struct.unpack_from("<I", data)
    head = json.loads(data[4 : 4 + length])
    pixels = np.frombuffer(data[4 + length :], "<u2" if head["deepest"] > 255 else np.uint8)
    return head, pixels.reshape(head["rows"], head["columns"])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pixels_travel_as_they_are(kind):
    image = np.arange(48, dtype=kind).reshape(6, 8) * (5 if kind is np.uint8 else 1111)
    head, pixels = unpacked(packed("k", image))
    assert (head["key"], head["deepest"]) == ("k", np.iinfo(kind).max)
    np.testing.assert_array_equal(pixels, image)


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


def test_layer_is_a_picture_of_the_map_s_shape(heatmap):
    data = base64.b64decode(layer_of(heatmap, 2).partition(",")[2])
    layer = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert layer.shape == (256, 171, 4)


def test_lines_run_where_the_evidence_ends_and_within_the_picture(heatmap):
    (towards,) = lines_of(heatmap, 2, (600, 400))
    assert towards["towards"]
    points = np.array([tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) ([\d.]+)", towards["path"])])
    assert (points >= 0).all()
    assert (points <= [400, 600]).all()
    assert abs(points[:, 1].max() - 300) < 20  # the lower edge of the evidence
    (against,) = lines_of(-heatmap, 2, (600, 400))
    assert not against["towards"]


def test_painted_lines_leave_most_of_the_picture_alone(image):
    heatmap = np.zeros(image.shape, np.float32)
    heatmap[20:40, 10:30] = 2
    drawn = painted(image, heatmap, 2, Look(style=LINES, opacity=100))
    changed = (drawn != 128).any(axis=-1)
    assert 0.01 < changed.mean() < 0.2
    assert not changed[30, 20]  # the middle of the region


def test_map_that_is_switched_off_is_not_painted(image, heatmap):
    drawn = painted(image, cv2.resize(heatmap, (40, 60)), 2, Look(map=False))
    assert (drawn == 128).all()


def test_message_of_a_file_without_an_answer_has_no_map():
    told = message(Screen(image="a", empty=("", "No answer")), Look(), {})
    assert (told["layer"], told["lines"], told["scale"], told["pixels"]) == (None, None, None, None)
    json.dumps(told)


TOLD = {
    "image": "a",
    "level": 40,
    "window": 20,
    "inverted": True,
    "map": False,
    "style": "lines",
    "opacity": 30,
    "keys": False,
}


def test_what_the_browser_tells_is_kept():
    assert look_of(TOLD, Look()) == Look(map=False, style="lines", opacity=30, keys=False)
    assert greyscale_of(TOLD) == Greyscale(40, 20, inverted=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        TOLD | {"style": "loud"},
        TOLD | {"opacity": 300},
        TOLD | {"level": "x"},
        {"image": "a"},
        TOLD | {"window": None},
    ],
)
def test_what_can_not_be_is_not_kept(wrong):
    assert look_of(wrong, Look()) is None


def test_window_is_kept_within_what_can_be_shown():
    assert greyscale_of(TOLD | {"level": 1e9, "window": -5}) == Greyscale(100, 1, inverted=True)
    assert greyscale_of(TOLD | {"level": float("nan")}) == Greyscale()
