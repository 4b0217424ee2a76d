"""Augmentation: one seed one picture, inputs unchanged, every output a picture."""

import numpy as np
import pytest

from detector.training import augmentation
from detector.training.augmentation import (
    add_noise,
    augment,
    blur,
    compress,
    cut_borders,
    cut_corners,
    cut_out,
    equalise_locally,
    move,
    sharpen,
    tilt_exposure,
    write_marker,
)

SHAPE = (96, 120)
CHANGES = [augment, move, *(change for change, _ in augmentation._CHANGES)]
SEEDS = range(12)

every_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


@pytest.fixture
def picture():
    """(96, 120) float32 in [0, 1] that reaches both ends."""
    image = np.random.default_rng(0).random(SHAPE, np.float32)
    image[0, 0], image[-1, -1] = 0, 1
    return image


@every_change
class TestEveryChange:
    def test_one_seed_gives_one_picture(self, change, picture):
        first, second = (change(picture, np.random.default_rng(3)) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_seeds_give_several_pictures(self, change, picture):
        assert len({change(picture, np.random.default_rng(seed)).tobytes() for seed in SEEDS}) > 1

    def test_the_input_is_unchanged(self, change, picture):
        before = picture.copy()
        for seed in SEEDS:
            change(picture, np.random.default_rng(seed))
        np.testing.assert_array_equal(picture, before)

    def test_shape_and_float32_are_kept(self, change, picture):
        for seed in SEEDS:
            changed = change(picture, np.random.default_rng(seed))
            assert changed.shape == SHAPE
            assert changed.dtype == np.float32

    @pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
    def test_a_flat_picture_gives_numbers(self, change, grey):
        flat = np.full(SHAPE, grey, np.float32)
        assert all(np.isfinite(change(flat, np.random.default_rng(seed))).all() for seed in SEEDS)


class TestAugment:
    @pytest.mark.parametrize("grey", [None, 0.0, 1.0], ids=["noise", "black", "white"])
    def test_the_range_is_kept_even_where_noise_and_wires_leave_it(self, picture, grey):
        image = picture if grey is None else np.full(SHAPE, grey, np.float32)
        for seed in range(40):
            changed = augment(image, np.random.default_rng(seed))
            assert changed.min() >= 0
            assert changed.max() <= 1

    def test_it_moves_first_so_that_a_mask_can_follow(self, picture, monkeypatch):
        monkeypatch.setattr(augmentation, "_CHANGES", ())
        changed, moved = (f(picture, np.random.default_rng(5)) for f in (augment, move))
        np.testing.assert_array_equal(changed, moved)


class TestMove:
    def test_half_of_the_pictures_are_mirrored(self):
        image = np.zeros((64, 64), np.float32)
        image[:, :32] = 1
        moved = [move(image, np.random.default_rng(seed)) for seed in range(200)]
        mirrored = sum(m[:, :32].mean() < m[:, 32:].mean() for m in moved)
        assert 70 < mirrored < 130  # four standard deviations of a fair coin

    def test_the_middle_stays_in_the_picture(self):
        image = np.zeros((64, 64), np.float32)
        image[28:36, 28:36] = 1
        assert all(move(image, np.random.default_rng(seed)).max() > 0.9 for seed in SEEDS)


class TestSingleChanges:
    @pytest.mark.parametrize("change", [blur, sharpen])
    def test_a_filter_leaves_a_flat_picture_flat(self, change):
        flat = np.full(SHAPE, 0.5, np.float32)
        np.testing.assert_allclose(change(flat, np.random.default_rng(1)), flat, atol=1e-5)

    def test_a_softer_picture_varies_less_and_a_sharper_one_more(self, picture):
        middle = 0.4 + 0.2 * picture  # far from both ends, where clipping would hide it
        assert blur(middle, np.random.default_rng(1)).std() < middle.std()
        assert sharpen(middle, np.random.default_rng(1)).std() > middle.std()

    def test_an_exposure_tilts_about_the_middle(self):
        image = np.full((65, 65), 0.5, np.float32)
        tilted = tilt_exposure(image, np.random.default_rng(2))
        assert tilted[32, 32] == pytest.approx(0.5, abs=1e-6)
        assert np.ptp(tilted) > 0

    def test_noise_has_no_mean(self):
        image = np.full((200, 200), 0.5, np.float32)
        for seed in SEEDS:
            noisy = add_noise(image, np.random.default_rng(seed))
            assert 0.003 < noisy.std() < 0.06
            assert abs(noisy.mean() - 0.5) < 0.003

    def test_collimation_leaves_the_middle(self, picture):
        rows, columns = (slice(int(np.ceil(0.12 * side)), side - int(np.ceil(0.12 * side))) for side in SHAPE)
        for seed in SEEDS:
            cut = cut_borders(picture, np.random.default_rng(seed))
            np.testing.assert_array_equal(cut[rows, columns], picture[rows, columns])

    def test_boxes_over_the_corners_leave_the_cross_between_them(self, picture):
        for seed in SEEDS:
            cut = cut_corners(picture, np.random.default_rng(seed))
            np.testing.assert_array_equal(cut[:, 30:90], picture[:, 30:90])
            np.testing.assert_array_equal(cut[24:72], picture[24:72])

    def test_white_beyond_the_range_does_not_wrap_round_to_black(self):
        np.testing.assert_array_equal(augmentation._to_uint8(np.array([-0.5, 0, 1, 1.5])), [0, 0, 255, 255])

    @pytest.mark.parametrize("change", [equalise_locally, compress, write_marker])
    def test_a_change_on_eight_bits_takes_what_lies_outside_the_range(self, change):
        image = np.linspace(-0.3, 1.3, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
        changed = change(image, np.random.default_rng(0))
        assert changed.min() >= 0
        assert changed.max() <= 1


class TestCutOut:
    def test_the_input_is_unchanged(self):
        square = np.zeros((160, 160, 1), np.float32)
        for seed in SEEDS:
            cut_out(square, np.random.default_rng(seed))
        assert not square.any()

    def test_none_to_three_boxes_of_one_value_each_are_hidden(self):
        counts = set()
        for seed in range(60):
            cut = cut_out(np.full((160, 160, 1), 2, np.float32), np.random.default_rng(seed))
            hidden = np.unique(cut[cut != 2])
            counts.add(hidden.size)
            assert cut.dtype == np.float32
            assert np.abs(hidden).max(initial=0) <= 1
        assert counts == {0, 1, 2, 3}

    def test_boxes_are_no_larger_than_three_tenths_of_a_side(self):
        for seed in range(60):
            hidden = cut_out(np.full((160, 160, 1), 2, np.float32), np.random.default_rng(seed)) != 2
            assert hidden.mean() <= 3 * 0.3**2
