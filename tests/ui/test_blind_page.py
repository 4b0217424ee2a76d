"""The blind read on the page, without a browser: the reader first, the program hidden until then, nothing lost."""

import csv
import io
import json
import re
from html import unescape

import pytest
from streamlit.testing.v1 import AppTest

from detector import words
from detector.report.blind import as_csv
from detector.run.blind import FOLDER_VARIABLE
from detector.ui import resources
from detector.ui.blind import labels_of
from tests.conftest import COMPOSITES, encode
from tests.ui.conftest import settled

PAGE = "from detector.ui import blind\nblind.render()\n"


@pytest.fixture
def app(engine, monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "load_engine", lambda: engine)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "readings"))
    return AppTest.from_string(PAGE, default_timeout=60)


def files(composite_pixels):
    """Three X-rays whose names tell the truth, and a table that tells it too."""
    pictures = [(f"{p.stem}_patient.png", p.read_bytes()) for p in sorted(COMPOSITES.glob("*.png"))]
    table = "image,label\nx/COVID19_patient.png,covid19\nnormal_patient.png,normal\nother.png,normal\n"
    return [*pictures, ("twin.png", encode(composite_pixels[4:-4])), ("manifest.csv", table.encode())]


def drop(app, dropped):
    for name, data in dropped:
        app.get("file_uploader")[0].upload(name, data, "image/png")
    return settled(app)


def text(app):
    parts = [*app.markdown, *app.caption, *app.subheader, *app.info, *app.error]
    parts += list(app.get("html"))
    return " ".join(getattr(e, "value", None) or e.proto.body for e in parts)


def viewer(app):
    (found,) = (
        e.proto for e in app.get("bidi_component") if e.proto.component_name.endswith("viewer") and e.proto.json
    )
    return json.loads(found.json)


def read_one(app, first, second, sure=2):
    """Answer the X-ray on the page, look at the program's answer, answer again."""
    case = app.session_state["session"].blind.current
    choose(app, f"first_{case}", first)
    choose(app, f"first_sure_{case}", sure)
    app.button(key="blind_show").click().run()
    choose(app, f"second_{case}", second)
    app.button(key="blind_next").click().run()
    assert not app.exception


def choose(app, key, value):
    app.segmented_control(key=key).set_value(value).run()


@pytest.fixture
def begun(app, composite_pixels):
    app.run()
    drop(app, files(composite_pixels))
    assert words.BLIND_READY.format(cases=4, labelled=2) in text(app)
    app.button(key="blind_begin").click().run()
    assert not app.exception
    return app


def test_answer_map_and_name_are_hidden_until_the_reader_has_answered(begun):
    shown = viewer(begun)
    assert shown["empty"][1] == words.BLIND_HIDDEN
    assert shown.get("layer") is None
    assert "_patient" not in json.dumps(shown) + text(begun)
    assert "pattern" not in text(begun)
    assert begun.button(key="blind_show").disabled
    case = begun.session_state["session"].blind.current
    choose(begun, f"first_{case}", "covid19")
    assert begun.button(key="blind_show").disabled  # how sure has not been said
    choose(begun, f"first_sure_{case}", 3)
    begun.button(key="blind_show").click().run()
    assert "The program:" in text(begun)
    assert viewer(begun)["layer"]
    assert "_patient" not in json.dumps(viewer(begun)) + text(begun)


def test_whole_read_ends_with_a_table_and_every_answer(begun):
    for first, second in (
        ("covid19", "covid19"),
        ("not_covid19", "covid19"),
        ("covid19", "not_covid19"),
        ("covid19",) * 2,
    ):
        read_one(begun, first, second)
    told = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', unescape(text(begun))))
    assert told[words.BLIND_COUNTS["changed"]] == "2"
    assert words.BLIND_FIGURES["kappa"] in told
    read = begun.session_state["session"].blind
    lines = list(csv.DictReader(io.StringIO(as_csv(read.done).decode("utf-8-sig"))))
    assert [line["first"] for line in lines] == ["covid19", "not_covid19", "covid19", "covid19"]
    assert sorted(line["label"] for line in lines) == ["", "", "covid19", "normal"]
    begun.button(key="blind_again").click().run()
    assert words.BLIND_LEAD in text(begun)


def test_reload_after_the_pictures_are_gone_asks_for_them_and_goes_on(begun, composite_pixels):
    read_one(begun, "covid19", "not_covid19")
    identifier = begun.session_state["session"].blind.identifier
    later = AppTest.from_string(PAGE, default_timeout=60)
    later.query_params["read"] = identifier
    begun.session_state["session"].forget()
    later.run()
    assert not later.exception
    assert words.BLIND_MISSING.format(left=3) in text(later)
    drop(later, files(composite_pixels)[::-1])
    settled(later)
    assert later.session_state["session"].blind.done[0].second == "not_covid19"
    read_one(later, "covid19", "covid19")
    assert len(later.session_state["session"].blind.done) == 2


def test_reload_while_the_server_still_holds_the_pictures_goes_on_at_once(begun):
    read_one(begun, "covid19", "not_covid19")
    before = begun.session_state["session"]
    later = AppTest.from_string(PAGE, default_timeout=60)
    later.query_params["read"] = before.blind.identifier
    later.run()
    assert not later.exception
    assert words.BLIND_MISSING.format(left=3) not in text(later)
    assert later.button(key="blind_show")
    before.forget()  # as the sweeper does two minutes later
    read_one(later, "covid19", "covid19")


def test_address_of_a_read_that_there_is_not_is_said(app):
    app.query_params["read"] = "0" * 16
    app.run()
    assert words.BLIND_UNKNOWN in text(app)


def test_folder_that_cannot_be_written_keeps_the_read_in_memory_and_says_so(
    app, composite_pixels, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file" / "below"))
    app.run()
    drop(app, files(composite_pixels))
    app.button(key="blind_begin").click().run()
    assert app.warning[0].value.startswith("The answer is kept in memory only")
    read_one(app, "covid19", "covid19")


@pytest.mark.parametrize(
    ("table", "labels"),
    [
        (b"image,label\na/B.png,covid19\n", {"b.png": "covid19"}),
        (b"\xef\xbb\xbfimage,label\nC:\\x\\b.png, normal \n", {"b.png": "normal"}),
        (b"image,label\nb.png,\n", {}),
        (b"image\nb.png\n", {}),
        (b"\x00\xff", {}),
        (b"", {}),
    ],
)
def test_labels_of_a_table(table, labels):
    assert labels_of(table) == labels
