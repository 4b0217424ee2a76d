import multiprocessing
import os
from dataclasses import replace

import cv2
import numpy as np
import pytest

from detector.model.preprocess import (
    INPUT_SIZE,
    WORKING_SIZE,
    Box,
    content_box,
    crop,
    equalise,
    frame_picture,
    largest_parts,
    lung_box,
    lung_crop,
    lung_input,
    lungs_on_frame,
    rank_standardise,
)
from detector.schema import Geometry
from tests.conftest import COMPOSITES

BOX = Geometry(rows=400, columns=300, top=40, left=15, height=320, width=240, size=160)
WHOLE = Box(0, 0, WORKING_SIZE, WORKING_SIZE)


@pytest.fixture(scope="module")
def picture(composite_pixels):
    return composite_pixels.astype(np.float32) / 255


@pytest.fixture(scope="module")
def field():
    """(160, 160) bool: a right and a left lung, clear of all borders."""
    rows, columns = np.mgrid[:INPUT_SIZE, :INPUT_SIZE]
    lungs = [((rows - 80) / 50) ** 2 + ((columns - middle) / 22) ** 2 < 1 for middle in (50, 110)]
    return lungs[0] | lungs[1]


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def block(rows, columns, *, size=WORKING_SIZE):
    """(size, size) bool, true within two slices."""
    lungs = np.zeros((size, size), bool)
    lungs[rows, columns] = True
    return lungs


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
        assert content_box(ramp) == Box(0, 0, 100, 80)

    @pytest.mark.parametrize("level", [0.0, 1.0], ids=["black", "white"])
    def test_flat_borders_are_cut_on_each_side(self, level):
        ramp = np.add.outer(np.linspace(0, 0.5, 70), np.linspace(0, 0.5, 60))
        framed = np.pad(ramp, ((10, 20), (5, 15)), constant_values=level)
        # A column of the ramp stands out from its border by 0.5, so the cut is exact.
        assert content_box(framed) == Box(10, 5, 70, 60)

    def test_at_most_30_percent_are_cut_from_a_side(self):
        image = np.zeros((100, 100))
        image[45:55, 45:55] = 1
        assert content_box(image) == Box(30, 30, 40, 40)

    def test_flat_image_is_kept_whole(self):
        assert content_box(np.full((50, 40), 0.3)) == Box(0, 0, 50, 40)

    @pytest.mark.parametrize(("levels", "height"), [(10, 90), (12, 100)], ids=["ten-levels", "more"])
    def test_lines_of_ten_levels_of_256_are_flat(self, levels, height):
        image = np.tile(np.arange(256, dtype=np.uint8), (100, 1))
        image[:10] = np.tile(np.repeat([0, levels], 4), 32)  # each level is wider than a speck
        assert content_box(image).height == height

    def test_a_speck_in_a_border_is_no_content(self):
        image = np.zeros((100, 100), np.uint8)
        image[20:80, 20:80] = np.indices((60, 60)).sum(axis=0) // 4 % 2 * 100 + np.arange(60, 120)
        image[5, 5] = 255
        assert content_box(image) == Box(20, 20, 60, 60)

    def test_an_equalised_copy_has_the_same_borders(self):
        rng = np.random.default_rng(0)
        image = np.full((224, 224), 3, np.uint8)
        image[20:200, 30:190] = cv2.GaussianBlur(rng.integers(0, 256, (180, 160)).astype(np.uint8), (0, 0), 6)
        image[:20] += rng.integers(0, 3, (20, 224)).astype(np.uint8)  # grain, which equalisation makes coarse
        assert content_box(cv2.equalizeHist(image)) == content_box(image) == Box(20, 30, 180, 160)

    def test_cut_gives_the_part_inside(self):
        image = np.arange(12).reshape(3, 4)
        np.testing.assert_array_equal(Box(1, 2, 2, 1).cut(image), [[6], [10]])


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


class TestFramePicture:
    @pytest.mark.parametrize("shape", [(64, 64), (64, 256), (224, 224), (300, 200), (1000, 900)], ids=str)
    def test_every_shape_becomes_the_working_grid(self, shape):
        frame = frame_picture(noise(*shape))
        assert frame.working.shape == (WORKING_SIZE, WORKING_SIZE)
        assert frame.working.dtype == np.float32
        assert 0 <= frame.working.min() < frame.working.max() <= 1
        assert (frame.rows, frame.columns) == shape
        assert frame.content == WHOLE

    def test_letterbox_is_no_content(self, picture):
        framed = np.pad(picture, ((0, 0), (128, 128)))  # 512 x 768: a sixth of 224 columns on either side
        content = frame_picture(framed).content
        assert (content.top, content.height) == (0, WORKING_SIZE)
        assert content.left == pytest.approx(224 / 6, abs=1)
        assert content.left + content.width == pytest.approx(224 * 5 / 6, abs=1)

    def test_shrinking_averages_areas(self):
        checks = np.indices((448, 448)).sum(axis=0) % 2  # would alias into stripes
        np.testing.assert_allclose(frame_picture(checks.astype(np.float32)).working, 0.5, atol=1e-6)

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    @pytest.mark.parametrize("shape", [(225, 224), (300, 1001), (1301, 1000), (2000, 2000)], ids=str)
    def test_parts_of_a_picture_give_what_the_whole_gives(self, shape, dtype):
        grey = (noise(*shape) * 255).astype(np.uint8) if dtype == np.uint8 else noise(*shape)
        expected = cv2.resize(equalise(grey), (WORKING_SIZE, WORKING_SIZE), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(frame_picture(grey).working, expected, atol=1e-6)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
    def test_a_forked_process_frames_large_pictures_too(self):
        large = noise(1301, 1000)
        frame_picture(large)  # its second thread now waits in this process
        context = multiprocessing.get_context("fork")
        child = context.Process(target=frame_picture, args=(large,))
        child.start()
        child.join(60)
        child.kill()
        assert child.exitcode == 0

    @pytest.mark.parametrize("shape", [(64,), (64, 64, 1), (3, 64, 64)], ids=str)
    def test_other_dimensions_are_named(self, shape):
        with pytest.raises(ValueError, match=r"Received shape"):
            frame_picture(np.zeros(shape, np.float32))


class TestEqualise:
    def test_by_hand(self):
        # Mid-ranks of a picture without borders: 1 of 4 at 0, 2 of 4 at 7, 1 of 4 at 9.
        grey = np.array([[7, 0], [9, 7]], np.uint8)
        np.testing.assert_allclose(equalise(grey), [[0.5, 0.125], [0.875, 0.5]])

    def test_borders_take_no_part(self):
        inside = (noise(200, 256) * 200 + 30).astype(np.uint8)
        framed = np.pad(inside, 40)
        np.testing.assert_array_equal(equalise(framed)[40:-40, 40:-40], equalise(inside))

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    @pytest.mark.parametrize("shape", [(224, 224), (1000, 900)], ids=str)
    def test_rising_tone_curves_give_one_picture(self, shape, dtype):
        levels = np.round(cv2.GaussianBlur(noise(*shape), (0, 0), 4) * 600 - 250).clip(0, 99).astype(np.uint8)
        curve = np.cumsum(np.random.default_rng(1).integers(1, 3, 100)).astype(np.uint8)
        one, other = levels + np.uint8(20), curve[levels]
        if dtype == np.float32:
            one, other = (picture / np.float32(255) for picture in (one, other))
        np.testing.assert_allclose(equalise(one), equalise(other), atol=1e-6)

    def test_eight_bits_and_the_same_in_float_agree(self, composite_pixels):
        floating = composite_pixels / np.float32(255)
        np.testing.assert_allclose(equalise(composite_pixels), equalise(floating), atol=1e-6)

    def test_a_flat_image_gives_a_half(self):
        np.testing.assert_array_equal(equalise(np.full((30, 40), 0.7, np.float32)), np.full((30, 40), 0.5))

    def test_the_image_is_left_as_it_was(self, composite_pixels):
        before = composite_pixels.copy()
        equalise(composite_pixels)
        np.testing.assert_array_equal(composite_pixels, before)


class TestAnEqualisedCopy:
    """An archive that equalised its histograms must not be recognised by it."""

    @pytest.mark.parametrize("name", ["normal", "bacterial_pneumonia", "covid19"])
    def test_both_networks_are_given_the_same(self, name, field):
        picture = cv2.imread(str(COMPOSITES / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        dull = (picture // 3 + 90).astype(np.uint8)  # a third of the levels, as a flat exposure has
        for one in (picture, dull):
            frames = frame_picture(one), frame_picture(cv2.equalizeHist(one))
            assert frames[0].content == frames[1].content
            for given in (lung_input, lambda frame: lung_crop(frame, field)):
                before, after = (given(frame).pixels for frame in frames)
                assert np.abs(after - before).mean() < 2e-3
                assert np.abs(after - before).max() < 0.05


class TestLargestParts:
    def test_two_lungs_stay_and_islands_go(self):
        lungs = block(slice(40, 200), slice(30, 100)) | block(slice(40, 200), slice(120, 190))
        strays = lungs | block(slice(0, 10), slice(0, 10)) | block(slice(215, 220), slice(100, 110))
        np.testing.assert_array_equal(largest_parts(strays), lungs)

    @pytest.mark.parametrize(("rows", "kept"), [(9, False), (10, True)], ids=["nine-percent", "ten"])
    def test_an_island_is_less_than_a_tenth_of_the_other_lung(self, rows, kept):
        lung, second = block(slice(100), slice(50)), block(slice(rows), slice(100, 150))
        np.testing.assert_array_equal(largest_parts(lung | second), lung | second if kept else lung)

    def test_corners_do_not_join(self):
        diagonal = block(slice(10), slice(10)) | block(slice(10, 20), slice(10, 20))
        third = block(slice(20, 24), slice(0, 5))
        np.testing.assert_array_equal(largest_parts(diagonal | third), diagonal)

    def test_nothing_stays_nothing(self):
        assert not largest_parts(np.zeros((8, 8), bool)).any()


class TestLungInput:
    @pytest.mark.parametrize("shape", [(64, 64), (64, 256), (300, 200), (1000, 900)], ids=str)
    def test_every_shape_becomes_the_networks(self, shape):
        network_input = lung_input(frame_picture(noise(*shape)))
        assert network_input.pixels.shape == (INPUT_SIZE, INPUT_SIZE, 1)
        assert network_input.pixels.dtype == np.float32
        assert np.abs(network_input.pixels).max() <= 1
        assert network_input.geometry == Geometry(*shape, 0, 0, *shape, INPUT_SIZE)
        assert not network_input.lung_field.any()

    @pytest.mark.parametrize(("gain", "offset"), [(0.6, 0.0), (0.6, 0.4), (0.9, 0.05)], ids=str)
    def test_exposure_changes_nothing(self, picture, gain, offset):
        changed, same = (lung_input(frame_picture(p)).pixels for p in (exposed(picture, gain, offset), picture))
        np.testing.assert_allclose(changed, same, atol=2e-3)

    def test_gamma_changes_little(self, picture):
        changed, same = (lung_input(frame_picture(p)).pixels for p in (picture ** np.float32(1.5), picture))
        assert np.abs(changed - same).mean() < 0.02

    def test_letterbox_leads_to_the_box_of_the_picture(self, picture):
        geometry = lung_input(frame_picture(np.pad(picture, ((0, 0), (128, 128))))).geometry  # 512 x 768
        step = 768 / 224  # one column of the working grid
        assert (geometry.rows, geometry.columns) == (512, 768)
        assert geometry.left == pytest.approx(128, abs=step)
        assert geometry.left + geometry.width == pytest.approx(640, abs=step)

    def test_flat_image_gives_zeros(self):
        assert not lung_input(frame_picture(np.full((100, 120), 0.5, np.float32))).pixels.any()


class TestLungsOnFrame:
    @pytest.mark.parametrize("content", [WHOLE, Box(10, 30, 150, 121), Box(223, 0, 1, 1)], ids=["whole", "part", "dot"])
    def test_a_full_field_fills_the_content_and_nothing_else(self, content):
        lungs = lungs_on_frame(np.ones((INPUT_SIZE, INPUT_SIZE), bool), content)
        assert lungs.shape == (WORKING_SIZE, WORKING_SIZE)
        assert lungs.dtype == bool
        expected = np.zeros_like(lungs)
        content.cut(expected)[:] = True
        np.testing.assert_array_equal(lungs, expected)

    def test_a_quarter_of_the_field_is_that_quarter_of_the_content(self):
        lungs = lungs_on_frame(block(slice(80), slice(80, 160), size=INPUT_SIZE), Box(20, 40, 100, 180))
        np.testing.assert_array_equal(lungs, block(slice(20, 70), slice(130, 220)))

    def test_a_lung_comes_back_to_where_it_was_in_the_picture(self, field):
        framed = frame_picture(np.pad(noise(300, 300), ((40, 60), (0, 0))))  # 400 x 300
        geometry = lung_input(framed).geometry
        row, column = geometry.to_image(*(np.argwhere(field) + 0.5).mean(axis=0))
        lungs = lungs_on_frame(field, framed.content)
        there = (np.argwhere(lungs) + 0.5).mean(axis=0) * (400 / WORKING_SIZE, 300 / WORKING_SIZE)
        assert tuple(there) == pytest.approx((row, column), abs=0.5)


class TestLungBox:
    def test_by_hand(self):
        # 160 rows from 40: a hundredth lies in the first one and a part of the next, so rows 41 to 198 count, 158 of
        # them; 8 % are 12.64 on either side: 28.36 to 211.64. 180 columns from 30: 31 to 208, 178; 16.76 to 223.24.
        assert lung_box(block(slice(40, 200), slice(30, 210)), WHOLE) == Box(28, 17, 184, 206)

    @pytest.mark.parametrize(("rows", "found"), [(50, False), (51, True)], ids=["4.98-percent", "5.08-percent"])
    def test_less_than_5_percent_of_lung_cuts_nothing_off(self, rows, found):
        lungs = block(slice(80, 80 + rows), slice(80, 130))
        assert (lung_box(lungs, WHOLE) != WHOLE) == found

    def test_no_lung_gives_the_content_whatever_it_is(self):
        content = Box(10, 20, 150, 160)
        assert lung_box(np.zeros((224, 224), bool), content) is content

    def test_small_lungs_get_half_the_height_and_three_fifths_of_the_width(self):
        # 60 rows and columns from 82: half of 224 is 112, three fifths are 134.4, both about the middle of 112.
        assert lung_box(block(slice(82, 142), slice(82, 142)), WHOLE) == Box(56, 45, 112, 134)

    def test_least_size_is_of_the_content(self):
        content = Box(12, 12, 200, 200)
        assert lung_box(block(slice(82, 142), slice(82, 142)), content) == Box(62, 52, 100, 120)

    @pytest.mark.parametrize(
        ("rows", "columns", "edge"),
        [
            (slice(150), slice(40, 180), lambda b: b.top == 0),
            (slice(80, 224), slice(40, 180), lambda b: b.top + b.height == 224),
            (slice(40, 180), slice(150), lambda b: b.left == 0),
            (slice(40, 180), slice(80, 224), lambda b: b.left + b.width == 224),
        ],
        ids=["top", "bottom", "left", "right"],
    )
    def test_a_lung_at_the_border_is_kept_to_the_border(self, rows, columns, edge):
        assert edge(lung_box(block(rows, columns), WHOLE))

    @pytest.mark.parametrize("content", [Box(30, 20, 150, 160), Box(0, 64, 224, 96)], ids=str)
    def test_the_box_stays_inside_the_content(self, content):
        box = lung_box(lungs_on_frame(np.ones((160, 160), bool), content), content)
        assert box == content

    def test_splinters_do_not_stretch_it(self):
        lungs = block(slice(40, 200), slice(50, 180))
        strays = lungs.copy()
        strays[:6, :15] = strays[-6:, -15:] = True  # 0.4 % of the lungs in two corners
        before, after = (lung_box(field, WHOLE) for field in (lungs, strays))
        assert np.abs(edges(after) - edges(before)).max() <= 2

    def test_what_is_more_than_a_splinter_does(self):
        lungs = block(slice(60, 200), slice(50, 180))
        lungs[:20, 20:40] = True  # 2.2 % of the lungs
        assert lung_box(lungs, WHOLE).top == 0

    @pytest.mark.parametrize("seed", range(20))
    def test_no_lungs_whatever_lead_outside_the_content(self, seed):
        rng = np.random.default_rng(seed)
        top, left, height, width = (
            rng.integers(0, 68),
            rng.integers(0, 68),
            rng.integers(90, 157),
            rng.integers(90, 157),
        )
        content = Box(int(top), int(left), int(height), int(width))
        lungs = lungs_on_frame(rng.random((160, 160)) < rng.random() * (rng.random(160) < 0.5), content)
        box = lung_box(lungs, content)
        assert content.top <= box.top < box.top + box.height <= content.top + content.height
        assert content.left <= box.left < box.left + box.width <= content.left + content.width


class TestLungCrop:
    @pytest.mark.parametrize("size", [96, INPUT_SIZE, 224])
    def test_pixels_field_and_geometry_have_the_size_that_is_asked_for(self, picture, field, size):
        network_input = lung_crop(frame_picture(picture), field, size=size)
        assert network_input.pixels.shape == (size, size, 1)
        assert network_input.pixels.dtype == np.float32
        assert np.abs(network_input.pixels).max() <= 1
        assert network_input.lung_field.shape == (size, size)
        assert network_input.lung_field.dtype == bool
        assert network_input.geometry.size == size

    def test_the_box_is_that_of_the_lungs_in_pixels_of_the_image(self):
        frame = frame_picture(noise(448, 672))  # two rows and three columns a cell of the working grid
        network_input = lung_crop(frame, np.ones((INPUT_SIZE, INPUT_SIZE), bool))
        assert network_input.geometry == Geometry(448, 672, 0, 0, 448, 672, INPUT_SIZE)
        lungs = block(slice(40, 200), slice(30, 210))
        cut = crop(frame, lungs, lung_box(lungs, WHOLE))
        assert cut.geometry == Geometry(448, 672, 2 * 28, 3 * 17, 2 * 184, 3 * 206, INPUT_SIZE)

    @pytest.mark.parametrize("point", [(150, 120), (256, 256), (330, 400)], ids=str)
    def test_a_spot_of_the_picture_lies_where_the_geometry_says(self, field, point):
        pixels = 0.2 * noise(512, 600)
        row, column = point
        pixels[row - 6 : row + 6, column - 6 : column + 6] = 1
        cut = lung_crop(frame_picture(pixels), field)
        brightest = np.argwhere(cut.pixels[..., 0] == cut.pixels.max()).mean(axis=0) + 0.5
        assert cut.geometry.to_image(*brightest) == pytest.approx(point, abs=2.5)
        assert cut.geometry.to_network(*point) == pytest.approx(tuple(brightest), abs=1.5)

    def test_the_field_lies_where_the_lungs_lie(self, picture, field):
        frame = frame_picture(picture)
        cut = lung_crop(frame, field)
        before, after = (np.argwhere(f).mean(axis=0) + 0.5 for f in (field, cut.lung_field))
        assert cut.geometry.to_image(*after) == pytest.approx(lung_input(frame).geometry.to_image(*before), abs=1)
        share = cut.geometry.height * cut.geometry.width / (512 * 512)
        assert cut.lung_field.mean() * share == pytest.approx(field.mean(), rel=0.02)
        assert share < 0.8  # else nothing was cut off

    def test_without_lungs_it_is_the_whole_content(self, picture):
        frame = frame_picture(np.pad(picture, ((0, 0), (128, 128))))
        cut = lung_crop(frame, np.zeros((INPUT_SIZE, INPUT_SIZE), bool))
        assert not cut.lung_field.any()
        assert cut.geometry == lung_input(frame).geometry

    @pytest.mark.parametrize(("gain", "offset"), [(0.6, 0.0), (0.6, 0.4), (0.9, 0.05)], ids=str)
    def test_exposure_changes_nothing(self, picture, field, gain, offset):
        changed, same = (lung_crop(frame_picture(p), field) for p in (exposed(picture, gain, offset), picture))
        assert changed.geometry == same.geometry
        np.testing.assert_allclose(changed.pixels, same.pixels, atol=2e-3)

    def test_gamma_changes_little(self, picture, field):
        changed, same = (lung_crop(frame_picture(p), field).pixels for p in (picture ** np.float32(1.5), picture))
        assert np.abs(changed - same).mean() < 0.02

    def test_what_is_cut_off_does_not_matter_beyond_the_filter(self, picture, field):
        frame = frame_picture(picture)
        lungs = lungs_on_frame(field, frame.content)
        box = lung_box(lungs, frame.content)
        collimated = np.full_like(frame.working, 0.9)
        reach = 6  # pixels: four standard deviations of the filter
        inside = Box(box.top - reach, box.left - reach, box.height + 2 * reach, box.width + 2 * reach)
        inside.cut(collimated)[:] = inside.cut(frame.working)
        other = crop(replace(frame, working=collimated), lungs, box)
        np.testing.assert_allclose(other.pixels, crop(frame, lungs, box).pixels, atol=1e-3)

    def test_fine_stripes_are_filtered_away(self):
        # The filter takes more than four fifths of the amplitude at a quarter cycle a pixel.
        columns = np.arange(WORKING_SIZE)
        ramp = np.linspace(0.2, 0.8, WORKING_SIZE)[:, None] + np.zeros(WORKING_SIZE)
        striped = ramp + 0.1 * np.cos(columns * np.pi / 2)
        plain, stripes = (
            crop(frame_picture(p.astype(np.float32)), np.zeros(p.shape, bool), WHOLE).pixels for p in (ramp, striped)
        )
        assert np.abs(stripes - plain)[8:-8, 8:-8].max() < 0.2 * 2 * 0.1 / 0.6

    @pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
    def test_flat_image_gives_zeros(self, field, grey):
        assert not lung_crop(frame_picture(np.full((100, 120), grey, np.float32)), field).pixels.any()

    @pytest.mark.parametrize("shape", [(512, 512), (224, 224)], ids=["resized", "already on the grid"])
    def test_inputs_are_left_as_they_were(self, picture, field, shape):
        given, lungs = np.resize(picture, shape), field.copy()
        before = given.copy()
        frame = frame_picture(given)
        working = frame.working.copy()
        lung_input(frame)
        lung_crop(frame, lungs)
        np.testing.assert_array_equal(given, before)
        np.testing.assert_array_equal(lungs, field)
        np.testing.assert_array_equal(frame.working, working)


def exposed(picture, gain, offset):
    return picture * np.float32(gain) + np.float32(offset)


def edges(box):
    return np.array([box.top, box.left, box.top + box.height, box.left + box.width])


class TestALungThatWasNotFound:
    CONTENT = Box(10, 0, 200, 224)

    def lungs(self, *, right=True, left=True):
        found = np.zeros((224, 224), bool)
        found[50:170, 30:95] = right
        found[50:170, 130:195] = left
        return found

    def test_two_lungs_need_no_mirror(self):
        box = lung_box(self.lungs(), self.CONTENT)
        # Less 1 % of the pixels at each edge, 118 rows and 163 columns, with a margin of 8 % of that on each side.
        assert (box.top, box.height) == (42, 136)
        assert (box.left, box.width) == (18, 189)

    @pytest.mark.parametrize("side", ["right", "left"])
    def test_the_box_of_one_lung_holds_where_the_other_must_be(self, side):
        box = lung_box(self.lungs(**{side: False}), self.CONTENT)
        assert box.left <= 30
        assert box.left + box.width >= 194

    def test_the_middle_of_the_picture_is_never_cut_off(self):
        small = np.zeros((224, 224), bool)
        small[20:90, 2:60] = True
        small[20:90, 130:150] = True  # too little for a mirror not to be drawn, too much for the box to be one-sided
        box = lung_box(small, self.CONTENT)
        assert box.top <= 10 + 50
        assert box.top + box.height >= 10 + 150
        assert box.left <= 45
        assert box.left + box.width >= 179

    @pytest.mark.parametrize("corner", [(0, 0), (0, 170), (170, 0), (170, 170)], ids=str)
    def test_lungs_in_a_corner_give_no_box_outside_the_picture(self, corner):
        found = np.zeros((224, 224), bool)
        found[corner[0] : corner[0] + 54, corner[1] : corner[1] + 54] = True
        box = lung_box(found, self.CONTENT)
        assert box.top >= 10
        assert box.top + box.height <= 210
        assert box.left >= 0
        assert box.left + box.width <= 224
        assert box.height >= 100
        assert box.width >= 134
