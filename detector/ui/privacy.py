"""What is uploaded stays in memory, and is forgotten when its session has ended.

The server that Streamlit runs on writes an upload of more than a megabyte to a temporary file while it arrives, and
removes an ended session only when another one comes or goes: on one clinician's computer that may be never.
"""

from __future__ import annotations

import gc
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from detector.read import sandbox
from detector.ui import memory, streamlit_private
from detector.ui.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

_TTL_OPTION = "server.disconnectedSessionTTL"  # seconds in which a tab that lost its connection finds its session again
_LONGEST_PAUSE = 10.0  # seconds between two looks


def guard() -> None:
    """Protect the session that calls: to be called on every run of the page, before anything is uploaded."""
    streamlit_private.keep_uploads_in_memory()
    memory.keep_little()
    held = streamlit_private.server_session()
    if held is not None:
        session = st.session_state.setdefault("session", Session())
        _sweeper().watch(held.id, partial(_close, session, held))


class Sweeper:
    """Closes sessions that have been without a browser for longer than a time to live.

    Args:
        is_active: whether the session of an identifier has a browser.
        seconds: time to live.
    """

    def __init__(self, is_active: Callable[[str], bool], seconds: float) -> None:
        self._is_active, self._seconds = is_active, seconds
        self._last_seen: dict[str, float] = {}
        self._close: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()

    def watch(self, session_id: str, close: Callable[[], None]) -> None:
        """Look after a session until it has ended, and call `close` then."""
        with self._lock:
            self._last_seen[session_id] = time.monotonic()
            self._close[session_id] = close

    def sweep(self, now: float) -> None:
        """Close the sessions whose time has run out at `now`, in seconds of the monotonic clock."""
        with self._lock:
            watched = dict(self._last_seen)
        active = {session_id for session_id in watched if self._is_active(session_id)}
        ended = {name for name, seen in watched.items() if name not in active and now - seen > self._seconds}
        with self._lock:
            self._last_seen |= dict.fromkeys(active, now)
            for session_id in ended:
                del self._last_seen[session_id]
            to_close = [self._close.pop(session_id) for session_id in ended]
        for close in to_close:
            close()

    def run(self) -> None:
        """Sweep for ever."""
        while True:
            time.sleep(min(_LONGEST_PAUSE, self._seconds / 4))
            self.sweep(time.monotonic())
            sandbox.warm_up()  # a decoder ends some time after its last file: the next file need not wait for another


@st.cache_resource(show_spinner=False)
def _sweeper() -> Sweeper:
    sweeper = Sweeper(streamlit_private.is_active, st.get_option(_TTL_OPTION))
    threading.Thread(target=sweeper.run, name="sweeper", daemon=True).start()
    return sweeper


def _close(session: Session, held: streamlit_private.ServerSession) -> None:
    session.forget()  # by name: Streamlit may hold on to an ended session's state
    streamlit_private.close_session(held, then=_collect)


def _collect() -> None:
    gc.collect()  # a session is a ring of references: without this its pictures stay until memory is short
    memory.give_back()
