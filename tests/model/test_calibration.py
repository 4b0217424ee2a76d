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
            pytest.param(BALANCED, 0.35, 1.0, 0.75, id="largest-youden-index"),  # 0.75, against 0.5 at 0.7
            pytest.param(SENSITIVE, 0.35, 1.0, 0.75, id="sensitive"),
            pytest.param(SPECIFIC, 0.7, 0.5, 1.0, id="specific"),
        ],
    )
    def test_by_hand(self, name, threshold, sensitivity, specificity):
        point = fit_operating_points(self.LABELS, self.PROBABILITIES, "validation")[name]
        assert (point.name, point.cohort) == (name, "validation")
        measured = (point.threshold, point.sensitivity, point.specificity)
        assert measured == pytest.approx((threshold, sensitivity, specificity))

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
    @pytest.mark.parametrize(
        ("wrong", "expected"),
        [
            pytest.param([], 0.0, id="no-error-needs-no-band"),
            pytest.param([1], 2.0, id="one-error-at-the-threshold"),
            pytest.param([2], 3.0, id="the-second"),
            pytest.param([1, 2], 3.0, id="a-fifth-left-out-at-most"),
            pytest.param([1, 2, 3], 3.0, id="coverage-stops-it"),
            pytest.param([10], 0.0, id="an-error-far-away-is-out-of-reach"),
        ],
    )
    def test_by_hand(self, wrong, expected):
        margin = np.arange(1.0, 11.0)
        assert fit_band(margin, np.isin(margin, wrong)) == expected

    def test_order_of_the_images_does_not_matter(self):
        margin = np.array([7.0, 1, 9, 3, 5, 2, 8, 4, 10, 6])
        assert fit_band(margin, margin <= 2) == 3

    @pytest.mark.parametrize("first", [True, False], ids=["wrong-first", "wrong-last"])
    def test_equal_margins_are_left_out_together(self, first):
        margin = np.array([1.0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        wrong = np.array([first, not first] + [False] * 8)
        assert fit_band(margin, wrong) == 2

    def test_too_many_equal_margins_cannot_be_left_out(self):
        margin = np.array([1.0, 1, 1, 3, 4, 5, 6, 7, 8, 9])
        assert fit_band(margin, margin == 1) == 0

    @pytest.mark.parametrize("images", [1, 4], ids=lambda n: f"{n}-images")
    def test_too_few_images_to_leave_one_out(self, images):
        assert fit_band(np.arange(1.0, images + 1), np.ones(images, bool)) == 0
