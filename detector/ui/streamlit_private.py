"""Everything of Streamlit that we use without a promise that it stays. Nothing private is touched anywhere else.

`NAMES` and `SELECTORS` are the list: what each is for, and what breaks where it is gone. Both were seen in the versions
of `SEEN`; the requirements pin the last of them, and tests/ui/test_streamlit_private.py fails where one is missing.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import streamlit as st
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from streamlit import config, runtime
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.state import SessionState
from streamlit.runtime.uploaded_file_manager import UploadedFile, UploadedFileRec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamlit.runtime.app_session import AppSession

    ServerSession = AppSession

SEEN = ("1.67.0",)

#: Names of the server: what breaks without them.
NAMES = {
    "starlette.formparsers.MultiPartParser.spool_max_size": "uploads above a megabyte are written to the disk",
    "starlette.middleware.trustedhost.TrustedHostMiddleware": "a foreign name for this computer is answered",
    "streamlit.config.set_option": "where tools for programmers are installed, an offer of more lies over the page",
    "streamlit.App": "nothing stands between the network and the page",
    "streamlit.runtime.memory_uploaded_file_manager.MemoryUploadedFileManager.file_storage": (
        "uploads are taken without a limit"
    ),
    "streamlit.runtime.forward_msg_queue.ForwardMsgQueue.clear": "one file in two hundred never arrives",
    "streamlit.runtime.forward_msg_queue.ForwardMsgQueue._queue": "one file in two hundred never arrives",
    "streamlit.runtime.scriptrunner.get_script_run_ctx": "a run of the page does not know its session",
    "streamlit.runtime.uploaded_file_manager.UploadedFile._file_urls": "every run copies every upload",
    "streamlit.runtime.uploaded_file_manager.UploadedFileManager.get_files": "nothing that was uploaded is found",
    "streamlit.runtime.memory_uploaded_file_manager.MemoryUploadedFileManager.remove_file": (
        "an X-ray that was removed from the list stays in memory until the page is closed"
    ),
    "streamlit.runtime.Runtime._session_mgr": "pictures of a closed tab stay in memory",
    "streamlit.runtime.Runtime._get_async_objs": "pictures of a closed tab stay in memory",
    "streamlit.runtime.Runtime.media_file_mgr": "saved reports of a closed tab stay in memory",
    "streamlit.runtime.app_session.AppSession._fragment_storage": "pictures of a closed tab stay in memory",
    "streamlit.runtime.app_session.AppSession._session_state": "pictures of a closed tab stay in memory",
    "streamlit.runtime.app_session.AppSession.flush_browser_queue": "pictures of a closed tab stay in memory",
}

#: Marks in Streamlit's own HTML that assets/ lays out or listens to: what breaks without them.
SELECTORS = {
    ".stMainBlockContainer": "the page keeps Streamlit's wide margins, and the pictures get narrower",
    "[data-testid=stTopNavLink]": "nobody who came by keyboard sees which page is chosen",
    "[data-testid=stFileUploaderDropzone]": "files dropped beside the upload are opened by the browser",
    "[data-testid=stFileUploaderDropzoneInstructions]": "the button for a folder is as large as an upload",
    "[data-testid=stFileChips]": "once files are there the upload lists them above the worklist, a second time",
}

_RECORD_BYTES = 4096  # what an upload takes besides its bytes, generously: a million empty ones are not free
_UPLOAD_BYTES = 65 * 2**20  # more than `server.maxUploadSize` lets through
_UPLOAD_ADDRESS = "file_urls_response"


def keep_uploads_in_memory() -> None:
    """Have uploads stay in memory while they arrive, where the server would write them to a temporary file."""
    MultiPartParser.spool_max_size = _UPLOAD_BYTES


@cache
def keep_upload_addresses() -> None:
    """Have the server send every answer to "where shall I send this file?", from now on.

    The browser asks before it sends a file. Where a run of the page begins just then, Streamlit forgets what it has not
    sent yet, that answer too, and the browser waits for ever.
    """
    clear = ForwardMsgQueue.clear

    def clear_all_else(self: ForwardMsgQueue, *arguments: Any, **options: Any) -> None:
        answers = [message for message in self._queue if message.WhichOneof("type") == _UPLOAD_ADDRESS]
        clear(self, *arguments, **options)
        if arguments or options:  # without, it is `flush`, which has taken everything to send it
            self._queue += [answer for answer in answers if answer not in self._queue]

    ForwardMsgQueue.clear = clear_all_else  # type: ignore[method-assign]


def suggest_nothing() -> None:
    """Have the server keep to itself what it suggests to programmers, and does for them: it would write files.

    It does so in pages that open no browser, so this is for after it was opened.
    """
    config.set_option("server.headless", value=True)


@cache
def copy_no_upload() -> None:
    """Have a run of the page get what an upload is called, where Streamlit copies the bytes of every one each time.

    The bytes are where `uploads` finds them.
    """
    UploadedFile.__deepcopy__ = _name_tag  # type: ignore[attr-defined]


def _name_tag(upload: UploadedFile, _memo: object) -> UploadedFile:
    tag = UploadedFile(UploadedFileRec(upload.file_id, upload.name, upload.type, b""), upload._file_urls)  # noqa: SLF001
    tag.size = upload.size
    return tag


def session_id() -> str | None:
    """Identifier of the session that this run of the page belongs to; None where no server runs it."""
    context = get_script_run_ctx(suppress_warning=True)
    return context.session_id if context is not None and runtime.exists() else None


def server_session() -> ServerSession | None:
    """What the server holds of the session that this run of the page belongs to; None where no server runs it."""
    name = session_id()
    sessions = None if name is None else getattr(runtime.get_instance(), "_session_mgr", None)  # an AppTest has none
    held = sessions and sessions.get_session_info(name)
    return held.session if held else None


def uploads(identifiers: Sequence[str]) -> dict[str, UploadedFileRec]:
    """The session's uploads as the server holds them, by identifier; what it no longer holds is left out."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        return {}
    records = context.uploaded_file_mgr.get_files(context.session_id, identifiers)
    return {record.file_id: record for record in records}


def forget_upload(identifier: str) -> None:
    """Let go of an upload of the session: the widget that shows it can't be told from here."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        context.uploaded_file_mgr.remove_file(context.session_id, identifier)


def bytes_held() -> dict[str, int]:
    """Bytes of uploads that the server holds, by session."""
    server = runtime.get_instance().uploaded_file_mgr
    if not isinstance(server, MemoryUploadedFileManager):
        return {}
    return {
        session: sum(len(file.data) + _RECORD_BYTES for file in list(files.values()))
        for session, files in list(server.file_storage.items())
    }


def before_streamlit(guard: Callable[..., Any]) -> list[Middleware]:
    """What a request passes before it is answered: the names that this computer goes by, then `guard`."""
    hosts = st.get_option("server.allowedHosts") or ["*"]
    return [Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False), Middleware(guard)]


def is_active(session: str) -> bool:
    """Whether a session has a browser."""
    return runtime.exists() and runtime.get_instance().is_active_session(session)


def close_session(session: ServerSession, then: Callable[[], None]) -> None:
    """Close a session that has no browser and forget all that it holds; `then` is called when that is done.

    Streamlit's own list of sessions without a browser may have dropped it by then, and left it as it was: it keeps 128
    of them, each for as long as it may come back.
    """
    if not runtime.exists():  # the server has gone, and its sessions with it
        return
    server = runtime.get_instance()

    def close() -> None:
        if server.is_active_session(session.id):  # it has come back in the meantime
            return
        server.close_session(session.id)
        session.shutdown()  # does nothing the second time
        server.media_file_mgr.remove_orphaned_files()  # closing marks what was downloaded; the second time removes it
        _empty(session)
        then()

    # Streamlit wants it on its own thread and gives no public way there; a test in the browser holds it to that.
    server._get_async_objs().eventloop.call_soon_threadsafe(close)  # noqa: SLF001


def _empty(session: ServerSession) -> None:
    """Take from an ended session what its page was drawn from.

    The server's loop goes on holding the session that it served last, and with it the arguments of its fragments, the
    callbacks of its widgets and what was not sent any more: open images, uploads, names.
    """
    session._fragment_storage.clear()  # noqa: SLF001
    session._session_state = SessionState()  # noqa: SLF001 - its own `clear` keeps the callbacks
    session.flush_browser_queue()
