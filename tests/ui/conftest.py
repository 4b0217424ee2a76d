"""Cases of the page without a network."""

import threading
import time

import numpy as np
import pytest

from detector.ui.analyst import Analyst
from detector.ui.cases import Case
from detector.ui.shelf import Picture, Shelf
from tests.answers.conftest import make_analysis

__all__ = ["make_analysis"]


@pytest.fixture(autouse=True)
def quick_runs(monkeypatch):
    """Without what Streamlit does at each run of an AppTest and a page does once, or never: nine tenths of their time.

    It ends Keras' session where Keras is loaded, as other tests of the same process have it, and reads the metadata of
    every installed package in search of components.
    """
    monkeypatch.setattr("streamlit.runtime.scriptrunner.script_runner._clean_problem_modules", lambda: None)
    monkeypatch.setattr("streamlit.components.v2.manifest_scanner.scan_component_manifests", list)


@pytest.fixture(autouse=True)
def no_work_left_over(monkeypatch):
    """What a test's page has begun ends with the test: the next one may count the passes of the same network."""
    analysts = []
    begin = Analyst.__init__

    def noted(self):
        begin(self)
        analysts.append(self)

    monkeypatch.setattr(Analyst, "__init__", noted)
    yield
    for analyst in analysts:
        analyst.forget()
    for thread in threading.enumerate():
        if thread.name == "analyst":
            thread.join(60)
            assert not thread.is_alive(), "an analysis does not end"


@pytest.fixture
def make_case(make_analysis):
    """A case of `make_analysis` whose two tasks agree."""

    def make(cam=((4, 0), (4, 0)), *, logit=0.0, key="ab" * 32, **attributes):
        picture = Picture.put(Shelf(), key, np.full((8, 8), 30000, np.uint16), decode=None)
        three = (0.0, 0.0, 9.0) if logit > 0 else (0.0, 9.0, 0.0)
        return Case(key, picture, make_analysis(cam=cam, binary=logit, three=three, **attributes))

    return make


def settled(app):
    """Run until nothing is being analysed any more, as the page's own looking does."""
    app.run()
    for _ in range(600):
        if app.session_state["session"].analyst.progress() is None:
            return app.run()
        time.sleep(0.05)
    raise RuntimeError("the analysis does not end")
