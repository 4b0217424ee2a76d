"""The real page, served on loopback and driven in Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest

from tests.conftest import ROOT, encode, make_dicom, program

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _CHROMIUM)), None)
_PATIENCE = 120_000  # milliseconds: nothing here is a matter of speed
_STILL = """
addEventListener("DOMContentLoaded", () => document.head.append(Object.assign(document.createElement("style"), {
    textContent: "*, *::before, *::after { animation: none !important; transition: none !important; }",
})));
"""  # a third of what the browser draws, where nobody sees it
_REFUSED = "http://127.0.0.1:9"  # nothing listens on the discard port: as good as no network


@pytest.fixture(scope="session")
def chromium():
    """A browser, started once."""
    path = program(*_CHROMIUM, package="chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        # No graphics processor, and no emulation of one: a page is drawn in half the time.
        flags += ["--disable-gpu", "--disable-gpu-rasterization", "--disable-gpu-compositing"]
        flags.append("--disable-software-rasterizer")
        flags.append("--disable-features=LocalNetworkAccessChecks")  # Chromium's own guard; other browsers have none
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@contextmanager
def served(log, **environment):
    """Run ``streamlit run streamlit_app.py`` on a free port; yields its address."""
    with started(log, **environment) as (address, _):
        yield address


@contextmanager
def started(log, **environment):
    """`served`, with the server's process identifier."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", f"--server.port={port}"]
    command.append("--server.headless=true")
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address + "/_stcore/health", process)
            yield address, process.pid
        finally:
            process.terminate()
            process.wait(timeout=20)


def free_port():
    """A port of loopback that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(address, process):
    """Wait until a server answers.

    Raises:
        RuntimeError: if it has ended, or a minute has passed.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=2):  # noqa: S310 - our own address
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the page did not start")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The page as it ships, with no way to the internet."""
    folder = tmp_path_factory.mktemp("server")
    proxies = {"HTTP_PROXY": _REFUSED, "HTTPS_PROXY": _REFUSED, "NO_PROXY": "127.0.0.1,localhost"}
    with served(folder / "log", DETECTOR_CACHE=str(folder / "cache"), **proxies) as address:
        yield address


@pytest.fixture(scope="session")
def light_server(tmp_path_factory):
    """The page in its light theme, as the README says how to open it."""
    with served(tmp_path_factory.mktemp("light") / "log", STREAMLIT_THEME_BASE=".streamlit/light.toml") as address:
        yield address


@pytest.fixture(scope="session")
def window(chromium):
    """One profile for all tabs: what one has fetched and compiled of Streamlit the next need not."""
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    context.set_default_timeout(_PATIENCE)
    context.add_init_script(_STILL)
    yield context
    context.close()


@pytest.fixture
def tab(window):
    """An empty tab of a wide window; an error in the page's own scripts fails the test."""
    page, wrong = window.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def page(tab, server):
    """The page, opened, with its example analysed."""
    return opened(tab, server)


@pytest.fixture
def three_formats(composite_pixels):
    """Three different pictures, so that each needs its own pass."""
    mirrored, darker = composite_pixels[:, ::-1].copy(), (composite_pixels * 0.8).astype(np.uint8)
    return [
        ("first.png", encode(composite_pixels[8:-8, 8:-8])),
        ("second.jpg", encode(mirrored, ".jpg")),
        ("third.dcm", make_dicom(darker)),
    ]


def opened(tab, address):
    """Go to the page and wait until its example is analysed."""
    tab.goto(address)
    tab.get_by_role("heading", name="COVID-19 pattern").wait_for()
    settle(tab)
    return tab


SNAPSHOT = """
() => {
    const running = !document.querySelector('[data-test-script-state=notRunning]');
    const viewer = document.querySelector('.st-key-viewer_parts');
    const root = viewer && [...viewer.querySelectorAll('*')].find(e => e.shadowRoot)?.shadowRoot;
    const drawn = root?.querySelector('canvas[data-ready]');
    return running || !drawn ? null : document.body.innerHTML.length + root.innerHTML.length;
}
"""


def settle(page):
    """Wait until the script has run to its end, the viewer is drawn and nothing moves any more."""
    still, last = 0, None
    for _ in range(600):
        page.wait_for_timeout(100)  # four of them are longer than the viewer waits before it tells the server
        now = page.evaluate(SNAPSHOT)
        still = still + 1 if now is not None and now == last else 0
        last = now
        if still == 4:
            return
    raise RuntimeError("the page does not come to rest")
