"""The page's script, run without a browser: what needs the network, and what must not."""

import subprocess
import sys

import pytest
from streamlit.testing.v1 import AppTest

from detector.errors import ModelError, SampleNetworkError
from detector.ui import page, samples, texts
from tests.conftest import ROOT, encode, make_dicom

APP = str(ROOT / "streamlit_app.py")
PAINT_ONLY = """
import sys
from streamlit.testing.v1 import AppTest
from detector.errors import ModelError
from detector.ui import page

def no_network():
    assert "tensorflow" not in sys.modules and "keras" not in sys.modules, "imported before the page was painted"
    raise ModelError("stop here")

page.load_classifier = no_network
app = AppTest.from_file(sys.argv[1], default_timeout=60).run()
assert not app.exception, app.exception
assert app.get("file_uploader"), "no upload on the page"
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
print("painted")
"""


@pytest.fixture
def app(classifier, monkeypatch):
    """The page with the network of the other tests."""
    monkeypatch.setattr(page, "load_classifier", lambda: classifier)
    return AppTest.from_file(APP, default_timeout=60)


def explain(app):
    (control,) = (control for control in app.segmented_control if control.label == texts.EXPLAIN)
    return control


def subheaders(app):
    return [element.value for element in app.subheader]


def test_page_up_to_a_usable_upload_imports_no_tensorflow():
    done = subprocess.run(
        [sys.executable, "-c", PAINT_ONLY, APP], capture_output=True, text=True, cwd=ROOT, check=False, timeout=120
    )
    assert done.stdout.strip() == "painted", done.stderr[-2000:]


def test_example_is_analysed_without_a_click(app):
    app.run()
    assert not app.exception
    assert subheaders(app) == ["COVID-19 likely"]
    assert any(caption.value == texts.EXAMPLES for caption in app.caption)


def test_disclaimer_stands_on_the_page(app):
    app.run()
    assert any("Not for diagnosis" in caption.value for caption in app.caption)


def test_toggle_class_operating_point_and_opacity_never_run_the_network(app, classifier):
    app.run()
    passes = classifier.forward_passes
    app.segmented_control(key="operating_point").set_value("specific").run()
    app.segmented_control(key="mode").set_value("three-class").run()
    explain(app).set_value("normal").run()
    app.slider(key="opacity").set_value(20).run()
    app.segmented_control(key="mode").set_value("binary").run()
    assert not app.exception
    assert app.segmented_control(key="operating_point").value == "specific"
    app.segmented_control(key="mode").set_value("three-class").run()
    assert explain(app).value == "normal"
    assert classifier.forward_passes == passes


def test_uploads_of_three_formats_and_a_bad_one(app, composite, composite_pixels):
    app.run()
    files = [
        ("a.png", composite, "image/png"),
        ("b.jpg", encode(composite_pixels, ".jpg"), "image/jpeg"),
        ("c.dcm", make_dicom(composite_pixels), "application/dicom"),
        ("bad.png", b"text", "image/png"),
    ]
    for name, content, kind in files:
        app.get("file_uploader")[0].upload(name, content, kind)
    app.run()
    assert not app.exception
    assert [error.value for error in app.error] == [
        "**bad\\.png**: This is not a PNG, JPEG or DICOM file. Export the X-ray in one of these formats."
    ]
    assert list(app.dataframe[0].value[texts.COLUMN_NAME]) == ["a.png", "b.jpg", "c.dcm"]


def test_missing_network_is_said_with_its_cure(monkeypatch):
    def missing():
        raise ModelError("no file")

    monkeypatch.setattr(page, "load_classifier", missing)
    app = AppTest.from_file(APP, default_timeout=60).run()
    assert not app.exception
    assert "Install the app again" in app.error[0].value


def test_samples_button_without_a_network_says_so_and_keeps_the_examples(app, monkeypatch):
    def offline(_sample):
        raise SampleNetworkError("refused")

    monkeypatch.setattr(samples, "fetch", offline)
    app.run()
    app.button(key="samples").click().run()
    assert [error.value for error in app.error] == [SampleNetworkError.user_message]
    assert subheaders(app) == ["COVID-19 likely"]


def test_samples_button_shows_what_it_fetched_with_its_licence(app, monkeypatch, composite):
    listed = [samples.Sample("one.png", "covid19", "0" * 64, "https://example.org/one.png", "CC BY 4.0")]
    monkeypatch.setattr(samples, "listed_samples", lambda: listed)
    monkeypatch.setattr(samples, "fetch", lambda _sample: composite)
    app.run()
    app.button(key="samples").click().run()
    assert not app.exception
    assert any("CC BY 4\\.0" in caption.value for caption in app.caption)
    assert any("one\\.png" in caption.value for caption in app.caption)
    app.button(key="remove_samples").click().run()
    assert any(caption.value == texts.EXAMPLES for caption in app.caption)
