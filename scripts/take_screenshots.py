"""Takes the README's screenshots of the page with its composites, at the width of a desktop and of a phone.

python -m streamlit run streamlit_app.py --server.headless=true &
python scripts/take_screenshots.py
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

OUT = Path(__file__).resolve().parents[1] / "assets" / "screenshots"
SIZES = {"page": (1440, 1200), "phone": (390, 1640)}


def main() -> None:
    """Write one picture a size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="http://127.0.0.1:8501")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (width, height) in SIZES.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(options.address)
            page.locator(".js-plotly-plot").nth(1).wait_for(timeout=60_000)
            page.wait_for_timeout(2000)
            page.screenshot(path=OUT / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
