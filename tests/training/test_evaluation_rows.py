"""Rows of a report that ask about a part of the cohort, by hand."""

import numpy as np
import pytest

from detector.model.calibration import Calibration
from detector.schema import TASKS, OperatingPoint
from detector.training.data.manifest import Example
from detector.training.measure.cohort import Answers
from detector.training.measure.evaluate import likelihood_ratios
from detector.training.measure.rows import (
    adult_opacities,
    of_the_first_collections,
    of_the_originals_mix,
    sensitivities,
    within_one_hospital,
)

POINT = OperatingPoint("balanced", 0.5, 1.0, 1.0, "made up")
CALIBRATION = Calibration({t.name: 1.0 for t in TASKS}, {"balanced": POINT}, {"binary": 0.5, "three_class": 0.0})


def answers(*rows):
    """Rows of an example's attributes, the binary logit and the index of the class that the other task leads with."""
    examples = tuple(
        Example(f"{n}.png", patient_group=str(n), **attributes) for n, (attributes, _, _) in enumerate(rows)
    )
    binary, three = np.array([[logit] for _, logit, _ in rows], float), np.eye(3)[[leader for _, _, leader in rows]]
    peaks = {task.name: np.zeros(len(rows)) for task in TASKS}
    return Answers(examples, {"binary": binary, "three_class": 9 * three}, peaks, ())


def opacity(source, age_group="adult"):
    return {"label": "pneumonia_unspecified", "source": source, "age_group": age_group}


def test_adult_opacities_by_source_and_children_do_not_count():
    found = adult_opacities(
        answers(
            (opacity("a"), 2, 2), (opacity("a"), -2, 0), (opacity("b"), -0.1, 1), (opacity("a", "paediatric"), 2, 2)
        ),
        CALIBRATION,
    )
    assert set(found) == {"all", "a", "b"}
    assert found["a"]["called_covid19"]["value"] == 0.5
    assert found["all"]["called_covid19"]["value"] == pytest.approx(1 / 3)
    assert found["a"]["three_class_called_covid19"]["value"] == found["a"]["three_class_called_normal"]["value"] == 0.5
    assert found["b"]["three_class_called_bacterial_pneumonia"]["value"] == 1
    assert found["b"]["binary_indeterminate"]["value"] == 1
    assert found["all"]["binary_indeterminate"]["n"] == 3


def test_a_picture_that_one_task_calls_covid19_and_the_other_normal_is_not_answered():
    found = adult_opacities(answers((opacity("a"), 2, 0)), CALIBRATION)["all"]
    assert found["binary_indeterminate"]["value"] == found["three_class_indeterminate"]["value"] == 1
    assert found["called_covid19"]["value"] == found["three_class_called_normal"]["value"] == 1  # forced


def test_sensitivity_leaves_out_what_shows_nothing():
    covid = {"label": "covid19", "source": "cxnet", "finding": "covid19"}
    blind = covid | {"finding": "CXR negative, PCR positive"}
    found = sensitivities(answers((covid, 1, 2), (covid, -1, 2), (blind, -1, 0)), CALIBRATION)
    assert found["cxnet"]["sensitivity"]["value"] == 0.5
    assert found["cxnet"]["sensitivity"]["n"] == 2


def test_parts_that_earlier_figures_rest_on():
    cohort = answers(
        ({"label": "covid19", "source": "ieee8023"}, 1, 2),
        ({"label": "other_pneumonia", "source": "ieee8023"}, 1, 2),
        ({"label": "normal", "source": "kaggle"}, 1, 2),
        ({"label": "viral_pneumonia", "source": "kaggle"}, 1, 2),
        ({"label": "covid19", "source": "cxnet"}, 1, 2),
    )
    assert [e.image for e in of_the_first_collections(cohort).examples] == ["0.png", "1.png", "2.png", "3.png"]
    assert [e.image for e in of_the_originals_mix(cohort).examples] == ["0.png", "2.png"]


class TestWithinOneHospital:
    def rows(self, view, *, sick, well, hospital="h"):
        """`sick` and `well`: how many were called COVID-19, and how many were not."""
        label = {True: "covid19", False: "normal"}
        counts = {(True, 1): sick[0], (True, -1): sick[1], (False, 1): well[0], (False, -1): well[1]}
        return [
            ({"label": label[covid], "source": "s", "hospital": hospital, "view": view}, logit, 2)
            for (covid, logit), count in counts.items()
            for _ in range(count)
        ]

    def found(self, *rows):
        return within_one_hospital(answers(*rows), CALIBRATION)

    def test_one_view_by_hand(self):
        stratum = self.found(*self.rows("PA", sick=(3, 1), well=(1, 4)))["strata"]["h, PA"]
        point = stratum["operating_points"]["balanced"]
        assert (stratum["covid19"], stratum["others"]) == (4, 5)
        assert point["sensitivity"]["value"] == 0.75
        assert point["specificity"]["value"] == 0.8
        assert point["likelihood_ratio_positive"]["value"] == pytest.approx(0.75 / 0.2)
        assert point["likelihood_ratio_negative"]["value"] == pytest.approx(0.25 / 0.8)

    def test_views_are_pooled_without_comparing_across_them(self):
        # Mantel and Haenszel: (3 * 5 / 9 + 8 * 2 / 12) / (1 * 4 / 9 + 1 * 10 / 12).
        rows = [*self.rows("PA", sick=(3, 1), well=(1, 4)), *self.rows("AP", sick=(8, 2), well=(1, 1))]
        pooled = self.found(*rows)["pooled"]["h"]
        assert pooled["views"] == ["AP", "PA"]
        ratio = pooled["operating_points"]["balanced"]["likelihood_ratio_positive"]
        assert ratio["value"] == pytest.approx((15 / 9 + 16 / 12) / (4 / 9 + 10 / 12))
        assert ratio["ci_low"] < ratio["value"]
        assert ratio["n"] == 21

    def test_a_view_with_one_class_and_a_collection_of_several_hospitals_are_left_out(self):
        rows = [
            *self.rows("PA", sick=(3, 1), well=(0, 0)),
            *self.rows("PA", sick=(3, 1), well=(1, 1), hospital="several"),
            *self.rows("", sick=(3, 1), well=(1, 1)),
        ]
        assert self.found(*rows) == {"strata": {}, "pooled": {}}

    def test_the_likelihood_ratios_of_a_report_are_those_of_its_one_hospital(self):
        within = self.found(*self.rows("PA", sick=(3, 1), well=(1, 4)))
        ratios = likelihood_ratios({"within_one_hospital": within})["binary"]["balanced"]
        assert ratios["positive"]["value"] == pytest.approx(0.75 / 0.2)
        assert ratios["cohort"] == "h, compared within PA views, n = 9, 4 with COVID-19"
