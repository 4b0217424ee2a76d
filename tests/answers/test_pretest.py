"""Pre-test to post-test probability: the formula by hand, where ratios come from, and what is said without any."""

import json
import math
import re

import pytest

from detector import words
from detector.answers import pretest
from detector.answers.answer import Verdict
from detector.answers.pretest import LikelihoodRatio, Ratios, judge, post_test, read_ratios, worth
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.schema import BINARY, THREE_CLASS, OperatingPoint

POINT = OperatingPoint("balanced", 0.3, 0.9, 0.8, "validation")
POSITIVE = Verdict(BINARY, {"covid19": 0.9, "not_covid19": 0.1}, "covid19", "covid19", POINT)
UNSURE = Verdict(BINARY, {"covid19": 0.3, "not_covid19": 0.7}, "indeterminate", "covid19", POINT)


def estimate(value, low, high):
    return {"value": value, "ci_low": low, "ci_high": high, "n": 50, "reason": None}


@pytest.fixture
def metrics(tmp_path):
    """Sensitivity 0.9 (0.8 to 0.95), specificity 0.8 (0.7 to 0.9)."""
    overall = {
        "binary_balanced_sensitivity": estimate(0.9, 0.8, 0.95),
        "binary_balanced_specificity": estimate(0.8, 0.7, 0.9),
    }
    (tmp_path / "test.json").write_text(json.dumps({"overall": overall}))
    return tmp_path


def test_one_in_five_and_a_ratio_of_four_give_one_in_two():
    after = post_test(0.2, LikelihoodRatio(4, 1, 16))  # odds 1/4, times 4
    assert after.value == pytest.approx(0.5)
    assert after.ci_low == pytest.approx(0.2)
    assert after.ci_high == pytest.approx(0.8)


@pytest.mark.parametrize("pre_test", [0, 1, -0.1, float("nan")])
def test_impossible_pre_test_probability_is_refused(pre_test):
    with pytest.raises(ValueError, match="pre_test"):
        post_test(pre_test, LikelihoodRatio(4, 1, 16))


def test_ratios_follow_from_sensitivity_and_specificity_and_are_said_to_flatter(metrics):
    ratios = read_ratios("balanced", metrics)
    assert ratios.positive.value == pytest.approx(0.9 / 0.2)
    assert (ratios.positive.ci_low, ratios.positive.ci_high) == pytest.approx((0.8 / 0.3, 0.95 / 0.1))
    assert ratios.negative.value == pytest.approx(0.1 / 0.8)
    assert (ratios.negative.ci_low, ratios.negative.ci_high) == pytest.approx((0.05 / 0.9, 0.2 / 0.7))
    assert ratios.flatters
    assert "test split" in ratios.cohort


def test_perfect_specificity_gives_no_infinite_ratio(metrics):
    overall = json.loads((metrics / "test.json").read_text())["overall"]
    overall["binary_balanced_specificity"] = estimate(1.0, 0.9, 1.0)
    (metrics / "test.json").write_text(json.dumps({"overall": overall}))
    assert math.isfinite(read_ratios("balanced", metrics).positive.value)


@pytest.mark.parametrize(
    ("cohort", "flatters"), [("leave-one-source-pair-out, 9 pairs", False), ("test split, n = 1623", True)]
)
def test_measured_ratios_come_first(metrics, cohort, flatters):
    sides = {side: estimate(value, value / 2, value * 2) for side, value in (("positive", 3.0), ("negative", 0.4))}
    written = {"binary": {"balanced": {**sides, "cohort": cohort}}}
    (metrics / "likelihood_ratios.json").write_text(json.dumps(written))
    assert read_ratios("balanced", metrics) == Ratios(
        LikelihoodRatio(3, 1.5, 6), LikelihoodRatio(0.4, 0.2, 0.8), cohort, flatters
    )


def test_nothing_measured_is_no_ratio(tmp_path):
    assert read_ratios("balanced", tmp_path) is None


def test_shipped_files_have_ratios_for_every_operating_point():
    for name in read_card(MODELS / f"{DEFAULT_MODEL}.json").calibration.operating_points:
        ratios = read_ratios(name)
        for ratio in (ratios.positive, ratios.negative):
            assert 0 < ratio.ci_low <= ratio.value <= ratio.ci_high
        assert not ratios.flatters  # they were measured on sources that were left out


@pytest.mark.parametrize(("low", "high", "acts"), [(0.9, 16, False), (1, 16, False), (1.1, 16, True), (0.1, 0.9, True)])
def test_ratio_that_may_be_one_changes_nothing(monkeypatch, low, high, acts):
    ratios = Ratios(LikelihoodRatio(4, low, high), LikelihoodRatio(0.25, 0.1, 1), "hospital X", flatters=False)
    monkeypatch.setattr(pretest, "read_ratios", lambda *_: ratios)
    told = judge(POSITIVE, 0.2)
    assert (told is not None) == acts
    assert told is None or "**50 %**" in told.headline


@pytest.mark.parametrize("point", ["balanced", "sensitive", "specific"])
@pytest.mark.parametrize("pre_test", [0.01, 0.2, 0.9])
def test_shipped_ratios_never_let_an_answer_speak_against_itself(point, pre_test):
    operating_point = OperatingPoint(point, 0.3, 0.9, 0.8, "validation")
    for positive in (True, False):
        decision = "covid19" if positive else "not_covid19"
        told = judge(Verdict(BINARY, {"covid19": 0.5}, decision, "covid19", operating_point), pre_test)
        if told is None:
            continue
        after = int(re.search(r"\*\*(\d+) %\*\*", told.headline).group(1))
        assert after >= round(100 * pre_test) if positive else after <= round(100 * pre_test)


def test_positive_answer_raises_and_negative_lowers(monkeypatch):
    ratios = Ratios(LikelihoodRatio(4, 1.5, 16), LikelihoodRatio(0.25, 0.1, 0.9), "hospital X", flatters=False)
    monkeypatch.setattr(pretest, "read_ratios", lambda *_: ratios)
    told = judge(POSITIVE, 0.2)
    assert "50 %" in told.headline
    assert "27 % to 80 %" in told.headline  # odds 1/4 times 1.5 and 16
    assert "hospital X" in told.explanation
    assert "pre-test odds × LR" in told.explanation
    negative = Verdict(BINARY, {"covid19": 0.05, "not_covid19": 0.95}, "not_covid19", "covid19", POINT)
    assert "6 %" in judge(negative, 0.2).headline  # odds 1/4 times 1/4 is 1/16


def test_indeterminate_answer_moves_nothing():
    assert judge(UNSURE, 0.2) is None


def test_three_class_answer_has_no_ratio():
    three = Verdict(THREE_CLASS, {"normal": 0.2, "bacterial_pneumonia": 0.3, "covid19": 0.5}, "covid19", "covid19")
    assert judge(three, 0.2) is None


def external(folder, *, covid19=40, others=50, low=1.8, high=5.0):
    point = {
        "covid19": covid19, "others": others, "others_are": "normal",
        "positive": estimate(3.0, low, high), "negative": estimate(0.5, 0.4, 0.7),
    }  # fmt: skip
    (folder / "external_worth.json").write_text(json.dumps({"binary": {"balanced": point}}))
    return folder


def test_worth_is_told_with_its_interval_and_what_it_was_compared_with(tmp_path):
    assert worth(POSITIVE, external(tmp_path)) == (
        "In a hospital it had not seen, a positive answer multiplied the odds by 3 (1.8 to 5), "
        "against normal X-rays of one hospital, 50 of them."
    )


def test_worth_whose_interval_holds_one_is_not_proven(tmp_path):
    assert "no proven value" in worth(POSITIVE, external(tmp_path, low=0.9))


@pytest.mark.parametrize("few", ["covid19", "others"])
def test_worth_of_fewer_than_thirty_of_a_class_is_not_known(tmp_path, few):
    said = worth(POSITIVE, external(tmp_path, **{few: 29}))
    assert "not known (n = " in said
    assert "29" in said


def test_worth_that_was_not_measured_is_said_to_be_so(tmp_path):
    assert worth(POSITIVE, tmp_path) == words.WORTH_NOT_MEASURED
    assert worth(UNSURE, external(tmp_path)) == words.WORTH_NOT_MEASURED
