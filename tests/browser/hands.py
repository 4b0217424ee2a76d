"""What a reader does on the page, and what they see there."""

import base64
import io
import re

import numpy as np
from PIL import Image

from detector import words
from tests.browser.conftest import settle

_DROP = """
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
_BARS = """
() => [...document.querySelectorAll('.js-plotly-plot')].flatMap(plot => plot.data)
    .filter(trace => trace.type === 'bar').map(trace => [Array.from(trace.y), Array.from(trace.x)])
"""


def drop(page, *files):
    """Drag files (name, bytes) onto the upload, as from a folder."""
    zone = page.get_by_test_id("stFileUploaderDropzone").first.element_handle()
    page.evaluate(_DROP, [zone, [[name, "", base64.b64encode(data).decode()] for name, data in files]])


def bars(page):
    """Class name to probability, as drawn."""
    ((names, values),) = page.evaluate(_BARS)
    return dict(zip(names, values, strict=True))


def panel(page, place):
    """What a panel shows, (H, W, 4) uint8 RGBA: 0 is the X-ray, 1 the map."""
    data = base64.b64decode(canvas(page, place).evaluate("canvas => canvas.toDataURL()").partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def canvas(page, place):
    """A panel's canvas."""
    return page.locator(".st-key-viewer canvas").nth(place)


def readout(page):
    """Window, level and zoom as the viewer shows them."""
    return page.locator(".st-key-viewer .readout").inner_text()


def middle(page, place=0):
    """The middle of a panel on the screen."""
    box = canvas(page, place).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def place(page):
    """Where the open file stands in the list, as the list says: "2 of 3"."""
    return page.locator(".st-key-worklist .place")


def choose(page, group, option):
    """Press one segment of a row of choices, the page's or the viewer's."""
    page.get_by_role("radiogroup", name=re.compile(group)).get_by_text(option, exact=True).click()
    settle(page)


def passes(page):
    """How often the network has run, as the page says."""
    page.get_by_role("button", name=words.DETAILS).click()
    text = page.get_by_text(re.compile(r"The network has run \d+ times")).inner_text()
    page.keyboard.press("Escape")
    return int(re.search(r"has run (\d+) times", text).group(1))


def press(page, key):
    """Press a key and wait until nothing moves."""
    page.keyboard.press(key)
    settle(page)
