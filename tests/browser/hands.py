"""What a reader does on the page, and what they see there."""

import base64
import re

import cv2
import numpy as np

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
_FIGURES = """
() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => plot.data.map(trace => ({
    type: trace.type, source: trace.source,
    x: trace.x ? Array.from(trace.x) : null, y: trace.y ? Array.from(trace.y) : null
})))
"""
_AXES = """
() => {
    const layout = [...document.querySelectorAll('.js-plotly-plot')].at(-1)._fullLayout;
    return [layout.xaxis, layout.xaxis2].map(axis => [...axis.range]);
}
"""


def drop(page, *files):
    """Drag files (name, bytes) onto the upload, as from a folder."""
    zone = page.get_by_test_id("stFileUploaderDropzone").first.element_handle()
    page.evaluate(_DROP, [zone, [[name, "", base64.b64encode(data).decode()] for name, data in files]])


def bars(page):
    """Class name to probability, as drawn."""
    (trace,) = [t for figure in page.evaluate(_FIGURES) for t in figure if t["type"] == "bar"]
    return dict(zip(trace["y"], trace["x"], strict=True))


def layers(page):
    """The pictures of the viewer in order: the X-ray twice, (H, W, 3), and the coloured layer, (h, w, 4)."""
    sources = [t["source"] for figure in page.evaluate(_FIGURES) for t in figure if t["type"] == "image"]
    data = [np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8) for source in sources]
    return [cv2.imdecode(one, cv2.IMREAD_UNCHANGED if place == 2 else cv2.IMREAD_COLOR).astype(int)
            for place, one in enumerate(data)]  # fmt: skip


def ranges(page):
    """The horizontal range of both panels, in pixels of the X-ray."""
    return page.evaluate(_AXES)


def viewer_box(page):
    """Where the left panel is on the screen."""
    drag = page.locator(".js-plotly-plot").last.locator(".xy .nsewdrag, .nsewdrag").first
    drag.scroll_into_view_if_needed()
    return drag.bounding_box()


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
