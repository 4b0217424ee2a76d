"""A browser's conversation with the page's server, without a browser."""

import http.client
import secrets
from contextlib import contextmanager
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

_BOUNDARY = "visitor"


class Visitor:
    """One browser session.

    Attributes:
        host: name and port of the server.
        session: identifier that the server gave it.
    """

    def __init__(self, address, socket):
        self.host = urlsplit(address).netloc
        self._socket = socket
        self._cookie = f"_streamlit_xsrf={token(self.host)}"
        rerun = BackMsg()
        rerun.rerun_script.query_string = ""
        socket.send(rerun.SerializeToString())
        self.session = next(m.new_session.initialize.session_id for m in self.messages() if m.HasField("new_session"))

    def messages(self, seconds=60):
        """What the server sends, until it has been silent for so long."""
        while True:
            try:
                received = self._socket.recv(timeout=seconds)
            except TimeoutError:
                return
            message = ForwardMsg()
            message.ParseFromString(received)
            yield message

    def until_drawn(self):
        """Wait until the page has run to its end."""
        next(m for m in self.messages() if m.WhichOneof("type") == "script_finished")

    def upload(self, data, *, name="a.png", identifier=None):
        """Send a file as the page's upload does; returns the answer's status."""
        connection = http.client.HTTPConnection(self.host, timeout=120)
        try:
            connection.request("PUT", self.place(identifier), form(data, name), self.headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def place(self, identifier=None):
        """The path of an upload; by default one with an identifier that the server never gave out."""
        return f"/_stcore/upload_file/{self.session}/{identifier or secrets.token_hex(8)}"

    @property
    def headers(self):
        """What a browser sends with an upload."""
        return {
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
            "Cookie": self._cookie,
            "X-Xsrftoken": self._cookie.partition("=")[2],
        }


def form(data, name="a.png"):
    """A file as the body of an upload."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'
    return head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode()


def token(host):
    """The server's token against forged requests."""
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", "/_stcore/health")
    cookie = connection.getresponse().getheader("Set-Cookie", "")
    connection.close()
    return cookie.partition("=")[2].partition(";")[0]


@contextmanager
def visiting(address):
    """A session, which ends as when a tab is closed."""
    url = address.replace("http", "ws", 1) + "/_stcore/stream"
    with connect(url, origin=address, subprotocols=["streamlit"], max_size=None) as socket:
        yield Visitor(address, socket)
