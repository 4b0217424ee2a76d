"""The page's tab of the archive: what it lists, what comes of what is picked, and that names stay there."""

import logging
from datetime import date
from io import BytesIO
from types import SimpleNamespace

import pydicom
import pytest
import streamlit
from pydicom.uid import generate_uid
from streamlit.testing.v1 import AppTest

from detector import words
from detector.pacs import analyse as analyse_module
from detector.ui import resources
from tests.conftest import ROOT, make_dicom
from tests.pacs.test_node import small_results
from tests.pacs.test_web import Service

NAME = "Canary^Jane"


def draw():
    from detector.ui import from_pacs

    from_pacs.render()


@pytest.fixture
def service():
    service = Service()
    yield service
    service.stop()


@pytest.fixture
def xray(service, composite_pixels):
    """An X-ray of the archive."""
    about = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "PatientName": NAME,
             "StudyDate": "20260131", "StationName": "ROOM 1", "ViewPosition": "PA"}  # fmt: skip
    image = pydicom.dcmread(BytesIO(make_dicom(composite_pixels, **about)))
    service.images[str(image.SOPInstanceUID)] = image
    return image


@pytest.fixture
def page(service, engine, monkeypatch):
    """The tab, with a search for the last day of January in room 1 done."""
    monkeypatch.setenv(words.PACS_VARIABLE, service.url)
    monkeypatch.setattr(resources, "load_engine", lambda: engine)
    monkeypatch.setattr(analyse_module, "write_results", small_results)  # real ones go to a real archive, in systems

    def searched():
        app = AppTest.from_function(draw, default_timeout=60).run()
        app.date_input(key="pacs_day").set_value(date(2026, 1, 31))
        app.text_input(key="pacs_station").set_value("ROOM 1")
        return press(app, words.PACS_FIND)

    return searched


def press(app, label):
    next(button for button in app.button if button.label == label).click()
    app.run()
    assert not app.exception, app.exception
    return app


def said(app):
    return " ".join(element.value for element in (*app.caption, *app.error, *app.warning)).replace("\\", "")


@pytest.mark.usefixtures("xray")
def test_day_and_station_are_asked_for_and_the_patient_is_named(page, service):
    app = page()
    assert [box.label for box in app.checkbox] == [r"Canary Jane · 20260131 · ROOM 1 · CR · PA"]
    asked = next(path for path in service.asked if "/series?" in path)
    assert "StudyDate=20260131" in asked
    assert "StationName=ROOM" in asked


@pytest.mark.usefixtures("xray")
def test_what_is_picked_is_analysed_and_its_results_are_sent_once(page, service):
    app = page()
    app.checkbox[0].check().run()
    press(app, words.PACS_ANALYSE)
    assert "COVID-19" in said(app)
    assert not service.stored, "nothing goes back before the reader says so"
    press(app, words.PACS_SEND)
    assert len(service.stored) == 3
    assert words.PACS_SENT.partition("{when}")[0].format(count=3).strip() in said(app)
    assert next(button for button in app.button if button.label == words.PACS_SEND).disabled
    press(app, words.PACS_ANALYSE)
    press(app, words.PACS_SEND)
    assert len(service.stored) == 3
    assert "already held the results" in said(app)


def test_an_x_ray_without_an_answer_says_why_and_has_nothing_to_send(page, service):
    service.add(PatientName=NAME, StudyDate="20260131")
    app = page()
    app.checkbox[0].check().run()
    press(app, words.PACS_ANALYSE)
    assert "too small" in said(app) or "does not look like" in said(app)
    assert next(button for button in app.button if button.label == words.PACS_SEND).disabled


def test_names_are_in_the_session_alone_and_go_with_it(page, xray, caplog):
    with caplog.at_level(logging.DEBUG):
        app = page()
        app.checkbox[0].check().run()
        press(app, words.PACS_ANALYSE)
    now = app.session_state["session"]
    assert "Canary" not in caplog.text + repr(now.pacs) + repr(now.kept)
    assert [source.name for source in now.kept] == ["20260131_ROOM 1_PA_1.dcm"]
    assert pydicom.dcmread(BytesIO(now.kept[0].read())).SOPInstanceUID == xray.SOPInstanceUID
    now.forget()
    assert now.pacs is None


def test_an_archive_that_is_away_is_said(page, service, monkeypatch):
    service.status = 401
    assert "refuses access" in said(page())
    monkeypatch.setenv(words.PACS_VARIABLE, "ftp://archive")
    assert "CXR_PACS_URL" in said(AppTest.from_function(draw, default_timeout=60).run())


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9/dicom-web"])
def test_the_tab_is_there_where_an_archive_is_configured(monkeypatch, url):
    titles = []

    def navigation(pages, **_):
        titles.extend(page.title for page in pages)
        return SimpleNamespace(run=lambda: None)

    monkeypatch.setenv(words.PACS_VARIABLE, url)
    monkeypatch.setattr(streamlit, "navigation", navigation)
    app = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=60).run()
    assert not app.exception
    assert (words.PAGE_PACS in titles) == bool(url)
