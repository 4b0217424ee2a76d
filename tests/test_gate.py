import numpy as np
import pytest

from detector.errors import NoContrastError, NotAChestXrayError
from detector.gate import check_image
from detector.image_io import read_radiograph
from detector.schema import Radiograph
from tests.conftest import make_dicom


def radiograph(pixels):
    return Radiograph(np.asarray(pixels, np.float32), "PNG", "", "")


def ramp(rows=300, columns=300):
    return np.tile(np.linspace(0.1, 0.9, columns), (rows, 1))


def halves(contrast):
    pixels = np.full((300, 300), 0.4)
    pixels[:150] += contrast
    return pixels


def test_usual_picture_needs_no_warning():
    assert check_image(radiograph(ramp())) == ()


@pytest.mark.parametrize("contrast", [0.0, 0.019], ids=["none", "just-under"])
def test_least_contrast_is_refused_below(contrast):
    with pytest.raises(NoContrastError):
        check_image(radiograph(halves(contrast)))


@pytest.mark.parametrize(
    ("contrast", "warns"), [(0.021, True), (0.119, True), (0.121, False)], ids=["least", "just-under", "just-over"]
)
def test_low_contrast_is_said(contrast, warns):
    assert check_image(radiograph(halves(contrast))) == (("The picture has very little contrast.",) if warns else ())


def test_a_few_bright_pixels_are_no_contrast():
    pixels = np.full((300, 300), 0.4)
    pixels[:17, :100] = 1  # 1.9 % of the picture
    with pytest.raises(NoContrastError):
        check_image(radiograph(pixels))


@pytest.mark.parametrize(("level", "word"), [(0.0, "black"), (1.0, "white")], ids=["black", "white"])
@pytest.mark.parametrize(("rows", "warns"), [(150, False), (151, True)], ids=["exactly-half", "one-row-more"])
def test_more_than_half_at_one_end_is_said(level, word, rows, warns):
    pixels = ramp()
    pixels[:rows] = level
    warnings = check_image(radiograph(pixels))
    assert len(warnings) == int(warns)
    assert all(word in warning for warning in warnings)


@pytest.mark.parametrize("level", [0.0039, 0.9961], ids=["one-step-above-black", "one-step-below-white"])
def test_one_grey_level_from_the_end_counts_as_the_end(level):
    pixels = ramp()
    pixels[:200] = level
    assert len(check_image(radiograph(pixels))) == 1


@pytest.mark.parametrize(
    ("shape", "warns"),
    [((240, 384), False), ((240, 385), True), ((384, 240), False), ((385, 240), True)],
    ids=["wide-1.6", "wider", "tall-1.6", "taller"],
)
def test_long_picture_is_said(shape, warns):
    warnings = check_image(radiograph(ramp(*shape)))
    assert len(warnings) == int(warns)
    assert all("unusually long" in warning for warning in warnings)


@pytest.mark.parametrize(("side", "warns"), [(224, False), (223, True)], ids=["training-size", "one-less"])
def test_small_picture_is_said(side, warns):
    warnings = check_image(radiograph(ramp(side, 260)))
    assert len(warnings) == int(warns)
    assert all("smaller" in warning for warning in warnings)


def test_large_picture_is_sampled_to_the_same_answer():
    assert check_image(radiograph(ramp(1100, 1300))) == ()


def test_several_findings_are_all_said():
    pixels = np.zeros((100, 200))
    pixels[:, :20] = 0.1
    assert len(check_image(radiograph(pixels))) == 4  # contrast, black, long, small


def test_input_is_left_as_it_was():
    image = radiograph(ramp())
    before = image.pixels.copy()
    check_image(image)
    np.testing.assert_array_equal(image.pixels, before)


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL"])
def test_side_view_by_its_own_header_is_refused(composite_pixels, view):
    radiograph = read_radiograph(make_dicom(composite_pixels, ViewPosition=view))
    with pytest.raises(NotAChestXrayError, match=view):
        check_image(radiograph)
