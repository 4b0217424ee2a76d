"""What a reader is told: the order of decision, edges by hand, sentences, and files without an answer."""

import logging

import numpy as np
import pytest

from detector import words
from detector.answers.answer import NoAnswer, Question, answer, decide_all, verdicts_of
from detector.errors import EmptyFileError, InvertedError, NonFiniteError, UnexpectedError
from detector.model.calibration import BALANCED, SENSITIVE, Calibration
from detector.schema import (
    BACTERIAL_PNEUMONIA,
    BINARY,
    COVID19,
    INDETERMINATE,
    NORMAL,
    NOT_COVID19,
    THREE_CLASS,
    Correction,
    OperatingPoint,
)

POINTS = {
    BALANCED: OperatingPoint(BALANCED, 0.5, 0.9, 0.9, "made up"),
    SENSITIVE: OperatingPoint(SENSITIVE, 0.1, 0.99, 0.6, "made up"),
}
BACTERIAL = (0.0, 9.0, 0.0)  # says neither COVID-19 nor normal, so it contradicts nothing


def calibration(*, binary_temperature=1.0, band=0.0):
    return Calibration(
        temperatures={"binary": binary_temperature, "three_class": 1.0},
        operating_points=POINTS,
        bands={"binary": band, "three_class": band},
    )


@pytest.fixture
def told(make_analysis):
    """What is told about logits under a made-up calibration."""

    def told(binary=0.0, three=BACTERIAL, mode="binary", point=BALANCED, **calibrated):
        analysis = make_analysis(binary=binary, three=three, calibration=calibration(**calibrated))
        return answer(analysis, Question(mode, point))

    return told


class TestDecision:
    @pytest.mark.parametrize(
        ("logit", "decision"), [(0.0, COVID19), (-0.001, NOT_COVID19)], ids=["at-the-threshold", "just-under"]
    )
    def test_threshold_itself_is_positive(self, told, logit, decision):
        assert told(logit).decision == decision

    def test_operating_point_moves_the_decision_but_not_the_probability(self, told):
        balanced, sensitive = told(-1.0), told(-1.0, point=SENSITIVE)
        assert (balanced.decision, sensitive.decision) == (NOT_COVID19, COVID19)
        assert balanced.probabilities == sensitive.probabilities
        assert sensitive.operating_point == POINTS[SENSITIVE]

    @pytest.mark.parametrize(
        ("band", "decision"), [(0.999, COVID19), (1.001, INDETERMINATE)], ids=["just-outside", "just-inside"]
    )
    def test_binary_band_is_measured_in_calibrated_logits(self, told, band, decision):
        found = told(2.0, binary_temperature=2, band=band)
        assert found.decision == decision
        assert found.verdict.forced == COVID19
        low, high = found.verdict.band
        assert np.log(high / (1 - high)) == pytest.approx(band)
        assert low == pytest.approx(1 - high)

    @pytest.mark.parametrize(
        ("band", "decision"), [(0.999, NORMAL), (1.001, INDETERMINATE)], ids=["just-outside", "just-inside"]
    )
    def test_three_class_band_lies_between_the_two_leading_classes(self, told, band, decision):
        found = told(-9.0, (3.0, 2.0, -7.0), "three-class", band=band)
        assert found.decision == decision
        assert found.operating_point is None
        assert found.verdict.band is None

    def test_classes_are_named_in_order_and_sum_to_1(self, told):
        probabilities = told(0.0, (0.1, 0.2, 0.3), "three-class").probabilities
        assert tuple(probabilities) == THREE_CLASS.classes
        assert sum(probabilities.values()) == pytest.approx(1)

    def test_unknown_operating_point_is_named(self, told):
        with pytest.raises(ValueError, match="Received 'brave'"):
            told(point="brave")

    def test_what_is_not_finite_is_no_answer(self, told):
        with pytest.raises(NonFiniteError):
            told(np.nan)

    @pytest.mark.parametrize("mode", ["binary", "three-class"])
    @pytest.mark.parametrize("band", [0.0, 99.0], ids=["certain", "in the band too"])
    def test_covid19_that_the_other_task_calls_normal_is_indeterminate_in_both(self, told, mode, band):
        found = told(9.0, (9.0, 0.0, 0.0), mode, band=band)
        assert found.decision == found.other.decision == INDETERMINATE
        assert found.verdict.indeterminate_because == "disagreement"
        assert found.why_indeterminate.startswith("Binary: COVID-19 > 99 %. Three-class: normal > 99 %.")
        assert found.warnings == ()

    def test_disagreement_goes_by_the_operating_point_that_is_asked_for(self, told):
        normal = (9.0, 0.0, 0.0)
        assert told(-1.0, normal, "three-class").decision == NORMAL
        assert told(-1.0, normal, "three-class", SENSITIVE).decision == INDETERMINATE

    def test_a_cohort_is_decided_as_its_images_are(self, make_analysis):
        made = calibration(band=0.5)
        logits = np.random.default_rng(0).normal(scale=2, size=(200, 4))
        cohort = decide_all({"binary": logits[:, :1], "three_class": logits[:, 1:]}, made, BALANCED)
        for place, (binary, *three) in enumerate(logits):
            alone = verdicts_of(make_analysis(binary=binary, three=three, calibration=made))
            for task in (BINARY, THREE_CLASS):
                assert cohort[task.name].decision[place] == alone[task.name].decision
        assert set(cohort["binary"].decision) == {COVID19, NOT_COVID19, INDETERMINATE}
        assert cohort["binary"].disagrees.any()


class TestWhatIsSaid:
    @pytest.mark.parametrize(
        ("binary", "three", "said"),
        [
            (-9.0, (0.0, 0.0, 9.0), True),  # not, and COVID-19
            (9.0, (0.0, 9.0, 0.0), True),  # COVID-19, and bacterial
            (9.0, (0.0, 0.0, 9.0), False),
            (-9.0, (0.0, 9.0, 0.0), False),  # not COVID-19, and bacterial: both can be right
            (9.0, (0.0, 0.0, 0.0), False),  # one of them abstains
        ],
    )
    def test_other_disagreement_is_one_warning(self, told, binary, three, said):
        for mode, other in (("binary", "Three-class"), ("three-class", "Binary")):
            warnings = told(binary, three, mode, band=0.1).warnings
            assert len(warnings) == said
            assert not said or warnings[0].startswith(f"The two questions disagree. {other}: ")

    def test_reason_for_an_indeterminate_answer_has_its_numbers(self, told):
        near = told(0.5, band=1.0).why_indeterminate
        assert near.startswith("COVID-19 62 % lies between 27 % and 73 %")
        assert "50 %" in near
        probabilities = {NORMAL: 0.6, BACTERIAL_PNEUMONIA: 0.05, COVID19: 0.35}
        two = told(-9.0, tuple(np.log(list(probabilities.values()))), "three-class", band=1.0).why_indeterminate
        assert two.startswith("Normal 60 %, COVID-19 35 %:")
        assert "3 times" in two  # e
        assert told(9.0).why_indeterminate is None

    def test_contrast_is_the_difference_of_two_maps_and_has_a_sentence_of_its_own(self, make_analysis):
        analysis = make_analysis(cam=((1, 0), (0, 0)))
        alone = answer(analysis, Question("three-class", target_class=NORMAL))
        contrast = answer(analysis, Question("three-class", target_class=NORMAL, against=COVID19))
        np.testing.assert_array_equal(contrast.cam, [[4, 0], [0, 0]])
        assert "rather than" in contrast.evidence_sentence
        assert "rather than" not in alone.evidence_sentence

    def test_evidence_outside_the_lungs_is_a_warning_whatever_is_explained(self, make_analysis):
        analysis = make_analysis(cam=((0, 400), (0, 400)), binary=9.0, three=(0.0, 0.0, 9.0), warnings=("dark",))
        for target in (None, NOT_COVID19):
            assert answer(analysis, Question(target_class=target)).warnings == ("dark", words.OUTSIDE_WARNING)

    def test_evidence_for_what_was_not_answered_is_no_reason_to_distrust_the_answer(self, make_analysis):
        found = answer(make_analysis(cam=((0, 400), (0, 400)), binary=-9.0, three=BACTERIAL), Question())
        assert (found.decision, found.target_class) == (NOT_COVID19, COVID19)
        assert found.warnings == ()

    def test_evidence_inside_the_lungs_is_no_warning(self, make_analysis):
        found = answer(make_analysis(cam=((400, 0), (400, 0)), binary=9.0, three=(0.0, 0.0, 9.0)), Question())
        assert found.warnings == ()
        assert found.evidence_sentence.endswith("88 % of that evidence lies in the lungs (50 % of the picture).")

    def test_map_with_next_to_no_evidence_says_so(self, make_analysis):
        assert answer(make_analysis(cam=((0.1, 0), (0, 0))), Question()).evidence_sentence.startswith(
            "There is next to no evidence for COVID-19"
        )

    def test_without_lungs_nothing_is_claimed(self, make_analysis):
        found = answer(make_analysis(cam=((400, 0), (400, 0)), lungs=False), Question())
        assert found.evidence.in_lung_fraction is None
        assert found.evidence_sentence == words.NOT_MEASURED

    def test_marks_say_what_the_reader_has_decided(self, make_analysis):
        marked = make_analysis(correction=Correction(quarter_turns=1, inverted=True), forced="not_a_chest_xray")
        assert answer(marked, Question()).marks == (words.TURNED, words.INVERTED, words.FORCED)
        assert answer(make_analysis(correction=Correction(quarter_turns=4)), Question()).marks == ()


class TestNoAnswer:
    def test_rejection_says_why_and_what_would_help(self):
        upside_down = InvertedError("x", suggested_correction=Correction(inverted=True))
        told = NoAnswer.of(upside_down)
        assert (told.status, told.code, told.can_force) == ("rejected", "not_a_chest_xray", True)
        assert told.reason == InvertedError.user_message
        assert told.suggested_correction == Correction(inverted=True)
        assert not NoAnswer.of(EmptyFileError("x")).can_force

    def test_failure_on_purpose_is_an_error_with_its_own_sentence(self):
        told = NoAnswer.of(NonFiniteError("x"))
        assert (told.status, told.code, told.reason) == ("error", "non_finite", NonFiniteError.user_message)

    def test_what_nobody_foresaw_is_unexpected_and_logged_with_its_traceback(self, caplog):
        with caplog.at_level(logging.ERROR):
            told = NoAnswer.of(ZeroDivisionError("x"), name="a.png")
        assert (told.status, told.code, told.reason) == ("error", "unexpected", UnexpectedError.user_message)
        assert "a.png" in caplog.text
        assert caplog.records[0].exc_info[1].args == ("x",)
