"""Intervals: patients are drawn and not images, and what an interval can't tell is said."""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from detector.statistics import bootstrap as resampling
from detector.statistics import merit
from detector.statistics.bootstrap import NO_IMAGES, NO_SPREAD, Resampling, Statistic

VALUES = np.arange(20.0)
SINGLE = [str(i) for i in range(20)]
MEAN = Statistic(partial(merit.share, VALUES))


def estimate(measure, groups=SINGLE, **options):
    return Resampling(groups, **options).estimates({"figure": measure})["figure"]


def test_interval_is_that_of_scipys_bootstrap():
    plain = stats.bootstrap((VALUES,), np.mean, method="percentile", n_resamples=2000, rng=0).confidence_interval
    ours = estimate(MEAN)
    assert (ours.value, ours.n, ours.reason) == (9.5, 20, None)
    assert (ours.ci_low, ours.ci_high) == pytest.approx((plain.low, plain.high), abs=0.2)


def test_one_patient_has_no_spread():
    found = estimate(MEAN, ["a"] * 20, samples=50)
    assert found.ci_low == found.ci_high == 9.5


def test_images_of_a_patient_are_drawn_together():
    groups = ["a", "b", "a", "b"]
    together = Statistic(lambda w: ((w[:, 0] == w[:, 2]) & (w[:, 1] == w[:, 3])).astype(float))
    assert estimate(together, groups, samples=50).reason == NO_SPREAD  # 1 in every resample


def test_each_resample_draws_as_many_patients_as_there_are():
    for weights in Resampling(SINGLE, samples=30)._weights():
        assert (weights.sum(axis=1) == 20).all()


def test_chunks_do_not_change_the_draws(monkeypatch):
    whole = estimate(MEAN, samples=64)
    monkeypatch.setattr(resampling, "_CELLS", 100)
    assert estimate(MEAN, samples=64) == whole


def test_same_seed_gives_the_same_interval():
    assert estimate(MEAN, seed=3) == estimate(MEAN, seed=3)
    assert estimate(MEAN, seed=3) != estimate(MEAN, seed=4)


class TestShares:
    def test_all_right_is_not_certainty(self):
        found = estimate(Statistic(partial(merit.share, np.ones(20)), share=True))
        assert (found.value, found.ci_high) == (1.0, 1.0)
        assert found.ci_low == pytest.approx(0.025 ** (1 / 20))

    def test_it_counts_patients_and_not_images(self):
        found = estimate(Statistic(partial(merit.share, np.ones(20)), share=True), ["a"] * 10 + ["b"] * 10)
        assert found.ci_low == pytest.approx(0.025 ** (1 / 2))
        assert found.n == 20

    def test_it_counts_the_images_that_decide(self):
        few = np.arange(20) < 5
        found = estimate(Statistic(partial(merit.share, np.ones(20)), share=True, rests_on=few))
        assert found.n == 5
        assert found.ci_low == pytest.approx(0.025 ** (1 / 5))


class TestWhatIsNotDefined:
    def test_has_the_reason_of_its_measure(self):
        nothing = Statistic(lambda w: np.full(len(w), np.nan), undefined="because")
        assert estimate(nothing, samples=5).reason == "because"

    def test_no_kept_image_has_the_reason_of_emptiness(self):
        found = estimate(Statistic(partial(merit.share, VALUES[:0]), np.zeros(20, bool), empty="none kept"), samples=5)
        assert (found.value, found.n, found.reason) == (None, 0, "none kept")

    def test_no_images_at_all(self):
        found = estimate(Statistic(partial(merit.share, VALUES[:0])), [], samples=5)
        assert (found.value, found.n, found.reason) == (None, 0, NO_IMAGES)

    def test_too_few_defined_resamples_leave_the_value_alone(self):
        all_four = Statistic(lambda w: np.where((w > 0).all(axis=1), 1.0, np.nan))  # 9 % of resamples hold all four
        found = estimate(all_four, ["a", "b", "c", "d"], samples=100)
        assert (found.value, found.ci_low, found.ci_high) == (1.0, None, None)
        assert "too few patients" in found.reason

    def test_an_infinite_end_is_left_open(self):
        one_over = Statistic(lambda w: 1 / w[:, 0])  # a third of the resamples don't draw the first patient
        found = estimate(one_over, samples=200)
        assert (found.value, found.ci_high) == (1.0, None)
        assert found.ci_low < 1


class TestCurve:
    def test_values_and_ends_are_one_a_place(self):
        measure = Statistic(lambda w: merit.share(VALUES, w)[:, None] * np.array([1, 2]))
        curve = Resampling(SINGLE, samples=200).curve(measure, np.array([0.1, 0.2]))
        np.testing.assert_allclose(curve.values, [9.5, 19])
        assert (curve.ci_low < curve.values).all()
        assert (curve.values < curve.ci_high).all()
        assert curve.n == 20

    def test_a_place_without_a_value_is_null_in_json(self):
        measure = Statistic(lambda w: np.stack([w[:, 0], np.full(len(w), np.nan)], axis=1))
        written = Resampling(SINGLE, samples=20).curve(measure, np.array([0, 1])).to_json("x")
        assert written["x"] == [0, 1]
        assert (written["value"], written["ci_low"][1], written["n"]) == ([1, None], None, 20)
