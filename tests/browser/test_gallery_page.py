"""The gallery in a real browser, opened as a file."""

import cv2
import numpy as np
import pytest

from detector.answers.answer import Question
from detector.report import gallery
from detector.run.predict import predict_files
from detector.run.results import Request, Results
from tests.conftest import COMPOSITES, encode

pytestmark = pytest.mark.browser

EXPLAINED = Request(Question("binary"), explain=True)
NAMES = ("b.png", "<img src=x onerror=document.title='owned'>.png", "c 10.png", "c 9.png")


@pytest.fixture(scope="module")
def address(tmp_path_factory, engine):
    """Four answers of four probabilities and a refusal."""
    folder, out = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("out")
    composites = [cv2.imread(str(COMPOSITES / f"{n}.png"), 0) for n in ("covid19", "normal", "bacterial_pneumonia")]
    composites.append(np.roll(composites[0], 20, axis=1))
    for name, picture in zip(NAMES, composites, strict=True):
        (folder / name).write_bytes(encode(picture))
    (folder / "a.png").write_bytes(b"")
    with Results(out, EXPLAINED, engine.card.sha256, resume=False) as results:
        list(predict_files(sorted(folder.iterdir()), engine, EXPLAINED, results=results))
        page = out / "gallery.html"
        page.write_text(gallery.gallery_page(out, results.answers(), engine.card), "utf-8")
        return page.as_uri()


@pytest.fixture
def opened(chromium, address):
    """The page on a wide screen; anything but itself that it asks for, and any error, fails the test."""
    page, wrong = chromium.new_page(viewport={"width": 1440, "height": 900}), []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(address)
    yield page
    page.close()
    assert wrong == [address]


def listed(page):
    return page.locator("#list .name").all_text_contents()


def test_arrow_keys_step_through_and_stop_at_the_ends(opened):
    assert opened.inner_text("#place") == "1 of 5"
    opened.keyboard.press("ArrowLeft")
    assert opened.inner_text("#place") == "1 of 5"
    first = opened.inner_text("#file")
    opened.keyboard.press("ArrowRight")
    assert opened.inner_text("#place") == "2 of 5"
    assert opened.inner_text("#file") != first
    opened.keyboard.press("End")
    opened.keyboard.press("ArrowRight")
    assert opened.inner_text("#place") == "5 of 5"
    assert opened.inner_text("#title") == "No answer"
    assert not opened.is_visible("#overlay")
    opened.keyboard.press("Home")
    assert opened.is_visible("#overlay")


def test_pictures_are_drawn_at_one_size(opened):
    sizes = opened.evaluate("['xray', 'overlay'].map(id => [byId(id).naturalWidth, byId(id).naturalHeight])")
    assert sizes == [[512, 512], [512, 512]]


def test_sorts_by_probability_decision_and_name_either_way(opened):
    told = [text.strip(" %") for text in opened.locator("#list .covid").all_text_contents() if text]
    shares = [0.5 if text.startswith("<") else 99.5 if text.startswith(">") else float(text) for text in told]
    assert shares == sorted(shares, reverse=True)
    opened.select_option("#order", "name")
    by_name = listed(opened)
    assert by_name == [NAMES[1], "b.png", "c 9.png", "c 10.png", "a.png"]  # what has no answer comes last
    opened.click("#direction")
    assert listed(opened) == [*reversed(by_name[:4]), "a.png"]
    opened.select_option("#order", "decision")
    decisions = [text for text in opened.locator("#list .answer").all_text_contents() if "No answer" not in text]
    assert decisions == sorted(decisions, key=str.casefold)


def test_name_that_is_markup_is_shown_as_text(opened):
    assert NAMES[1] in listed(opened)
    assert opened.title() == "Chest X-rays: evidence gallery"
    assert opened.locator("img[src=x]").count() == 0


def test_page_fits_a_phone(opened):
    opened.set_viewport_size({"width": 390, "height": 844})
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    box = opened.locator("#next").bounding_box()
    assert box["width"] >= 36
    opened.click("#next")
    assert opened.inner_text("#place") == "2 of 5"


def test_linked_pictures_are_shown_from_their_folder(chromium, tmp_path, engine, monkeypatch):
    monkeypatch.setattr(gallery, "EMBEDDED", 0)
    name = "100% #1?.png"
    (tmp_path / name).write_bytes((COMPOSITES / "covid19.png").read_bytes())
    with Results(tmp_path / "out", EXPLAINED, engine.card.sha256, resume=False) as results:
        list(predict_files([tmp_path / name], engine, EXPLAINED, results=results))
        linked = results.folder / "gallery.html"
        linked.write_text(gallery.gallery_page(results.folder, results.answers(), engine.card), "utf-8")
    page = chromium.new_page()
    page.goto(linked.as_uri())
    page.wait_for_function("byId('xray').complete && byId('overlay').complete")
    assert page.evaluate("[byId('xray').naturalWidth, byId('overlay').naturalWidth]") == [512, 512]
    page.close()
