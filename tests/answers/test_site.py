"""A hospital's calibration: what is read, what is rejected, what it does to an answer."""

import json
from datetime import date

import numpy as np
import pytest

from detector.answers.site import LARGEST_FILE, read_site
from detector.errors import SiteError
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.schema import BINARY, COVID19, THREE_CLASS
from detector.training.fit.site import SiteCases, fit_site


@pytest.fixture(scope="module")
def card():
    return read_card(MODELS / f"{DEFAULT_MODEL}.json")


def made_up(n=60, *, shift=0.0, seed=1, classes=("covid19", "normal", "bacterial_pneumonia")):
    """Cases whose logits lie two apart by class, all moved by `shift`, as another scanner might."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.array(classes, dtype=object), n)
    places = [THREE_CLASS.classes.index(name) for name in labels]
    binary = np.where(labels == COVID19, 1.5, -1.5)[:, None] + rng.normal(size=(len(labels), 1)) + shift
    three = 2.0 * np.eye(3)[places] + rng.normal(size=(len(labels), 3)) + np.array([0, 0, shift])
    return SiteCases(labels, {BINARY.name: binary, THREE_CLASS.name: three}, {"rejected files": 2})


@pytest.fixture(scope="module")
def site(card):
    return fit_site(made_up(shift=2.0), card, name="St. Elsewhere", created=date(2026, 3, 9))


def edited(site, change):
    values = json.loads(site.to_json())
    change(values)
    return json.dumps(values).encode()


def test_what_was_written_is_read(site, card):
    data = site.to_json().encode()
    again = read_site(data, card)
    assert again.tasks == site.tasks
    assert (again.name, again.created, again.left_out) == ("St. Elsewhere", date(2026, 3, 9), {"rejected files": 2})
    assert len(again.sha256) == 64
    assert again.to_json().encode() == data


def test_a_site_file_holds_no_picture_and_no_patient(site):
    text = site.to_json()
    assert len(text) < 12_000
    assert not {"sha256", "path", "patient", "image"} & set(json.loads(text)["tasks"]["binary"])


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["tasks"]["binary"]["quantiles"].update(covid19=0.99),
        lambda values: values.update(created="2030-01-01"),
        lambda values: values.update(format=2),
        lambda values: values.pop("tasks"),
    ],
)
def test_an_edited_file_is_rejected(site, card, change):
    with pytest.raises(SiteError):
        read_site(edited(site, change), card)


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.999])
def test_a_truncated_file_is_rejected(site, card, keep):
    data = site.to_json().encode()
    with pytest.raises(SiteError):
        read_site(data[: int(len(data) * keep) if isinstance(keep, float) else keep], card)


@pytest.mark.parametrize(
    "data",
    [b"[]", b"null", b'{"format": 1}', b"\xff\xfe", b"[" * 100_000, b"x" * (LARGEST_FILE + 1)],
    ids=["a list", "nothing", "one entry", "no text", "nested", "too large"],
)
def test_what_is_no_site_file_is_rejected(card, data):
    with pytest.raises(SiteError):
        read_site(data, card)


def test_values_out_of_range_are_rejected_with_a_right_checksum_too(site, card):
    from detector.answers import site as module

    values = json.loads(site.to_json())
    del values["checksum"]
    for task, name, value in (("binary", "slope", 0.0), ("binary", "slope", "x"), ("three_class", "slope", 1e9)):
        changed = json.loads(json.dumps(values))
        changed["tasks"][task][name] = value
        changed["checksum"] = module._checksum(changed)
        with pytest.raises(SiteError):
            read_site(json.dumps(changed).encode(), card)


def test_a_file_of_other_weights_is_rejected(site, card):
    from dataclasses import replace

    with pytest.raises(SiteError, match="weights"):
        read_site(site.to_json().encode(), replace(card, sha256="0" * 64))
    with pytest.raises(SiteError, match="v0"):
        read_site(site.to_json().encode(), replace(card, preprocessing="v0"))


def test_sentence_says_where_when_and_that_it_is_old(site):
    assert site.sentence(date(2026, 4, 1)) == "Calibrated at St. Elsewhere on 180 X-rays, March 2026."
    assert "Measure again" in site.sentence(date(2027, 4, 1))


def test_recalibration_undoes_the_scanners_shift(site):
    cases = made_up(n=2000, shift=2.0, seed=9)
    truth, logits = cases.of(BINARY)
    here = site.tasks["binary"].probabilities(BINARY, logits)[:, 0]
    assert here.mean() == pytest.approx(np.mean(truth == 0), abs=0.05)


@pytest.mark.parametrize("task", [BINARY, THREE_CLASS], ids=lambda task: task.name)
def test_sets_keep_their_promise_class_by_class(card, task):
    from detector.model.calibration import probabilities_of

    site = fit_site(made_up(n=600, shift=2.0), card, name="large")
    truth, logits = made_up(n=2000, shift=2.0, seed=9).of(task)
    own = probabilities_of(task, logits)
    sets = site.tasks[task.name].prediction_sets(task, own)
    for k in range(len(task.classes)):
        assert sets[truth == k, k].mean() == pytest.approx(0.9, abs=0.04)  # one draw of 600 has that spread


class TestAnswerBySite:
    """The order of decision: a site's set first, then the rest."""

    @pytest.fixture
    def analysis(self, engine, composite):
        from detector import analyse

        return analyse(composite, engine)

    def told(self, analysis, site, *, mode="binary", **quantiles):
        from dataclasses import replace

        from detector import Question, answer

        tasks = {
            name: task and replace(task, quantiles={c: quantiles.get(c, 0.0) for c in task.quantiles})
            for name, task in site.tasks.items()
        }
        return answer(analysis, Question(mode, site=replace(site, tasks=tasks)))

    def test_one_member_is_the_decision(self, analysis, site):
        told = self.told(analysis, site, covid19=1.0)
        assert told.decision == COVID19
        assert told.verdict.prediction_set == (COVID19,)
        assert told.why_indeterminate is None

    def test_two_members_are_indeterminate_and_named(self, analysis, site):
        told = self.told(analysis, site, covid19=1.0, not_covid19=1.0)
        assert told.decision == "indeterminate"
        assert told.verdict.indeterminate_because == "prediction_set"
        assert "COVID-19 and " in told.why_indeterminate

    def test_no_member_is_indeterminate(self, analysis, site):
        told = self.told(analysis, site)
        assert told.decision == "indeterminate"
        assert told.verdict.prediction_set == ()

    def test_the_operating_point_is_without_effect(self, analysis, site):
        from dataclasses import replace

        from detector import Question, answer

        points = ("balanced", "sensitive", "specific")
        told = [answer(analysis, Question("binary", operating_point=p, site=site)).decision for p in points]
        assert len(set(told)) == 1
        assert replace(site, name="x").tasks is site.tasks

    def test_a_task_that_was_not_set_is_answered_by_the_network(self, analysis, site):
        from dataclasses import replace

        from detector import Question, answer

        one = replace(site, tasks={"binary": site.tasks["binary"], "three_class": None})
        told = answer(analysis, Question("three-class", site=one))
        assert told.verdict.prediction_set is None
        assert told.probabilities == answer(analysis, Question("three-class")).probabilities

    def test_row_names_the_site_and_the_set(self, analysis, site):
        from detector.report.rows import answer_row

        row = answer_row("a.png", self.told(analysis, site, covid19=1.0, not_covid19=1.0))
        assert row["prediction_set"] == ["covid19", "not_covid19"]
        assert row["site"] == {"name": "St. Elsewhere", "sha256": site.sha256}
