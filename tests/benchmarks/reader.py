"""A reader's browser as the server sees it: Streamlit's messages, and nothing drawn.

Ten browsers on the server's own cores take most of their time to draw. Ten readers bring computers of their own: this
is how long the server keeps them waiting.
"""

import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from tests.benchmarks.server import judged

_PATIENCE = 600  # seconds
_SUCCESS = ForwardMsg.FINISHED_SUCCESSFULLY


def drop_together(address, dropped, expected):
    """Each reader uploads an image at one moment, in a session that was opened before.

    Args:
        address: of the server.
        dropped: name to bytes, one a reader.
        expected: name to the probability of COVID-19 that the page should show.

    Returns:
        See `server.judged`; seconds until the reader has all that the page says, under the name of its own image.
    """
    readers = {name: Reader(address) for name in dropped}
    ready = threading.Barrier(len(dropped))

    def drop(name):
        ready.wait()
        return readers[name].upload(name, dropped[name])

    with ThreadPoolExecutor(len(dropped)) as threads:
        found = dict(zip(dropped, threads.map(drop, dropped), strict=True))
    for one in readers.values():
        one.close()
    return judged(
        {name: (seconds, answer.bars if answer.is_of(name) else {}) for name, (seconds, answer) in found.items()},
        expected,
    )


@dataclass
class Answer:
    """What a run of the page's script has sent.

    Attributes:
        status: how the run ended, a value of ``ForwardMsg.ScriptFinishedStatus``.
        uploaders: identifiers of the page's uploads, in order.
        bars: class name to probability, of the bar chart.
        texts: of the page.
    """

    status: int = -1
    uploaders: list = field(default_factory=list)
    bars: dict = field(default_factory=dict)
    texts: list = field(default_factory=list)

    def is_of(self, name):
        """Whether the run ended well and was about the image of that name."""
        return self.status == _SUCCESS and any(name in text.replace("\\", "") for text in self.texts)


class Reader:
    """One session of the page.

    Args:
        address: of the server.
    """

    def __init__(self, address):
        self._address, self._http = address, requests.Session()
        self._http.get(f"{address}/_stcore/health", timeout=_PATIENCE).raise_for_status()
        self._http.headers["X-Xsrftoken"] = self._http.cookies["_streamlit_xsrf"]
        connection = connect(
            f"{address.replace('http', 'ws')}/_stcore/stream",
            origin=address,
            subprotocols=["streamlit"],
            additional_headers={"Cookie": f"_streamlit_xsrf={self._http.cookies['_streamlit_xsrf']}"},
            max_size=None,
            open_timeout=_PATIENCE,
        )
        self._opened = contextlib.ExitStack()
        self._socket = self._opened.enter_context(connection)
        self._session = None
        self.opened = self._run(BackMsg())

    def upload(self, name, data):
        """Drop a file on the page, and wait for all that the page says to it; seconds and what it said."""
        began = time.perf_counter()
        request = BackMsg()
        request.file_urls_request.request_id = name
        request.file_urls_request.file_names.append(name)
        request.file_urls_request.session_id = self._session
        self._socket.send(request.SerializeToString())
        urls = next(m for m in self._messages() if m.WhichOneof("type") == "file_urls_response").file_urls_response
        sent = self._http.put(
            self._address + urls.file_urls[0].upload_url, files={name: (name, data, "image/jpeg")}, timeout=_PATIENCE
        )
        sent.raise_for_status()
        rerun = BackMsg()
        widget = rerun.rerun_script.widget_states.widgets.add(id=self.opened.uploaders[0])
        widget.file_uploader_state_value.uploaded_file_info.add(
            name=name, size=len(data), file_id=urls.file_urls[0].file_id, file_urls=urls.file_urls[0]
        )
        answer = self._run(rerun)
        return time.perf_counter() - began, answer

    def close(self):
        """Leave."""
        with contextlib.suppress(OSError):
            self._opened.close()
        self._http.close()

    def _run(self, message):
        """Ask for a run of the script; what it sent until it ended."""
        message.rerun_script.query_string = ""
        self._socket.send(message.SerializeToString())
        answer = Answer()
        for sent in self._messages():
            kind = sent.WhichOneof("type")
            if kind == "new_session":
                self._session, answer = sent.new_session.initialize.session_id, Answer()
            elif kind == "delta":
                _note(answer, sent.delta)
            elif kind == "script_finished" and sent.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                answer.status = sent.script_finished
                return answer
        raise ConnectionError("The server has closed the session.")

    def _messages(self):
        for data in self._socket:
            message = ForwardMsg()
            message.ParseFromString(data)
            yield message


def _note(answer, delta):
    element = delta.new_element
    kind = element.WhichOneof("type")
    if kind == "file_uploader":
        answer.uploaders.append(element.file_uploader.id)
    elif kind == "plotly_chart":
        for trace in json.loads(element.plotly_chart.spec)["data"]:
            if trace["type"] == "bar":
                answer.bars = dict(zip(trace["y"], trace["x"], strict=True))
    elif kind in {"markdown", "text", "heading", "alert", "html"}:
        answer.texts.append(getattr(element, kind).body)
