"""Takes the README's screenshots of the page with its composites, at the width of a desktop and of a phone.

python -m streamlit run streamlit_app.py --server.headless=true &
python -m scripts.take_screenshots
python -m scripts.take_screenshots --pacs                     # while make demo-pacs runs
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from detector import words
from detector.schema import NORMAL, THREE_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Page

OUT = Path(__file__).resolve().parents[1] / "assets" / "screenshots"
_PATIENCE = 300_000  # milliseconds: the network is loaded first, and nothing here is a matter of speed
_REST = 1500  # milliseconds after which nothing moves any more


def take(browser: Browser, address: str, name: str, size: tuple[int, int], act: Callable[[Page], None]) -> None:
    """Open the page at a size, do something there, and write what is seen."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, device_scale_factor=1)
    page.set_default_timeout(_PATIENCE)
    page.goto(address)
    page.locator(".st-key-viewer canvas[data-ready]").first.wait_for()
    page.locator(".js-plotly-plot").first.wait_for()
    accept = page.get_by_role("button", name=words.ACCEPT)
    if accept.is_visible():  # a phone has no room for it
        accept.click()
        accept.wait_for(state="detached")
    act(page)
    page.mouse.move(0, 0)
    page.wait_for_timeout(_REST)
    page.screenshot(path=OUT / f"{name}.png")
    page.close()


def nothing(_page: Page) -> None:
    """Leave the page as it opens."""


def three_class(page: Page) -> None:
    """The other question, one class rather than another."""
    _choose(page, words.MODES[THREE_CLASS.mode])
    page.locator(".st-key-viewer select").wait_for()
    page.locator(".st-key-viewer select").select_option(NORMAL)


def second_page(page: Page) -> None:
    """How good is it?"""
    page.get_by_role("link", name=words.PAGE_QUALITY).click()
    page.get_by_role("tab", name=words.TABS[0]).wait_for()
    page.locator(".js-plotly-plot").first.wait_for()


def from_pacs(page: Page) -> None:
    """The X-rays of an archive, one of them analysed and its results sent back."""
    page.get_by_role("link", name=words.PAGE_PACS).click()
    page.get_by_role("button", name=words.PACS_FIND, exact=True).click()
    page.get_by_test_id("stCheckbox").first.locator("label").click()
    page.get_by_role("button", name=words.PACS_ANALYSE, exact=True).click()
    page.get_by_role("button", name=words.PACS_SEND, disabled=False).click()
    sent, there = (said.partition("{when}")[0].format(count=3).strip() for said in (words.PACS_SENT, words.PACS_THERE))
    page.get_by_text(re.compile(f"{sent}|{there}")).wait_for()


def _choose(page: Page, option: str) -> None:
    """Press a segment, found by its role: tables hold the same words where nobody sees them."""
    page.get_by_role("radio", name=option, exact=True).click()


SHOTS = (
    ("page", (1440, 900), nothing),
    ("three_class", (1440, 900), three_class),
    ("how_good", (1440, 900), second_page),
    ("phone", (390, 844), nothing),
)
PACS = ("from_pacs", (1440, 900), from_pacs)


def main() -> None:
    """Write every picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="http://127.0.0.1:8501")
    parser.add_argument("--pacs", action="store_true", help="the archive's tab alone, of `make demo-pacs`")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, size, act in [PACS] if options.pacs else SHOTS:
            take(browser, options.address, name, size, act)
        browser.close()


if __name__ == "__main__":
    main()
