"""Figures of merit: scikit-learn is the oracle where it has them; the others by hand. A weight is a repeat."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from detector.statistics import merit

RNG = np.random.default_rng(7)
COUNT = 60
LABELS = RNG.random(COUNT) < 0.4
SCORES = np.round(np.clip(0.3 * LABELS + 0.7 * RNG.random(COUNT), 0.01, 0.99), 1)  # one decimal: many ties
OTHERS = np.round(RNG.random(COUNT), 2)
CALLED = SCORES > 0.5
TRUTH = RNG.integers(0, 3, COUNT)
THREE = RNG.dirichlet([1, 1, 1], COUNT)
CHOSEN = THREE.argmax(axis=1)
WEIGHTS = RNG.integers(0, 4, (5, COUNT)).astype(float)
WEIGHTS[4] = 1


def once(of, *args, **options):
    """A figure of a cohort as it is."""
    return of(*(np.asarray(a) for a in args), np.ones((1, len(args[0]))), **options)[0]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda w: merit.auroc(LABELS, SCORES, w), lambda w: oracle.roc_auc_score(LABELS, SCORES, sample_weight=w)),
        (
            lambda w: merit.average_precision(LABELS, SCORES, w),
            lambda w: oracle.average_precision_score(LABELS, SCORES, sample_weight=w),
        ),
        (
            lambda w: merit.macro_auroc(TRUTH, THREE, w),
            lambda w: oracle.roc_auc_score(np.eye(3)[TRUTH], THREE, sample_weight=w),
        ),
        (
            lambda w: merit.precision(LABELS, CALLED, w),
            lambda w: oracle.precision_score(LABELS, CALLED, sample_weight=w),
        ),
        (lambda w: merit.f1(LABELS, CALLED, w), lambda w: oracle.f1_score(LABELS, CALLED, sample_weight=w)),
        (
            lambda w: merit.lowest_recall(TRUTH, CHOSEN, w, 3),
            lambda w: min(oracle.recall_score(TRUTH, CHOSEN, sample_weight=w, average=None)),
        ),
        (
            lambda w: merit.kappa(TRUTH, CHOSEN, w),
            lambda w: oracle.cohen_kappa_score(TRUTH, CHOSEN, sample_weight=w),
        ),
        (
            lambda w: merit.share((SCORES - LABELS) ** 2, w),
            lambda w: oracle.brier_score_loss(LABELS, SCORES, sample_weight=w),
        ),
        (lambda w: merit.median(SCORES, w), lambda w: np.median(np.repeat(SCORES, w.astype(int)))),
        (
            lambda w: merit.expected_calibration_error(LABELS, SCORES, w),
            lambda w: once(merit.expected_calibration_error, *(np.repeat(x, w.astype(int)) for x in (LABELS, SCORES))),
        ),
    ],
    ids=["auroc", "auprc", "macro auroc", "precision", "f1", "lowest recall", "kappa", "brier", "median", "ece"],
)
def test_equals_the_oracle_in_each_resample(ours, theirs):
    np.testing.assert_allclose(ours(WEIGHTS), [theirs(row) for row in WEIGHTS], atol=1e-12)


def test_roc_curve_is_the_oracles():
    false, true, _ = oracle.roc_curve(LABELS, SCORES, sample_weight=WEIGHTS[0], drop_intermediate=False)
    places = np.unique(false)
    steep = [true[false == place].max() for place in places]
    np.testing.assert_allclose(merit.roc(LABELS, SCORES, WEIGHTS[:1], places)[0], steep, atol=1e-12)


def test_nothing_drawn_is_undefined_and_not_zero():
    nothing = np.zeros((1, COUNT))
    for values in (
        merit.auroc(LABELS, SCORES, nothing),
        merit.average_precision(LABELS, SCORES, nothing),
        merit.share(LABELS, nothing),
        merit.median(SCORES, nothing),
        merit.kappa(TRUTH, CHOSEN, nothing),
        merit.expected_calibration_error(LABELS, SCORES, nothing),
        merit.sensitivity_at_specificity(LABELS, SCORES, nothing, 0.9),
    ):
        assert np.isnan(values).all()


def test_median_of_no_images_is_undefined():
    assert np.isnan(merit.median(np.array([]), np.ones((2, 0)))).all()


class TestAuroc:
    @pytest.mark.parametrize(
        ("labels", "scores", "expected"),
        [
            pytest.param([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 1.0, id="separated"),
            pytest.param([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 0.0, id="reversed"),
            pytest.param([0, 1, 0, 1], [0.2, 0.5, 0.5, 0.8], 0.875, id="one-tie-of-four-pairs"),
            pytest.param([0, 1, 1], [0.5, 0.5, 0.5], 0.5, id="all-tied"),
        ],
    )
    def test_by_hand(self, labels, scores, expected):
        assert once(merit.auroc, labels, scores) == pytest.approx(expected)

    @pytest.mark.parametrize("labels", [[0, 0], [1, 1], []], ids=["negatives", "positives", "nothing"])
    def test_one_class_has_none(self, labels):
        assert np.isnan(once(merit.auroc, labels, np.zeros(len(labels))))

    def test_an_absent_class_has_no_macro(self):
        assert np.isnan(once(merit.macro_auroc, [0, 1], np.full((2, 3), 1 / 3)))


class TestAurocDifference:
    def test_is_the_difference_in_the_same_resample(self):
        found = merit.auroc_difference(LABELS, SCORES, OTHERS, WEIGHTS)
        expected = merit.auroc(LABELS, SCORES, WEIGHTS) - merit.auroc(LABELS, OTHERS, WEIGHTS)
        np.testing.assert_array_equal(found, expected)

    def test_its_interval_is_near_delongs(self):
        from functools import partial

        from detector.statistics.bootstrap import Resampling, Statistic

        rng = np.random.default_rng(3)
        labels = rng.random(300) < 0.5
        first, second = (labels + rng.normal(0, spread, 300) for spread in (1.0, 1.3))
        measure = Statistic(partial(merit.auroc_difference, labels, first, second))
        found = Resampling([str(i) for i in range(300)]).estimates({"difference": measure})["difference"]
        half = 1.96 * delong_error(labels, first, second)
        assert (found.ci_low, found.ci_high) == pytest.approx((found.value - half, found.value + half), abs=0.01)


def delong_error(labels, first, second):
    """Standard error of the difference of two AUROCs on the same images (DeLong et al. 1988)."""
    parts = []
    for scores in (first, second):
        above = (scores[labels][:, None] > scores[~labels][None, :]).astype(float)
        parts.append((above.mean(axis=1), above.mean(axis=0)))
    positives, negatives = (np.var(parts[0][k] - parts[1][k], ddof=1) for k in (0, 1))
    return np.sqrt(positives / labels.sum() + negatives / (~labels).sum())


class TestAveragePrecision:
    @pytest.mark.parametrize(
        ("labels", "scores", "expected"),
        [
            pytest.param([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6], (1 + 2 / 3) / 2, id="two-steps"),
            pytest.param([1, 0, 1], [0.5, 0.5, 0.5], 2 / 3, id="all-tied-is-the-prevalence"),
            pytest.param([0, 1, 1], [0.5, 0.5, 0.9], (1 + 2 / 3) / 2, id="tie-taken-together"),
            pytest.param([1, 1], [0.1, 0.2], 1.0, id="only-positives"),
        ],
    )
    def test_by_hand(self, labels, scores, expected):
        assert once(merit.average_precision, labels, scores) == pytest.approx(expected)

    def test_no_positive_has_none(self):
        assert np.isnan(once(merit.average_precision, [0, 0], [0.1, 0.2]))


class TestKappa:
    def test_by_hand(self):
        # 35 of 50 agreed; by chance 0.5 · 0.6 + 0.5 · 0.4: (0.7 - 0.5) / 0.5
        first = np.repeat(["a", "a", "b", "b"], [20, 5, 10, 15])
        second = np.repeat(["a", "b", "a", "b"], [20, 5, 10, 15])
        assert once(merit.kappa, first, second) == pytest.approx(0.4)

    def test_readers_who_name_one_class_agree_by_chance_alone(self):
        assert np.isnan(once(merit.kappa, ["a", "a"], ["a", "a"]))


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
        found = once(merit.expected_calibration_error, self.OUTCOMES, self.CONFIDENCES, bins=bins)
        assert found == pytest.approx(expected)

    def test_errors_of_two_bins_do_not_cancel(self):
        outcomes, confidences = [1, 1, 0, 0], [0.2, 0.2, 0.8, 0.8]
        one, two = (once(merit.expected_calibration_error, outcomes, confidences, bins=bins) for bins in (1, 2))
        assert (one, two) == (pytest.approx(0), pytest.approx(0.8))


class TestSensitivityAtSpecificity:
    def test_by_hand(self):
        labels, scores = np.array([1, 1, 0, 1, 0, 0, 0, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
        once = np.ones((1, 8))
        assert merit.sensitivity_at_specificity(labels, scores, once, 1.0) == pytest.approx(2 / 3)
        assert merit.sensitivity_at_specificity(labels, scores, once, 0.8) == pytest.approx(1)  # one false alarm of 5

    def test_a_tie_of_both_classes_is_taken_whole_or_not_at_all(self):
        labels, scores = np.array([1, 0, 0]), np.array([0.5, 0.5, 0.1])
        assert merit.sensitivity_at_specificity(labels, scores, np.ones((1, 3)), 0.9) == 0

    def test_without_negatives_there_is_none(self):
        assert np.isnan(merit.sensitivity_at_specificity(np.array([1]), np.array([0.5]), np.ones((1, 1)), 0.9))


class TestCurves:
    def test_area_below_the_roc_is_the_auroc(self):
        places = np.linspace(0, 1, 20001)
        curve = merit.roc(LABELS, SCORES, WEIGHTS, places)
        np.testing.assert_allclose(np.trapezoid(curve, places, axis=1), merit.auroc(LABELS, SCORES, WEIGHTS), atol=1e-4)

    def test_roc_begins_at_what_no_false_alarm_allows_and_ends_at_one(self):
        curve = merit.roc(np.array([1, 0, 1]), np.array([0.9, 0.5, 0.1]), np.ones((1, 3)), np.array([0, 0.5, 1]))
        np.testing.assert_allclose(curve, [[0.5, 0.5, 1]])

    def test_precision_at_recall_by_hand(self):
        labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6])
        curve = merit.precision_at_recall(labels, scores, np.ones((1, 4)), np.array([0.5, 0.6, 1]))
        np.testing.assert_allclose(curve, [[1, 2 / 3, 2 / 3]])

    def test_error_at_coverage_by_hand(self):
        wrong, margin = np.array([0, 0, 1, 1]), np.array([4.0, 3, 2, 1])
        curve = merit.error_at_coverage(wrong, margin, np.ones((1, 4)), np.array([0.5, 0.75, 1]))
        np.testing.assert_allclose(curve, [[0, 1 / 3, 1 / 2]])

    def test_equal_margins_share_the_error_whatever_their_order(self):
        for wrong in ([1, 0], [0, 1]):
            curve = merit.error_at_coverage(np.array(wrong), np.ones(2), np.ones((1, 2)), np.array([0.5]))
            assert curve == pytest.approx(0.5)

    def test_net_benefit_by_hand(self):
        labels, scores = np.array([1, 0, 0, 0]), np.array([0.9, 0.6, 0.3, 0.1])
        curve = merit.net_benefit(labels, scores, np.ones((1, 4)), np.array([0.2, 0.5]))
        np.testing.assert_allclose(curve, [[1 / 4 - 2 / 4 * 0.25, 1 / 4 - 1 / 4]])


class TestRecalibration:
    ODDS = RNG.normal(0, 2, 4000)
    OUTCOMES = RNG.random(4000) < 1 / (1 + np.exp(-ODDS))
    ALL = np.ones((1, 4000))

    def test_calibrated_log_odds_have_slope_one_and_intercept_zero(self):
        assert merit.calibration_slope(self.OUTCOMES, self.ODDS, self.ALL) == pytest.approx(1, abs=0.1)
        assert merit.calibration_intercept(self.OUTCOMES, self.ODDS, self.ALL) == pytest.approx(0, abs=0.1)

    def test_slope_undoes_a_factor_and_intercept_a_shift_exactly(self):
        slope = merit.calibration_slope(self.OUTCOMES, self.ODDS, self.ALL)
        assert merit.calibration_slope(self.OUTCOMES, self.ODDS * 2, self.ALL) == pytest.approx(slope / 2)
        shift = merit.calibration_intercept(self.OUTCOMES, self.ODDS, self.ALL)
        assert merit.calibration_intercept(self.OUTCOMES, self.ODDS - 1, self.ALL) == pytest.approx(shift + 1)

    def test_intercept_makes_the_mean_right(self):
        shift = merit.calibration_intercept(self.OUTCOMES, self.ODDS - 3, self.ALL)[0]
        assert np.mean(1 / (1 + np.exp(-(self.ODDS - 3 + shift)))) == pytest.approx(self.OUTCOMES.mean())

    def test_two_classes_of_a_softmax_have_the_slope_of_their_log_odds_without_an_intercept(self):
        logits = np.stack([self.ODDS, np.zeros_like(self.ODDS)], axis=1) * 3
        truth = np.where(self.OUTCOMES, 0, 1)
        slope = merit.softmax_slope(truth, logits, self.ALL)[0]
        chance = 1 / (1 + np.exp(-slope * logits[:, 0]))
        assert np.sum((self.OUTCOMES - chance) * logits[:, 0]) == pytest.approx(0, abs=1e-3)  # the score equation
        assert slope == pytest.approx(1 / 3, abs=0.05)

    @pytest.mark.parametrize("outcomes", [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], ids=["separated", "ones", "zeros"])
    def test_outcomes_without_a_finite_slope_have_none(self, outcomes):
        odds = np.array([-2.0, -1, 1, 2])
        assert np.isnan(merit.calibration_slope(np.array(outcomes), odds, np.ones((1, 4)))).all()

    def test_separated_classes_of_a_softmax_have_none(self):
        assert np.isnan(merit.softmax_slope(np.array([0, 1]), 5 * np.eye(2), np.ones((1, 2)))).all()

    def test_a_resample_that_is_separated_does_not_spoil_its_neighbour(self):
        odds, outcomes = np.array([-2.0, -1, 1, 2]), np.array([0, 1, 0, 1])
        weights = np.array([[1.0, 1, 1, 1], [1, 0, 0, 1]])
        slopes = merit.calibration_slope(outcomes, odds, weights)
        assert np.isfinite(slopes[0])
        assert np.isnan(slopes[1])


class TestDecisions:
    TRUTH = np.array([0, 0, 1, 2])
    CHOSEN = np.array([0, 1, 1, 1])
    ONCE = np.ones((1, 4))

    def test_precision_and_f1_by_hand(self):
        assert merit.precision(self.TRUTH == 1, self.CHOSEN == 1, self.ONCE) == pytest.approx(1 / 3)
        assert merit.f1(self.TRUTH == 1, self.CHOSEN == 1, self.ONCE) == pytest.approx(2 / 4)

    def test_a_class_never_chosen_has_no_precision_and_counts_as_zero(self):
        assert merit.precision(self.TRUTH == 2, self.CHOSEN == 2, self.ONCE) == 0

    def test_lowest_recall_is_that_of_the_worst_class(self):
        assert merit.lowest_recall(self.TRUTH, self.CHOSEN, self.ONCE, 3) == 0
        assert merit.lowest_recall(self.TRUTH[:3], self.CHOSEN[:3], self.ONCE[:, :3], 2) == pytest.approx(1 / 2)

    def test_an_absent_class_leaves_none(self):
        assert np.isnan(merit.lowest_recall(self.TRUTH[:3], self.CHOSEN[:3], self.ONCE[:, :3], 3)).all()
