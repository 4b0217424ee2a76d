import numpy as np
import pytest

from detector.answers.overlay import AGAINST_COLOUR, FOR_COLOUR, blend, display_size, scaled, to_display, to_heatmap
from detector.schema import Geometry

BOX = Geometry(rows=100, columns=120, top=10, left=20, height=60, width=80, size=160)
WHOLE = Geometry(rows=100, columns=120, top=0, left=0, height=100, width=120, size=160)


class TestToHeatmap:
    @pytest.mark.parametrize("value", [2.5, -1.25, 0.0])
    def test_constant_cam_is_constant_inside_the_box_and_0_outside(self, value):
        heatmap = to_heatmap(np.full((5, 5), value, np.float32), BOX)
        expected = np.zeros((100, 120), np.float32)
        expected[10:70, 20:100] = value
        np.testing.assert_array_equal(heatmap, expected)
        assert heatmap.dtype == np.float32

    def test_box_of_the_whole_image_leaves_no_border(self):
        assert (to_heatmap(np.ones((5, 5), np.float32), WHOLE) == 1).all()

    def test_values_are_bilinear_between_cell_centres(self):
        geometry = Geometry(rows=1, columns=8, top=0, left=0, height=1, width=8, size=160)
        heatmap = to_heatmap(np.array([[0, 4]], np.float32), geometry)
        # Cells are 4 pixels wide: their centres lie at 2 and 6, pixel centres at 0.5, 1.5 ...
        np.testing.assert_allclose(heatmap, [[0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4]])

    def test_peak_lands_where_the_geometry_says(self):
        cam = np.zeros((5, 5), np.float32)
        cam[1, 3] = 1
        heatmap = to_heatmap(cam, BOX)
        row, column = BOX.to_image(1.5 * 32, 3.5 * 32)  # centre of the cell on the 160-pixel input
        peak = np.argwhere(heatmap == heatmap.max()).mean(axis=0) + 0.5
        assert peak == pytest.approx((row, column), abs=0.5)

    def test_fractional_box_is_rounded_to_pixels(self):
        geometry = Geometry(rows=10, columns=10, top=1.4, left=2.6, height=5.2, width=4.0, size=160)
        inside = np.argwhere(to_heatmap(np.ones((5, 5), np.float32), geometry))
        assert (*inside.min(axis=0), *inside.max(axis=0)) == (1, 3, 6, 6)

    def test_never_beyond_the_cams_range(self):
        cam = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
        heatmap = to_heatmap(cam, WHOLE)
        assert heatmap.min() >= cam.min()
        assert heatmap.max() <= cam.max()

    def test_cam_is_left_as_it_was(self):
        cam = np.arange(25, dtype=np.float32).reshape(5, 5)
        to_heatmap(cam, BOX)[:] = 9
        np.testing.assert_array_equal(cam, np.arange(25).reshape(5, 5))


class TestDisplay:
    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            pytest.param((1024, 800), (1024, 800), id="at-the-limit"),
            pytest.param((1025, 1025), (1024, 1024), id="one-over"),
            pytest.param((2048, 1000), (1024, 500), id="tall"),
            pytest.param((500, 4096), (125, 1024), id="wide"),
            pytest.param((64, 64), (64, 64), id="never-enlarged"),
            pytest.param((1, 10_000), (1, 1024), id="one-line-stays"),
            pytest.param((2000, 1500), (1000, 750), id="two-pixels-become-one"),
            pytest.param((3000, 3000), (1000, 1000), id="three-pixels-become-one"),
            pytest.param((2500, 2048), (1024, 839), id="no-whole-number-is-near"),
            pytest.param((2001, 2000), (1024, 1023), id="a-row-would-be-left-over"),
        ],
    )
    def test_longer_side_is_limited(self, shape, expected):
        assert display_size(*shape) == expected

    def test_grey_values_are_rounded_to_8_bits_and_clipped(self):
        pixels = np.array([[-0.5, 0, 0.5], [0.999, 1, 1.5]], np.float32)
        np.testing.assert_array_equal(to_display(pixels), [[0, 0, 128], [255, 255, 255]])

    def test_shrinking_averages(self):
        pixels = np.tile(np.array([[0, 1], [1, 0]], np.float32), (8, 8))
        shown = to_display(pixels, longer_side=8)
        assert shown.shape == (8, 8)
        assert shown.dtype == np.uint8
        np.testing.assert_array_equal(shown, 128)

    def test_where_pixels_become_one_each_shown_is_the_mean_of_its_own(self):
        pixels = np.random.default_rng(0).integers(0, 256, (30, 24), np.uint8)
        shown = to_display(pixels, longer_side=10)
        np.testing.assert_allclose(shown, pixels.reshape(10, 3, 8, 3).mean(axis=(1, 3)), atol=0.51)

    def test_geometry_is_scaled_with_the_image(self):
        half = scaled(BOX, 50, 60)
        assert half == Geometry(rows=50, columns=60, top=5, left=10, height=30, width=40, size=160)
        assert half.to_network(20, 30) == pytest.approx(BOX.to_network(40, 60))


class TestBlend:
    IMAGE = np.array([[0, 100, 255]], np.uint8)

    def test_no_evidence_is_clear(self):
        overlay = blend(self.IMAGE, np.zeros((1, 3), np.float32), full_scale=2, opacity=1)
        np.testing.assert_array_equal(overlay, np.repeat(self.IMAGE[..., np.newaxis], 3, axis=2))
        assert overlay.dtype == np.uint8

    def test_no_opacity_is_clear(self):
        overlay = blend(self.IMAGE, np.full((1, 3), 9, np.float32), full_scale=2, opacity=0)
        np.testing.assert_array_equal(overlay, np.repeat(self.IMAGE[..., np.newaxis], 3, axis=2))

    @pytest.mark.parametrize(
        ("evidence", "colour"),
        [(2, FOR_COLOUR), (50, FOR_COLOUR), (-2, AGAINST_COLOUR), (-50, AGAINST_COLOUR)],
        ids=["for", "beyond-full-scale", "against", "beyond-full-scale-against"],
    )
    def test_full_evidence_at_full_opacity_is_the_colour(self, evidence, colour):
        overlay = blend(self.IMAGE, np.full((1, 3), evidence, np.float32), full_scale=2, opacity=1)
        np.testing.assert_allclose(overlay, np.broadcast_to(colour * 255, (1, 3, 3)), atol=0.51)

    def test_half_evidence_at_half_opacity_is_a_quarter_of_the_colour(self):
        overlay = blend(np.array([[100]], np.uint8), np.array([[1]], np.float32), full_scale=2, opacity=0.5)
        # A quarter of vermilion (0.90, 0.38, 0) over three quarters of the grey level 100.
        np.testing.assert_allclose(overlay[0, 0], [132.4, 99.2, 75.0], atol=0.51)

    def test_equal_evidence_has_one_colour_whatever_stands_beside_it(self):
        alone = blend(np.array([[80, 80]], np.uint8), np.array([[1, 0]], np.float32), full_scale=2, opacity=0.7)
        beside = blend(np.array([[80, 80]], np.uint8), np.array([[1, 40]], np.float32), full_scale=2, opacity=0.7)
        np.testing.assert_array_equal(alone[0, 0], beside[0, 0])

    def test_inputs_are_left_as_they_were(self):
        image, heatmap = self.IMAGE.copy(), np.array([[-9, 0, 9]], np.float32)
        blend(image, heatmap, full_scale=2, opacity=1)
        np.testing.assert_array_equal(image, self.IMAGE)
        np.testing.assert_array_equal(heatmap, [[-9, 0, 9]])

    def test_other_shape_is_named(self):
        with pytest.raises(ValueError, match=r"Received \(1, 3\) and \(3, 1\)"):
            blend(self.IMAGE, np.zeros((3, 1), np.float32), full_scale=2, opacity=1)

    @pytest.mark.parametrize("full_scale", [0, -1])
    def test_scale_must_be_positive(self, full_scale):
        with pytest.raises(ValueError, match=f"Received {full_scale}"):
            blend(self.IMAGE, np.zeros((1, 3), np.float32), full_scale=full_scale, opacity=1)


def test_blend_is_the_mean_of_grey_and_colour_weighted_by_the_evidence():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 30), dtype=np.uint8)
    heatmap = rng.normal(0, 2, (40, 30)).astype(np.float32)
    given = image.copy(), heatmap.copy()
    blended = blend(image, heatmap, full_scale=3.0, opacity=0.7)
    alpha = np.minimum(np.abs(heatmap) / 3, 1)[..., None] * 0.7
    colour = np.where(heatmap[..., None] > 0, FOR_COLOUR, AGAINST_COLOUR) * 255
    assert np.abs(blended - (image[..., None] * (1 - alpha) + colour * alpha)).max() <= 0.501  # rounding, nothing else
    assert (image == given[0]).all()
    assert (heatmap == given[1]).all()
