"""What a site's calibration is worth on labelled X-rays: four of them, by hand."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from detector.answers.site import Site, SiteTask
from detector.model.calibration import Calibration
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.schema import OperatingPoint
from detector.training.data.manifest import Example
from detector.training.measure.by_site import by_site
from detector.training.measure.cohort import Answers
from detector.training.measure.evaluate import summarise
from detector.training.report.page import report_page

POINT = OperatingPoint("balanced", 0.5, 1.0, 1.0, "site")
CALIBRATION = Calibration({"binary": 1.0, "three_class": 1.0}, {"balanced": POINT}, {"binary": 0.0, "three_class": 0.0})
#: A class belongs where its own probability is 0.4 or more: logits between -0.41 and 0.41 have both.
TASK = SiteTask(
    {"covid19": 20, "not_covid19": 20}, 1.0, {"covid19": 0.0}, {"covid19": 0.6, "not_covid19": 0.6},
    {"balanced": POINT}, {},
)  # fmt: skip
SITE = Site(
    "North", date(2026, 3, 9), "0" * 64, "v", 0.9, 40, {}, {"binary": TASK, "three_class": None},
    {"three_class": "Too few."}, "f" * 64,
)  # fmt: skip
#: COVID-19 called so, COVID-19 in a set of both, a normal called COVID-19, a viral pneumonia called no COVID-19.
ROWS = (("covid19", "a", 2.0), ("covid19", "b", 0.1), ("normal", "a", 3.0), ("viral_pneumonia", "b", -2.0))


@pytest.fixture
def answers():
    examples = tuple(
        Example(f"{i}.png", label, source, patient_group=str(i)) for i, (label, source, _) in enumerate(ROWS)
    )
    logits = {"binary": np.array([[row[2]] for row in ROWS]), "three_class": np.zeros((4, 3))}
    return Answers(examples, logits, {"binary": np.ones(4), "three_class": np.ones(4)}, ())


@pytest.fixture
def found(answers):
    return by_site(answers, CALIBRATION, SITE)


@pytest.mark.parametrize(
    ("name", "value", "n"),
    [
        ("coverage", 3 / 4, 4),  # the normal's set holds COVID-19 alone
        ("answered", 3 / 4, 4),
        ("wrong_of_answered", 1 / 3, 3),
        ("coverage_covid19", 1.0, 2),
        ("recall_covid19", 1 / 2, 2),
        ("recall_not_covid19", 1 / 2, 2),
        ("balanced_sensitivity", 1.0, 2),  # 0.1 lies above the threshold's 0
        ("balanced_specificity", 1 / 2, 2),
    ],
)
def test_four_images_by_hand(found, name, value, n):
    figure = found["tasks"]["binary"]["overall"][name]
    assert figure["value"] == pytest.approx(value)
    assert figure["n"] == n


def test_sources_stand_apart(found):
    by_source = found["tasks"]["binary"]["by_source"]
    assert by_source["a"]["wrong_of_answered"]["value"] == pytest.approx(1 / 2)
    assert by_source["b"]["wrong_of_answered"]["value"] == 0


def test_task_that_was_not_set_has_its_reason(found):
    assert found["tasks"]["three_class"] == {"reason": "Too few."}


def test_part_without_a_class_has_no_figure_of_it(answers):
    only = by_site(answers.only(answers.labels == "covid19"), CALIBRATION, SITE)
    assert only["tasks"]["binary"]["overall"]["recall_not_covid19"]["value"] is None


def test_report_tells_the_site_apart_from_the_network(answers):
    card = read_card(MODELS / f"{DEFAULT_MODEL}.json")
    card = replace(card, calibration=replace(card.calibration, bands=CALIBRATION.bands))
    page = report_page(summarise(answers, card, site=SITE), card, {})
    assert "By the calibration of North" in page
    assert "three classes: Too few." in page
    assert "By the calibration" not in report_page(summarise(answers, card), card, {})
