"""What a hospital's X-rays allow to be set, and what is said where they don't."""

from dataclasses import replace

import numpy as np
import pytest

from detector import words
from detector.errors import RejectedError
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.schema import BINARY, COVID19, THREE_CLASS
from detector.training.data.manifest import Example
from detector.training.fit import site as module
from detector.training.fit.site import SiteCases, allows, asked_threshold, collect, fit_site, left_out_sets, recalibrate
from detector.training.report.site import site_report


@pytest.fixture(scope="module")
def card():
    return read_card(MODELS / f"{DEFAULT_MODEL}.json")


def cases(**counts):
    rng = np.random.default_rng(4)
    labels = np.array([label for label, count in counts.items() for _ in range(count)], dtype=object)
    binary = np.where(labels == COVID19, 2.0, -2.0)[:, None] + rng.normal(size=(len(labels), 1))
    return SiteCases(labels, {"binary": binary, "three_class": rng.normal(size=(len(labels), 3))}, {})


@pytest.mark.parametrize(
    ("counts", "binary", "three"),
    [
        ({"covid19": 20, "normal": 20, "bacterial_pneumonia": 20}, True, True),  # at the least
        ({"covid19": 20, "normal": 19, "bacterial_pneumonia": 20}, True, False),  # one normal short
        ({"covid19": 19, "normal": 40}, False, False),
        ({"covid19": 40}, False, False),  # one class alone
        ({"covid19": 20, "viral_pneumonia": 20}, True, False),  # not COVID-19, and none of the three classes
    ],
)
def test_each_task_is_set_where_its_classes_allow_it(card, counts, binary, three):
    site = fit_site(cases(**counts), card, name="x")
    assert (site.tasks["binary"] is not None, site.tasks["three_class"] is not None) == (binary, three)
    assert set(site.reasons) == {name for name, task in site.tasks.items() if task is None}


def test_reason_names_how_many_of_which_class_are_missing(card):
    site = fit_site(cases(covid19=15, normal=30), card, name="x")
    assert site.reasons["binary"] == words.SITE_TOO_FEW.format(least=20, wanted="5 × COVID-19")
    assert "20 × Bacterial pneumonia" in site.reasons["three_class"]


@pytest.mark.parametrize(
    ("scores", "share", "expected"),
    [
        (np.arange(1, 51) / 51, 0.95, 1.5 / 51),  # floor(51 * 0.05) = 2: between the first and the second
        (np.arange(1, 21) / 21, 0.95, 0.5 / 21),  # floor(21 * 0.05) = 1: below the first
        (np.arange(1, 6) / 6, 0.95, 0.5 / 6),  # five can't promise it: below all
    ],
)
def test_threshold_that_a_share_reaches_by_hand(scores, share, expected):
    assert asked_threshold(scores, share) == pytest.approx(expected)


def test_sensitivity_that_is_asked_is_reached_on_average():
    rng = np.random.default_rng(0)
    reached = []
    for _ in range(2000):
        drawn = rng.uniform(size=51)
        reached.append(drawn[-1] >= asked_threshold(drawn[:-1], 0.95))
    assert np.mean(reached) >= 0.94


def test_recalibration_of_classes_that_do_not_overlap_is_finite():
    truth = np.array([0] * 30 + [1] * 30)
    slope, offsets = recalibrate(BINARY, truth, np.where(truth == 0, 9.0, -9.0)[:, None])
    assert np.isfinite(slope)
    assert np.isfinite(offsets).all()


def test_recalibration_finds_what_was_done_to_the_logits():
    rng = np.random.default_rng(2)
    true = rng.normal(size=(4000, 1)) * 2
    truth = (rng.uniform(size=4000) > 1 / (1 + np.exp(-true[:, 0]))).astype(int)
    slope, offsets = recalibrate(BINARY, truth, (true - 1) / 2)
    assert slope == pytest.approx(2, abs=0.15)
    assert offsets[0] == pytest.approx(1, abs=0.15)


def test_a_case_takes_no_part_in_the_quantile_that_judges_it():
    truth = np.array([0, 0, 0, 0, 0])
    own = np.array([[0.9], [0.8], [0.7], [0.6], [0.1]])
    sets = left_out_sets(truth, np.hstack([own, 1 - own]), 0.8)
    assert sets[:, 0].tolist() == [True, True, True, True, False]  # four others: ceil(5 * 0.8) = 4, the largest of them


def test_three_classes_are_asked_of_their_labels_alone():
    truth, logits = cases(covid19=3, viral_pneumonia=4, normal=2).of(THREE_CLASS)
    assert truth.tolist() == [2, 2, 2, 0, 0]
    assert logits.shape == (5, 3)


def test_rejected_repeated_and_further_pictures_of_a_patient_are_counted(engine, tmp_path, monkeypatch):
    class Analysis:
        def __init__(self, pixels):
            self.radiograph = type("R", (), {"pixel_sha256": pixels})
            self.logits = {"binary": np.zeros(1), "three_class": np.zeros(3)}

    def analyse(data, _engine):
        if data == b"bad":
            raise RejectedError
        return Analysis(data.decode())

    monkeypatch.setattr(module, "analyse", analyse)
    for name, data in {"a": b"1", "b": b"bad", "c": b"1", "d": b"2", "e": b"3"}.items():
        (tmp_path / name).write_bytes(data)
    patients = {"a": "p", "b": "q", "c": "r", "d": "p", "e": "s"}
    examples = [Example(name, "normal", patient_group=patient) for name, patient in patients.items()]
    found = collect(examples, tmp_path, engine)
    assert len(found.labels) == 2
    assert found.left_out == {
        words.LEFT_OUT_REJECTED: 1,
        words.LEFT_OUT_REPEATS: 1,
        words.LEFT_OUT_PATIENTS: 1,
    }


def test_what_the_number_allows_is_said():
    figure = module._share(np.arange(18) < 15)
    said = allows(figure, "Specificity")
    assert said.startswith("Specificity: known to ± ")
    assert "more would halve that" in said


def test_report_is_whole_offline_and_escapes_a_name(card):
    site = fit_site(cases(covid19=25, normal=25), card, name="<b>North</b>")
    page = site_report(replace(site, left_out={"rejected files": 3}), card)
    assert "&lt;b&gt;North" in page
    assert "http" not in page
    assert "3 rejected files" in page
    assert site.reasons["three_class"] in page
