"""Draws of hospitals' calibrations from cohorts whose truth is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.training.audit.sites import SiteCohort, audit_sites
from detector.training.data.manifest import Example

COHORT = SiteCohort("made up", ("a",), ("a",))


def answers(n, *, shift=0.0, pictures=1):
    """Logits two apart by class, `pictures` a patient, all moved as another scanner might move them."""
    rng = np.random.default_rng(5)
    labels = np.repeat(["covid19", "normal"], n * pictures)
    examples = tuple(
        Example(str(i), str(label), source="a", patient_group=f"{label}{i // pictures}")
        for i, label in enumerate(labels)
    )
    logits = np.where(labels == "covid19", 2.0, -2.0)[:, None] + 1.5 * rng.normal(size=(len(labels), 1)) + shift
    return SimpleNamespace(
        examples=examples, labels=labels, groups=[e.patient_group for e in examples], logits={"binary": logits}
    )


@pytest.fixture(scope="module")
def card():
    return read_card(MODELS / f"{DEFAULT_MODEL}.json")


def test_promise_is_kept_where_the_hospital_has_moved(card):
    figures = audit_sites(answers(150, shift=3.0), card, [COHORT], sizes=[50])["made up"]["50"]
    assert 0.87 < figures["coverage"]["value"] < 0.94
    assert figures["sensitivity_reached"]["value"] >= 0.92
    assert figures["specificity_before"]["value"] < figures["specificity_reached"]["value"]


def test_too_few_patients_give_a_reason_and_no_figure(card):
    found = audit_sites(answers(25), card, [COHORT], sizes=[20, 50])["made up"]
    assert "reason" in found["20"]
    assert "reason" in found["50"]
    assert found["patients"] == {"covid19": 25, "not_covid19": 25}


def test_one_picture_a_patient_takes_part(card):
    assert audit_sites(answers(40, pictures=3), card, [COHORT], sizes=[])["made up"]["patients"]["covid19"] == 40
