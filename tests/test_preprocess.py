import numpy as np
import pytest

from detector.preprocess import INPUT_SIZE, content_box, preprocess, preprocess_pixels, rank_standardise
from detector.schema import Geometry, Radiograph

BOX = Geometry(rows=400, columns=300, top=40, left=15, height=320, width=240, size=160)


@pytest.fixture(scope="module")
def picture(composite_pixels):
    return composite_pixels.astype(np.float32) / 255


class TestGeometry:
    @pytest.mark.parametrize("point", [(0, 0), (40, 15), (123.4, 56.7), (400, 300)], ids=str)
    def test_round_trip_from_the_image(self, point):
        assert BOX.to_image(*BOX.to_network(*point)) == pytest.approx(point)

    @pytest.mark.parametrize("point", [(0, 0), (80, 80), (12.5, 150.25), (160, 160)], ids=str)
    def test_round_trip_from_the_network(self, point):
        assert BOX.to_network(*BOX.to_image(*point)) == pytest.approx(point)

    @pytest.mark.parametrize(
        ("image", "network"),
        [
            pytest.param((40, 15), (0, 0), id="first-corner"),
            pytest.param((360, 255), (160, 160), id="last-corner"),
            pytest.param((200, 135), (80, 80), id="middle"),
            pytest.param((0, 0), (-20, -10), id="outside-the-box"),
        ],
    )
    def test_edges_of_the_box_are_edges_of_the_input(self, image, network):
        assert BOX.to_network(*image) == pytest.approx(network)


class TestContentBox:
    def test_without_borders_everything_is_content(self):
        ramp = np.add.outer(np.linspace(0, 0.5, 100), np.linspace(0, 0.5, 80))
        assert content_box(ramp) == (0, 0, 100, 80)

    @pytest.mark.parametrize("level", [0.0, 1.0], ids=["black", "white"])
    def test_flat_borders_are_cut_on_each_side(self, level):
        ramp = np.add.outer(np.linspace(0, 0.5, 70), np.linspace(0, 0.5, 60))
        framed = np.pad(ramp, ((10, 20), (5, 15)), constant_values=level)
        # A column of the ramp stands out from its border by 0.5, so the cut is exact.
        assert content_box(framed) == (10, 5, 70, 60)

    def test_at_most_30_percent_are_cut_from_a_side(self):
        image = np.zeros((100, 100))
        image[48:52, 48:52] = np.eye(4)
        assert content_box(image) == (30, 30, 40, 40)

    def test_flat_image_is_kept_whole(self):
        assert content_box(np.full((50, 40), 0.3)) == (0, 0, 50, 40)

    @pytest.mark.parametrize(("noise", "height"), [(0.039, 90), (0.041, 100)], ids=["below-4-percent", "above"])
    def test_faint_lines_are_flat_up_to_4_percent(self, noise, height):
        image = np.tile(np.linspace(0, 1, 100), (100, 1))
        image[:10] = np.tile([0, noise], 50)
        assert content_box(image)[2] == height


class TestRankStandardise:
    def test_by_hand(self):
        # Two pixels have no margin to leave out; mid-ranks are (0 + 1), (1 + 3) and (3 + 4), each of 8.
        ranks = rank_standardise(np.array([[1, 2], [2, 5]], np.float32))
        np.testing.assert_allclose(ranks, [[-0.75, 0], [0, 0.75]])

    @pytest.mark.parametrize(
        "curve",
        [
            pytest.param(lambda x: x**3, id="gamma"),
            pytest.param(np.sqrt, id="root"),
            pytest.param(lambda x: 0.2 + x / 3, id="exposure"),
            pytest.param(lambda x: 1 / (1 + np.exp(4 - 8 * x)), id="sigmoid"),
        ],
    )
    def test_strictly_rising_tone_curve_changes_nothing(self, curve):
        image = np.random.default_rng(0).integers(0, 100, (64, 64)) / 100
        np.testing.assert_allclose(rank_standardise(curve(image)), rank_standardise(image), atol=1e-6)

    def test_inversion_mirrors_the_ranks(self):
        image = np.random.default_rng(0).integers(0, 100, (64, 64)) / 100
        np.testing.assert_allclose(rank_standardise(1 - image), -rank_standardise(image), atol=1e-6)

    def test_borders_take_no_part_in_the_ranking(self):
        image = np.random.default_rng(0).integers(20, 80, (100, 100)) / 100
        framed = image.copy()
        framed[:15], framed[-15:] = 0, 1
        np.testing.assert_array_equal(rank_standardise(framed)[15:85], rank_standardise(image)[15:85])

    def test_flat_image_gives_zeros(self):
        np.testing.assert_array_equal(rank_standardise(np.full((20, 20), 0.7, np.float32)), np.zeros((20, 20)))


class TestPreprocess:
    @pytest.mark.parametrize("shape", [(64, 64), (64, 256), (300, 200), (1000, 900)], ids=str)
    def test_every_shape_becomes_the_networks(self, shape):
        pixels = np.random.default_rng(0).random(shape, np.float32)
        network_input = preprocess_pixels(pixels)
        assert network_input.pixels.shape == (INPUT_SIZE, INPUT_SIZE, 1)
        assert network_input.pixels.dtype == np.float32
        assert np.abs(network_input.pixels).max() <= 1
        assert network_input.geometry == Geometry(*shape, 0, 0, *shape, INPUT_SIZE)

    def test_radiograph_and_its_bare_array_agree(self, picture):
        radiograph = Radiograph(picture, "PNG", "", "")
        np.testing.assert_array_equal(preprocess(radiograph).pixels, preprocess_pixels(picture).pixels)

    @pytest.mark.parametrize(("gain", "offset"), [(0.6, 0.0), (0.6, 0.4), (0.9, 0.05)], ids=str)
    def test_exposure_changes_nothing(self, picture, gain, offset):
        changed = preprocess_pixels(picture * np.float32(gain) + np.float32(offset))
        np.testing.assert_allclose(changed.pixels, preprocess_pixels(picture).pixels, atol=2e-3)

    def test_gamma_changes_little(self, picture):
        changed = preprocess_pixels(picture ** np.float32(1.5))
        assert np.abs(changed.pixels - preprocess_pixels(picture).pixels).mean() < 0.02

    def test_letterbox_leads_to_the_box_of_the_picture(self, picture):
        framed = np.pad(picture, ((0, 0), (128, 128)))  # 512 x 768
        geometry = preprocess_pixels(framed).geometry
        step = 768 / 224  # one column of the working grid
        assert (geometry.rows, geometry.columns) == (512, 768)
        assert geometry.left == pytest.approx(128, abs=step)
        assert geometry.left + geometry.width == pytest.approx(640, abs=step)

    def test_flat_image_gives_zeros(self):
        assert not preprocess_pixels(np.full((100, 120), 0.5, np.float32)).pixels.any()

    def test_input_is_left_as_it_was(self, picture):
        given = picture.copy()
        preprocess_pixels(given)
        np.testing.assert_array_equal(given, picture)

    @pytest.mark.parametrize("shape", [(64,), (64, 64, 1), (3, 64, 64)], ids=str)
    def test_other_dimensions_are_named(self, shape):
        with pytest.raises(ValueError, match=r"Received shape"):
            preprocess_pixels(np.zeros(shape, np.float32))
