"""A hospital's own calibration on the page: taken, rejected with a sentence, given up."""

from dataclasses import replace
from datetime import date

import pytest
from streamlit.testing.v1 import AppTest

from detector import words
from detector.schema import BINARY
from detector.training.fit.site import fit_site
from detector.ui import resources, site_view
from tests.answers.test_site import made_up
from tests.ui.conftest import settled
from tests.ui.test_app import APP, told


@pytest.fixture
def app(engine, monkeypatch):
    monkeypatch.setattr(resources, "load_engine", lambda: engine)
    monkeypatch.setattr("detector.ui.reading._FIRST_WAIT", 60)
    monkeypatch.delenv(site_view.SETTING, raising=False)
    return AppTest.from_file(APP, default_timeout=60)


@pytest.fixture(scope="module")
def site(engine):
    return fit_site(made_up(), engine.card, name="St. *Elsewhere*", created=date(2026, 3, 9))


def drop(app, name, data):
    app.get("file_uploader")[0].upload(name, data, "application/json")
    return settled(app)


def test_dropped_site_file_calibrates_every_answer_and_is_no_x_ray(app, site):
    app.run()
    drop(app, "site.JSON", site.to_json().encode())
    assert not app.exception
    assert "Calibrated at St. *Elsewhere* on 180 X-rays, March 2026." in told(app)
    assert "In a hospital it had not seen" not in told(app)
    assert "There" in told(app) or "By this hospital&#x27;s calibration" in told(app)
    assert app.segmented_control(key="operating_point").disabled
    app.segmented_control(key="question").set_value("three-class").run()
    assert "Calibrated at St. *Elsewhere*" in told(app)
    app.button(key="no_site").click().run()
    assert "Calibrated at" not in told(app)
    assert app.session_state["session"].site is None


@pytest.mark.parametrize("spoil", [lambda data: data[:-40], lambda data: data.replace(b"180", b"181"), lambda _: b"{}"])
def test_spoilt_site_file_is_rejected_with_a_sentence_and_changes_nothing(app, site, spoil):
    app.run()
    drop(app, "a.json", site.to_json().encode())
    drop(app, "b.json", spoil(site.to_json().encode()))
    assert not app.exception
    (error,) = app.error
    assert "b\\.json was not accepted" in error.value
    assert "Calibrated at" in told(app)
    drop(app, "c.json", site.to_json().encode())
    assert not app.error


def test_site_file_of_other_weights_is_rejected(app, site):
    app.run()
    drop(app, "a.json", replace(site, model_sha256="0" * 64).to_json().encode())
    assert "was not accepted" in app.error[0].value
    assert "Calibrated at" not in told(app)


def test_computer_can_be_set_to_a_site(app, site, tmp_path, monkeypatch):
    path = tmp_path / "site.json"
    path.write_text(site.to_json())
    monkeypatch.setenv(site_view.SETTING, str(path))
    settled(app)
    assert "Calibrated at St. *Elsewhere*" in told(app)


def test_setting_that_points_nowhere_is_said(app, tmp_path, monkeypatch):
    monkeypatch.setenv(site_view.SETTING, str(tmp_path / "no.json"))
    settled(app)
    assert words.SITE_SETTING in app.error[0].value.replace("\\", "")
    assert "COVID-19 pattern" in told(app)


def test_question_that_was_not_set_says_so_beside_the_answer(app, site):
    half = replace(site, tasks={**site.tasks, BINARY.name: None}, reasons={BINARY.name: "Missing: 5 × COVID-19."})
    app.run()
    drop(app, "a.json", half.to_json().encode())
    assert "Not calibrated at St. *Elsewhere* for this question. Missing: 5 × COVID-19." in told(app)
    assert not app.segmented_control(key="operating_point").disabled


def test_old_calibration_says_that_it_is_old(app, site):
    app.run()
    drop(app, "a.json", replace(site, created=date(2020, 1, 1)).to_json().encode())
    assert words.SITE_OLD in told(app)
