"""Baselines: what they see, what they can't, and that they learn it."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score as auroc

from detector.model.preprocess import crop, frame_picture
from detector.training.audit.baselines import (
    border_features,
    fit_logistic,
    spectrum_features,
    standard_baselines,
)
from detector.training.data.manifest import Example
from tests.conftest import encode
from tests.training.test_duplicates import made_up


def whole_picture(image):
    """What the network would be given if no lungs were found."""
    frame = frame_picture(image)
    return crop(frame, np.zeros(frame.working.shape, bool), frame.content)


class TestFitLogistic:
    @staticmethod
    def cohort(seed, count=300):
        rng = np.random.default_rng(seed)
        names = ("normal", "bacterial_pneumonia", "covid19", "viral_pneumonia")
        return [Example(f"{i}", names[rng.integers(4)]) for i in range(count)]

    @staticmethod
    def features(examples):
        rng = np.random.default_rng(len(examples))
        place = {"normal": 0, "bacterial_pneumonia": 1, "covid19": 2, "viral_pneumonia": 0}
        signal = np.eye(3)[[place[e.label] for e in examples]]
        return np.concatenate([signal + rng.normal(0, 0.5, signal.shape), np.full((len(examples), 1), 7.0)], axis=1)

    def test_it_learns_what_the_features_tell_and_survives_a_constant_one(self):
        test = self.cohort(2)
        scores = fit_logistic(self.cohort(1), self.features)(test)
        covid = np.array([e.label == "covid19" for e in test])
        assert auroc(covid, scores.covid19) > 0.9
        assert scores.three_class.shape == (300, 3)
        assert auroc(covid, scores.three_class[:, 2]) > 0.9

    def test_a_class_that_training_lacks_has_no_say(self):
        train = [e for e in self.cohort(1) if e.label != "bacterial_pneumonia"]
        scores = fit_logistic(train, self.features)(self.cohort(2))
        assert (scores.three_class[:, 1] == 0).all()
        assert np.ptp(scores.three_class[:, 0]) > 0

    def test_noise_teaches_nothing(self):
        def noise(examples):
            return np.random.default_rng(len(examples)).normal(size=(len(examples), 3))

        test = self.cohort(2, 2000)
        covid = np.array([e.label == "covid19" for e in test])
        assert auroc(covid, fit_logistic(self.cohort(1, 1000), noise)(test).covid19) == pytest.approx(0.5, abs=0.05)


class TestSpectrum:
    RNG = np.random.default_rng(0)
    NOISE = RNG.normal(size=(224, 224)).astype(np.float32)

    def test_slow_shading_is_not_seen(self):
        ramp = np.add.outer(np.arange(224), np.arange(224)).astype(np.float32)
        np.testing.assert_allclose(spectrum_features(self.NOISE + ramp), spectrum_features(self.NOISE), atol=0.3)
        assert np.abs(spectrum_features(3 * self.NOISE) - spectrum_features(self.NOISE)).min() > 1

    def test_a_fine_wave_lights_one_cell(self):
        wave = np.cos(np.pi * 0.8 * np.arange(224))[None, :] * np.ones((224, 1))  # 0.4 cycles a pixel, across
        rise = spectrum_features(self.NOISE + 3 * wave.astype(np.float32)) - spectrum_features(self.NOISE)
        assert rise.max() > 3
        assert (rise > 1).sum() <= 4

    def test_a_flat_picture_has_finite_features(self):
        assert np.isfinite(spectrum_features(np.zeros((64, 64), np.float32))).all()


class TestBorder:
    def test_the_inside_is_not_seen(self):
        image = np.random.default_rng(0).random((224, 224)).astype(np.float32)
        changed = image.copy()
        changed[10:-10, 10:-10] = 0
        np.testing.assert_array_equal(border_features(image), border_features(changed))
        changed[9, 100] += 5
        assert (border_features(image) != border_features(changed)).any()

    def test_constant_border_by_hand(self):
        assert set(border_features(np.full((224, 224), 0.25, np.float32))) == {0.25}


class TestStandardBaselines:
    @pytest.fixture
    def cohort(self, tmp_path):
        """Source a: sharp, COVID-19. Source b: blurred, normal. Only the hospital tells them apart."""
        rng = np.random.default_rng(0)
        examples = []
        for number in range(24):
            source = "ab"[number % 2]
            pixels = made_up(number).astype(float)
            pixels += rng.normal(0, 12, pixels.shape) * (source == "a")
            (tmp_path / f"{number}.png").write_bytes(encode(np.clip(pixels, 0, 255).astype(np.uint8)))
            label = "covid19" if source == "a" else ("normal", "bacterial_pneumonia")[number % 4 == 1]
            examples.append(Example(f"{number}.png", label, source, age_group="adult"))
        return tmp_path, examples[:16], examples[16:]

    @pytest.mark.parametrize("name", ["source_and_age", "spectrum"])
    def test_what_names_the_hospital_names_the_label(self, cohort, name):
        folder, train, test = cohort
        scores = standard_baselines(folder, whole_picture)[name](train)(test)
        assert auroc(np.array([e.label == "covid19" for e in test]), scores.covid19) == 1

    def test_every_baseline_gives_scores_of_the_same_form(self, cohort):
        folder, train, test = cohort
        fits = standard_baselines(folder, whole_picture)
        assert set(fits) == {"source_and_age", "spectrum", "border", "spectrum_of_the_input", "border_of_the_input"}
        for fit in fits.values():
            scores = fit(train)(test)
            assert (scores.covid19.shape, scores.three_class.shape) == ((8,), (8, 3))
            assert np.isfinite(scores.three_class).all()

    def test_a_source_that_training_never_saw_says_nothing(self, cohort):
        folder, train, _ = cohort
        strangers = [Example("x", "covid19", "c"), Example("y", "normal", "d")]
        scores = standard_baselines(folder, whole_picture)["source_and_age"](train)(strangers)
        assert scores.covid19[0] == scores.covid19[1]
