import numpy as np
import pytest

from detector.statistics.metrics import (
    auroc,
    average_precision,
    bootstrap,
    brier_score,
    expected_calibration_error,
    log_loss,
    macro_auroc,
    sensitivity,
    specificity,
)


class TestAuroc:
    @pytest.mark.parametrize(
        ("labels", "scores", "expected"),
        [
            pytest.param([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 1.0, id="separated"),
            pytest.param([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 0.0, id="reversed"),
            pytest.param([0, 1, 0, 1], [0.2, 0.5, 0.5, 0.8], 0.875, id="one-tie-of-four-pairs"),
            pytest.param([0, 1, 1], [0.5, 0.5, 0.5], 0.5, id="all-tied"),
            pytest.param([0, 1, 0], [0.1, 0.2, 0.3], 0.5, id="one-of-two-pairs"),
        ],
    )
    def test_by_hand(self, labels, scores, expected):
        assert auroc(np.array(labels), np.array(scores)) == pytest.approx(expected)

    def test_is_the_share_of_ordered_pairs(self):
        rng = np.random.default_rng(0)
        labels, scores = rng.random(60) < 0.4, rng.integers(0, 8, 60)
        difference = scores[labels][:, None] - scores[~labels][None, :]
        assert auroc(labels, scores) == pytest.approx(((difference > 0) + (difference == 0) / 2).mean())

    @pytest.mark.parametrize("labels", [[0, 0], [1, 1], []], ids=["negatives", "positives", "nothing"])
    def test_one_class_has_none(self, labels):
        assert auroc(np.array(labels), np.zeros(len(labels))) is None


class TestAveragePrecision:
    @pytest.mark.parametrize(
        ("labels", "scores", "expected"),
        [
            pytest.param([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6], (1 + 2 / 3) / 2, id="two-steps"),
            pytest.param([0, 1], [0.9, 0.8], 0.5, id="second-place"),
            pytest.param([1, 0, 1], [0.5, 0.5, 0.5], 2 / 3, id="all-tied-is-the-prevalence"),
            pytest.param([0, 1, 1], [0.5, 0.5, 0.9], (1 + 2 / 3) / 2, id="tie-taken-together"),
            pytest.param([1, 1], [0.1, 0.2], 1.0, id="only-positives"),
        ],
    )
    def test_by_hand(self, labels, scores, expected):
        assert average_precision(np.array(labels), np.array(scores)) == pytest.approx(expected)

    def test_order_within_a_tie_does_not_matter(self):
        labels, scores = np.array([1, 0, 0, 1]), np.array([0.5, 0.5, 0.5, 0.1])
        assert average_precision(labels, scores) == average_precision(labels[[2, 1, 0, 3]], scores)

    def test_no_positive_has_none(self):
        assert average_precision(np.array([0, 0]), np.array([0.1, 0.2])) is None


class TestMacroAuroc:
    def test_is_the_mean_over_classes(self):
        labels = np.array([0, 1, 2])
        probabilities = np.array([[0.6, 0.2, 0.2], [0.3, 0.3, 0.4], [0.1, 0.4, 0.5]])
        assert macro_auroc(labels, probabilities) == pytest.approx((1 + 0.5 + 1) / 3)

    def test_an_absent_class_has_none(self):
        assert macro_auroc(np.array([0, 1]), np.full((2, 3), 1 / 3)) is None


class TestRates:
    LABELS = np.array([1, 1, 1, 0, 0])
    DECISIONS = np.array([1, 1, 0, 1, 0])

    def test_sensitivity_by_hand(self):
        assert sensitivity(self.LABELS, self.DECISIONS) == pytest.approx(2 / 3)

    def test_specificity_by_hand(self):
        assert specificity(self.LABELS, self.DECISIONS) == pytest.approx(1 / 2)

    def test_without_their_class_there_is_none(self):
        assert sensitivity(np.array([0, 0]), np.array([0, 1])) is None
        assert specificity(np.array([1, 1]), np.array([0, 1])) is None


class TestProbabilities:
    def test_brier_score_by_hand(self):
        # (0.2² + 0.3² + 0.6²) / 3
        assert brier_score(np.array([1, 0, 1]), np.array([0.8, 0.3, 0.4])) == pytest.approx(0.49 / 3)

    @pytest.mark.parametrize(
        ("labels", "probabilities", "expected"), [([1, 0], [1, 0], 0), ([1, 0], [0, 1], 1), ([1, 0], [0.5, 0.5], 0.25)]
    )
    def test_brier_score_at_its_ends(self, labels, probabilities, expected):
        assert brier_score(np.array(labels), np.array(probabilities)) == expected

    def test_log_loss_by_hand(self):
        loss = log_loss(np.array([1, 0]), np.array([0.5, 0.75]))
        assert loss == pytest.approx((np.log(2) + np.log(4)) / 2)

    def test_log_loss_of_a_certain_error_is_finite(self):
        assert log_loss(np.array([1]), np.array([0.0])) == pytest.approx(12 * np.log(10))


class TestExpectedCalibrationError:
    OUTCOMES = np.array([0, 1, 1, 1])
    CONFIDENCES = np.array([0.2, 0.4, 0.7, 0.9])

    @pytest.mark.parametrize(
        ("bins", "expected"),
        [
            pytest.param(1, 0.2, id="one-bin"),  # |0.55 - 0.75|
            pytest.param(2, 0.2, id="two-bins"),  # (2 * |0.3 - 0.5| + 2 * |0.8 - 1|) / 4
            pytest.param(3, 0.2, id="unequal-bins"),  # (2 * |0.3 - 0.5| + |0.7 - 1| + |0.9 - 1|) / 4
            pytest.param(4, 0.3, id="a-bin-an-image"),  # (0.2 + 0.6 + 0.3 + 0.1) / 4
            pytest.param(15, 0.3, id="more-bins-than-images"),
        ],
    )
    def test_by_hand(self, bins, expected):
        assert expected_calibration_error(self.OUTCOMES, self.CONFIDENCES, bins=bins) == pytest.approx(expected)

    def test_errors_of_two_bins_do_not_cancel(self):
        outcomes, confidences = np.array([1, 1, 0, 0]), np.array([0.2, 0.2, 0.8, 0.8])
        assert expected_calibration_error(outcomes, confidences, bins=1) == pytest.approx(0)
        assert expected_calibration_error(outcomes, confidences, bins=2) == pytest.approx(0.8)

    def test_order_of_the_images_does_not_matter(self):
        turned = expected_calibration_error(self.OUTCOMES[::-1], self.CONFIDENCES[::-1], bins=2)
        assert turned == pytest.approx(expected_calibration_error(self.OUTCOMES, self.CONFIDENCES, bins=2))


class TestBootstrap:
    VALUES = np.arange(20.0)

    def mean(self, indices):
        return float(self.VALUES[indices].mean())

    def test_value_is_that_of_all_images_and_lies_in_its_interval(self):
        estimate = bootstrap(self.mean, [str(i) for i in range(20)], samples=200)
        assert (estimate.value, estimate.n, estimate.reason) == (9.5, 20, None)
        assert estimate.ci_low < 9.5 < estimate.ci_high

    def test_interval_is_near_the_normal_one(self):
        estimate = bootstrap(self.mean, [str(i) for i in range(20)])
        half = 1.96 * self.VALUES.std() / np.sqrt(20)
        assert (estimate.ci_low, estimate.ci_high) == pytest.approx((9.5 - half, 9.5 + half), abs=0.3)

    def test_one_patient_has_no_spread(self):
        estimate = bootstrap(self.mean, ["a"] * 20, samples=50)
        assert estimate.ci_low == estimate.ci_high == 9.5

    def test_images_of_a_patient_are_drawn_together(self):
        groups = np.array(["a", "b", "a", "b"])

        def together(indices):
            counts = np.bincount(indices, minlength=4)
            return float(counts[0] == counts[2] and counts[1] == counts[3])

        assert bootstrap(together, groups, samples=50).ci_low == 1

    def test_same_seed_gives_the_same_interval(self):
        groups = [str(i) for i in range(20)]
        first, again, other = (bootstrap(self.mean, groups, samples=50, seed=seed) for seed in (3, 3, 4))
        assert first == again
        assert first != other

    def test_no_images_have_no_figure(self):
        estimate = bootstrap(self.mean, [])
        assert (estimate.value, estimate.ci_low, estimate.n, estimate.reason) == (None, None, 0, "no images")

    def test_undefined_on_all_images_is_explained(self):
        estimate = bootstrap(lambda _indices: None, ["a", "b"])
        assert estimate.value is None
        assert "one class" in estimate.reason

    def test_too_few_defined_resamples_give_a_value_without_an_interval(self):
        def defined_once(indices):
            return 1.0 if len(set(indices)) == 4 else None  # 9 % of resamples hold all four

        estimate = bootstrap(defined_once, ["a", "b", "c", "d"], samples=100)
        assert (estimate.value, estimate.ci_low, estimate.ci_high) == (1.0, None, None)
        assert "too few patients" in estimate.reason
