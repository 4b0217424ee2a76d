"""The page's script, run without a browser: what needs the network, and what must not."""

import json
import subprocess
import sys
from html import escape

import pytest
from streamlit.testing.v1 import AppTest

from detector import words
from detector.errors import DecodingLimitError, ModelError, NotAChestXrayError, SampleNetworkError
from detector.schema import ClassStability, Correction, Stability
from detector.ui import cases, resources, samples
from tests.conftest import ROOT, encode, make_dicom
from tests.ui.conftest import settled

APP = str(ROOT / "streamlit_app.py")
PAINT_ONLY = """
import sys
from streamlit.testing.v1 import AppTest
from detector.errors import ModelError
from detector.ui import resources

def no_network():
    assert not {"ai_edge_litert", "tensorflow", "keras"} & set(sys.modules), "imported before the page was painted"
    raise ModelError("stop here")

resources.load_engine = no_network
app = AppTest.from_file(sys.argv[1], default_timeout=60).run()
assert not app.exception, app.exception
assert app.get("file_uploader"), "no upload on the page"
assert not {"ai_edge_litert", "tensorflow", "keras"} & set(sys.modules)
print("painted")
"""


@pytest.fixture
def app(engine, monkeypatch):
    """The page with the network of the other tests, which waits for every image within the run."""
    monkeypatch.setattr(resources, "load_engine", lambda: engine)
    monkeypatch.setattr("detector.ui.reading._FIRST_WAIT", 60)
    return AppTest.from_file(APP, default_timeout=60)


def told(app):
    """What the answer says, as text."""
    return " ".join(element.proto.body for element in app.get("html") if "told-" in element.proto.body)


def said(app):
    return " ".join(element.value for element in (*app.markdown, *app.caption))


def data_of(app, name):
    """What a component of ours was given last."""
    (found,) = (e.proto for e in app.get("bidi_component") if e.proto.component_name.endswith(name) and e.proto.json)
    return json.loads(found.json)


def rows_of(app):
    """The worklist's lines."""
    return json.loads(data_of(app, "worklist")["rows"])


def open_file(app, place):
    """Open a file of the list, as a click on its line does."""
    rows = rows_of(app)
    app.session_state["session"].opened = rows[place]["id"]
    return app.run()


def test_page_up_to_a_usable_upload_imports_nothing_that_runs_networks():
    done = subprocess.run(
        [sys.executable, "-c", PAINT_ONLY, APP], capture_output=True, text=True, cwd=ROOT, check=False, timeout=120
    )
    assert done.stdout.strip() == "painted", done.stderr[-2000:]


def test_example_is_analysed_without_a_click(app):
    app.run()
    assert not app.exception
    assert "COVID-19 pattern" in told(app)
    assert any(caption.value == words.EXAMPLES for caption in app.caption)


def test_first_run_says_what_this_is_until_it_is_accepted(app):
    app.run()
    notice = [element.proto.body for element in app.get("html") if words.NOTICE_LINE in element.proto.body]
    assert notice
    assert words.WELCOME_IS_NOT in said(app)
    app.button(key="accept").click().run()
    assert not [button for button in app.button if button.key == "accept"]


def test_nothing_but_a_new_image_runs_the_network(app, engine):
    settled(app)
    passes = engine.forward_passes
    app.segmented_control(key="operating_point").set_value("specific").run()
    app.segmented_control(key="question").set_value("three-class").run()
    viewer = data_of(app, "viewer")
    assert viewer["target"] == "covid19"
    app.session_state["session"].explained[viewer["subject"]] = ("normal", "covid19")
    app.run()
    contrast = data_of(app, "viewer")
    assert (contrast["target"], contrast["against"]) == ("normal", "covid19")
    assert contrast["layer"] != viewer["layer"]
    open_file(app, 1)
    app.segmented_control(key="question").set_value("binary").run()
    assert not app.exception
    assert app.segmented_control(key="operating_point").value == "specific"
    open_file(app, 0)
    app.segmented_control(key="question").set_value("three-class").run()
    assert data_of(app, "viewer")["target"] == "normal"
    assert not app.exception
    assert engine.forward_passes == passes


def test_picture_that_cannot_be_decoded_again_keeps_its_answer(app, monkeypatch):
    settled(app)

    def no_time(_data):
        raise DecodingLimitError("busy")

    monkeypatch.setattr(cases, "read_radiograph", no_time)
    app.session_state["session"].analyst._shelf.keep(lambda _key: False)
    app.segmented_control(key="question").set_value("three-class").run()
    assert not app.exception
    assert data_of(app, "viewer")["empty"][0] == words.PICTURE_GONE
    assert "COVID-19 pattern" in told(app)
    monkeypatch.undo()


def test_open_file_is_told_with_its_name_in_full(app):
    settled(app)
    open_file(app, 2)
    assert "Composite: normal" in told(app)
    assert data_of(app, "worklist")["opened"] == "example:normal"


def test_removed_upload_leaves_the_list_alone(app, composite, composite_pixels):
    app.run()
    for name, content in (("a.png", composite), ("b.png", encode(composite_pixels[4:-4]))):
        app.get("file_uploader")[0].upload(name, content, "image/png")
    settled(app)
    app.button(key="remove").click()
    settled(app)
    assert [row["name"] for row in rows_of(app)] == ["b.png"]


def test_uploads_of_three_formats_and_a_bad_one(app, composite, composite_pixels):
    app.run()
    files = [
        ("a.png", composite, "image/png"),
        ("b.jpg", encode(composite_pixels, ".jpg"), "image/jpeg"),
        ("c.dcm", make_dicom(composite_pixels), "application/dicom"),
        ("bad.png", b"text", "image/png"),
        ("again.png", composite, "image/png"),
    ]
    for name, content, kind in files:
        app.get("file_uploader")[0].upload(name, content, kind)
    settled(app)
    assert not app.exception
    rows = rows_of(app)
    assert [row["name"] for row in rows] == [name for name, *_ in files]
    assert rows[3]["said"] == words.REJECTED
    assert rows[3]["notes"] == ["This is not a PNG, JPEG or DICOM file. Export the X-ray in one of these formats."]
    assert rows[4]["notes"][0] == words.TWIN.format(number=1)


def test_single_bad_file_is_refused_with_its_cure(app):
    app.run()
    app.get("file_uploader")[0].upload("bad.png", b"text", "image/png")
    settled(app)
    assert words.REJECTED_TITLE in told(app)
    assert "Export the X-ray" in told(app)
    assert data_of(app, "viewer")["pixels"] is None
    assert not [button for button in app.button if button.label == words.FORCE]


def test_clearing_the_list_brings_the_examples_back(app, composite):
    app.run()
    app.get("file_uploader")[0].upload("a.png", composite, "image/png")
    settled(app)
    app.button(key="clear").click()
    settled(app)
    assert any(caption.value == words.EXAMPLES for caption in app.caption)


class RefusalError(NotAChestXrayError):
    """As the gate refuses: it can be overridden, and knows what would help."""

    user_message = "This looks upside down."


@pytest.fixture
def gated(app, monkeypatch):
    """The page with a gate that refuses what is neither turned nor forced; returns it and the options asked for."""
    correction = Correction(quarter_turns=2)
    asked, real = [], cases.analyse

    def gate(data, engine, **options):
        asked.append(options)
        if not options:
            refusal = RefusalError("x")
            refusal.suggested_correction = correction
            raise refusal
        return real(data, engine)

    monkeypatch.setattr(cases, "analyse", gate)
    return app, asked, correction


@pytest.mark.parametrize("label", [words.FORCE, words.CORRECT_TURN])
def test_gate_can_be_overridden_and_the_picture_turned(gated, composite, label):
    app, asked, correction = gated
    app.run()
    app.get("file_uploader")[0].upload("a.png", composite, "image/png")
    settled(app)
    assert "upside down" in told(app)
    (button,) = (button for button in app.button if button.label == label)
    button.click().run()
    assert not app.exception
    assert asked[-1] == ({"force": True} if label == words.FORCE else {"correction": correction})
    assert "COVID-19 pattern" in told(app)


def test_stability_check_draws_whiskers_on_demand(app, monkeypatch):
    classes = {"covid19": ClassStability(0.7, 0.99, 0.9), "not_covid19": ClassStability(0.01, 0.3, 0.9)}
    stability = Stability({"binary": classes, "three_class": {}}, ("a little brighter", "turned by 2 degrees"))
    monkeypatch.setattr("detector.answers.stability.measure_stability", lambda *_: stability)
    settled(app)
    app.button(key="stability").click().run()
    assert not app.exception
    assert "2 mild changes" in told(app)
    assert "29 percentage points" in told(app)


def test_missing_network_is_said_with_its_cure(monkeypatch):
    def missing():
        raise ModelError("no file")

    monkeypatch.setattr(resources, "load_engine", missing)
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
    assert "COVID-19 pattern" in told(app)


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
    assert any(caption.value == words.EXAMPLES for caption in app.caption)


def test_second_page_shows_what_the_files_hold_and_needs_no_network():
    def second_page():
        from detector.ui import quality

        quality.render()

    app = AppTest.from_function(second_page, default_timeout=60).run()
    assert not app.exception
    assert [tab.label for tab in app.tabs] == list(words.TABS)
    drawn = " ".join(element.proto.body for element in app.get("html"))
    for title in (words.TABS[3], words.ORIGINAL_TITLE, words.SOURCES_TITLE, words.CANDIDATES_TITLE):
        assert f'aria-label="{escape(title)}"' in drawn
