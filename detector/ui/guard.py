"""The guard between the network and the page: every request passes here before Streamlit sees it.

Streamlit refuses foreign names and foreign pages on its WebSocket alone, keeps every upload that a session sends, and
writes a traceback for each that breaks off.
"""

from __future__ import annotations

import asyncio
import logging
import time
import webbrowser
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import streamlit as st

from detector.ui import streamlit_private

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping

    _Message = MutableMapping[str, Any]
    _Receive = Callable[[], Awaitable[_Message]]
    _Send = Callable[[_Message], Awaitable[None]]
    _Application = Callable[[_Message, _Receive, _Send], Awaitable[None]]

_LOG = logging.getLogger(__name__)

SESSION_BYTES = 2 * 2**30  # a hundred uncompressed radiographs of 15 MB
TOTAL_BYTES = 4 * 2**30
_UPLOADS = "/_stcore/upload_file/"
_QUIET_SECONDS = 60.0  # between two lines about uploads that broke off
#: Streamlit's page needs scripts and styles in place, eval and blobs; it needs nobody but its own server.
_RULES = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' data: blob:; "
    "form-action 'self'; base-uri 'self'; frame-ancestors 'self'"
)
_HEADERS = [
    (b"content-security-policy", _RULES.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Budget:
    """How many bytes of uploads the server holds and is about to receive. Used on the server's own thread.

    Args:
        held: bytes of each session that has uploads.
        session_bytes: that one session may have.
        total_bytes: that all may have.
    """

    def __init__(
        self,
        held: Callable[[], Mapping[str, int]] = streamlit_private.bytes_held,
        session_bytes: int = SESSION_BYTES,
        total_bytes: int = TOTAL_BYTES,
    ) -> None:
        self._held, self._session_bytes, self._total_bytes = held, session_bytes, total_bytes
        self._arriving: dict[str, int] = {}
        self._refused: set[str] = set()

    def has_room(self, session: str, size: int) -> bool:
        """Whether a session may send so many bytes more; remembers it if not."""
        held = self._held()
        of_session = held.get(session, 0) + self._arriving.get(session, 0) + size
        of_all = sum(held.values()) + sum(self._arriving.values()) + size
        fits = of_session <= self._session_bytes and of_all <= self._total_bytes
        if not fits:
            self._refused = {name for name in self._refused if name in held} | {session}
        return fits

    @contextmanager
    def arriving(self, session: str, size: int) -> Iterator[None]:
        """Count bytes that are on their way."""
        self._arriving[session] = self._arriving.get(session, 0) + size
        try:
            yield
        finally:
            self._arriving[session] -= size
            if not self._arriving[session]:
                del self._arriving[session]

    def has_refused(self, session: str | None) -> bool:
        """Whether an upload of a session was refused."""
        return session in self._refused


BUDGET = Budget()


class Guard:
    """ASGI middleware: foreign pages get no session, uploads a limit, and answers the headers that browsers obey."""

    def __init__(
        self,
        app: _Application,
        budget: Budget = BUDGET,
        is_active: Callable[[str], bool] = streamlit_private.is_active,
    ) -> None:
        self._app, self._budget, self._is_active = app, budget, is_active
        self._broken_off, self._said_at = 0, -_QUIET_SECONDS

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request or connection."""
        if scope["type"] == "websocket" and _is_from_elsewhere(scope):
            # Streamlit would look up this computer's address on the internet to compare it.
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send))
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        session = _session_of_upload(scope)
        if session is None or not self._is_active(session):
            await self._pass_on(scope, receive, send)
            return
        length = _header(scope, b"content-length")
        if not length.isdigit():
            await _refuse(send, 411, "An upload says how long it is.")
        elif not self._budget.has_room(session, int(length)):
            await _refuse(send, 413, "The files that are open take as much memory as they may.")
        else:
            with self._budget.arriving(session, int(length)):
                await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        gone = False

        async def listening() -> _Message:
            nonlocal gone
            message = await receive()
            gone = gone or message["type"] == "http.disconnect"
            return message

        try:
            await self._app(scope, listening, send)
        except Exception:
            if not gone:
                raise
            self._count_broken_off()

    def _count_broken_off(self) -> None:
        """Say it once a minute: who begins uploads and leaves them can't fill the disk with complaints."""
        self._broken_off += 1
        now = time.monotonic()
        if now - self._said_at >= _QUIET_SECONDS:
            _LOG.warning("an upload broke off (%d so far)", self._broken_off)
            self._said_at = now


@asynccontextmanager
async def opened_in_browser(_app: Any) -> AsyncIterator[None]:
    """Open the page in the browser, where there is one: Streamlit does so only for a page without a guard."""
    if not st.get_option("server.headless"):
        scheme = "https" if st.get_option("server.sslCertFile") else "http"
        page = f"{scheme}://{st.get_option('browser.serverAddress')}:{st.get_option('server.port')}"
        await asyncio.to_thread(webbrowser.open, page)
    streamlit_private.suggest_nothing()
    yield


def _is_from_elsewhere(scope: _Message) -> bool:
    """Whether a page of another origin asks; what is no browser names none."""
    origin = _header(scope, b"origin")
    return bool(origin) and origin.rpartition("/")[2] != _header(scope, b"host")


def _session_of_upload(scope: _Message) -> str | None:
    _, is_upload, place = scope["path"].partition(_UPLOADS)
    return place.partition("/")[0] if is_upload and scope["method"] == "PUT" else None


def _header(scope: _Message, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _with_headers(send: _Send) -> _Send:
    async def sending(message: _Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_HEADERS]
        await send(message)

    return sending


async def _refuse(send: _Send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]  # its body is not waited for
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
