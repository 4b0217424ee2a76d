"""Lung fitting: overlap by hand, and a mask that goes wherever its picture goes."""

import math

import keras
import numpy as np
import pytest

from detector.errors import ManifestError
from detector.schema import Geometry
from detector.statistics import bootstrap as resampling
from detector.training.audit import lung_dice
from detector.training.audit.lung_dice import cross_validated_dice
from detector.training.data import augmentation
from detector.training.data.manifest import Example
from detector.training.fit import lungs as module
from detector.training.fit.lungs import (
    LungFitConfig,
    Masked,
    augmented_pair,
    dice,
    fit_lungs,
    mask_on_input,
    measure_cover,
    measure_dice,
    overlap_loss,
    read_masked,
    with_masks,
)
from tests.conftest import encode

CONFIG = LungFitConfig(batches=2, batch_size=2, peak_learning_rate=0.1, seed=5)


@pytest.fixture
def images(tmp_path):
    """A picture with masks of its left half, of its right half, and of its left half where only the upper is judged."""
    (tmp_path / "a.png").write_bytes(encode(np.random.default_rng(0).integers(0, 256, (160, 160), np.uint8)))
    left = np.zeros((160, 160), np.uint8)
    left[:, :80] = 255
    (tmp_path / "left.png").write_bytes(encode(left))
    (tmp_path / "right.png").write_bytes(encode(255 - left))
    upper = left.copy()
    upper[80:] = 127
    (tmp_path / "upper.png").write_bytes(encode(upper))
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
    def loss(self, mask, logits, judged=None):
        truth = np.stack([mask, np.ones(len(mask)) if judged is None else judged], axis=-1)
        return float(
            overlap_loss(truth[None, None].astype(np.float32), np.reshape(logits, (1, 1, -1, 1)).astype(np.float32))
        )

    def test_an_undecided_pixel_of_a_lung(self):
        assert self.loss([1], [0]) == pytest.approx(math.log(2) + 1 - 2 / 2.5)

    @pytest.mark.parametrize("mask", [(1, 0), (0, 0)], ids=["lung", "no lung"])
    def test_a_certain_right_answer_costs_nothing(self, mask):
        assert self.loss(mask, np.where(mask, 50, -50)) == pytest.approx(0, abs=1e-6)

    def test_a_wrong_answer_costs_more_than_an_undecided_one(self):
        assert self.loss([1, 0], [-4, 4]) > self.loss([1, 0], [0, 0]) > self.loss([1, 0], [4, -4])

    def test_what_is_not_judged_costs_nothing(self):
        assert self.loss([1, 0], [50, 50], judged=[1, 0]) == pytest.approx(0, abs=1e-6)
        assert self.loss([1, 0], [50, -50], judged=[1, 0]) == self.loss([1, 0], [50, 50], judged=[1, 0])


class TestReadMasked:
    def test_127_is_neither_lung_nor_judged(self, images):
        picture = read_masked(Example("a.png", "normal", lung_mask_whole="upper.png"), images)
        for part in (picture.image, picture.lung, picture.judged):
            assert part.shape == (224, 224)
        assert picture.lung[:110, :110].all()
        assert not picture.lung[114:].any()
        assert picture.judged[:110].all()
        assert not picture.judged[114:, :110].any()


class TestAugmentedPair:
    @pytest.fixture
    def picture(self):
        """A lung that no mirror image, turn or shift leaves where it is; the background is dimmer noise."""
        mask = np.zeros((224, 224), np.float32)
        mask[40:120, 30:100] = 1
        mask[120:160, 30:60] = 1
        noise = np.random.default_rng(0).random(mask.shape, np.float32)
        return Masked(0.7 * mask + 0.3 * noise, mask, np.ones_like(mask))

    @pytest.mark.parametrize("seed", range(8))
    def test_picture_and_mask_move_alike(self, picture, seed, monkeypatch):
        monkeypatch.setattr(augmentation, "_CHANGES", ())  # what does not move the picture would hide the lung's edge
        pixels, truth = augmented_pair(picture, seed)
        mask = truth[..., 0]
        area = int(mask.sum())
        found = np.zeros(pixels.size, bool)
        found[np.argsort(pixels, axis=None)[-area:]] = True  # as many of the brightest pixels as the mask has
        assert dice(mask.ravel() > 0.5, found) > 0.95

    def test_both_are_on_the_networks_input_and_the_mask_is_zeros_and_ones(self, picture):
        pixels, truth = augmented_pair(picture, 1)
        assert (pixels.shape, truth.shape) == ((160, 160, 1), (160, 160, 2))
        assert pixels.dtype == truth.dtype == np.float32
        assert set(np.unique(truth)) == {0, 1}

    def test_a_lung_that_is_not_judged_is_none(self, picture):
        truth = augmented_pair(Masked(picture.image, picture.lung, 1 - picture.lung), 1)[1]
        assert not (truth[..., 0] * truth[..., 1]).any()
        assert not truth[..., 0].any()

    def test_one_seed_gives_one_pair_and_leaves_its_inputs(self, picture):
        before = picture.image.copy(), picture.lung.copy()
        one, two = (augmented_pair(picture, 3) for _ in range(2))
        for first, second in zip(one, two, strict=True):
            np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(picture.image, before[0])
        np.testing.assert_array_equal(picture.lung, before[1])


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
    def test_rows_without_a_mask_of_the_whole_lung_are_left_out(self):
        rows = [Example("a", "normal", lung_mask="m", lung_mask_drawn="d"), Example("b", "normal", lung_mask_whole="m")]
        assert with_masks(rows) == rows[1:]

    def test_no_mask_at_all_is_an_error_of_the_manifest(self):
        with pytest.raises(ManifestError, match="names a mask of the whole lung"):
            with_masks([Example("a", "normal", lung_mask="m")])


class LeftHalf:
    """Finds a lung in the left half of every picture, and an island on the right."""

    def predict_on_batch(self, batch):
        logits = np.full(batch.shape, -9.0)
        logits[:, :, :80] = 9
        logits[:, 40:50, 120:130] = 9
        return logits


class TestMeasureDice:
    ROWS = (
        Example("a.png", "normal", "s", patient_group="a", age_group="adult", lung_mask_whole="left.png"),
        Example("a.png", "normal", "s", patient_group="b", age_group="paediatric", lung_mask_whole="right.png"),
        Example("a.png", "normal", "t", patient_group="c", lung_mask_whole="upper.png", lung_mask_drawn="left.png"),
        Example("a.png", "normal", patient_group="d", lung_mask="right.png"),
    )

    @pytest.fixture(autouse=True)
    def _few_resamples(self, monkeypatch):
        monkeypatch.setattr(resampling, "RESAMPLES", 5)

    def test_by_source_and_age_group_and_the_island_does_not_count(self, images):
        found = measure_dice(LeftHalf(), self.ROWS, images)
        assert {name: part["n"] for name, part in found.items()} == {
            "all": 3, "s, adult": 1, "s, paediatric": 1, "t, age not known": 1,
        }  # fmt: skip
        values = [found[name]["value"] for name in ("s, adult", "s, paediatric", "t, age not known", "all")]
        assert values == pytest.approx([1, 0, 1, 2 / 3], abs=1e-3)  # one pixel of smoothing; the mask's own edge

    def test_the_visible_lung_is_asked_to_be_covered(self, images):
        estimate = measure_cover(LeftHalf(), self.ROWS, images)
        assert (estimate.value, estimate.n) == (1, 1)


class TestCrossValidatedDice:
    @pytest.fixture
    def seen(self, monkeypatch):
        """Stands in for the trainings; records the patients that each was given."""
        patients = []

        def fit_lungs(examples, _images, _config):
            patients.append([e.patient_group for e in examples])
            return LeftHalf()

        monkeypatch.setattr(lung_dice, "fit_lungs", fit_lungs)
        monkeypatch.setattr(resampling, "RESAMPLES", 5)
        return patients

    def test_no_patient_is_measured_by_a_network_that_saw_him(self, images, seen):
        rows = [Example("a.png", "normal", patient_group=p, lung_mask_whole="left.png") for p in "abcdea"]
        found = cross_validated_dice(rows, images, LungFitConfig())["dice"]["all"]
        assert found["n"] == 6
        assert found["value"] == pytest.approx(1, abs=1e-4)
        assert len(seen) == 2
        held = [set("abcde") - set(patients) for patients in seen]
        assert sorted(held[0] | held[1]) == list("abcde")
        assert not held[0] & held[1]

    def test_one_patient_alone_is_too_few(self, images, seen):
        with pytest.raises(ManifestError, match="Masks of 2 patients"):
            cross_validated_dice([Example("a.png", "normal", lung_mask_whole="left.png")], images, LungFitConfig())
        assert seen == []


class TestFitLungs:
    ROWS = (Example("a.png", "normal", lung_mask_whole="left.png"),)

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
        with pytest.raises(ManifestError, match="names a mask of the whole lung"):
            fit_lungs([Example("a.png", "normal")], images, CONFIG)
