"""What the page's server does with requests that no page of ours sends."""

import asyncio
import contextlib
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from detector.ui import guard
from tests.browser.conftest import served
from tests.visitor import form, visiting


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Where the server writes."""
    return tmp_path_factory.mktemp("server") / "log"


@pytest.fixture(scope="module")
def address(log):
    """The page's server as it ships."""
    with served(log) as address:
        yield address


def run(coroutine):
    """What `asyncio.run` gives, in a thread of its own: a browser's test may have left a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def get(address, path="/", **headers):
    """The answer to a request, its body read."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.text = answer.read().decode()
    connection.close()
    return answer


def test_page_that_frames_ours_is_trusted_with_nothing(address):
    assert json.loads(get(address, "/_stcore/host-config").text)["allowedOrigins"] == []


@pytest.mark.parametrize("path", ["/", "/_stcore/host-config", "/_stcore/health"])
def test_no_foreign_page_may_frame_ours(address, path):
    answer = get(address, path)
    assert answer.status == 200
    assert "frame-ancestors 'self'" in answer.getheader("Content-Security-Policy")


def test_browser_is_told_to_speak_to_nobody_else(address):
    rules = dict(rule.strip().split(" ", 1) for rule in get(address).getheader("Content-Security-Policy").split(";"))
    for kind in ("default-src", "connect-src", "form-action"):
        assert "'self'" in rules[kind]
        assert not {"*", "http:", "https:"} & set(rules[kind].split())


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8501", "127.0.0.1.evil.example", "[::1", ""])
def test_foreign_host_is_refused_as_by_the_websocket(address, host):
    for path in ("/", "/_stcore/host-config", "/_stcore/metrics", "/media/a"):
        assert get(address, path, Host=host).status == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1234"])
def test_own_names_are_answered(address, host):
    assert get(address, Host=host).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "https://a.streamlit.app", "http://127.0.0.1:9", "null"])
def test_foreign_page_gets_no_session(address, origin):
    url = address.replace("http", "ws") + "/_stcore/stream"
    with pytest.raises(InvalidStatus) as refused, connect(url, origin=origin, subprotocols=["streamlit"]):
        pass
    assert refused.value.response.status_code == 403


def broken_off(address, visitor, number):
    """Begin so many uploads of three megabytes and leave each."""
    body = form(bytes(3_000_000))
    for _ in range(number):
        begun = announced(address, visitor, len(body))
        begun.send(body[:50_000])
        begun.close()


def announced(address, visitor, length):
    """An upload of which only the headers are sent."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.putrequest("PUT", visitor.place())
    for name, value in visitor.headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    return connection


def test_uploads_that_break_off_write_one_line(address, log):
    with visiting(address) as visitor:
        before = len(log.read_text())
        broken_off(address, visitor, 200)
        deadline = time.monotonic() + 20
        while visitor.upload(b"x") != 204 and time.monotonic() < deadline:
            time.sleep(0.1)
    written = log.read_text()[before:]
    assert "Traceback" not in written
    assert written.count("\n") <= 1
    assert "broke off" in written


def test_invented_uploads_are_taken_up_to_a_limit_that_counts_what_is_on_its_way(address):
    size = 64 * 2**20 - 4096
    with visiting(address) as visitor, ExitStack() as begun:
        assert visitor.upload(b"x") == 204
        for _ in range(guard.SESSION_BYTES // size):
            begun.callback(announced(address, visitor, size).close)
        time.sleep(0.5)
        over = announced(address, visitor, size)
        assert over.getresponse().status == 413
        over.close()
        assert visitor.upload(b"x" * 1000) == 204  # what is small still fits
    with visiting(address) as other:
        assert other.upload(b"x") == 204


def test_upload_that_does_not_say_how_long_it_is_is_refused(address):
    with visiting(address) as visitor:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may be refused before it is all said
            connection.request("PUT", visitor.place(), iter([form(b"x")]), visitor.headers, encode_chunked=True)
        assert connection.getresponse().status == 411
        connection.close()


class Uploads:
    """A guard before a server that holds what it is told, and a way to ask it."""

    def __init__(self, held, session_bytes=1000, total_bytes=1500):
        self.held, self.sent = held, []
        self.budget = guard.Budget(lambda: self.held, session_bytes, total_bytes)
        self.guard = guard.Guard(self._takes, budget=self.budget, is_active=lambda session: session != "ended")

    async def _takes(self, _scope, _receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})

    async def _send(self, message):
        self.sent.append(message)

    def put(self, session, length):
        """The status that an upload gets."""
        self.sent.clear()
        scope = {
            "type": "http",
            "method": "PUT",
            "path": f"/_stcore/upload_file/{session}/x",
            "headers": [(b"content-length", b"%d" % length)],
        }
        run(self.guard(scope, None, self._send))
        return self.sent[0]["status"]


def test_session_and_server_each_have_their_limit():
    uploads = Uploads({"a": 900, "b": 500})
    assert uploads.put("a", 101) == 413
    assert uploads.put("a", 100) == 204
    assert uploads.put("c", 101) == 413  # 900 + 500 are held
    assert uploads.put("c", 100) == 204
    assert uploads.budget.has_refused("a")
    assert not uploads.budget.has_refused("b")
    uploads.held = {}
    assert uploads.put("a", 1000) == 204


def test_upload_without_a_session_is_streamlit_s_to_refuse():
    assert Uploads({}).put("ended", 10_000) == 204


def test_failures_of_ours_are_not_hidden():
    async def fails(*_):
        raise RuntimeError("ours")

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    watched = guard.Guard(fails, budget=guard.Budget(dict), is_active=lambda _: True)
    with pytest.raises(RuntimeError, match="ours"):
        run(watched({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, None))
