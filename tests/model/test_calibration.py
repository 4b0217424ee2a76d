import numpy as np
import pytest

from detector.errors import NonFiniteError
from detector.model.calibration import (
    BALANCED,
    SENSITIVE,
    SPECIFIC,
    Calibration,
    decide,
    fit_band,
    fit_operating_points,
    fit_temperature,
    margins,
)
from detector.schema import BINARY, COVID19, NORMAL, THREE_CLASS, OperatingPoint

POINTS = {
    BALANCED: OperatingPoint(BALANCED, 0.5, 0.9, 0.9, "made up"),
    SENSITIVE: OperatingPoint(SENSITIVE, 0.1, 0.99, 0.6, "made up"),
}


def calibration(*, binary_temperature=1.0, three_class_temperature=1.0, band=0.0):
    return Calibration(
        temperatures={"binary": binary_temperature, "three_class": three_class_temperature},
        operating_points=POINTS,
        bands={"binary": band, "three_class": band},
    )


class TestProbabilities:
    @pytest.mark.parametrize(
        ("logit", "temperature", "expected"),
        [(0, 1, 0.5), (np.log(3), 1, 0.75), (2 * np.log(3), 2, 0.75), (-np.log(3), 1, 0.25)],
        ids=["even", "three-to-one", "cooled", "against"],
    )
    def test_binary_by_hand(self, logit, temperature, expected):
        probabilities = calibration(binary_temperature=temperature).probabilities(BINARY, np.array([logit]))
        np.testing.assert_allclose(probabilities, [expected, 1 - expected])

    def test_three_class_by_hand(self):
        logits = 2 * np.log([1, 2, 5])
        probabilities = calibration(three_class_temperature=2).probabilities(THREE_CLASS, logits)
        np.testing.assert_allclose(probabilities, [1 / 8, 2 / 8, 5 / 8])

    @pytest.mark.parametrize("logit", [1e4, -1e4])
    def test_huge_logits_do_not_overflow(self, logit):
        for task in (BINARY, THREE_CLASS):
            probabilities = calibration().probabilities(task, np.eye(1, task.logits) * logit)
            assert np.isfinite(probabilities).all()
            assert probabilities.sum() == pytest.approx(1)

    def test_a_batch_gives_what_its_rows_give(self):
        logits = np.random.default_rng(0).normal(size=(4, 3))
        rows = [calibration().probabilities(THREE_CLASS, row) for row in logits]
        np.testing.assert_allclose(calibration().probabilities(THREE_CLASS, logits), rows)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_has_no_probability(self, value):
        with pytest.raises(NonFiniteError):
            calibration().probabilities(THREE_CLASS, np.array([0, value, 0]))


def test_decide_takes_the_largest_of_three():
    decisions = decide(THREE_CLASS, np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]), None)
    np.testing.assert_array_equal(decisions, [NORMAL, COVID19])


def test_margins_are_log_ratios():
    binary = margins(BINARY, np.array([[0.75, 0.25], [0.5, 0.5]]), 0.5)
    np.testing.assert_allclose(binary, [np.log(3), 0], atol=1e-12)
    np.testing.assert_allclose(margins(THREE_CLASS, np.array([[0.2, 0.2, 0.6]]), None), [np.log(3)])


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_margin_of_a_certain_answer_is_finite(probability):
    assert np.isfinite(margins(BINARY, np.array([[probability, 1 - probability]]), 0.5)).all()


class TestFitTemperature:
    def test_binary_by_hand(self):
        # Logits of 2 ln 3 claim 90 %, but 75 % are right: sigmoid(2 ln 3 / T) = 3/4 at T = 2.
        logits, truth = np.full((4, 1), 2 * np.log(3)), np.array([0, 0, 0, 1])
        assert fit_temperature(BINARY, logits, truth) == pytest.approx(2, rel=0.005)

    def test_three_class_by_hand(self):
        # exp(3 ln 2 / T) / (exp(3 ln 2 / T) + 2) = 1/2 at T = 3.
        logits, truth = np.tile([3 * np.log(2), 0, 0], (4, 1)), np.array([0, 0, 1, 2])
        assert fit_temperature(THREE_CLASS, logits, truth) == pytest.approx(3, rel=0.005)

    def test_faultless_logits_are_sharpened_to_the_end_of_the_search(self):
        assert fit_temperature(BINARY, np.array([[1.0], [-1.0]]), np.array([0, 1])) == pytest.approx(0.2)

    def test_contradicted_logits_are_flattened_to_the_end_of_the_search(self):
        assert fit_temperature(BINARY, np.array([[9.0], [-9.0]]), np.array([1, 0])) == pytest.approx(5)


class TestFitOperatingPoints:
    LABELS = np.array([0, 0, 0, 1, 0, 1])
    PROBABILITIES = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8])

    @pytest.mark.parametrize(
        ("name", "threshold", "sensitivity", "specificity"),
        [
            # In the middle of the gap in log-odds: odds of sqrt(3/7 * 2/3) and of sqrt(3/2 * 4).
            pytest.param(BALANCED, 0.348331, 1.0, 0.75, id="largest-youden-index"),  # 0.75, against 0.5 at 0.7
            pytest.param(SENSITIVE, 0.348331, 1.0, 0.75, id="sensitive"),
            pytest.param(SPECIFIC, 0.710102, 0.5, 1.0, id="specific"),
        ],
    )
    def test_by_hand(self, name, threshold, sensitivity, specificity):
        point = fit_operating_points(self.LABELS, self.PROBABILITIES, "validation")[name]
        assert (point.name, point.cohort) == (name, "validation")
        measured = (point.threshold, point.sensitivity, point.specificity)
        assert measured == pytest.approx((threshold, sensitivity, specificity), abs=1e-6)

    def test_of_gaps_that_are_equally_good_the_widest_is_taken(self):
        # Sensitivity + specificity is 1.5 between 0.2 and 0.3, and again between 0.4 and 0.8: odds of sqrt(2/3 * 4).
        point = fit_operating_points(np.array([0, 1, 0, 1]), np.array([0.2, 0.3, 0.4, 0.8]), "x")[BALANCED]
        assert point.threshold == pytest.approx(0.620204, abs=1e-6)

    def test_logits_of_another_runtime_decide_alike(self):
        rng = np.random.default_rng(0)
        logits, labels = np.round(rng.normal(size=400), 3), rng.random(400) < 0.4
        logits[labels] += 1
        for point in fit_operating_points(labels, 1 / (1 + np.exp(-logits)), "x").values():
            for error in (-2e-5, 2e-5):
                called = 1 / (1 + np.exp(-logits - error)) >= point.threshold
                np.testing.assert_array_equal(called, 1 / (1 + np.exp(-logits)) >= point.threshold)

    def test_order_of_the_images_does_not_matter(self):
        turned = fit_operating_points(self.LABELS[::-1], self.PROBABILITIES[::-1], "x")
        assert turned == fit_operating_points(self.LABELS, self.PROBABILITIES, "x")

    def test_reversed_score_still_meets_the_targets(self):
        points = fit_operating_points(1 - self.LABELS, self.PROBABILITIES, "x")
        assert points[SENSITIVE].sensitivity == 1
        assert points[SPECIFIC].specificity == 1

    @pytest.mark.parametrize("top", [0.9, 1.0], ids=["below-1", "exactly-1"])
    def test_highest_score_on_a_negative_leaves_a_specific_point(self, top):
        point = fit_operating_points(np.array([0, 1, 0]), np.array([top, top, 0.2]), "x")[SPECIFIC]
        assert point.threshold > top
        assert point.specificity == 1

    def test_constant_score_can_only_call_all_or_none(self):
        points = fit_operating_points(np.array([0, 1]), np.array([0.5, 0.5]), "x")
        assert (points[SENSITIVE].sensitivity, points[SENSITIVE].specificity) == (1, 0)
        assert (points[SPECIFIC].sensitivity, points[SPECIFIC].specificity) == (0, 1)

    @pytest.mark.parametrize("labels", [[0, 0], [1, 1]], ids=["all-negative", "all-positive"])
    def test_one_class_is_refused(self, labels):
        with pytest.raises(ValueError, match="both classes"):
            fit_operating_points(np.array(labels), np.array([0.2, 0.8]), "x")


class TestFitBand:
    """Two groups of fifty with margins 1, 3, 5 … and 2, 4, 6 …."""

    MARGIN = np.arange(1.0, 101)
    GROUPS = np.where(MARGIN % 2, "one", "other")

    def band(self, *wrong):
        return fit_band(self.MARGIN, np.isin(self.MARGIN, wrong), self.GROUPS)

    def test_no_error_needs_no_band(self):
        assert self.band() == 0

    def test_a_mean_of_two_percent_needs_none(self):
        assert self.band(10, 20) == 0  # 2 of 50, and 0 of 50

    def test_the_edge_lies_midway_beyond_the_error_too_many(self):
        # 3 of 50 and 0 of 50 are 3 %. Without the first ten of both, 2 of 45 and 0 of 45 are 2.2 %; without the first
        # twenty, 1 of 40 and 0 of 40.
        assert self.band(10, 20, 90) == 20.5

    def test_an_average_does_not_excuse_a_group(self):
        # Two more groups without an error bring the mean below 2 %, but 4 of 50 are 8 %: 3 of 49 are still 6.1 %, and
        # so on until one more is left out.
        margin = np.append(self.MARGIN, self.MARGIN + 0.1)
        groups = np.append(self.GROUPS, np.where(self.MARGIN % 2, "third", "fourth"))
        assert fit_band(margin, np.isin(margin, [2, 20, 96, 98]), groups) == pytest.approx(20.05)

    def test_a_group_is_not_more_than_its_share_of_the_mean(self):
        # 4 %, 4 % and 0 % are 2.7 %, whatever the third counts; without the first eleven 2.3 %, 2.2 % and 0 %.
        margin, groups = np.append(self.MARGIN, np.full(300, 200.0)), np.append(self.GROUPS, ["large"] * 300)
        assert fit_band(margin, np.isin(margin, [10, 11, 20, 21]), groups) == 11.5

    def test_small_groups_have_no_say(self):
        margin, groups = np.append(self.MARGIN, np.arange(16)), np.append(self.GROUPS, ["small"] * 16)
        assert fit_band(margin, groups == "small", groups) == 0

    def test_order_of_the_images_does_not_matter(self):
        turn = np.random.default_rng(0).permutation(100)
        wrong = np.isin(self.MARGIN, [10, 20, 90])
        assert fit_band(self.MARGIN[turn], wrong[turn], self.GROUPS[turn]) == 20.5

    def test_equal_margins_are_left_out_together(self):
        margin = np.where(self.MARGIN <= 12, 7.0, self.MARGIN)
        assert fit_band(margin, np.isin(self.MARGIN, [2, 4, 6]), self.GROUPS) == 10  # midway between 7 and 13

    def test_where_errors_are_everywhere_half_is_answered_at_least(self):
        assert fit_band(self.MARGIN, self.MARGIN > 40, self.GROUPS) == 0  # more left out would be more error
        assert self.band(*range(1, 41), 100, 99, 98, 97, 96, 95, 94, 93) == 40.5
