"""The main job in a real browser: drag in, toggle, look; one forward pass an image, however much is toggled."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import served, settle
from tests.browser.hands import bars, choose, drop, layers, passes, ranges, viewer_box
from tests.conftest import encode, make_dicom

pytestmark = pytest.mark.browser


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
    left, right, evidence = layers(page)
    assert left.shape == (512, 512, 3)
    np.testing.assert_array_equal(left, right)
    assert evidence[..., 3].max() > 60  # of 255: evidence that is seen
    expect(page.get_by_text("Not for diagnosis").first).to_be_visible()


def test_first_run_is_accepted_with_one_click_and_remembered(page):
    upload = page.get_by_test_id("stFileUploaderDropzone").first.element_handle()
    page.get_by_role("button", name="I understand").click()
    expect(page.get_by_text("What it is not")).to_have_count(0)
    settle(page)
    assert upload.evaluate("zone => zone.isConnected")  # a new one would not know of files on their way
    choose(page, "Question", "Three-class")
    expect(page.get_by_text("What it is not")).to_have_count(0)


def test_drag_in_toggle_class_look_with_one_pass_an_image(page, three_formats):
    before = passes(page)
    drop(page, *three_formats)
    expect(page.get_by_text("1 of 3")).to_be_visible()
    settle(page)
    assert layers(page)[0].shape == (496, 496, 3)

    choose(page, "Question", "Three-class")
    three = bars(page)
    assert list(three) == ["Normal", "Bacterial pneumonia", "COVID-19"]
    assert sum(three.values()) == pytest.approx(1)

    x_ray, _, first_map = layers(page)
    choose(page, "Explain", "Normal" if three["Normal"] < 0.5 else "Bacterial pneumonia")
    same_x_ray, _, other_map = layers(page)
    np.testing.assert_array_equal(same_x_ray, x_ray)
    assert np.abs(other_map - first_map).max() > 20

    choose(page, "Map", "Lines")
    assert len(layers(page)) == 2  # lines are no picture
    choose(page, "Map", "Colour")

    page.get_by_role("button", name="Grey scale").click()
    page.get_by_text("Invert", exact=True).click()
    settle(page)
    assert np.abs(255 - layers(page)[0] - x_ray).max() <= 6  # two JPEGs of one grey picture
    page.keyboard.press("Escape")

    choose(page, "Question", "Binary")
    choose(page, "Operating point", "Sensitive")
    assert bars(page).keys() == {"COVID-19", "Not COVID-19"}
    assert passes(page) == before + len(three_formats)


def test_arrow_keys_step_through_the_list_after_a_click_on_a_choice(page):
    for place, (group, option) in enumerate([("Question", "Three-class"), ("Map", "Lines")], start=2):
        choose(page, group, option)
        page.keyboard.press("ArrowRight")
        expect(page.get_by_text(f"{place} of 3")).to_be_visible()
        settle(page)
    choice = page.get_by_role("radiogroup", name=re.compile("Question")).get_by_role("radio").first
    choice.focus()
    page.keyboard.press("Space")
    settle(page)
    assert choice.evaluate("choice => choice === document.activeElement")  # who came by keyboard stays


def test_rest_of_a_stopped_run_goes_on(page, composite_pixels):
    drop(page, *((f"{n}.png", encode(np.roll(composite_pixels, n, axis=1))) for n in range(40)))
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Go on with the rest").click()
    progress = page.get_by_text(re.compile(r"\d+ of \d+ analysed"))
    progress.wait_for()
    expect(progress).to_have_count(0, timeout=60_000)
    expect(page.get_by_role("button", name="Go on with the rest")).to_have_count(0)


def test_readers_settings_outlive_another_image_and_the_other_page(page):
    page.get_by_role("slider", name="COVID-19 before the X-ray").press("ArrowRight")
    choose(page, "Map", "Lines")
    page.get_by_role("link", name="How good is it?").click()
    page.get_by_role("heading", name="Beside the original").wait_for()
    page.get_by_role("link", name="Reading room").click()
    settle(page)
    assert page.get_by_role("slider", name="COVID-19 before the X-ray").input_value() == "11"
    assert len(layers(page)) == 2  # lines are no picture


def test_wheel_zooms_and_drag_moves_both_pictures(page):
    whole = ranges(page)
    assert whole[0] == whole[1]
    box = viewer_box(page)
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(800)
    zoomed = ranges(page)
    assert zoomed[0] == zoomed[1]
    assert zoomed[0][1] - zoomed[0][0] < 0.95 * (whole[0][1] - whole[0][0])
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4, steps=6)
    page.mouse.up()
    page.wait_for_timeout(800)
    moved = ranges(page)
    assert moved[0] == moved[1]
    assert moved[0][0] > zoomed[0][0] + 5

    page.get_by_role("slider", name="Opacity").press("ArrowRight")
    settle(page)
    choose(page, "Explain", "Not COVID-19")
    choose(page, "Map", "Lines")
    choose(page, "Question", "Three-class")
    assert ranges(page) == moved  # another map of the same part

    page.mouse.dblclick(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.wait_for_timeout(800)
    assert ranges(page) == whole
    choose(page, "Map", "Colour")
    assert ranges(page) == whole


def test_zoom_belongs_to_its_image(page):
    whole, box = ranges(page), viewer_box(page)
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(800)
    assert ranges(page) != whole
    page.get_by_role("button", name="Next").click()
    settle(page)
    assert ranges(page) == whole


def test_bad_files_get_a_sentence_and_the_others_an_answer(page, three_formats):
    name, data = three_formats[0]
    drop(page, ("empty.png", b""), ("torn.png", data[: len(data) // 2]), ("notes.png", b"just text"), (name, data))
    alert = page.get_by_test_id("stAlertContentError")
    for sentence in ("empty.png: The file is empty", "torn.png: The file is damaged", "notes.png: This is not a PNG"):
        expect(alert).to_contain_text(sentence)
    settle(page)
    assert layers(page)[0].shape == (496, 496, 3)


def test_arrow_keys_walk_through_the_list(page):
    page.get_by_role("heading", name="COVID-19 pattern").click()  # the page, not a control, has the keys
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("2 of 3")).to_be_visible()
    expect(page.get_by_text("Composite: bacterial pneumonia (children) · Research")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("1 of 3")).to_be_visible()


@pytest.mark.parametrize(("group", "option"), [("Question", "Binary"), ("Explain", "COVID-19"), ("Order", "As they")])
def test_arrow_keys_in_a_row_of_choices_go_along_it_and_do_not_walk(page, group, option):
    choices = page.get_by_role("radiogroup", name=re.compile(group)).get_by_role("radio")
    choices.filter(has_text=re.compile(f"^{option}")).press("ArrowRight")
    settle(page)
    expect(choices.nth(1)).to_be_focused()
    expect(page.get_by_text("1 of 3")).to_be_visible()


def test_arrow_keys_in_a_list_to_choose_from_do_not_walk(page):
    choose(page, "Question", "Three-class")
    page.get_by_role("combobox", name=re.compile("rather than")).press("ArrowRight")
    settle(page)
    expect(page.get_by_text("1 of 3")).to_be_visible()


def test_arrow_keys_on_a_slider_move_the_slider_alone(page):
    slider = page.get_by_role("slider", name="Opacity")
    slider.focus()
    slider.press("ArrowRight")
    settle(page)
    expect(page.get_by_text("65 %")).to_be_visible()
    expect(page.get_by_text("1 of 3")).to_be_visible()


def test_clicking_a_line_opens_it_and_the_open_one_is_marked(page):
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    grid = table.bounding_box()
    page.mouse.click(grid["x"] + 130, grid["y"] + 37 + 52 * 2.5)
    expect(page.get_by_text("3 of 3")).to_be_visible()
    expect(page.get_by_text("Composite: normal · Research")).to_be_visible()


def test_what_needs_eyes_first_is_one_click_away(page):
    choose(page, "Order", "What needs eyes first")
    page.get_by_role("heading", name="COVID-19 pattern").click()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name=re.compile("Indeterminate"))).to_be_visible()


@pytest.mark.parametrize(
    ("button", "magic"), [("PDF report", b"%PDF"), ("PNG picture", b"\x89PNG"), ("JSON record", b"{"), ("CSV", b"\xef")]
)
def test_answer_is_saved_without_the_file_s_name(page, button, magic):
    page.get_by_role("button", name="Save this answer").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    content = waiting.value.path().read_bytes()
    assert content.startswith(magic)
    assert waiting.value.suggested_filename.startswith("x-ray-1.")
    assert b"Composite" not in content


def test_hostile_name_is_text_and_no_markup(page):
    drop(page, ("<img src=x onerror=document.title='owned'>.png", b"no image"))
    expect(page.get_by_test_id("stAlertContentError")).to_contain_text("<img src=x onerror=document.title='owned'>.png")
    assert page.title() == "Chest X-ray detector"


def test_samples_button_without_internet_says_so(page):
    page.get_by_role("button", name="Fetch sample X-rays").click()
    expect(page.get_by_test_id("stAlertContentError")).to_contain_text("no connection to the internet")
    settle(page)
    assert len(bars(page)) == 2


def test_uploads_survive_a_look_at_the_other_page(page, three_formats):
    drop(page, three_formats[0])
    settle(page)
    page.get_by_role("link", name="How good is it?").click()
    expect(page.get_by_role("heading", name="Beside the original")).to_be_visible()
    page.get_by_role("link", name="Reading room").click()
    expect(page.get_by_text(re.compile(r"first\.png · Research"))).to_be_visible()


def test_an_upload_that_outlived_the_other_page_can_be_removed_alone(page, three_formats):
    drop(page, *three_formats[:2])
    settle(page)
    remove = page.get_by_role("button", name="Remove the open image")
    expect(remove).to_have_count(0)  # the upload has a cross for each of its files
    page.get_by_role("link", name="How good is it?").click()
    expect(page.get_by_role("heading", name="Beside the original")).to_be_visible()
    page.get_by_role("link", name="Reading room").click()
    expect(page.get_by_text("1 of 2")).to_be_visible()
    remove.click()
    expect(page.get_by_text("1 of 2")).to_have_count(0)
    expect(page.get_by_text(re.compile(rf"{re.escape(three_formats[1][0])} · Research"))).to_be_visible()


def test_nothing_is_asked_of_any_other_machine(tab, server):
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(server)
    tab.get_by_role("heading", name="COVID-19 pattern").wait_for()
    settle(tab)
    tab.get_by_role("link", name="How good is it?").click()
    expect(tab.get_by_role("heading", name="The words")).to_be_visible()
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
        expect(tab.get_by_role("button", name="Remove a.png")).to_be_visible()
        expect(tab.get_by_text("Three-class", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_is_wider_than_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    page.wait_for_timeout(800)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.goto(page.url.rstrip("/") + "/how-good")
    expect(page.get_by_role("heading", name="The words")).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
