"""Pre-test to post-test probability: the formula by hand, where ratios come from, and what is said without any."""

import json

import pytest

from detector import words
from detector.answers.answer import Verdict
from detector.answers.pretest import LikelihoodRatio, judge, post_test, worth
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.schema import BINARY, THREE_CLASS, OperatingPoint

POINT = OperatingPoint("balanced", 0.3, 0.9, 0.8, "validation")
POSITIVE = Verdict(BINARY, {"covid19": 0.9, "not_covid19": 0.1}, "covid19", "covid19", POINT)
UNSURE = Verdict(BINARY, {"covid19": 0.3, "not_covid19": 0.7}, "indeterminate", "covid19", POINT)


def estimate(value, low, high):
    return {"value": value, "ci_low": low, "ci_high": high, "n": 50, "reason": None}


def external(folder, *, covid19=40, others=50, low=1.8, high=5.0, labels=("normal",)):
    """An external test of one hospital that says something, and of one that says less."""
    point = {
        "likelihood_ratio_positive": estimate(3.0, low, high),
        "likelihood_ratio_negative": estimate(0.25, 0.1, 0.9),
    }  # fmt: skip
    far = {"covid19": covid19, "others": others, "operating_points": {"balanced": point}}
    small = {"covid19": 500, "others": 1, "operating_points": {"balanced": point}}
    counts = {"by_hospital": {"far": {"labels": dict.fromkeys(["covid19", *labels], 9)}}}
    written = {"within_one_hospital": {"pooled": {"small": small, "far": far}}, "counts": counts}
    (folder / "external_test.json").write_text(json.dumps(written))
    return folder


def test_one_in_five_and_a_ratio_of_four_give_one_in_two():
    after = post_test(0.2, LikelihoodRatio(4, 1, 16))  # odds 1/4, times 4
    assert after.value == pytest.approx(0.5)
    assert after.ci_low == pytest.approx(0.2)
    assert after.ci_high == pytest.approx(0.8)


@pytest.mark.parametrize("pre_test", [0, 1, -0.1, float("nan")])
def test_impossible_pre_test_probability_is_refused(pre_test):
    with pytest.raises(ValueError, match="pre_test"):
        post_test(pre_test, LikelihoodRatio(4, 1, 16))


@pytest.mark.parametrize(("low", "high", "acts"), [(0.9, 16, False), (1, 16, False), (1.1, 16, True), (0.1, 0.9, True)])
def test_ratio_that_may_be_one_changes_nothing(tmp_path, low, high, acts):
    assert (judge(POSITIVE, 0.25, external(tmp_path, low=low, high=high)) is not None) == acts


def test_positive_answer_raises_and_negative_lowers(tmp_path):
    told = judge(POSITIVE, 0.25, external(tmp_path, low=2.0, high=6.0))
    assert "**50 %** (40 % to 67 %)" in told.headline  # odds 1/3 times 3, 2 and 6
    assert "far" in told.explanation
    assert "pre-test odds × LR" in told.explanation
    negative = Verdict(BINARY, {"covid19": 0.05, "not_covid19": 0.95}, "not_covid19", "covid19", POINT)
    assert "**8 %**" in judge(negative, 0.25, tmp_path).headline  # odds 1/3 times 1/4 is 1/12


@pytest.mark.parametrize("few", ["covid19", "others"])
def test_fewer_than_thirty_of_a_class_change_nothing(tmp_path, few):
    assert judge(POSITIVE, 0.2, external(tmp_path, **{few: 29})) is None


def test_indeterminate_and_three_class_answers_move_nothing(tmp_path):
    three = Verdict(THREE_CLASS, {"normal": 0.2, "bacterial_pneumonia": 0.3, "covid19": 0.5}, "covid19", "covid19")
    for verdict in (UNSURE, three):
        assert judge(verdict, 0.2, external(tmp_path)) is None


def test_worth_is_told_with_its_interval_and_what_it_was_compared_with(tmp_path):
    assert worth(POSITIVE, external(tmp_path)) == (
        "In a hospital it had not seen, a positive answer multiplied the odds by 3 (1.8 to 5), "
        "against normal X-rays of one hospital, 50 of them."
    )
    assert "other X-rays of one hospital" in worth(POSITIVE, external(tmp_path, labels=("normal", "viral_pneumonia")))


def test_worth_whose_interval_holds_one_is_not_proven(tmp_path):
    assert "no proven value" in worth(POSITIVE, external(tmp_path, low=0.9))


@pytest.mark.parametrize("few", ["covid19", "others"])
def test_worth_of_fewer_than_thirty_of_a_class_is_not_known(tmp_path, few):
    said = worth(POSITIVE, external(tmp_path, **{few: 29}))
    assert "not known (n = " in said
    assert "29" in said


def test_worth_without_an_end_to_its_interval_is_not_known(tmp_path):
    assert "not known" in worth(POSITIVE, external(tmp_path, high=None))


def test_worth_that_was_not_measured_is_said_to_be_so(tmp_path):
    assert worth(POSITIVE, tmp_path) == words.WORTH_NOT_MEASURED
    assert worth(UNSURE, external(tmp_path)) == words.WORTH_NOT_MEASURED


def test_shipped_external_test_says_something_at_every_operating_point():
    card = read_card(MODELS / f"{DEFAULT_MODEL}.json")
    for point in card.calibration.operating_points.values():
        said = worth(Verdict(BINARY, {"covid19": 0.9}, "covid19", "covid19", point))
        assert said != words.WORTH_NOT_MEASURED


class TestOwnHospital:
    """What the reader's own hospital has measured goes before the external test."""

    @pytest.fixture
    def site(self):
        from datetime import date

        from detector.training.fit.site import fit_site
        from tests.answers.test_site import made_up

        return fit_site(made_up(), read_card(MODELS / f"{DEFAULT_MODEL}.json"), name="North", created=date(2026, 3, 9))

    def with_ratio(self, site, value, low, high):
        from dataclasses import replace

        from detector.answers.site import Figure

        figures = {f"likelihood_ratio_{side}": Figure(value, low, high, 180) for side in ("positive", "negative")}
        return replace(site, tasks={**site.tasks, "binary": replace(site.tasks["binary"], figures=figures)})

    @pytest.mark.parametrize(
        ("ratio", "said"),
        [
            (
                (4.0, 2.0, 8.0),
                "There a positive answer multiplied the odds by 4 (2 to 8), 60 COVID-19 against 120 other",
            ),
            ((1e6, 7.0, 1e6), "There a positive answer multiplied the odds by ∞ (7 to ∞)"),
            ((54.0, 12.0, 690.0), "by 54 (12 to 690)"),
            ((2.0, 0.5, 8.0), "There: no proven value (odds × 2, 0.5 to 8)"),
        ],
    )
    def test_line_is_the_measured_one(self, site, ratio, said):
        assert said in worth(POSITIVE, site=self.with_ratio(site, *ratio))

    def test_pre_test_probability_is_updated_by_it(self, site):
        told = judge(POSITIVE, 0.2, site=self.with_ratio(site, 4.0, 1.1, 16.0))  # odds 1/4 times 4
        assert "**50 %**" in told.headline
        assert "your hospital: North" in told.explanation

    def test_three_classes_have_the_share_that_was_given_this_answer(self, site):
        figure = site.tasks["three_class"].figures["recall_normal"]
        verdict = Verdict(THREE_CLASS, {}, "normal", "normal")
        said = worth(verdict, site=site)
        assert said.startswith(f"There, {words.percent(figure.value)} (")
        assert f"of {figure.n} X-rays of this class got it" in said

    def test_task_without_calibration_keeps_the_external_line(self, site, tmp_path):
        from dataclasses import replace

        half = replace(site, tasks={**site.tasks, "binary": None})
        assert worth(POSITIVE, external(tmp_path), site=half) == worth(POSITIVE, tmp_path)
