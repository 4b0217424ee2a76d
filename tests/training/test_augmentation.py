"""Augmentation: one seed one picture, inputs unchanged, every output a picture."""

import numpy as np
import pytest

from detector.training.data import augmentation
from detector.training.data.augmentation import (
    add_noise,
    augment,
    blur,
    compress,
    convolve_at_random,
    cut_borders,
    cut_corners,
    cut_out,
    equalise_locally,
    mix_amplitudes,
    move,
    sharpen,
    tilt_exposure,
    write_marker,
)

SHAPE = (96, 120)
CHANGES = [augment, move, convolve_at_random, *(change for change, _ in augmentation._CHANGES)]
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


class TestConvolveAtRandom:
    def test_what_stays_is_more_than_what_is_filtered(self, picture):
        soft = blur(picture, np.random.default_rng(0))
        for seed in range(40):
            mixed = convolve_at_random(soft, np.random.default_rng(seed))
            assert np.corrcoef(mixed.ravel(), soft.ravel())[0, 1] > 0  # no negative, whatever the kernel

    def test_the_range_is_kept(self, picture):
        for seed in range(40):
            mixed = convolve_at_random(picture, np.random.default_rng(seed))
            assert 0 <= mixed.min() <= mixed.max() <= 1

    def test_mean_and_contrast_stay_about_as_they_were(self, picture):
        middle = 0.4 + 0.2 * picture  # far from both ends, where clipping would move them
        for seed in SEEDS:
            mixed = convolve_at_random(middle, np.random.default_rng(seed))
            assert mixed.mean() == pytest.approx(middle.mean(), abs=1e-4)
            assert 0.4 * middle.std() < mixed.std() < 1.01 * middle.std()

    def test_texture_changes(self, picture):
        spectrum = np.abs(np.fft.rfft2(picture))[1:, 1:]
        mixed = np.abs(np.fft.rfft2(convolve_at_random(picture, np.random.default_rng(1))))[1:, 1:]
        assert np.std(np.log(mixed / spectrum)) > 0.1


class TestMixAmplitudes:
    SWAPPED = next(s for s in range(20) if list(np.random.default_rng(s).permutation(2)) == [1, 0])

    @pytest.fixture
    def inputs(self):
        """(2, 64, 64, 1): noise, and the same softened."""
        noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
        soft = blur(noise, np.random.default_rng(1))
        return np.stack([augmentation.rank_standardise(p) for p in (noise, soft)])[..., np.newaxis]

    @pytest.fixture
    def bare(self, monkeypatch):
        """Leaves out the standardisation at the end, which bends every frequency a little."""
        monkeypatch.setattr(augmentation, "rank_standardise", lambda image: image)

    def spectra(self, pictures):
        cycles = np.hypot(np.fft.fftfreq(64)[:, None] * 64, np.fft.rfftfreq(64) * 64)
        return np.fft.rfft2(pictures[..., 0]), cycles > 6

    @pytest.mark.usefixtures("bare")
    def test_coarse_frequencies_and_all_phases_stay(self, inputs):
        changed = mix_amplitudes(inputs, np.random.default_rng(self.SWAPPED), probability=1.0)
        (before, fine), (after, _) = self.spectra(inputs), self.spectra(changed)
        np.testing.assert_allclose(after[:, ~fine], before[:, ~fine], atol=1e-2)
        inner = fine.copy()
        inner[32], inner[:, [0, -1]] = False, False  # where a spectrum of real numbers is real
        turned = after[:, inner] / before[:, inner]
        np.testing.assert_allclose(turned.imag, 0, atol=0.02 * np.abs(turned).max())
        assert (turned.real > -0.02).all()

    @pytest.mark.usefixtures("bare")
    def test_fine_amplitudes_lie_between_both_pictures(self, inputs):
        changed = mix_amplitudes(inputs, np.random.default_rng(self.SWAPPED), probability=1.0)
        (before, fine), (after, _) = self.spectra(inputs), self.spectra(changed)
        low, high = (limit(np.abs(before), axis=0)[fine] for limit in (np.min, np.max))
        for picture in np.abs(after):
            assert (picture[fine] >= low - 1e-2).all()
            assert (picture[fine] <= high + 1e-2).all()
        shares = (np.abs(after) - np.abs(before))[:, fine] / (np.abs(before[::-1]) - np.abs(before))[:, fine]
        clear = np.abs(np.abs(before[0]) - np.abs(before[1]))[fine] > 5
        assert np.ptp(shares[:, clear], axis=1).max() < 0.01  # one share a picture, at every frequency
        assert (shares[:, clear] > 0.001).all()

    def test_probability_of_zero_changes_nothing(self, inputs):
        mixed = mix_amplitudes(inputs, np.random.default_rng(0), probability=0.0)
        np.testing.assert_array_equal(mixed, inputs)

    def test_about_so_many_are_changed(self, inputs):
        many = np.concatenate([inputs] * 60)
        mixed = mix_amplitudes(many, np.random.default_rng(0), probability=0.3)
        changed = sum(not np.array_equal(a, b) for a, b in zip(many, mixed, strict=True))
        assert 16 <= changed <= 56  # of 120: 36, give or take four standard deviations

    def test_inputs_are_unchanged_and_one_seed_gives_one_batch(self, inputs):
        before = inputs.copy()
        one, two = (mix_amplitudes(inputs, np.random.default_rng(4), probability=1.0) for _ in range(2))
        np.testing.assert_array_equal(inputs, before)
        np.testing.assert_array_equal(one, two)

    def test_they_are_standardised_again(self, inputs):
        mixed = mix_amplitudes(inputs, np.random.default_rng(self.SWAPPED), probability=1.0)
        assert mixed.dtype == np.float32
        assert mixed.shape == inputs.shape
        assert np.abs(mixed).max() <= 1
        np.testing.assert_allclose(mixed[0, ..., 0], augmentation.rank_standardise(mixed[0, ..., 0]), atol=0.02)

    @pytest.mark.parametrize("grey", [0.0, -1.0])
    def test_flat_pictures_give_numbers(self, inputs, grey):
        flat = np.concatenate([np.full((1, 64, 64, 1), grey, np.float32), inputs[:1]])
        assert np.isfinite(mix_amplitudes(flat, np.random.default_rng(self.SWAPPED), probability=1.0)).all()

    def test_one_picture_alone_keeps_its_spectrum(self, inputs):
        mixed = mix_amplitudes(inputs[:1], np.random.default_rng(0), probability=1.0)
        np.testing.assert_allclose(mixed, inputs[:1], atol=0.02)
