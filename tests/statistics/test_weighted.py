"""Weights are repeats: each measure of weights equals the plain measure of images that stand there so many times."""

import numpy as np
import pytest

from detector.statistics import metrics, weighted

RNG = np.random.default_rng(7)
COUNT = 60
LABELS = RNG.random(COUNT) < 0.4
SCORES = np.round(np.clip(0.3 * LABELS + 0.7 * RNG.random(COUNT), 0.01, 0.99), 1)  # one decimal: many ties
TRUTH = RNG.integers(0, 3, COUNT)
THREE = RNG.dirichlet([1, 1, 1], COUNT)
WEIGHTS = RNG.integers(0, 4, (5, COUNT)).astype(float)
WEIGHTS[4] = 1
ONCE = np.ones((1, COUNT))


def repeats(row):
    return np.repeat(np.arange(COUNT), row.astype(int))


@pytest.mark.parametrize(
    ("of", "plain"),
    [
        (lambda w: weighted.auroc(LABELS, SCORES, w), lambda i: metrics.auroc(LABELS[i], SCORES[i])),
        (
            lambda w: weighted.average_precision(LABELS, SCORES, w),
            lambda i: metrics.average_precision(LABELS[i], SCORES[i]),
        ),
        (lambda w: weighted.macro_auroc(TRUTH, THREE, w), lambda i: metrics.macro_auroc(TRUTH[i], THREE[i])),
        (
            lambda w: weighted.expected_calibration_error(LABELS, SCORES, w),
            lambda i: metrics.expected_calibration_error(LABELS[np.sort(i)], SCORES[np.sort(i)]),
        ),
        (lambda w: weighted.share(LABELS, w), lambda i: LABELS[i].mean()),
    ],
    ids=["auroc", "average precision", "macro auroc", "ece", "share"],
)
def test_a_weight_is_a_repeat(of, plain):
    np.testing.assert_allclose(of(WEIGHTS), [plain(repeats(row)) for row in WEIGHTS], atol=1e-12)


def test_nothing_drawn_is_undefined_and_not_zero():
    nothing = np.zeros((1, COUNT))
    for values in (
        weighted.auroc(LABELS, SCORES, nothing),
        weighted.average_precision(LABELS, SCORES, nothing),
        weighted.share(LABELS, nothing),
        weighted.expected_calibration_error(LABELS, SCORES, nothing),
        weighted.sensitivity_at_specificity(LABELS, SCORES, nothing, 0.9),
    ):
        assert np.isnan(values).all()


class TestSensitivityAtSpecificity:
    def test_by_hand(self):
        labels, scores = np.array([1, 1, 0, 1, 0, 0, 0, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
        once = np.ones((1, 8))
        assert weighted.sensitivity_at_specificity(labels, scores, once, 1.0) == pytest.approx(2 / 3)
        assert weighted.sensitivity_at_specificity(labels, scores, once, 0.8) == pytest.approx(
            1
        )  # one false alarm of 5

    def test_a_tie_of_both_classes_is_taken_whole_or_not_at_all(self):
        labels, scores = np.array([1, 0, 0]), np.array([0.5, 0.5, 0.1])
        assert weighted.sensitivity_at_specificity(labels, scores, np.ones((1, 3)), 0.9) == 0

    def test_without_negatives_there_is_none(self):
        assert np.isnan(weighted.sensitivity_at_specificity(np.array([1]), np.array([0.5]), np.ones((1, 1)), 0.9))


class TestCurves:
    def test_area_below_the_roc_is_the_auroc(self):
        places = np.linspace(0, 1, 20001)
        curve = weighted.roc(LABELS, SCORES, WEIGHTS, places)
        np.testing.assert_allclose(
            np.trapezoid(curve, places, axis=1), weighted.auroc(LABELS, SCORES, WEIGHTS), atol=1e-4
        )

    def test_roc_begins_at_what_no_false_alarm_allows_and_ends_at_one(self):
        curve = weighted.roc(np.array([1, 0, 1]), np.array([0.9, 0.5, 0.1]), np.ones((1, 3)), np.array([0, 0.5, 1]))
        np.testing.assert_allclose(curve, [[0.5, 0.5, 1]])

    def test_precision_at_recall_by_hand(self):
        labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6])
        curve = weighted.precision_at_recall(labels, scores, np.ones((1, 4)), np.array([0.5, 0.6, 1]))
        np.testing.assert_allclose(curve, [[1, 2 / 3, 2 / 3]])

    def test_error_at_coverage_by_hand(self):
        wrong, margin = np.array([0, 0, 1, 1]), np.array([4.0, 3, 2, 1])
        curve = weighted.error_at_coverage(wrong, margin, np.ones((1, 4)), np.array([0.5, 0.75, 1]))
        np.testing.assert_allclose(curve, [[0, 1 / 3, 1 / 2]])

    def test_equal_margins_share_the_error_whatever_their_order(self):
        for wrong in ([1, 0], [0, 1]):
            curve = weighted.error_at_coverage(np.array(wrong), np.ones(2), np.ones((1, 2)), np.array([0.5]))
            assert curve == pytest.approx(0.5)

    def test_net_benefit_by_hand(self):
        labels, scores = np.array([1, 0, 0, 0]), np.array([0.9, 0.6, 0.3, 0.1])
        curve = weighted.net_benefit(labels, scores, np.ones((1, 4)), np.array([0.2, 0.5]))
        np.testing.assert_allclose(curve, [[1 / 4 - 2 / 4 * 0.25, 1 / 4 - 1 / 4]])


class TestRecalibration:
    ODDS = RNG.normal(0, 2, 4000)
    OUTCOMES = RNG.random(4000) < 1 / (1 + np.exp(-ODDS))
    ALL = np.ones((1, 4000))

    def test_calibrated_log_odds_have_slope_one_and_intercept_zero(self):
        assert weighted.calibration_slope(self.OUTCOMES, self.ODDS, self.ALL) == pytest.approx(1, abs=0.1)
        assert weighted.calibration_intercept(self.OUTCOMES, self.ODDS, self.ALL) == pytest.approx(0, abs=0.1)

    def test_slope_undoes_a_factor_and_intercept_a_shift_exactly(self):
        slope = weighted.calibration_slope(self.OUTCOMES, self.ODDS, self.ALL)
        assert weighted.calibration_slope(self.OUTCOMES, self.ODDS * 2, self.ALL) == pytest.approx(slope / 2)
        shift = weighted.calibration_intercept(self.OUTCOMES, self.ODDS, self.ALL)
        assert weighted.calibration_intercept(self.OUTCOMES, self.ODDS - 1, self.ALL) == pytest.approx(shift + 1)

    def test_intercept_makes_the_mean_right(self):
        shift = weighted.calibration_intercept(self.OUTCOMES, self.ODDS - 3, self.ALL)[0]
        assert np.mean(1 / (1 + np.exp(-(self.ODDS - 3 + shift)))) == pytest.approx(self.OUTCOMES.mean())

    def test_two_classes_of_a_softmax_have_the_slope_of_their_log_odds_without_an_intercept(self):
        logits = np.stack([self.ODDS, np.zeros_like(self.ODDS)], axis=1) * 3
        truth = np.where(self.OUTCOMES, 0, 1)
        slope = weighted.softmax_slope(truth, logits, self.ALL)[0]
        chance = 1 / (1 + np.exp(-slope * logits[:, 0]))
        assert np.sum((self.OUTCOMES - chance) * logits[:, 0]) == pytest.approx(0, abs=1e-3)  # the score equation
        assert slope == pytest.approx(1 / 3, abs=0.05)

    @pytest.mark.parametrize("outcomes", [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], ids=["separated", "ones", "zeros"])
    def test_outcomes_without_a_finite_slope_have_none(self, outcomes):
        odds = np.array([-2.0, -1, 1, 2])
        assert np.isnan(weighted.calibration_slope(np.array(outcomes), odds, np.ones((1, 4)))).all()

    def test_separated_classes_of_a_softmax_have_none(self):
        assert np.isnan(weighted.softmax_slope(np.array([0, 1]), 5 * np.eye(2), np.ones((1, 2)))).all()

    def test_a_resample_that_is_separated_does_not_spoil_its_neighbour(self):
        odds, outcomes = np.array([-2.0, -1, 1, 2]), np.array([0, 1, 0, 1])
        weights = np.array([[1.0, 1, 1, 1], [1, 0, 0, 1]])
        slopes = weighted.calibration_slope(outcomes, odds, weights)
        assert np.isfinite(slopes[0])
        assert np.isnan(slopes[1])


class TestDecisions:
    TRUTH = np.array([0, 0, 1, 2])
    CHOSEN = np.array([0, 1, 1, 1])
    ONCE = np.ones((1, 4))

    def test_precision_and_f1_by_hand(self):
        assert weighted.precision(self.TRUTH == 1, self.CHOSEN == 1, self.ONCE) == pytest.approx(1 / 3)
        assert weighted.f1(self.TRUTH == 1, self.CHOSEN == 1, self.ONCE) == pytest.approx(2 / 4)

    def test_a_class_never_chosen_has_no_precision_and_counts_as_zero(self):
        assert weighted.precision(self.TRUTH == 2, self.CHOSEN == 2, self.ONCE) == 0

    def test_lowest_recall_is_that_of_the_worst_class(self):
        assert weighted.lowest_recall(self.TRUTH, self.CHOSEN, self.ONCE, 3) == 0
        assert weighted.lowest_recall(self.TRUTH[:3], self.CHOSEN[:3], self.ONCE[:, :3], 2) == pytest.approx(1 / 2)

    def test_an_absent_class_leaves_none(self):
        assert np.isnan(weighted.lowest_recall(self.TRUTH[:3], self.CHOSEN[:3], self.ONCE[:, :3], 3)).all()
