"""The main job in a real browser: drag in, toggle, look; one forward pass an image, however much is toggled."""

import base64
import re

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import served, settle
from tests.conftest import encode, make_dicom

pytestmark = pytest.mark.browser

DROP = """
([zone, files]) => {
    const transfer = new DataTransfer();
    for (const [name, type, data] of files) {
        const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
        transfer.items.add(new File([bytes], name, {type}));
    }
    for (const kind of ["dragenter", "dragover", "drop"])
        zone.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: transfer}));
}
"""
FIGURES = """
() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => plot.data.map(trace => ({
    type: trace.type, source: trace.source,
    x: trace.x ? Array.from(trace.x) : null, y: trace.y ? Array.from(trace.y) : null
})))
"""
AXES = """
() => {
    const layout = [...document.querySelectorAll('.js-plotly-plot')].at(-1)._fullLayout;
    return [layout.xaxis, layout.xaxis2].map(axis => [...axis.range]);
}
"""


def drop(page, *files):
    """Drag files (name, bytes) onto the upload, as from a folder."""
    zone = page.get_by_test_id("stFileUploaderDropzone").element_handle()
    page.evaluate(DROP, [zone, [[name, "", base64.b64encode(data).decode()] for name, data in files]])


def bars(page):
    """Class name to probability, as drawn."""
    (trace,) = [t for figure in page.evaluate(FIGURES) for t in figure if t["type"] == "bar"]
    return dict(zip(trace["y"], trace["x"], strict=True))


def pictures(page):
    """The X-ray and the map, as drawn: two (H, W, 3) arrays."""
    sources = [t["source"] for figure in page.evaluate(FIGURES) for t in figure if t["type"] == "image"]
    data = [np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8) for source in sources]
    return [cv2.imdecode(one, cv2.IMREAD_COLOR).astype(int) for one in data]


def choose(page, group, option):
    """Press one segment of a segmented control."""
    page.get_by_role("radiogroup", name=re.compile(group)).get_by_text(option, exact=True).click()
    settle(page)


def passes(page):
    """How often the network has run, as the page says."""
    page.get_by_text("Where this answer comes from").click()
    text = page.get_by_text(re.compile(r"The network has run \d+ times")).inner_text()
    page.get_by_text("Where this answer comes from").click()
    return int(re.search(r"has run (\d+) times", text).group(1))


@pytest.fixture
def three_formats(composite_pixels):
    """Three different pictures, so that each needs its own pass."""
    mirrored, darker = composite_pixels[:, ::-1].copy(), (composite_pixels * 0.8).astype(np.uint8)
    return [
        ("first.png", encode(composite_pixels[8:-8, 8:-8])),
        ("second.jpg", encode(mirrored, ".jpg")),
        ("third.dcm", make_dicom(darker)),
    ]


def test_example_is_drawn_without_a_click(page):
    assert bars(page).keys() == {"COVID-19", "Not COVID-19"}
    assert sum(bars(page).values()) == pytest.approx(1)
    xray, overlay = pictures(page)
    assert xray.shape == overlay.shape == (512, 512, 3)
    assert np.abs(xray - overlay).max() > 30
    expect(page.get_by_text("Not for diagnosis").first).to_be_visible()


def test_drag_in_toggle_class_opacity_with_one_pass_an_image(page, three_formats):
    before = passes(page)
    drop(page, *three_formats)
    for name, _ in three_formats:
        expect(page.get_by_role("button", name=f"Remove {name}")).to_be_visible()
    settle(page)
    assert pictures(page)[0].shape == (496, 496, 3)

    choose(page, "Question", "Three-class")
    three = bars(page)
    assert list(three) == ["Normal", "Bacterial pneumonia", "COVID-19"]
    assert sum(three.values()) == pytest.approx(1)

    xray, first_map = pictures(page)
    choose(page, "Explain", "Normal" if three["Normal"] < 0.5 else "Bacterial pneumonia")
    same_xray, other_map = pictures(page)
    np.testing.assert_array_equal(same_xray, xray)
    assert np.abs(other_map - first_map).max() > 20

    slider = page.get_by_role("slider", name="Opacity")
    slider.press("Home")
    settle(page)
    clear_xray, clear_map = pictures(page)
    assert np.abs(clear_map - clear_xray).max() <= 6  # two JPEGs of one grey picture

    choose(page, "Question", "Binary: COVID-19 or not")
    choose(page, "Operating point", "Sensitive")
    assert bars(page).keys() == {"COVID-19", "Not COVID-19"}
    assert passes(page) == before + len(three_formats)


def test_zooming_one_picture_zooms_the_other(page):
    whole = page.evaluate(AXES)
    assert whole[0] == whole[1]
    box = page.locator(".js-plotly-plot").last.locator(".xy .drag, .nsewdrag").first.bounding_box()
    x, y = box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] * 0.3, y + box["height"] * 0.3, steps=6)
    page.mouse.up()
    page.wait_for_timeout(800)
    zoomed = page.evaluate(AXES)
    assert zoomed[0] == zoomed[1]
    assert zoomed[0][1] - zoomed[0][0] < 0.7 * (whole[0][1] - whole[0][0])


def test_bad_files_get_a_sentence_and_the_others_an_answer(page, three_formats):
    name, data = three_formats[0]
    drop(page, ("empty.png", b""), ("torn.png", data[: len(data) // 2]), ("notes.png", b"just text"), (name, data))
    alerts = page.get_by_test_id("stAlertContentError")
    expect(alerts).to_have_count(3)
    texts = " ".join(alerts.all_inner_texts())
    for sentence in ("empty.png: The file is empty", "torn.png: The file is damaged", "notes.png: This is not a PNG"):
        assert sentence in texts
    settle(page)
    assert pictures(page)[0].shape == (496, 496, 3)


def test_hostile_name_is_text_and_no_markup(page):
    drop(page, ("<img src=x onerror=document.title='owned'>.png", b"no image"))
    expect(page.get_by_test_id("stAlertContentError")).to_contain_text("<img src=x onerror=document.title='owned'>.png")
    assert page.title() == "Chest X-ray detector"


def test_samples_button_without_internet_says_so(page):
    page.get_by_role("button", name="Fetch sample X-rays").click()
    expect(page.get_by_test_id("stAlertContentError")).to_contain_text("no connection to the internet")
    settle(page)
    assert len(bars(page)) == 2


def test_nothing_is_asked_of_any_other_machine(tab, server):
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(server)
    tab.get_by_role("heading", name="COVID-19 likely").wait_for()
    settle(tab)
    assert asked
    assert not [url for url in asked if not url.startswith((server, "data:", "blob:"))]


def test_upload_is_usable_while_tensorflow_is_still_being_imported(tab, tmp_path):
    """TensorFlow and Keras are replaced by modules that wait for ever: the page must be there without them."""
    for name in ("tensorflow", "keras"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("import time\ntime.sleep(3600)\n")
    with served(tmp_path / "log", PYTHONPATH=str(tmp_path)) as address:
        tab.goto(address)
        expect(tab.get_by_text("Loading the network")).to_be_visible()
        drop(tab, ("a.png", b"anything"))
        expect(tab.get_by_role("button", name="Remove a.png")).to_be_visible()
        expect(tab.get_by_text("Three-class", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_is_wider_than_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    page.wait_for_timeout(800)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
