import numpy as np
import pytest

from detector.evidence import lung_share
from detector.schema import Geometry

WHOLE = Geometry(rows=40, columns=40, top=0, left=0, height=40, width=40, size=4)
LEFT = np.array([[True, True, False, False]] * 4)


@pytest.mark.parametrize(
    ("cam", "expected"),
    [
        pytest.param([[1, 1, 0, 0]] * 4, 1.0, id="all-in-the-lung"),
        pytest.param([[0, 0, 1, 1]] * 4, 0.0, id="none-in-the-lung"),
        pytest.param([[2, 1, 1, 0]] * 4, 0.75, id="three-quarters"),
        pytest.param([[1, -9, 1, -9]] * 4, 0.5, id="evidence-against-does-not-count"),
        pytest.param([[-1, -1, -1, -1]] * 4, None, id="only-evidence-against"),
        pytest.param([[0, 0, 0, 0]] * 4, None, id="no-evidence"),
    ],
)
def test_share_of_the_positive_evidence(cam, expected):
    share = lung_share(np.array(cam, np.float32), LEFT, WHOLE)
    assert share.in_lung_fraction == (None if expected is None else pytest.approx(expected))


def test_constant_cam_on_a_coarser_grid_gives_the_lungs_share():
    share = lung_share(np.ones((2, 2), np.float32), LEFT, WHOLE)
    assert share.in_lung_fraction == pytest.approx(share.lung_area_fraction)


def test_lung_area_is_of_the_image_not_of_the_box():
    half_box = Geometry(rows=40, columns=40, top=10, left=0, height=20, width=40, size=4)
    assert lung_share(np.ones((4, 4), np.float32), LEFT, half_box).lung_area_fraction == pytest.approx(0.25)


def test_no_lung_found_takes_no_evidence():
    share = lung_share(np.ones((4, 4), np.float32), np.zeros((4, 4), bool), WHOLE)
    assert (share.in_lung_fraction, share.lung_area_fraction) == (0, 0)


def test_field_on_another_grid_is_named():
    with pytest.raises(ValueError, match=r"must be \(4, 4\)\. Received \(5, 4\)"):
        lung_share(np.ones((4, 4), np.float32), np.zeros((5, 4), bool), WHOLE)


def test_inputs_are_left_as_they_were():
    cam, field = np.array([[-1, 1]], np.float32), LEFT.copy()
    lung_share(cam, field, WHOLE)
    np.testing.assert_array_equal(cam, [[-1, 1]])
    np.testing.assert_array_equal(field, LEFT)
