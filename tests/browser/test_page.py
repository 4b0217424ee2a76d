"""The main job in a real browser: drag in, toggle, look; one forward pass an image, however much is toggled."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from detector import words
from tests.browser.conftest import served, settle
from tests.browser.hands import bars, canvas, choose, drop, panel, passes, place, press
from tests.conftest import encode

pytestmark = pytest.mark.browser

_ON_BODY = """
(files) => {
    const transfer = new DataTransfer();
    for (const [name, bytes] of files) transfer.items.add(new File([new Uint8Array(bytes)], name));
    for (const kind of ["dragenter", "dragover", "drop"])
        document.querySelector(".st-key-viewer").dispatchEvent(
            new DragEvent(kind, {bubbles: true, cancelable: true, composed: true, dataTransfer: transfer}));
}
"""


@pytest.fixture
def second_page(tab, server):
    """The page of the network's figures, opened by its address."""
    tab.goto(f"{server}/how-good")
    expect(tab.get_by_role("tab", name=words.TABS[0])).to_be_visible()
    return tab


def test_example_is_drawn_without_a_click(page):
    assert bars(page).keys() == {"COVID-19", "Not COVID-19"}
    assert sum(bars(page).values()) == pytest.approx(1)
    left, right = panel(page, 0), panel(page, 1)
    assert left.shape == right.shape
    assert np.ptp(left[..., :3].astype(int), axis=-1).max() == 0  # grey
    assert np.ptp(right[..., :3].astype(int), axis=-1).max() > 30  # evidence that is seen
    expect(page.get_by_text("not for diagnosis").first).to_be_visible()
    expect(page.locator(".told-other")).to_contain_text("Three-class: COVID-19")
    expect(page.locator(".told-limits")).to_contain_text(words.LOOKS_FOR_NOTHING_ELSE)


def test_first_run_is_accepted_with_one_click_and_moves_nothing(page):
    upload = page.get_by_test_id("stFileUploaderDropzone").first.element_handle()
    before = canvas(page, 0).bounding_box()
    page.get_by_role("button", name=words.ACCEPT).click()
    expect(page.get_by_role("button", name=words.ACCEPT)).to_have_count(0)
    settle(page)
    assert upload.evaluate("zone => zone.isConnected")  # a new one would not know of files on their way
    assert canvas(page, 0).bounding_box() == before


def test_drag_in_toggle_class_look_with_one_pass_an_image(page, three_formats):
    before = passes(page)
    drop(page, *three_formats)
    expect(place(page)).to_have_text("1 of 3")
    settle(page)
    choose(page, words.MODE, "Three-class")
    three = bars(page)
    assert list(three) == ["Normal", "Bacterial pneumonia", "COVID-19"]
    assert sum(three.values()) == pytest.approx(1)
    x_ray, first_map = panel(page, 0), panel(page, 1)
    choose(page, words.VIEWER["explain"], "Normal" if three["Normal"] < 0.5 else "Bacterial pneumonia")
    np.testing.assert_array_equal(panel(page, 0), x_ray)
    assert np.abs(panel(page, 1).astype(int) - first_map).max() > 20
    choose(page, words.VIEWER["style"], "Lines")
    choose(page, words.MODE, "Binary")
    choose(page, words.OPERATING_POINT, "Sensitive")
    assert bars(page).keys() == {"COVID-19", "Not COVID-19"}
    assert passes(page) == before + len(three_formats)


def test_five_quick_arrow_keys_move_five(page, composite_pixels):
    drop(page, *((f"{n}.png", encode(np.roll(composite_pixels, n, axis=1))) for n in range(8)))
    expect(place(page)).to_have_text("1 of 8")
    expect(page.get_by_role("button", name=words.CANCEL)).to_have_count(0)
    for _ in range(5):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(130)
    expect(page.locator(".told-file")).to_have_text("5.png")
    expect(place(page)).to_have_text("6 of 8")


def test_arrow_keys_follow_the_order_and_the_filter(page):
    page.get_by_role("button", name=words.HEADS["name"][1]).click()
    page.get_by_role("button", name=words.HEADS["name"][1]).click()  # from the end
    names = page.locator(".st-key-worklist .row .name").all_text_contents()
    assert names == sorted(names, key=str.casefold, reverse=True)
    expect(place(page)).to_have_text("2 of 3")
    press(page, "ArrowRight")
    expect(page.locator(".told-file")).to_contain_text(names[2])
    page.get_by_role("button", name="warned 1").click()
    expect(place(page)).to_have_text(re.compile("of 1$"))
    press(page, "ArrowRight")
    expect(page.locator(".told-file")).to_contain_text("bacterial")


def test_open_line_is_in_view(page, composite_pixels):
    drop(page, *((f"{n:02}.png", encode(np.roll(composite_pixels, n, axis=1))) for n in range(30)))
    expect(place(page)).to_have_text("1 of 30")
    expect(page.get_by_role("button", name=words.CANCEL)).to_have_count(0)
    page.locator(".st-key-worklist .list").press("End")
    settle(page)
    expect(place(page)).to_have_text("30 of 30")
    row, shown = page.locator(".row[aria-selected=true]").bounding_box(), page.locator(".list").bounding_box()
    assert shown["y"] <= row["y"]
    assert row["y"] + row["height"] <= shown["y"] + shown["height"] + 1


def test_warning_opens_on_a_click_and_moves_nothing(page):
    press(page, "ArrowRight")
    before = canvas(page, 0).bounding_box()
    page.get_by_role("button", name="Looks like a child").click()
    expect(page.get_by_text("The network knows only children aged one to five")).to_be_visible()
    assert canvas(page, 0).bounding_box() == before


def test_files_may_be_dropped_anywhere_and_the_upload_is_a_button_then(page, composite):
    page.evaluate(_ON_BODY, [["anywhere.png", list(composite)]])
    expect(place(page)).to_have_text("1 of 1")
    settle(page)
    expect(page.locator(".told-file")).to_contain_text("anywhere.png")
    upload = page.locator("input[type=file]").first
    assert upload.evaluate("input => input.isConnected")
    assert page.locator(".st-key-upload").bounding_box()["height"] < 60


def test_page_asks_before_it_is_left_in_mid_run(page, composite_pixels):
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.get_by_role("button", name=words.ACCEPT).click()  # a browser asks only where the reader has done something
    drop(page, *((f"{n}.png", encode(np.roll(composite_pixels, n, axis=1))) for n in range(60)))
    page.locator(".at-work").wait_for(state="attached")
    page.reload()
    assert asked == ["beforeunload"]


def test_rest_of_a_stopped_run_goes_on(page, composite_pixels):
    drop(page, *((f"{n}.png", encode(np.roll(composite_pixels, n, axis=1))) for n in range(40)))
    page.get_by_role("button", name=words.CANCEL, exact=True).click()
    page.get_by_role("button", name=words.RESUME).click()
    progress = page.get_by_text(re.compile(r"\d+ of \d+ analysed"))
    progress.wait_for()
    expect(progress).to_have_count(0)
    expect(page.get_by_role("button", name=words.RESUME)).to_have_count(0)


def test_bad_files_get_a_sentence_and_the_others_an_answer(page, three_formats):
    name, data = three_formats[0]
    drop(page, ("empty.png", b""), ("torn.png", data[: len(data) // 2]), ("notes.png", b"just text"), (name, data))
    expect(place(page)).to_have_text("4 of 4")
    expect(page.get_by_role("button", name="rejected 3")).to_be_visible()
    for row, sentence in enumerate(("The file is empty", "The file is damaged", "This is not a PNG")):
        page.locator(".st-key-worklist .row").nth(row).click()
        expect(page.locator(".told-reason")).to_contain_text(sentence)


def test_answer_is_saved_without_the_file_s_name(page):
    page.get_by_role("button", name=words.SAVE_CASE).click()
    for ending, magic in (("pdf", b"%PDF"), ("png", b"\x89PNG"), ("json", b"{"), ("csv", b"\xef")):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=words.SAVE_AS[ending]).click()
        content = waiting.value.path().read_bytes()
        assert content.startswith(magic)
        assert waiting.value.suggested_filename == f"x-ray-1.{ending}"
        assert b"Composite" not in content


def test_hostile_name_is_text_and_no_markup(page):
    name = "<img src=x onerror=document.title='owned'>.png"
    drop(page, (name, b"no image"))
    expect(page.locator(".told-file")).to_have_text(name)
    assert page.title() == "Chest X-ray detector"


def test_samples_button_without_internet_says_so(page):
    page.get_by_role("button", name=words.MORE, exact=True).click()
    page.get_by_role("button", name=words.SAMPLES).click()
    expect(page.get_by_test_id("stAlertContentError")).to_contain_text("no connection to the internet")


def test_uploads_and_settings_survive_a_look_at_the_other_page_and_can_be_removed(page, three_formats):
    drop(page, *three_formats[:2])
    expect(place(page)).to_have_text("1 of 2")
    settle(page)
    choose(page, words.VIEWER["style"], "Lines")
    page.get_by_role("link", name=words.PAGE_QUALITY).click()
    expect(page.get_by_role("heading", name=words.PAGE_QUALITY)).to_be_visible()
    page.get_by_role("link", name=words.PAGE_ROOM).click()
    expect(page.locator(".told-file")).to_contain_text("first.png")
    settle(page)
    expect(page.get_by_role("radio", name="Lines")).to_have_attribute("aria-checked", "true")
    page.get_by_role("button", name=words.MORE, exact=True).click()
    page.get_by_role("button", name=words.REMOVE, exact=True).click()
    expect(place(page)).to_have_text("1 of 1")
    expect(page.locator(".told-file")).to_contain_text(three_formats[1][0])


def test_nothing_is_asked_of_any_other_machine(tab, server):
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(server)
    tab.get_by_role("heading", name="COVID-19 pattern").wait_for()
    settle(tab)
    tab.get_by_role("link", name=words.PAGE_QUALITY).click()
    expect(tab.get_by_role("tab", name=words.TABS[0])).to_be_visible()
    assert asked
    assert not [url for url in asked if not url.startswith((server, "data:", "blob:"))]


def test_upload_is_usable_while_the_network_is_still_being_loaded(tab, tmp_path):
    """LiteRT is replaced by a module that waits for ever: the page must be there without it."""
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "__init__.py").write_text("import time\ntime.sleep(3600)\n")
    with served(tmp_path / "log", PYTHONPATH=str(tmp_path)) as address:
        tab.goto(address)
        expect(tab.get_by_text("Loading the network")).to_be_visible()
        drop(tab, ("a.png", b"anything"))
        expect(tab.get_by_text("Three-class", exact=True)).to_be_visible()


def test_way_to_the_other_page_shows_that_it_has_the_focus(page):
    link = page.get_by_role("link", name=words.PAGE_QUALITY)
    for _ in range(8):
        page.keyboard.press("Tab")
        if link.evaluate("link => link.matches(':focus-visible')"):
            break
    style = link.evaluate("link => { const s = getComputedStyle(link); return [s.outlineStyle, s.outlineWidth]; }")
    assert style == ["solid", "2px"]


def test_second_page_speaks_in_words_and_not_in_keys(second_page):
    page, main = second_page, second_page.get_by_test_id("stMain")
    for name in words.TABS:
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("tabpanel", name=name)).to_be_visible()
        icons = main.get_by_test_id("stIconMaterial").all_inner_texts()
        keys = set(re.findall(r"`|\b\w+_\w+\b", main.inner_text())) - set(icons)
        assert not keys, name
        assert main.locator("code").count() == 0


def test_no_word_of_a_forest_plot_is_cut_off_or_covered_on_a_phone(second_page):
    page = second_page
    page.set_viewport_size({"width": 390, "height": 844})
    plot = page.locator("[class*=forest_headline] .js-plotly-plot")
    expect(plot.locator(".annotation-text").first).to_be_visible()
    page.wait_for_timeout(500)  # until the chart has its new width
    frame = plot.bounding_box()
    boxes = [one.bounding_box() for one in plot.locator(".annotation-text").all()]
    assert len(boxes) >= 6
    for box in boxes:
        assert frame["x"] <= box["x"]
        assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
    rows = {}
    for box in boxes:
        rows.setdefault(round(box["y"] + box["height"]), []).append((box["x"], box["x"] + box["width"]))
    for row in rows.values():
        (_, end), (begin, _) = sorted(row)
        assert end < begin


def test_nothing_is_wider_than_the_window(page):
    def widths():
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 1000})
            page.wait_for_timeout(500)  # until the charts have the new width
            yield page.evaluate("() => document.documentElement.scrollWidth") <= width

    assert all(widths())
    page.goto(page.url.rstrip("/") + "/how-good")
    expect(page.get_by_role("tab", name=words.TABS[0])).to_be_visible()
    assert all(widths())
