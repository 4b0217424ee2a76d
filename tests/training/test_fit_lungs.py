"""Lung fitting: overlap by hand, and a mask that goes wherever its picture goes."""

import math
from functools import partial

import keras
import numpy as np
import pytest

from detector.errors import ManifestError
from detector.schema import Geometry
from detector.statistics.metrics import bootstrap
from detector.training.data import augmentation
from detector.training.data.manifest import Example
from detector.training.fit import lungs as module
from detector.training.fit.lungs import (
    LungFitConfig,
    augmented_pair,
    cross_validated_dice,
    dice,
    fit_lungs,
    mask_on_input,
    mask_path,
    measure_dice,
    overlap_loss,
    with_masks,
)
from tests.conftest import encode

CONFIG = LungFitConfig(batches=2, batch_size=2, peak_learning_rate=0.1, seed=5)


@pytest.fixture
def images(tmp_path):
    """A picture, its lung drawn by hand on the left half, and a model's mask of the right half."""
    (tmp_path / "a.png").write_bytes(encode(np.random.default_rng(0).integers(0, 256, (160, 160), np.uint8)))
    left = np.zeros((160, 160), np.uint8)
    left[:, :80] = 255
    (tmp_path / "left.png").write_bytes(encode(left))
    (tmp_path / "right.png").write_bytes(encode(255 - left))
    return tmp_path


class TestDice:
    @pytest.mark.parametrize(
        ("mask", "answer", "expected"),
        [
            ((1, 1, 0, 0), (1, 1, 0, 0), 1),
            ((1, 1, 0, 0), (0, 1, 1, 0), 3 / 5),
            ((1, 1, 0, 0), (0, 0, 1, 1), 1 / 5),
            ((0, 0, 0, 0), (0, 0, 0, 0), 1),
            ((0, 0, 0, 0), (1, 1, 1, 0), 1 / 4),
        ],
        ids=["alike", "half", "apart", "both empty", "a lung where none is"],
    )
    def test_by_hand_with_one_pixel_of_smoothing(self, mask, answer, expected):
        assert dice(np.array(mask, bool), np.array(answer, bool)) == pytest.approx(expected)


class TestOverlapLoss:
    def loss(self, mask, logits):
        shape = (1, 1, len(mask), 1)
        return float(
            overlap_loss(np.reshape(mask, shape).astype(np.float32), np.reshape(logits, shape).astype(np.float32))
        )

    def test_an_undecided_pixel_of_a_lung(self):
        assert self.loss([1], [0]) == pytest.approx(math.log(2) + 1 - 2 / 2.5)

    @pytest.mark.parametrize("mask", [(1, 0), (0, 0)], ids=["lung", "no lung"])
    def test_a_certain_right_answer_costs_nothing(self, mask):
        assert self.loss(mask, np.where(mask, 50, -50)) == pytest.approx(0, abs=1e-6)

    def test_a_wrong_answer_costs_more_than_an_undecided_one(self):
        assert self.loss([1, 0], [-4, 4]) > self.loss([1, 0], [0, 0]) > self.loss([1, 0], [4, -4])


class TestAugmentedPair:
    @pytest.fixture
    def shape(self):
        """A lung that no mirror image, turn or shift leaves where it is; the background is dimmer noise."""
        mask = np.zeros((200, 180), np.float32)
        mask[40:120, 30:100] = 1
        mask[120:160, 30:60] = 1
        noise = np.random.default_rng(0).random(mask.shape, np.float32)
        return 0.7 * mask + 0.3 * noise, mask

    @pytest.mark.parametrize("seed", range(8))
    def test_picture_and_mask_move_alike(self, shape, seed, monkeypatch):
        monkeypatch.setattr(augmentation, "_CHANGES", ())  # what does not move the picture would hide the lung's edge
        picture, mask = augmented_pair(*shape, seed)
        area = int(mask.sum())
        found = np.zeros(picture.size, bool)
        found[np.argsort(picture, axis=None)[-area:]] = True  # as many of the brightest pixels as the mask has
        assert dice(mask.ravel() > 0.5, found) > 0.95

    def test_both_are_on_the_networks_input_and_the_mask_is_zeros_and_ones(self, shape):
        for part in augmented_pair(*shape, 1):
            assert part.shape == (160, 160, 1)
            assert part.dtype == np.float32
        assert set(np.unique(augmented_pair(*shape, 1)[1])) == {0, 1}

    def test_one_seed_gives_one_pair_and_leaves_its_inputs(self, shape):
        before = [part.copy() for part in shape]
        one, two = (augmented_pair(*shape, 3) for _ in range(2))
        for first, second in zip(one, two, strict=True):
            np.testing.assert_array_equal(first, second)
        for part, old in zip(shape, before, strict=True):
            np.testing.assert_array_equal(part, old)


class TestMaskOnInput:
    def test_the_box_is_cut_and_scaled(self):
        mask = np.zeros((8, 6), np.float32)
        mask[2:4, 1:3] = 1
        geometry = Geometry(rows=8, columns=6, top=2, left=1, height=4, width=4, size=2)
        np.testing.assert_array_equal(mask_on_input(mask, geometry)[..., 0], [[1, 0], [0, 0]])

    def test_half_a_pixel_of_lung_is_none(self):
        geometry = Geometry(rows=2, columns=2, top=0, left=0, height=2, width=2, size=1)
        assert mask_on_input(np.array([[1, 1], [0, 0]], np.float32), geometry).item() == 0
        assert mask_on_input(np.array([[1, 1], [1, 0]], np.float32), geometry).item() == 1


class TestMasks:
    def test_a_drawn_mask_goes_before_one_made_by_a_model(self):
        assert mask_path(Example("a", "normal", lung_mask="m", lung_mask_drawn="d")) == "d"
        assert mask_path(Example("a", "normal", lung_mask="m")) == "m"

    def test_rows_without_a_mask_are_left_out(self):
        rows = [Example("a", "normal"), Example("b", "normal", lung_mask="m")]
        assert with_masks(rows) == rows[1:]

    def test_no_mask_at_all_is_an_error_of_the_manifest(self):
        with pytest.raises(ManifestError, match="names a lung mask"):
            with_masks([Example("a", "normal")])


class LeftHalf:
    """Finds a lung in the left half of every picture."""

    def predict_on_batch(self, batch):
        logits = np.full(batch.shape, -9.0)
        logits[:, :, :80] = 9
        return logits


class TestMeasureDice:
    ROWS = (
        Example("a.png", "normal", patient_group="a", lung_mask="right.png", lung_mask_drawn="left.png"),
        Example("a.png", "normal", patient_group="b"),
    )

    @pytest.mark.parametrize(("drawn", "expected"), [(True, 1.0), (False, 0.0)], ids=["drawn", "made by a model"])
    def test_each_kind_of_mask_is_measured_by_itself(self, images, drawn, expected, monkeypatch):
        monkeypatch.setattr(module, "bootstrap", partial(bootstrap, samples=5))
        estimate = measure_dice(LeftHalf(), self.ROWS, images, drawn=drawn)
        assert estimate.n == 1
        assert estimate.value == pytest.approx(expected, abs=1e-4)  # one pixel of smoothing in 25,600

    def test_without_masks_there_is_no_figure_but_a_reason(self, images):
        estimate = measure_dice(LeftHalf(), self.ROWS[1:], images, drawn=True)
        assert (estimate.value, estimate.n) == (None, 0)
        assert estimate.reason


class TestCrossValidatedDice:
    @pytest.fixture
    def seen(self, monkeypatch):
        """Stands in for the trainings; records the patients that each was given."""
        patients = []

        def fit_lungs(examples, _images, _config):
            patients.append([e.patient_group for e in examples])
            return LeftHalf()

        monkeypatch.setattr(module, "fit_lungs", fit_lungs)
        monkeypatch.setattr(module, "bootstrap", partial(bootstrap, samples=5))
        return patients

    def test_no_patient_is_measured_by_a_network_that_saw_him(self, images, seen):
        rows = [
            *(Example("a.png", "normal", patient_group=p, lung_mask_drawn="left.png") for p in "abcdea"),
            Example("a.png", "normal", patient_group="f", lung_mask="right.png"),
        ]
        estimate = cross_validated_dice(rows, images, LungFitConfig(), folds=2)
        assert estimate.n == 6
        assert estimate.value == pytest.approx(1, abs=1e-4)
        assert len(seen) == 2
        held = [set("abcde") - set(patients) for patients in seen]
        assert sorted(held[0] | held[1]) == list("abcde")
        assert not held[0] & held[1]
        assert all("f" in patients for patients in seen)


class TestFitLungs:
    ROWS = (Example("a.png", "normal", lung_mask="right.png", lung_mask_drawn="left.png"),)

    @pytest.fixture(autouse=True)
    def _one_convolution(self, monkeypatch):
        def build(size):
            image = keras.Input((size, size, 1))
            return keras.Model(image, keras.layers.Conv2D(1, 3, padding="same")(image))

        monkeypatch.setattr(module, "build_lung_network", build)

    def test_one_seed_gives_the_same_weights_twice_and_another_seed_others(self, images):
        seeds = (CONFIG, CONFIG, LungFitConfig(batches=2, batch_size=2, peak_learning_rate=0.1, seed=6))
        one, two, other = (fit_lungs(self.ROWS, images, config).get_weights() for config in seeds)
        for first, second, third in zip(one, two, other, strict=True):
            np.testing.assert_array_equal(first, second)
            assert not np.array_equal(first, third)

    def test_without_a_mask_nothing_is_trained(self, images):
        with pytest.raises(ManifestError, match="names a lung mask"):
            fit_lungs([Example("a.png", "normal")], images, CONFIG)
