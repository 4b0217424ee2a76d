"""The viewer in a real browser: its keys, its mouse, its place on the screen."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from detector import words
from tests.browser.conftest import settle
from tests.browser.hands import canvas, choose, drop, middle, panel, place, press, readout
from tests.conftest import encode, make_dicom

pytestmark = pytest.mark.browser


def test_every_key_of_the_viewer(page):
    plain, drawn = panel(page, 0), panel(page, 1)
    press(page, "i")
    assert "inverted" in readout(page)
    assert np.abs(255 - panel(page, 0)[..., :3].astype(int) - plain[..., :3])[100:-100, 100:-100].max() <= 2
    press(page, "i")
    press(page, "m")
    assert np.ptp(panel(page, 1)[..., :3].astype(int), axis=-1).max() == 0  # the map is off
    press(page, "m")
    np.testing.assert_array_equal(panel(page, 1), drawn)
    press(page, "+")
    press(page, "+")
    assert "1.6×" in readout(page)
    press(page, "f")
    assert "1.0×" in readout(page)
    press(page, "+")
    press(page, "i")
    press(page, "0")
    assert readout(page) == "W 100 % · L 50 % · 1.0×"
    press(page, "2")
    expect(page.get_by_role("radio", name="Not COVID-19")).to_have_attribute("aria-checked", "true")
    expect(page.locator(".st-key-evidence")).to_contain_text("“not COVID-19”")
    press(page, "1")
    press(page, "ArrowRight")
    expect(place(page)).to_have_text("2 of 3")
    press(page, "ArrowLeft")
    expect(place(page)).to_have_text("1 of 3")


def test_key_of_the_third_class_and_the_one_that_zooms_out(page):
    choose(page, words.MODE, "Three-class")
    press(page, "3")
    expect(page.get_by_role("radio", name="COVID-19", exact=True)).to_have_attribute("aria-checked", "true")
    press(page, "1")
    expect(page.get_by_role("radio", name="Normal", exact=True)).to_have_attribute("aria-checked", "true")
    press(page, "+")
    press(page, "-")
    assert "1.0×" in readout(page)


def test_inverted_picture_says_so_in_red(page):
    badges = page.locator(".st-key-viewer .badges")
    expect(badges.first).to_have_text("")
    press(page, "i")
    for place_ in (0, 1):
        expect(badges.nth(place_)).to_have_text(words.BURNED_INVERTED)
    press(page, "ArrowRight")
    expect(badges.first).to_have_text("")  # it belongs to its image


def test_full_screen_shows_both_pictures_larger_and_goes_back(page):
    before = [canvas(page, place_).bounding_box() for place_ in (0, 1)]
    page.get_by_role("button", name=words.VIEWER["full"]).click()
    page.wait_for_function("() => document.fullscreenElement !== null")
    settle(page)
    for place_ in (0, 1):
        assert canvas(page, place_).bounding_box()["height"] > before[place_]["height"]
    page.get_by_role("button", name=words.VIEWER["full"]).click()
    page.wait_for_function("() => document.fullscreenElement === null")
    settle(page)
    assert [canvas(page, place_).bounding_box() for place_ in (0, 1)] == before


def test_narrow_window_shows_what_eight_bits_would_lose(page, composite_pixels):
    stored = 1000 + composite_pixels.astype(np.uint16)
    stored[0, 0], stored[0, 1] = 0, 4095  # the file's range; the picture is a sixteenth of it
    drop(page, ("deep.dcm", make_dicom(stored, bits_stored=12)))
    expect(place(page)).to_have_text("1 of 1")
    settle(page)
    page.get_by_role("button", name=words.VIEWER["grey"]).click()
    for name, value in (("window", "7"), ("level", "27")):
        page.locator(f".st-key-viewer [data-grey={name}]").evaluate(
            "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value
        )
    settle(page)
    assert readout(page).startswith("W 7 % · L 27 %")
    assert len(np.unique(panel(page, 0)[100:-100, 100:-100, 0])) > 100  # eight bits would leave eighteen


def test_keys_can_be_switched_off_and_are_off_in_text_fields(page):
    page.get_by_role("button", name=words.VIEWER["help"]).click()
    page.get_by_label(words.VIEWER["keys_on"]).uncheck()
    press(page, "Escape")
    press(page, "i")
    press(page, "ArrowRight")
    assert "inverted" not in readout(page)
    expect(place(page)).to_have_text("1 of 3")
    page.get_by_role("button", name=words.VIEWER["help"]).click()
    page.get_by_label(words.VIEWER["keys_on"]).check()
    page.evaluate("() => document.body.append(Object.assign(document.createElement('input'), {id: 'text'}))")
    page.locator("#text").press("i")
    assert "inverted" not in readout(page)
    assert page.locator("#text").input_value() == "i"


def test_right_drag_sets_window_and_level_and_left_drag_moves_both_pictures(page):
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x - 120, y - 60, steps=5)
    assert readout(page).startswith("W 70 % · L 35 %")  # while the button is still held
    page.mouse.up(button="right")
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    settle(page)
    assert "1.0×" not in readout(page)
    before = [panel(page, place_) for place_ in (0, 1)]
    page.mouse.down()
    page.mouse.move(x + 80, y + 50, steps=5)
    page.mouse.up()
    settle(page)
    after = [panel(page, place_) for place_ in (0, 1)]
    for was, now in zip(before, after, strict=True):
        np.testing.assert_allclose(now[200:260, 200:260].astype(int), was[150:210, 120:180], atol=2)
    seen = readout(page)
    choose(page, words.VIEWER["style"], "Lines")
    choose(page, words.MODE, "Three-class")
    assert readout(page) == seen  # another map of the same part
    press(page, "ArrowRight")
    assert readout(page) == "W 100 % · L 50 % · 1.0×"  # it belongs to its image
    press(page, "ArrowLeft")
    assert readout(page) == seen


def test_wheel_over_a_picture_scrolls_the_page(page):
    page.set_viewport_size({"width": 1440, "height": 600})
    settle(page)
    page.mouse.move(*middle(page))
    page.mouse.wheel(0, 300)
    page.wait_for_function("() => document.querySelector('.st-key-viewer').getBoundingClientRect().top < 200")
    assert "1.0×" in readout(page)


def test_native_pixels_come_when_they_would_be_seen(page, composite_pixels):
    large = np.kron(composite_pixels, np.ones((4, 4), np.uint8))
    large[::2] = np.maximum(large[::2], 1) - 1  # detail that the display copy does not have
    drop(page, ("large.png", encode(large)))
    expect(place(page)).to_have_text("1 of 1")
    settle(page)
    assert canvas(page, 0).get_attribute("data-native") == "false"
    for _ in range(6):
        page.keyboard.press("+")
    expect(canvas(page, 0)).to_have_attribute("data-native", "true")


def test_both_pictures_stand_on_the_first_screen_at_one_place_for_ten_cases(page, three_formats, composite_pixels):
    page.set_viewport_size({"width": 1440, "height": 900})
    tall = ("a very long name " * 12 + ".png", encode(composite_pixels[:, 128:-128]))
    wide = ("wide.png", encode(composite_pixels[128:-128]))
    small = ("small.png", encode(composite_pixels[::4, ::4]))
    turned = ("turned.png", encode(composite_pixels[::-1]))
    inverted = ("inverted.png", encode(255 - composite_pixels))
    dark = ("dark.png", encode((composite_pixels * 0.1).astype(np.uint8)))
    files = [*three_formats, tall, wide, small, turned, inverted, dark, ("notes.png", b"just text")]
    drop(page, *files)
    expect(place(page)).to_have_text(re.compile(r"\d+ of 10"))
    expect(page.get_by_role("button", name=words.CANCEL)).to_have_count(0)
    found = []
    for row in range(10):
        page.locator(".st-key-worklist .row").nth(row).click()
        expect(place(page)).to_have_text(f"{row + 1} of 10")
        settle(page)
        boxes = [box.bounding_box() for box in page.locator(".st-key-viewer .box").all()]
        found.append([(box["x"], box["y"], box["width"], box["height"]) for box in boxes])
    assert found == [found[0]] * 10
    for x, y, width, height in found[0]:
        assert width >= 540
        assert x >= 0
        assert x + width <= 1440
        assert y + height <= 900


@pytest.mark.parametrize("group", [words.MODE, words.OPERATING_POINT])
def test_arrow_keys_in_a_row_of_choices_go_along_it_for_who_came_by_keyboard(page, group):
    choices = page.get_by_role("radiogroup", name=re.compile(group)).get_by_role("radio")
    page.keyboard.press("Tab")
    choices.first.focus()
    choices.first.press("ArrowRight")
    settle(page)
    expect(choices.nth(1)).to_be_focused()
    expect(place(page)).to_have_text("1 of 3")


def test_arrow_keys_step_through_the_list_after_a_click_on_a_choice(page):
    choose(page, words.MODE, "Three-class")
    press(page, "ArrowRight")
    expect(place(page)).to_have_text("2 of 3")


def test_rotated_and_inverted_picture_is_put_right_by_one_click(page, composite_pixels):
    drop(page, ("both.png", encode(255 - composite_pixels[::-1, ::-1])))
    expect(place(page)).to_have_text("1 of 1")
    page.get_by_role("button", name=re.compile("and analyse$")).first.click()
    expect(page.locator(".told-file")).to_contain_text(words.TURNED)
    expect(page.locator(".told-file")).to_contain_text(words.INVERTED)
    settle(page)
    assert page.locator(".box.xray .badges").inner_text().split() == ["ROTATED", "INVERTED"]
    expect(page.get_by_role("button", name=re.compile("and analyse$"))).to_have_count(0)


def test_phone_shows_one_picture_with_a_switch(page):
    page.set_viewport_size({"width": 390, "height": 844})
    settle(page)
    expect(canvas(page, 0)).to_be_visible()
    expect(canvas(page, 1)).to_be_hidden()
    choose(page, words.VIEWER["panel"], "Map")
    expect(canvas(page, 0)).to_be_hidden()
    expect(canvas(page, 1)).to_be_visible()
    page.get_by_role("button", name=words.NEXT).first.click()
    expect(place(page)).to_have_text("2 of 3")
