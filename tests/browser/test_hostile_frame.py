"""A page of somebody else's that frames ours and tells it where to send what is dropped."""

import re

PARENT = """
<iframe src="{address}" width="1200" height="900" onload="document.title = 'framed'"></iframe>
<script>
const told = {{stCommVersion: 1, type: "SET_FILE_UPLOAD_CLIENT_CONFIG", prefix: "{origin}/take", headers: {{}}}};
setInterval(() => document.querySelector("iframe").contentWindow.postMessage(told, "*"), 100);
</script>
"""
ORIGIN = "https://hostile.streamlit.app"  # Streamlit trusts every page there unless told otherwise


def test_page_that_frames_ours_gets_none(tab, server):
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.route(re.compile(ORIGIN), lambda route: route.fulfill(
        content_type="text/html", body=PARENT.format(address=server, origin=ORIGIN),
        headers={"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"},
    ))  # fmt: skip
    tab.goto(ORIGIN)
    tab.wait_for_function("() => document.title === 'framed'")
    assert any(url.startswith(server) for url in asked)  # the frame did ask for the page
    assert tab.frames[-1].url.startswith("chrome-error:")  # and the browser kept to what the server answered
    assert not [url for url in asked if "/take" in url]
