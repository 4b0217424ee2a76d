"""The real page in real browser sessions. Chromium shares the cores with the server, as on a clinician's computer."""

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from functools import cache

from detector import words
from detector.answers.answer import Question, answer
from detector.answers.pipeline import analyse
from detector.model.engine import Engine
from detector.schema import COVID19
from tests.benchmarks.measure import resident
from tests.browser.conftest import CHROMIUM
from tests.browser.hands import bars
from tests.conftest import ROOT

COVID19_NAME = words.CLASSES[COVID19]

_PATIENCE = 600_000  # milliseconds

#: Keeps in a page since when it has shown an image of that name and been at rest, with its chart. Each page has its
#: own watch: to look at ten of them in turn would count the looking.
_WATCH = """name => {
    clearInterval(window.watch);
    window.answeredAt = 0;
    window.watch = setInterval(() => {
        const answered = document.querySelector('[data-test-script-state=notRunning]')
            && document.querySelector('.js-plotly-plot')
            && document.querySelector('[data-testid=stMain]').textContent.includes(name);
        window.answeredAt = answered ? (window.answeredAt || Date.now()) : 0;
    }, 100);
}"""


@contextmanager
def browser():
    """A Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], timeout=_PATIENCE
        )
        yield chromium
        chromium.close()


def _server(script):
    """Streamlit on a script."""
    return serving([sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true"], "--server.port")


@contextmanager
def serving(command, port_option="--port", **options):
    """A server on a free port of loopback; its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
    process = subprocess.Popen([*command, f"{port_option}={port}"], **where)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, process)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE / 1000)


def _wait_for(address, process):
    while process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(address + "/_stcore/health", timeout=60):  # noqa: S310 - our own
            return
        time.sleep(0.01)
    raise RuntimeError(f"The server ended with status {process.returncode}.")


def usable_after(script, chromium):
    """Seconds from the start of Streamlit on a script until its page has an upload in the browser."""
    return usable(_server(script), chromium)


def usable(server, chromium):
    """Seconds from the start of a server, see `serving`, until its page has an upload in the browser."""
    began = time.perf_counter()
    with server as (address, _):
        page = chromium.new_page()
        page.set_default_timeout(_PATIENCE)
        page.goto(address)
        page.get_by_test_id("stFileUploaderDropzone").first.wait_for()
        seconds = time.perf_counter() - began
        page.close()
    return seconds


@contextmanager
def served_page():
    """The page as it ships; its address and its process."""
    with _server(ROOT / "streamlit_app.py") as (address, pid):
        yield address, pid


class _Peak(threading.Thread):
    """Looks at a process's memory ten times a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.bytes, self.ended, self._pid = 0, threading.Event(), pid

    def run(self):
        while not self.ended.wait(0.1):
            with suppress(OSError, StopIteration):  # a child that has just ended
                self.bytes = max(self.bytes, resident(self._pid))


def _open(chromium, address):
    page = chromium.new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(_PATIENCE)
    page.goto(address)
    _rest(page)
    return page


def _rest(page):
    """Until the page's script has run and stays at rest, with its chart."""
    page.wait_for_function(
        """() => {
            const still = document.querySelector('[data-test-script-state=notRunning]')
                && document.querySelector('.js-plotly-plot');
            window.restingSince = still ? (window.restingSince || performance.now()) : 0;
            return still && performance.now() - window.restingSince > 300;
        }""",
        polling=50,
    )


def upload_all(chromium, address, pid, *, sessions, files, each):
    """Upload `each` files in every session, all with other bytes; returns the server's largest memory in bytes."""
    peak = _Peak(pid)
    peak.start()
    pages = [_open(chromium, address) for _ in range(sessions)]
    for number, page in enumerate(pages):
        # Bytes after a JPEG's end marker make another file of the same picture: nothing is found in a cache.
        payload = [
            {"name": f"{place}-{name}", "mimeType": "image/jpeg", "buffer": data + f"{number}-{place}".encode()}
            for place in range(each)
            for name, data in [files[place % len(files)]]
        ]
        for start in range(0, each, 25):
            page.locator("input[type=file]").first.set_input_files(payload[start : start + 25])
        _rest(page)
    peak.ended.set()
    peak.join()
    return peak.bytes


def drop_together(chromium, address, turns):
    """Upload one image in each session at one moment, several times over.

    Args:
        chromium: a browser.
        address: of the page.
        turns: each a dict of name to bytes, one a session.

    Returns:
        For each turn ``seconds`` of every image from its drop until its bars are drawn, ``errors`` (how many had none)
        and ``mixed_up`` (how many showed another image's probability).
    """
    pages = [_open(chromium, address) for _ in turns[0]]
    found = []
    for dropped in turns:
        expected = probabilities_of(dropped)
        for page, name in zip(pages, dropped, strict=True):
            page.evaluate(_WATCH, name)
        began = time.time()  # the browser's clock, too
        for page, (name, data) in zip(pages, dropped.items(), strict=True):
            page.locator("input[type=file]").first.set_input_files(
                [{"name": name, "mimeType": "image/jpeg", "buffer": data}]
            )
        shown = {name: _answer_on(page, name) for page, name in zip(pages, dropped, strict=True)}
        found.append(judged({name: (at - began, bars) for name, (at, bars) in shown.items()}, expected))
        for page in pages:  # what was uploaded goes with its session
            page.reload()
            _rest(page)
    return found


def _answer_on(page, name):
    """When a page has shown the answer to the image of that name, and its bars."""
    page.get_by_text(name, exact=True).first.wait_for()
    page.wait_for_function("window.answeredAt && Date.now() - window.answeredAt > 1000")
    return page.evaluate("window.answeredAt") / 1000, bars(page)


def judged(answers, expected):
    """Hold what was shown against what should have been.

    Args:
        answers: name to seconds and bars, a dict of class name to probability.
        expected: name to the probability of COVID-19.
    """
    shown = {name: drawn.get(COVID19_NAME) for name, (_, drawn) in answers.items()}
    return {
        "seconds": [seconds for seconds, _ in answers.values()],
        "errors": sum(value is None for value in shown.values()),
        "mixed_up": sum(value is not None and abs(value - expected[name]) > 1e-4 for name, value in shown.items()),
    }


def probabilities_of(dropped):
    """Name to bytes, to name to the probability of COVID-19 that the page should show."""
    engine = _classifier()
    return {name: answer(analyse(data, engine), Question()).probabilities[COVID19] for name, data in dropped.items()}


@cache
def _classifier():
    return Engine.load()
